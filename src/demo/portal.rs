//! The stand-in portal: one page, three people, and the tickets that Keyward wants.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde::Deserialize;
use url::Url;

use super::DemoError;
use crate::domain::escape;
use crate::domain::{Clock, Secret};
use crate::portal::ticket::{NewTicket, TicketKey, Tickets};
use crate::portal::{Scratch, Verdict};

/// The portal's cookie.
pub const COOKIE: &str = "portal_session";
/// How long people stay signed in, in seconds.
const SESSION: u64 = 8 * 3600;
/// Where the browser comes back to after signing out.
pub const SIGNED_OUT: &str = "/signed-out";

const STYLE: &str = include_str!("portal.css");
/// No script at all. There is no `form-action`: it would forbid the redirect to a webmail that
/// follows the sign-in form.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// One of the people who can sign in.
#[derive(Clone, Debug)]
pub struct Member {
    /// The user's name, as it stands in the ticket.
    pub user: &'static str,
    /// The full name.
    pub name: &'static str,
    /// The e-mail address.
    pub email: &'static str,
    /// The password of the mailboxes. Nobody ever types it.
    pub password: Secret,
}

/// A webmail to link to.
#[derive(Clone, Debug)]
pub struct Link {
    /// What stands on it.
    pub label: &'static str,
    /// Where it leads.
    pub url: Url,
    /// What it shows.
    pub about: &'static str,
}

/// What the portal knows.
pub struct Settings {
    /// Who can sign in.
    pub members: Vec<Member>,
    /// Where they can go. Nobody is sent anywhere else after signing in.
    pub links: Vec<Link>,
    /// Shown below the links.
    pub note: String,
    /// The address of Keyward's sign-out, with the way back.
    pub sign_out: Url,
    /// The domain of the cookie.
    pub domain: &'static str,
    /// The key that signs tickets.
    pub key: TicketKey,
    /// The same, to read them again.
    pub tickets: Tickets,
    /// The time in them.
    pub clock: Arc<dyn Clock>,
}

/// Starts the portal on loopback. It ends with the runtime.
///
/// # Errors
/// No port is free.
pub fn start(settings: Settings) -> Result<SocketAddr, DemoError> {
    let settings = web::Data::new(settings);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(settings.clone())
            .route("/", web::get().to(home))
            .route("/login", web::get().to(login))
            .route("/sign-in", web::post().to(sign_in))
            .route(SIGNED_OUT, web::get().to(signed_out))
            .route("/portal.css", web::get().to(style))
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).map_err(DemoError::NoPort)?;
    let address = server.addrs().first().copied().ok_or(DemoError::Missing("a loopback address"))?;
    tokio::spawn(server.run());
    Ok(address)
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct SignIn {
    person: String,
    #[serde(default)]
    next: String,
}

async fn home(request: HttpRequest, settings: web::Data<Settings>) -> HttpResponse {
    match member(request.headers(), &settings) {
        Some(member) => page("Your applications", &applications(member, &settings)),
        None => page("Who are you today?", &people("", &settings)),
    }
}

/// Asks also whoever has a good ticket: Keyward sends people here whose session was ended, and to
/// show them as signed in would send them in a circle.
async fn login(query: web::Query<Next>, settings: web::Data<Settings>) -> HttpResponse {
    page("Who are you today?", &people(&query.next, &settings))
}

async fn sign_in(request: HttpRequest, form: web::Form<SignIn>, settings: web::Data<Settings>) -> HttpResponse {
    // Another site's form could sign somebody in as somebody else.
    let from = request.headers().get("Sec-Fetch-Site").map(|site| site.as_bytes());
    if !matches!(from, None | Some(b"same-origin" | b"none")) {
        return HttpResponse::Forbidden().finish();
    }
    let Some(member) = settings.members.iter().find(|member| member.user == form.person) else {
        return HttpResponse::BadRequest().finish();
    };
    let (sid, now) = (format!("{:032x}", rand::random::<u128>()), settings.clock.unix());
    let mut claims = NewTicket::new(sid, member.user, now, now + SESSION);
    claims.name = Some(member.name.into());
    claims.email = Some(member.email.into());
    let Ok(ticket) = settings.key.mint(&claims, Some(&member.password)) else {
        return HttpResponse::InternalServerError().finish();
    };
    let next = allowed(&form.next, &settings).map_or_else(|| "/".to_owned(), String::from);
    HttpResponse::SeeOther()
        .insert_header((header::SET_COOKIE, cookie(&ticket, SESSION, &settings)))
        .insert_header((header::LOCATION, next))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

async fn signed_out(settings: web::Data<Settings>) -> HttpResponse {
    let body = "<p>Keyward has ended your sessions in every application.</p>\
                <ul><li><a class=\"card\" href=\"/\">Sign in again</a></li></ul>";
    let mut answer = page("You are signed out", body);
    if let Ok(value) = cookie("", 0, &settings).parse() {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(STYLE)
}

/// Whose ticket the browser has.
fn member<'a>(headers: &HeaderMap, settings: &'a Settings) -> Option<&'a Member> {
    let cookies: Vec<&str> = headers.get_all(header::COOKIE).filter_map(|line| line.to_str().ok()).collect();
    let pairs = cookies.iter().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let tickets: Vec<&str> = pairs.filter_map(|(name, value)| (name == COOKIE).then_some(value)).collect();
    let mut scratch = Scratch::default();
    match settings.tickets.judge(&tickets, settings.clock.unix(), &mut scratch) {
        Verdict::Genuine(session) => settings.members.iter().find(|member| member.user == session.identity().user()),
        _ => None,
    }
}

