//! What is decided, and how each dialect is told.

use crate::INBOX;
use crate::fakes::server::Fault;
use crate::support::{Ask, DOORS, Door, House, SMALLEST, Setup, Ticket};

/// What must be answered to a question at `auth-request` and at all other doors, and why.
struct Row {
    ask: Ask,
    statuses: (u16, u16),
    reason: &'static str,
}

fn row(ask: Ask, statuses: (u16, u16), reason: &'static str) -> Row {
    Row { ask, statuses, reason }
}

#[tokio::test]
async fn every_ruling_is_answered_in_each_doors_own_way() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let wrong = Ticket::of("carol").password("wrong").cookie();
    let rows = [
        row(Ask::page(INBOX), (401, 302), "no_session"),
        row(Ask::page(INBOX).cookie("office_session=x"), (401, 302), "forged"),
        row(Ask::page(INBOX).method("HEAD"), (401, 302), "no_session"),
        row(Ask::get(INBOX).header("Sec-Fetch-Mode", "navigate"), (401, 302), "no_session"),
        row(Ask::page(INBOX).header("Sec-Fetch-Mode", "cors"), (401, 401), "no_session"),
        row(Ask::page(INBOX).header("X-Requested-With", "XMLHttpRequest"), (401, 401), "no_session"),
        row(Ask::get(INBOX).method("POST"), (401, 401), "no_session"),
        row(Ask::get(INBOX).method("PROPFIND"), (401, 401), "no_session"),
        row(Ask::get(INBOX), (401, 401), "no_session"),
        row(Ask::get("https://app.example.test/admin").cookie(&alice), (403, 403), "role"),
        row(Ask::page("https://app.example.test/admin").cookie(&alice), (403, 403), "role"),
        row(Ask::get("https://app.example.test/%61dmin").cookie(&alice), (403, 403), "ambiguous_path"),
        row(Ask::get("https://nobody.example.test/").cookie(&alice), (403, 403), "no_route"),
        row(Ask::get("gopher://app.example.test/").cookie(&alice), (403, 403), "bad_request"),
        row(Ask::get(INBOX).cookie(wrong), (403, 403), "credentials_refused"),
        row(Ask::get(INBOX).cookie(Ticket::of("alice").without_password().cookie()), (403, 403), "no_credentials"),
    ];
    for Row { ask, statuses, reason } in rows {
        for door in DOORS {
            let status = if door == Door::AuthRequest { statuses.0 } else { statuses.1 };
            let answer = house.keyward.ask(door, &ask).await;
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{door:?} {ask:?}");
            answer.assert_refuses();
            assert_eq!(answer.maybe("Retry-After"), None);
            // What sends a browser away says so in `Location`, everything else in the body.
            let is_redirect = statuses == (401, 302);
            assert_eq!(answer.maybe("Location").is_some(), is_redirect, "{door:?} {ask:?}");
            if reason == "no_session" || reason == "forged" {
                assert!(answer.login().starts_with("https://portal.example.test/office?next=https%3A%2F%2Fapp"));
                // Where the request itself is the question, the answer to a HEAD has no body.
                if door == Door::ExtAuthz && answer.body.is_empty() {
                    assert!(format!("{ask:?}").contains("HEAD"), "{ask:?}");
                    continue;
                }
                let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!((&body["reason"], &body["login"]), (&reason.into(), &answer.login().into()));
            }
        }
    }
    for door in DOORS {
        house.keyward.ask(door, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
    }
}

#[tokio::test]
async fn whoever_sends_a_form_and_is_signed_out_is_told_how_not_to_lose_it() {
    let house = House::start().await;
    let form = Ask::page(INBOX).method("POST");
    for door in DOORS {
        for ask in [form.clone(), Ask::get(INBOX).method("POST").header("Sec-Fetch-Mode", "navigate")] {
            let answer = house.keyward.ask(door, &ask).await;
            assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (401, "no_session"));
            assert_eq!((answer.maybe("Location"), answer.maybe("WWW-Authenticate")), (None, None));
            // Nothing says that the form's own address can be looked at.
            let login = "https://portal.example.test/office?next=https%3A%2F%2Fapp%2Eexample%2Etest%2F";
            assert_eq!(answer.one("X-Keyward-Login"), login);
            assert_eq!(answer.one("Content-Type"), "text/html; charset=utf-8");
            let page = answer.text();
            assert!(page.contains("What you typed was not sent"), "{page}");
            assert!(page.contains(&format!("<a href=\"{login}\" target=\"_blank\" rel=\"noopener ")), "{page}");
        }
        let script = house.keyward.ask(door, &form.clone().header("X-Requested-With", "XMLHttpRequest")).await;
        assert_eq!((script.assert_refuses().status, script.one("Content-Type").as_str()), (401, "application/json"));
        let admin = Ask::page("https://app.example.test/admin").method("POST").cookie(Ticket::of("alice").cookie());
        let no = house.keyward.ask(door, &admin).await;
        assert!(no.status == 403 && no.text().contains("<h1>You may not open this page</h1>"), "{no:?}");
    }
}

