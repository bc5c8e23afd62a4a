use reqwest::header::{HeaderName, HeaderValue};

use super::*;
use crate::domain::ManualClock;

/// 21 November 2026, 18:46:21.
const NOW: u64 = 1_795_286_781;

fn answer(status: u16, host: Option<&str>, lines: &[(&'static str, &str)]) -> Answer {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let asked = Url::parse("http://127.0.0.1:8000/roundcube/?_task=login").unwrap();
    Answer::new(status, headers, Vec::new(), false, asked, host.map(str::to_owned), NOW)
}

#[test]
fn of_several_cookies_of_a_name_the_last_one_counts() {
    let gone = "Thu, 21 Nov 2019 18:46:21 GMT";
    let lines = [
        ("set-cookie", format!("auth=-del-; expires={gone}; path=/")),
        ("set-cookie", "sid=B; path=/; HttpOnly".to_owned()),
        ("set-cookie", "auth=SECRET-1; path=/".to_owned()),
        ("set-cookie", "theme=dark; Max-Age=0".to_owned()),
        ("set-cookie", "no cookie at all".to_owned()),
    ];
    let lines: Vec<(&'static str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let left = answer(200, None, &lines).cookies_left();
    let left: Vec<_> = left.iter().map(|cookie| (cookie.name.as_str(), cookie.value.as_str())).collect();
    assert_eq!(left, [("sid", "B"), ("auth", "SECRET-1")]);
}

#[test]
fn deletions_are_recognised_on_the_servers_own_clock() {
    for (line, date, deletes) in [
        ("k=v", None, false),
        ("k=v; Max-Age=0", None, true),
        ("k=v; max-age=-1", None, true),
        ("k=v; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None, false),
        ("k=v; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None, true),
        ("k=v; expires=Thu, 01-Jan-1970 00:00:01 GMT", None, true),
        ("k=v; expires=Sat, 21 Nov 2026 18:45:21 GMT", None, true),
        ("k=v; expires=Sat, 21 Nov 2026 18:45:21 GMT", Some("Sat, 21 Nov 2026 18:40:00 GMT"), false),
        ("k=v; expires=Sat, 21 Nov 2026 18:50:00 GMT", Some("Sat, 21 Nov 2026 18:51:00 GMT"), true),
        ("k=v; expires=soon", None, false),
    ] {
        let mut lines = vec![("set-cookie", line)];
        lines.extend(date.map(|date| ("date", date)));
        assert_eq!(answer(200, None, &lines).set_cookies()[0].deletes, deletes, "{line} at {date:?}");
    }
}

#[test]
fn a_location_is_here_or_elsewhere() {
    let here = |path: &str, query: &str| Location::Here { path: path.to_owned(), query: query.to_owned() };
    for (value, host, location) in [
        ("./?_task=mail&_token=x", None, here("/roundcube/", "_task=mail&_token=x")),
        ("/?_h=1", None, here("/", "_h=1")),
        ("http://127.0.0.1:8000/a", None, here("/a", "")),
        ("http://127.0.0.1:8001/a", None, Location::Elsewhere),
        ("https://127.0.0.1:8000/a", None, Location::Elsewhere),
        ("//evil.test/a", None, Location::Elsewhere),
        ("\\\\evil.test\\a", None, Location::Elsewhere),
        ("javascript:alert(1)", None, Location::Elsewhere),
        ("http://mail.example.test/a", Some("mail.example.test"), here("/a", "")),
        ("http://mail.example.test/a", None, Location::Elsewhere),
        ("https://mail.example.test/a", Some("mail.example.test"), Location::Elsewhere),
        ("http://[", None, Location::Unreadable),
    ] {
        let answer = answer(302, host, &[("location", value)]);
        assert_eq!(answer.location(), Some(location), "{value} for {host:?}");
    }
    assert_eq!(answer(302, None, &[]).location(), None);
}

#[test]
fn what_is_behind_the_hash_is_read_wherever_it_leads() {
    for (value, fragment) in [
        ("/ui/#a=1&b=2", Some("a=1&b=2")),
        ("https://elsewhere.test/#a=1", Some("a=1")),
        ("#a=1?x#y", Some("a=1?x#y")),
        ("/ui/#", Some("")),
        ("/ui/?a=1", None),
        ("http://[#a=1", None),
    ] {
        assert_eq!(answer(302, None, &[("location", value)]).location_fragment().as_deref(), fragment, "{value}");
    }
    assert_eq!(answer(302, None, &[]).location_fragment(), None);
}

#[test]
fn a_status_may_tell_of_an_outage() {
    let throttled = |seconds: Option<u64>| Outage::Throttled { retry_after: seconds.map(Duration::from_secs) };
    let unreachable = |status: u16| Outage::Unreachable(format!("it answered with status {status}"));
    for (status, retry_after, outage) in [
        (200, None, None),
        (401, None, None),
        (404, None, None),
        (429, None, Some(throttled(None))),
        (429, Some("7"), Some(throttled(Some(7)))),
        (429, Some("Sat, 21 Nov 2026 18:46:31 GMT"), Some(throttled(Some(10)))),
        (429, Some("soon"), Some(throttled(None))),
        (503, Some("7"), Some(throttled(Some(7)))),
        (503, None, Some(unreachable(503))),
        (500, Some("7"), Some(unreachable(500))),
    ] {
        let lines: Vec<_> = retry_after.map(|value| ("retry-after", value)).into_iter().collect();
        assert_eq!(answer(status, None, &lines).outage(), outage, "{status} {retry_after:?}");
    }
}

#[test]
fn paths_stand_below_the_back_ends_own() {
    for (base, target, address) in [
        ("http://h", "/?a=b", "http://h/?a=b"),
        ("http://h/roundcube/", "/?_task=login", "http://h/roundcube/?_task=login"),
        ("http://h/roundcube", "/api/x", "http://h/roundcube/api/x"),
        ("http://h/?old=1", "/", "http://h/"),
    ] {
        let clock = Arc::new(ManualClock::at(0));
        let wire = Wire::new(Url::parse(base).unwrap(), None, Duration::from_secs(1), clock).unwrap();
        assert_eq!(wire.address(target).as_str(), address);
    }
}

#[test]
fn only_a_host_is_a_host() {
    for (host, good) in [
        ("webmail.example.test", true),
        ("webmail.example.test:8443", true),
        ("", false),
        ("a/b", false),
        ("a?b", false),
        ("a#b", false),
        ("user@a", false),
        ("a\r\nx: y", false),
    ] {
        assert_eq!(host_value(host).is_ok(), good, "{host:?}");
    }
}

#[test]
fn a_form_carries_every_character() {
    let text = form_encoded(&[("user name", "a+b &=;%#\"é"), ("x", "")]);
    assert_eq!(text, "user%20name=a%2Bb%20%26%3D%3B%25%23%22%C3%A9&x=");
}
