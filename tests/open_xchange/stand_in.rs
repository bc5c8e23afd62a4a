//! What the stand-in refuses. It is only worth something if it is as strict as the real one.

use super::*;
use crate::fakes::server::{Reply, forward};

const GOOD: &str = "name=ana%40example.test&password=p%26w%20%23x&clientIP=198.51.100.7";
const GOOD_FORM: &str = "login=ana%40example.test&password=p%26w%20%23x&client=c&version=1";

async fn send(ox: &OpenXchange, target: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
    let mut lines: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    lines.push(("host".to_owned(), b"ox.example.test".to_vec()));
    lines.push(("content-type".to_owned(), b"application/x-www-form-urlencoded".to_vec()));
    lines.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    let method = if body.is_empty() { "GET" } else { "POST" }.to_owned();
    let request = Request { method, target: target.to_owned(), headers: lines, body: body.as_bytes().to_vec() };
    forward(ox.url().trim_start_matches("http://").parse().unwrap(), &request).await.unwrap()
}

fn text(reply: &Reply) -> String {
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))
}

fn cookies_of(reply: &Reply) -> String {
    let set = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let pairs: Vec<&str> = set.filter_map(|(_, value)| value.split(';').next()).collect();
    pairs.join("; ")
}

#[tokio::test]
async fn what_the_real_one_would_refuse_is_refused() {
    let agent = ("user-agent", "Browser/1");
    for (target, body, said) in [
        ("/ajax/login?action=login&client=c", GOOD, "200 {"),
        ("/ajax/login?action=login&client=c&password=x", GOOD, "400"),
        ("/ajax/login?action=autologin&client=c&password=x", "", "400"),
        ("/ajax/login?action=login&client=Browser%2F1", GOOD, "LGI-0021"),
        ("/ajax/login?action=login&client=c", "name=ana%40example.test", "SVL-0002"),
        ("/ajax/login?action=login&client=c", "login=ana%40example.test&password=x", "SVL-0002"),
        ("/ajax/login?action=login&client=c", "name=ana@example.test&password=100%", "400"),
        ("/ajax/login?action=login&client=c", "", "SVL-0001"),
        ("/ajax/login?action=formlogin&authId=1", GOOD_FORM, "302"),
        ("/ajax/login?action=formlogin", GOOD_FORM, "SVL-0002"),
        ("/ajax/login?action=formlogin&authId=1", "login=a&password=b&client=c", "SVL-0002"),
        ("/ajax/login?action=formlogin&authId=1", "login=a&password=b&version=c", "SVL-0002"),
        ("/ajax/login?action=autologin&client=c", "", "SES-0203"),
        ("/ajax/login?action=refreshSecret", "", "SES-0201"),
        ("/ajax/login?action=refreshSecret&session=x", "", "SES-0203"),
        ("/ajax/login?action=logout", "", "400"),
        ("/ajax/login?action=logout&session=x", "", "403"),
        ("/ajax/mail?action=all", "", "SES-0201"),
        ("/ajax/nothing?action=all", "", "404"),
    ] {
        let ox = open_xchange(Options::default()).await;
        let reply = send(&ox, target, body, &[agent]).await;
        assert!(text(&reply).contains(said), "{target} {body}: {}", text(&reply));
        let opened = matches!(said, "200 {" | "302");
        assert_eq!(ox.sessions(), usize::from(opened), "{target} {body}");
    }
}

#[tokio::test]
async fn errors_are_pages_for_those_who_take_no_json() {
    let ox = open_xchange(Options::default()).await;
    for (accept, said) in [("text/html", "403"), ("application/json", "200 {"), ("*/*", "200 {")] {
        let reply = send(&ox, "/ajax/mail?action=all&session=x", "", &[("accept", accept)]).await;
        assert!(text(&reply).starts_with(said), "{accept}: {}", text(&reply));
    }
}

#[tokio::test]
async fn an_id_of_a_login_works_once_and_cookies_of_a_session_open_it_again() {
    let ox = open_xchange(Options::default()).await;
    let agent = ("user-agent", "Browser/1");
    let login = "/ajax/login?action=login&client=c&authId=1";
    let first = send(&ox, login, GOOD, &[agent]).await;
    assert!(text(&send(&ox, login, GOOD, &[agent]).await).contains("SES-0008"));
    let cookies = cookies_of(&first);
    let again = "/ajax/login?action=login&client=c&authId=2";
    send(&ox, again, GOOD, &[agent, ("cookie", &cookies)]).await;
    assert_eq!(ox.sessions(), 1, "the same person with the same cookies");
    send(
        &ox,
        "/ajax/login?action=login&client=c&authId=3",
        "name=ben%40example.test&password=x",
        &[agent, ("cookie", &cookies)],
    )
    .await;
    assert_eq!(ox.sessions(), 2, "stale cookies of somebody else");
}

#[tokio::test]
async fn cookies_are_secure_where_the_request_is() {
    let ox = open_xchange(Options::default()).await;
    for (scheme, secure) in [("https", true), ("http", false)] {
        let target = format!("/ajax/login?action=login&client=c&authId={scheme}");
        let reply = send(&ox, &target, GOOD, &[("x-forwarded-proto", scheme)]).await;
        let set: Vec<&String> =
            reply.headers.iter().filter(|(name, _)| name == "Set-Cookie").map(|(_, value)| value).collect();
        assert!(
            set.iter().filter(|line| line.starts_with("open-xchange-")).all(|line| line.contains("; Secure") == secure)
        );
        assert!(set.len() >= 5, "{set:?}");
    }
}