#[tokio::test]
async fn an_outage_is_unavailable_and_never_a_no() {
    let house = House::start().await;
    for (fault, user) in [(Fault::CloseAtOnce, "alice"), (Fault::Garbage, "bob")] {
        house.office.misbehave(Some(fault));
        for door in DOORS {
            for ask in [Ask::get(INBOX), Ask::page(INBOX)] {
                let answer = house.keyward.ask(door, &ask.cookie(Ticket::of(user).cookie())).await;
                answer.assert_refuses();
                assert_eq!((answer.status, answer.reason().as_str()), (503, "backend_unavailable"));
                assert!(answer.one("Retry-After").parse::<u64>().unwrap() >= 1);
                assert_eq!(answer.maybe("Location"), None, "an outage is no reason to sign in");
            }
        }
    }
}

#[tokio::test]
async fn people_see_a_page_and_programs_see_json() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    for door in DOORS {
        let program = house.keyward.ask(door, &Ask::get("https://app.example.test/admin").cookie(&alice)).await;
        assert_eq!(program.one("Content-Type"), "application/json");
        assert_eq!(program.text(), r#"{"reason":"role"}"#);
        let person = house.keyward.ask(door, &Ask::page("https://app.example.test/admin").cookie(&alice)).await;
        assert_eq!(person.one("Content-Type"), "text/html; charset=utf-8");
        assert!(person.text().contains("<h1>You may not open this page</h1>"), "{}", person.text());
        let policy = person.one("Content-Security-Policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn an_allow_is_complete_and_hands_everything_on_byte_for_byte() {
    let house = House::start().await;
    let ticket = Ticket::of("alice").name("Zoë 李").email("zoe@example.test").roles(&["staff", "x y"]);
    let target = "/a%2Fb/./c%20d/%C3%A9?x=1&y=%zz&_h=evil;z;;&q=/public/&_H=evil&end";
    let cookies = format!("theme=dark;{};  odd;_hmail=evil; q=\"a b\"; =; post_session=y", ticket.cookie());
    for door in DOORS {
        let ask = Ask::get(format!("https://app.example.test{target}"))
            .cookie(&cookies)
            .cookie("last=\u{fc}")
            .header("Remote-User", "bob")
            .header("Remote-Groups", "admin");
        let answer = house.keyward.ask(door, &ask).await;
        answer.assert_allows("alice");
        let names = answer.headers.iter().map(|(name, _)| name.as_str());
        // Servers of HTTP say when it was.
        let mut names: Vec<&str> = names.filter(|name| *name != "date").collect();
        names.sort_unstable();
        let expected = [
            "cache-control",
            "content-length",
            "remote-email",
            "remote-groups",
            "remote-name",
            "remote-user",
            "x-keyward-session-seconds",
            "x-upstream-cookie",
            "x-upstream-uri",
        ];
        assert_eq!(names, expected);
        assert_eq!(answer.one("Remote-Name"), "Zoë 李");
        assert_eq!(answer.one("Remote-Email"), "zoe@example.test");
        assert_eq!(answer.one("Remote-Groups"), "staff,x y");
        let cookie = answer.one("X-Upstream-Cookie");
        let key = cookie.strip_prefix("theme=dark; odd; q=\"a b\"; =; last=\u{fc}; _hmail=").expect(&cookie);
        assert_eq!(house.office.owner(key).as_deref(), Some("alice"));
        let uri = answer.one("X-Upstream-Uri");
        let kept = "/a%2Fb/./c%20d/%C3%A9?x=1&y=%zz;z;;&q=/public/&end&_h=";
        assert_eq!(uri.strip_prefix(kept).expect(&uri).len(), 32, "{uri}");
        let seconds: u64 = answer.one("X-Keyward-Session-Seconds").parse().unwrap();
        assert!((3500..=3600).contains(&seconds), "{seconds}");
    }
    assert_eq!(house.office.logins("alice"), 1);
}

#[tokio::test]
async fn what_has_no_value_is_there_and_empty() {
    let house = House::start().await;
    for door in DOORS {
        let bare = Ask::get(INBOX).cookie(Ticket::of("alice").cookie()).header("Remote-Groups", "admin");
        let answer = house.keyward.ask(door, &bare).await;
        answer.assert_allows("alice");
        for name in ["Remote-Name", "Remote-Email", "Remote-Groups"] {
            assert_eq!(answer.one(name), "", "{name}");
        }
    }
}

#[tokio::test]
async fn a_public_route_is_open_to_everybody_and_carries_nobody() {
    let house = House::start().await;
    let someone = format!("{}; _hmail=evil; a=1", Ticket::of("alice").cookie());
    for door in DOORS {
        for cookies in ["a=1; _hmail=evil", &someone] {
            let ask = Ask::get("https://app.example.test/public/a?_h=evil&b").cookie(cookies);
            let answer = house.keyward.ask(door, &ask.header("Remote-User", "bob")).await;
            answer.assert_allows("");
            assert_eq!(answer.one("X-Upstream-Cookie"), "a=1");
            assert_eq!(answer.one("X-Upstream-Uri"), "/public/a?b");
            assert_eq!(answer.one("X-Keyward-Session-Seconds"), "0");
        }
    }
    assert_eq!(house.office.requests().len(), 0, "nobody is signed in for an open page");
}

#[tokio::test]
async fn a_route_without_back_end_gates_and_passes_the_identity() {
    let house = House::start().await;
    let alice = Ticket::of("alice").without_password().roles(&["staff"]);
    for door in DOORS {
        let url = "https://gate.example.test/x?_h=mine";
        house.keyward.ask(door, &Ask::get(url)).await.assert_refuses();
        let ask = Ask::get(url).cookie(format!("{}; _hmail=mine", alice.cookie()));
        let answer = house.keyward.ask(door, &ask).await;
        answer.assert_allows("alice");
        assert_eq!(answer.one("Remote-Groups"), "staff");
        assert_eq!(answer.one("X-Upstream-Uri"), "/x?_h=mine");
        assert_eq!(answer.one("X-Upstream-Cookie"), "_hmail=mine");
    }
}

#[tokio::test]
async fn a_role_map_translates_and_drops_what_it_does_not_know() {
    let roles = "[backend.roles]\n\"head of all\" = \"boss\"\nstaff = \"worker\"";
    let house = House::with_back_ends(roles, "", |setup| setup).await;
    for door in DOORS {
        let ticket = Ticket::of("alice").roles(&["other", "staff", "boss", "head of all"]);
        let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(ticket.cookie())).await;
        assert_eq!(answer.assert_allows("alice").one("Remote-Groups"), "worker,boss");
    }
}

#[tokio::test]
async fn identity_headers_have_the_configured_names() {
    let house = House::with("[headers]\nuser = \"X-User\"\ngroups = \"X-Groups\"", |setup| setup).await;
    let answer = house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(Ticket::of("alice").cookie())).await;
    assert_eq!((answer.one("X-User"), answer.one("X-Groups")), ("alice".to_owned(), String::new()));
    assert_eq!((answer.maybe("Remote-User"), answer.one("Remote-Name")), (None, String::new()));
}

