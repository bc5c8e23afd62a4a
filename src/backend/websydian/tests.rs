//! Messages byte by byte, and who may ask.

use std::time::Duration;

use super::message::{Malformed, Spelling, answer, fault, read, unavailable, wsdl};
use super::service::{Authorize, KeyPlace};
use super::xml::{self, XmlError};
use super::*;
use crate::domain::{
    Answered, ApiKey, Call, Cookies, Desk, KnownAs, Person, Reach, Reply, ScriptedBrowser, SessionHandle, Unclear,
};

const SOAP: &str = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">{header}<s:Body>\
    <a:AuthorizeSession xmlns:a=\"urn:sso:websydian\"><a:Login>ANA</a:Login><a:Password>t-1&amp;</a:Password>\
    </a:AuthorizeSession></s:Body></s:Envelope>";

fn soap(header: &str) -> String {
    SOAP.replace("{header}", header)
}

#[test]
fn one_question_has_three_spellings() {
    let plain = "<AuthorizeSession><Login>ANA</Login><Password>t-1&amp;</Password></AuthorizeSession>";
    let in_namespace = plain.replacen("<AuthorizeSession", "<AuthorizeSession xmlns=\"urn:sso:websydian\"", 1);
    let unqualified = soap("").replace("a:Login", "Login").replace("a:Password", "Password");
    for (text, spelling) in [
        (soap(""), Spelling::Soap),
        (soap("<s:Header><x xmlns=\"urn:x\" s:mustUnderstand=\"0\"/></s:Header>"), Spelling::Soap),
        (unqualified, Spelling::Soap),
        (format!("\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{plain}\n"), Spelling::Xml),
        (in_namespace, Spelling::Xml),
        (r#" {"password":"t-1&","login":"ANA"}"#.to_owned(), Spelling::Json),
    ] {
        let (read_as, question) = read(text.as_bytes());
        let question = question.unwrap_or_else(|malformed| panic!("{malformed} in {text}"));
        assert_eq!(read_as, spelling, "{text}");
        assert_eq!((question.login.as_str(), question.password.expose_secret()), ("ANA", "t-1&"), "{text}");
    }
}

#[test]
fn whatever_is_not_the_question_is_malformed() {
    let plain = |inside: &str| format!("<AuthorizeSession>{inside}</AuthorizeSession>");
    let pair = "<Login>ANA</Login><Password>t</Password>";
    let must = "<s:Header><x xmlns=\"urn:x\" s:mustUnderstand=\"1\"/></s:Header>";
    for (text, spelling, malformed) in [
        (String::new(), Spelling::Xml, XmlError::IllFormed.into()),
        ("login=ANA&password=t".to_owned(), Spelling::Xml, XmlError::IllFormed.into()),
        (plain(""), Spelling::Xml, Malformed::Question),
        (plain("<Login>ANA</Login>"), Spelling::Xml, Malformed::Question),
        (plain("<Password>t</Password><Login>ANA</Login>"), Spelling::Xml, Malformed::Question),
        (plain(&format!("{pair}<Login>BEN</Login>")), Spelling::Xml, Malformed::Question),
        (plain(&format!("x{pair}")), Spelling::Xml, Malformed::Question),
        (plain("<Login><b>ANA</b></Login><Password>t</Password>"), Spelling::Xml, Malformed::Question),
        (plain("<Login xmlns=\"urn:x\">ANA</Login><Password>t</Password>"), Spelling::Xml, Malformed::Question),
        (plain(pair).replace("AuthorizeSession", "Other"), Spelling::Xml, Malformed::Question),
        (format!("<!DOCTYPE x>{}", plain(pair)), Spelling::Xml, XmlError::Forbidden.into()),
        (soap("").replace("schemas.xmlsoap.org/soap", "www.w3.org/2003/05/soap"), Spelling::Soap, Malformed::Version),
        (soap(must), Spelling::Soap, Malformed::Header),
        (soap("").replace("urn:sso:websydian", "urn:other"), Spelling::Soap, Malformed::Envelope),
        (soap("<s:Body/>"), Spelling::Soap, Malformed::Envelope),
        (soap("").replace("<a:Login>ANA</a:Login>", ""), Spelling::Soap, Malformed::Question),
        ("{}".to_owned(), Spelling::Json, Malformed::Json),
        (r#"{"login":"ANA"}"#.to_owned(), Spelling::Json, Malformed::Json),
        (r#"{"login":"ANA","password":"t","login":"BEN"}"#.to_owned(), Spelling::Json, Malformed::Json),
        (r#"{"login":"ANA","password":"t","admin":true}"#.to_owned(), Spelling::Json, Malformed::Json),
        (r#"{"login":"ANA","password":7}"#.to_owned(), Spelling::Json, Malformed::Json),
        (format!("{{\"login\":\"{}\"", "[".repeat(10_000)), Spelling::Json, Malformed::Json),
        (plain(&" ".repeat(17_000)), Spelling::Xml, Malformed::TooLong),
    ] {
        let (read_as, question) = read(text.as_bytes());
        let shown = &text[..text.len().min(160)];
        assert_eq!((read_as, question.map(|question| question.login)), (spelling, Err(malformed)), "{shown}");
    }
    let latin = b"<AuthorizeSession><Login>\xe9</Login><Password>t</Password></AuthorizeSession>";
    assert_eq!(read(latin).1.err(), Some(Malformed::Xml(XmlError::Encoding)));
}

#[test]
fn answers_say_the_same_in_every_spelling() {
    let roles = ["SALES".to_owned(), "R&D <1>".to_owned()];
    let body = |spelling, roles| answer(spelling, roles).body;
    let soap = |inside: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>\
             <a:AuthorizeSessionResponse xmlns:a=\"urn:sso:websydian\">{inside}</a:AuthorizeSessionResponse>\
             </soap:Body></soap:Envelope>"
        )
    };
    let yes =
        "<a:Valid>Y</a:Valid><a:RoleCount>2</a:RoleCount><a:Role>SALES</a:Role><a:Role>R&amp;D &lt;1&gt;</a:Role>";
    assert_eq!(body(Spelling::Soap, Some(&roles[..])), soap(yes));
    assert_eq!(body(Spelling::Soap, None), soap("<a:Valid>N</a:Valid><a:RoleCount>0</a:RoleCount>"));
    let plain = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<AuthorizeSessionResult valid=\"Y\">\
                 <Role>SALES</Role><Role>R&amp;D &lt;1&gt;</Role></AuthorizeSessionResult>";
    assert_eq!(body(Spelling::Xml, Some(&roles[..])), plain);
    assert!(body(Spelling::Xml, None).ends_with("<AuthorizeSessionResult valid=\"N\"></AuthorizeSessionResult>"));
    assert_eq!(body(Spelling::Json, Some(&roles[..])), r#"{"roles":["SALES","R&D <1>"],"valid":true}"#);
    assert_eq!(body(Spelling::Json, None), r#"{"roles":[],"valid":false}"#);
}

#[test]
fn faults_are_told_as_each_spelling_knows_them() {
    for (spelling, malformed, status, text) in [
        (Spelling::Soap, Malformed::Version, 500, "<faultcode>soap:VersionMismatch</faultcode>"),
        (Spelling::Soap, Malformed::Header, 500, "<faultcode>soap:MustUnderstand</faultcode>"),
        (Spelling::Soap, Malformed::Question, 500, "<faultcode>soap:Client</faultcode>"),
        (Spelling::Xml, Malformed::Question, 400, "<Error>"),
        (Spelling::Xml, Malformed::TooLong, 413, "<Error>"),
        (Spelling::Json, Malformed::Json, 400, "{\"error\":"),
    ] {
        let reply = fault(spelling, malformed);
        assert_eq!(reply.status, status);
        assert!(reply.body.contains(text), "{}", reply.body);
        assert!(spelling == Spelling::Json || xml::read(&reply.body).is_ok(), "{}", reply.body);
    }
}

#[test]
fn who_cannot_be_answered_now_is_told_so_in_each_spelling() {
    for (spelling, status, text) in [
        (Spelling::Soap, 500, "<faultcode>soap:Server</faultcode>"),
        (Spelling::Xml, 503, "<Error>"),
        (Spelling::Json, 503, "{\"error\":"),
    ] {
        let reply = unavailable(spelling, Duration::from_secs(5));
        assert!(reply.status == status && reply.body.contains(text), "{reply:?}");
        assert!(reply.headers.contains(&("retry-after", "5".to_owned())), "{reply:?}");
    }
}

#[test]
fn the_description_names_the_address_at_which_it_was_asked_for() {
    let text = wsdl("http://h/a?\"&<").body;
    assert!(text.contains("<soap:address location=\"http://h/a?&quot;&amp;&lt;\"/>"), "{text}");
}

struct Nobody;

impl Desk for Nobody {
    fn person<'a>(&'a self, _: &'a Call<'a>) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn as_now<'a>(&'a self, _: &'a Person) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn known_as(&self, _: &Person, _: &str) -> Option<KnownAs> {
        None
    }

    fn sign_out(&self, _: &SessionHandle) {}
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn authorize(key_in: KeyPlace) -> Authorize {
    let key = ApiKey::new("site", &Secret::from(KEY));
    Authorize { path: "/authorize".to_owned(), key, key_in, tickets: tickets::Tickets::default() }
}

/// Asks as a server with one header would.
async fn ask(service: &Authorize, start: &str, header: Option<(&str, &str)>, body: &str) -> Option<Answered> {
    let (method, target) = start.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let call = Call {
        reach: Reach::Servers,
        method,
        path,
        query,
        origin: "http://keyward:8423",
        cookies: Cookies::default(),
        browser: &ScriptedBrowser(header.as_slice()),
        body: body.as_bytes(),
        vouched: None,
    };
    if !service.takes(Reach::Servers, method, path) {
        return None;
    }
    assert!(!service.takes(Reach::Browsers, method, path), "browsers have no business here");
    Some(service.answer(&call, &Nobody).await)
}

fn status(answered: Option<Answered>) -> (u16, bool) {
    match answered {
        None => (404, false),
        Some(Answered::Here(reply)) => (reply.status, true),
        Some(Answered::Elsewhere(reply) | Answered::Vouched { reply, .. }) => (reply.status, false),
    }
}

#[tokio::test]
async fn whoever_does_not_show_the_key_where_it_belongs_learns_nothing() {
    let question = r#"{"login":"ANA","password":"t"}"#;
    let basic = |text: &str| {
        use base64::Engine;
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(text))
    };
    let (good, wrong) = (basic(&format!("express:{KEY}")), basic(&format!("{KEY}:x")));
    let in_header = KeyPlace::Header("x-service-key".to_owned());
    let below = format!("POST /authorize/{KEY}");
    // A good key: the ticket is unknown here, and may be another site's.
    for (place, start, header, expected) in [
        (&in_header, "POST /authorize", Some(("x-service-key", KEY)), (200, false)),
        (&in_header, "POST /authorize", Some(("x-service-key", &KEY[1..])), (401, false)),
        (&in_header, "POST /authorize", Some(("x-service-key", "")), (401, false)),
        (&in_header, "POST /authorize", Some(("authorization", good.as_str())), (401, false)),
        (&in_header, "POST /authorize", None, (401, false)),
        (&in_header, &below, None, (404, false)),
        (&in_header, "POST /authorized", Some(("x-service-key", KEY)), (404, false)),
        (&in_header, "GET /authorize", Some(("x-service-key", KEY)), (405, true)),
        (&in_header, "PUT /authorize", Some(("x-service-key", KEY)), (405, true)),
        (&in_header, "PUT /authorize", None, (401, false)),
        (&in_header, "GET /authorize?WSDL", None, (200, true)),
        (&KeyPlace::Basic, "POST /authorize", Some(("authorization", good.as_str())), (200, false)),
        (&KeyPlace::Basic, "POST /authorize", Some(("authorization", wrong.as_str())), (401, false)),
        (&KeyPlace::Basic, "POST /authorize", Some(("authorization", KEY)), (401, false)),
        (&KeyPlace::Path, &below, None, (200, false)),
        (&KeyPlace::Path, &below[..below.len() - 1], None, (401, false)),
        (&KeyPlace::Path, "POST /authorize", None, (401, false)),
        (&KeyPlace::Path, "GET /authorize?wsdl", None, (401, false)),
        (&KeyPlace::Path, &format!("GET /authorize/{KEY}?wsdl"), None, (200, true)),
    ] {
        let answered = ask(&authorize(place.clone()), start, header, question).await;
        assert_eq!(status(answered), expected, "{place:?} {start}");
    }
}

#[tokio::test]
async fn a_message_that_is_none_burns_no_ticket() {
    let service = authorize(KeyPlace::Path);
    let ticket = service.tickets.issue("ANA", Vec::new()).await.unwrap();
    let secret = ticket.secret().expose_secret();
    let start = format!("POST /authorize/{KEY}");
    for body in [
        format!("{{\"login\":\"ANA\",\"password\":\"{secret}\",\"x\":1}}"),
        format!("<!DOCTYPE x><AuthorizeSession><Login>ANA</Login><Password>{secret}</Password></AuthorizeSession>"),
    ] {
        assert_eq!(status(ask(&service, &start, None, &body).await), (400, true));
    }
    let unknown = authorize(KeyPlace::Path);
    let body = format!("{{\"login\":\"ANA\",\"password\":\"{secret}\"}}");
    assert_eq!(status(ask(&unknown, &start, None, &body).await), (200, false), "another back-end's ticket");
    let Some(Answered::Here(Reply { body, .. })) = ask(&service, &start, None, &body).await else { panic!("not here") };
    assert_eq!(body, r#"{"roles":[],"valid":true}"#);
}

#[test]
fn the_in_page_key_is_found_in_its_field() {
    for (page, key) in [
        ("<input type=\"hidden\" name=\"WSYD_SID\" value=\"2;3514\">", Some("2;3514")),
        ("<INPUT value='2;3514' name='WSYD_SID'>", Some("2;3514")),
        ("<script>f.WSYD_SID = 1</script><input name=\"WSYD_SID\" value=\"2&#59;3\">", Some("2;3")),
        ("<input name=\"WSYD_SID\" value=\"\">", None),
        ("<input name=\"WSYD_SID\" value=\"a b\">", None),
        ("<input name=\"WSYD_SID\" value=\"&x;\">", None),
        ("<input name=\"WSYD_SID\" value=2;3514>", None),
        ("<input name=\"WSYD_SID\" value=\"2", None),
        ("WSYD_SID", None),
        ("", None),
    ] {
        assert_eq!(in_page_key(page).as_deref(), key, "{page}");
    }
    assert_eq!(in_page_key(&format!("<input name=\"WSYD_SID\" value=\"{}\">", "1".repeat(129))), None);
}