/// The address to go on to, if it is one of the webmails': compared by scheme, host and port after
/// parsing, since a text that begins like ours can lead anywhere.
fn allowed(next: &str, settings: &Settings) -> Option<Url> {
    let next = Url::parse(next).ok()?;
    settings.links.iter().any(|link| link.url.origin() == next.origin()).then_some(next)
}

fn cookie(value: &str, seconds: u64, settings: &Settings) -> String {
    let domain = settings.domain;
    format!("{COOKIE}={value}; Domain={domain}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax")
}

fn people(next: &str, settings: &Settings) -> String {
    let next = escape(next);
    let button = |member: &Member| {
        format!(
            "<li><button name=\"person\" value=\"{}\">{}<small>{}</small></button></li>",
            escape(member.user),
            escape(member.name),
            escape(member.email)
        )
    };
    let buttons: String = settings.members.iter().map(button).collect();
    format!(
        "<p>This stands for your customer portal. Choose a person; it is the only time that you sign in.</p>\
         <form method=\"post\" action=\"/sign-in\"><input type=\"hidden\" name=\"next\" value=\"{next}\">\
         <ul>{buttons}</ul></form>"
    )
}

fn applications(member: &Member, settings: &Settings) -> String {
    let link = |link: &Link| {
        format!(
            "<li><a class=\"card\" href=\"{}\">{}<small>{}</small></a></li>",
            escape(link.url.as_str()),
            escape(link.label),
            escape(link.about)
        )
    };
    let links: String = settings.links.iter().map(link).collect();
    format!(
        "<p>Signed in as <strong>{}</strong>.</p><ul>{links}</ul><p><a href=\"{}\">Sign out everywhere</a></p>\
         <footer>{}</footer>",
        escape(member.name),
        escape(settings.sign_out.as_str()),
        escape(&settings.note)
    )
}

fn page(title: &str, body: &str) -> HttpResponse {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/portal.css\"></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>\n"
    );
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(html)
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use actix_web::test::{TestRequest, call_service, init_service};

    use super::*;
    use crate::domain::ManualClock;

    fn settings() -> web::Data<Settings> {
        let key = || TicketKey::new("demo", &Secret::from("0123456789abcdef0123456789abcdef")).unwrap();
        let url = |text: &str| Url::parse(text).unwrap();
        web::Data::new(Settings {
            members: vec![Member { user: "ana", name: "Ana <b>", email: "ana@example.test", password: "p".into() }],
            links: vec![Link { label: "Mail", url: url("http://mail.demo.localhost:8080/"), about: "x" }],
            note: String::new(),
            sign_out: url("http://mail.demo.localhost:8080/.keyward/logout"),
            domain: "demo.localhost",
            key: key(),
            tickets: Tickets::new(COOKIE, vec![key()]),
            clock: Arc::new(ManualClock::at(1_800_000_000)),
        })
    }

    #[tokio::test]
    async fn signing_in_sets_a_ticket_that_the_portal_itself_believes_and_leads_on() {
        let settings = settings();
        let routes = App::new().app_data(settings.clone()).route("/sign-in", web::post().to(sign_in));
        let app = init_service(routes.route("/", web::get().to(home))).await;
        let form = [("person", "ana"), ("next", "http://mail.demo.localhost:8080/x?y=1")];
        let request = TestRequest::post().uri("/sign-in").set_form(form).to_request();
        let answer = call_service(&app, request).await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers().get("location").unwrap(), "http://mail.demo.localhost:8080/x?y=1");
        let cookie = answer.headers().get("set-cookie").unwrap().to_str().unwrap();
        assert!(cookie.contains("; Domain=demo.localhost; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap();
        let request = TestRequest::get().uri("/").insert_header(("Cookie", format!("x=1; {cookie}"))).to_request();
        let page = call_service(&app, request).await.into_body().try_into_bytes().ok().unwrap();
        let page = String::from_utf8_lossy(&page).into_owned();
        assert!(page.contains("Signed in as <strong>Ana &lt;b&gt;</strong>"), "{page}");
    }

    #[tokio::test]
    async fn nobody_is_sent_anywhere_but_to_a_webmail() {
        let settings = settings();
        for next in [
            "",
            "/x",
            "//evil.test/",
            "http://evil.test/",
            "http://mail.demo.localhost/",
            "https://mail.demo.localhost:8080/",
            "http://mail.demo.localhost:8080.evil.test/",
            "http://mail.demo.localhost:8080@evil.test/",
            "javascript:alert(1)",
            "http:\\\\evil.test",
        ] {
            assert_eq!(allowed(next, &settings), None, "{next}");
        }
        let odd = allowed("HTTP://MAIL.demo.localhost:8080/a\"b", &settings).unwrap();
        assert_eq!(odd.as_str(), "http://mail.demo.localhost:8080/a%22b");
    }

    #[tokio::test]
    async fn another_sites_form_signs_nobody_in_and_markup_in_next_stays_text() {
        let settings = settings();
        let routes = App::new().app_data(settings.clone()).route("/sign-in", web::post().to(sign_in));
        let app = init_service(routes).await;
        let request = TestRequest::post().uri("/sign-in").set_form([("person", "ana")]);
        let request = request.insert_header(("Sec-Fetch-Site", "cross-site")).to_request();
        assert_eq!(call_service(&app, request).await.status(), 403);
        assert!(people("\"><script>", &settings).contains("value=\"&quot;&gt;&lt;script&gt;\""));
    }
}