#[tokio::test]
async fn what_does_not_fit_the_web_servers_buffers_is_unavailable_and_said_so() {
    let house = House::with("[limits]\nanswer = 4096", |setup| setup).await;
    let alice = Ticket::of("alice").cookie();
    for door in DOORS {
        let mut largest = 0;
        for length in (3000..4200).step_by(50) {
            let ask = Ask::get(INBOX).cookie(format!("{alice}; big={}", "x".repeat(length)));
            let answer = house.keyward.ask(door, &ask).await;
            if answer.status == 200 {
                assert!(answer.head_length <= 4096, "{}", answer.head_length);
                largest = answer.head_length;
            } else {
                answer.assert_refuses();
                assert_eq!((answer.status, answer.reason().as_str()), (503, "answer_too_large"), "{length}");
            }
        }
        assert!(largest > 3500, "the limit is used, not guessed: {largest}");
        house.keyward.ask(door, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
    }
    assert!(house.keyward.log().contains("raise it and the web server's header buffers"));
}

#[tokio::test]
async fn a_renewal_replaces_dead_keys_once_and_joins_what_is_under_way() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let ask = Ask::get(INBOX).cookie(&alice);
    let before = house.keyward.ask(Door::AuthRequest, &ask).await.one("X-Upstream-Cookie");
    house.office.drop_sessions();
    let renew = ask.bytes_to("/authz/renew", Door::AuthRequest);
    let renewals = futures_util::future::join_all((0..20).map(|_| house.keyward.exchange(&renew))).await;
    let after = renewals[0].assert_allows("alice").one("X-Upstream-Cookie");
    assert_ne!(before, after);
    for renewal in &renewals {
        assert_eq!(renewal.assert_allows("alice").one("X-Upstream-Cookie"), after);
    }
    assert_eq!(house.office.logins("alice"), 2, "one renewal an interval, whoever asks");
    assert_eq!(house.keyward.ask(Door::ForwardAuth, &ask).await.one("X-Upstream-Cookie"), after);

    for (url, cookie, status, reason) in [
        (INBOX, "", 401, "no_session"),
        ("https://app.example.test/admin", alice.as_str(), 403, "role"),
        ("https://nobody.example.test/", &alice, 403, "no_route"),
    ] {
        let answer =
            house.keyward.exchange(Ask::get(url).cookie(cookie).bytes_to("/authz/renew", Door::AuthRequest)).await;
        assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (status, reason));
    }
    let others = house.keyward.exchange(ask.bytes_to("/authz/renew", Door::ForwardAuth)).await;
    assert_eq!(others.reason(), "bad_request", "renewals speak the dialect of auth-request");
}

#[tokio::test]
async fn the_smallest_configuration_denies_everything_else() {
    let sidecar = Setup::new(SMALLEST).start().await;
    for door in DOORS {
        let answer = sidecar.ask(door, &Ask::get(INBOX)).await;
        assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (403, "no_route"));
    }
}
