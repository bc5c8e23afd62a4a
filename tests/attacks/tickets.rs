//! Tickets, the cookies they come in, and the sessions they stand for.

use crate::support::{APP_PORTAL, Ask, DOORS, Door, House, MAIL_PORTAL, PortalKey, Ticket, now, until};
use crate::{ADMIN, INBOX};

/// Nobody is let in with this, at any door, and it is no defect either.
async fn assert_signs_nobody_in(house: &House, value: &str) {
    let cookie = format!("{}={value}", APP_PORTAL.cookie);
    for door in DOORS {
        let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(&cookie)).await;
        assert_eq!(answer.assert_refuses().status, 401, "{value}");
        assert!(matches!(answer.reason().as_str(), "forged" | "expired"), "{value}");
        answer.login();
    }
}

fn payload(more: &str) -> String {
    let now = now();
    format!(r#"{{"sid":"0123456789abcdef","sub":"alice","iat":{now},"exp":{}{more}}}"#, now + 600)
}

#[tokio::test]
async fn the_payload_that_the_bad_ones_are_made_of_is_good() {
    let house = House::start().await;
    let cookie = format!("{}={}", APP_PORTAL.cookie, APP_PORTAL.sign(payload("")));
    let gate = Ask::get("https://gate.example.test/").cookie(cookie);
    house.keyward.ask(Door::AuthRequest, &gate).await.assert_allows("alice");
}

#[tokio::test]
async fn what_is_no_ticket_signs_nobody_in() {
    let house = House::start().await;
    let good = Ticket::of("alice").mint();
    let mut values: Vec<String> =
        ["", "=", "kw1", "kw1...", "....", "null", "kw1.2026a..", "%6bw1"].map(str::to_owned).to_vec();
    values.extend([4096, 8192, 8193, 20_000].map(|length| "A".repeat(length)));
    values.extend([1, 2, 10, good.len() / 2, good.len() - 1].map(|cut| good[..good.len() - cut].to_owned()));
    values.extend((1..8).map(|cut| good[cut..].to_owned()));
    values.extend([
        format!("{good}="),
        format!("{good}."),
        format!("{good}A"),
        good.replace("kw1", "kw2"),
        good.replace("kw1", "KW1"),
    ]);
    values.extend([format!("{good}.{good}"), good.replace('.', "%2e"), good.replacen('.', "..", 1)]);
    let other_padding = [
        "not json",
        "[]",
        "\"alice\"",
        "null",
        "1",
        "{}",
        "[\"0123456789abcdef\",\"alice\",1,2]",
        "\u{feff}{}",
        "{\"sid\":",
    ];
    values.extend(other_padding.map(|text| APP_PORTAL.sign(text)));
    values.push(APP_PORTAL.sign([0xff, 0xfe, b'{', b'}']));
    values.push(APP_PORTAL.sign(payload("") + "{}"));
    values.push(APP_PORTAL.sign(payload("") + "\0"));
    for value in values {
        assert_signs_nobody_in(&house, &value).await;
    }
}

#[tokio::test]
async fn a_mac_that_is_none_signs_nobody_in() {
    let house = House::start().await;
    let good = Ticket::of("alice").mint();
    let mac_at = good.rfind('.').unwrap() + 1;
    // Every character of the MAC, and one of each other part.
    for at in (mac_at..good.len()).chain([0, 2, 5, mac_at - 10]) {
        let changed = if good.as_bytes()[at] == b'B' { "C" } else { "B" };
        assert_signs_nobody_in(&house, &format!("{}{changed}{}", &good[..at], &good[at + 1..])).await;
    }
    let signed = &good[..mac_at];
    for mac in
        ["", "=", "AAAA", "none", &"A".repeat(43), &"A".repeat(44), &"A".repeat(86), &good[mac_at..good.len() - 1]]
    {
        assert_signs_nobody_in(&house, &format!("{signed}{mac}")).await;
    }
    // The secret itself in place of the key made from it, an empty key, and the sealing key's way.
    for key in [APP_PORTAL.secret.as_bytes(), b"", b"keyward ticket mac v1", MAIL_PORTAL.secret.as_bytes()] {
        assert_signs_nobody_in(&house, &APP_PORTAL.sign_with(key, payload(""))).await;
    }
}

#[tokio::test]
async fn an_id_is_no_key() {
    let house = House::start().await;
    let good = Ticket::of("alice").mint();
    for id in
        ["", "2026", "2026b", "2026A", "../../x", "..", "2026a ", "2026a\u{e9}", "*", "0", "2026a/../2026a", "none"]
    {
        assert_signs_nobody_in(&house, &good.replacen("2026a", id, 1)).await;
        let signed = PortalKey { id: "x", ..APP_PORTAL }.sign(payload(""));
        assert_signs_nobody_in(&house, &signed.replacen(".x.", &format!(".{id}."), 1)).await;
    }
    // The other portal's key, under the very same id.
    assert_signs_nobody_in(&house, &Ticket::of("alice").portal(MAIL_PORTAL).mint()).await;
}

#[tokio::test]
async fn a_retired_key_signs_nobody_in_from_the_reload_on() {
    let house = House::start().await;
    let old = Ticket::of("alice").cookie();
    let ask = Ask::get(INBOX).cookie(old);
    house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
    let config = House::config(&house.office.url(), &house.post.url(), "", "");
    house.keyward.rewrite(&config.replacen("2026a", "2027a", 1).replacen(APP_PORTAL.secret, &"n".repeat(32), 1));
    house.keyward.reload("applied").await;
    for door in DOORS {
        assert_eq!(house.keyward.ask(door, &ask).await.assert_refuses().reason(), "forged");
    }
}

#[tokio::test]
async fn claims_of_another_type_or_twice_make_a_ticket_malformed() {
    let house = House::start().await;
    let (past, future) = (now() - 10, now() + 86_400);
    let good = payload("");
    let exp = format!("\"exp\":{}", now() + 600);
    let exp = if good.contains(&exp) { exp } else { format!("\"exp\":{}", now() + 599) };
    let mut payloads: Vec<String> = [
        "0",
        "-1",
        "\"9999999999\"",
        "1e300",
        "1e9",
        "9999999999.5",
        "18446744073709551616",
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        &past.to_string(),
    ]
    .map(|value| good.replace(&exp, &format!("\"exp\":{value}")))
    .to_vec();
    payloads.push(good.replace(&format!(",{exp}"), ""));
    let iat = good.split("\"iat\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    for value in [future.to_string().as_str(), "-5", "\"0\"", "1e9", "null", "18446744073709551615"] {
        payloads.push(good.replace(&format!("\"iat\":{iat}"), &format!("\"iat\":{value}")));
    }
    for (from, to) in [
        ("\"sub\":\"alice\"", "\"sub\":\"\""),
        ("\"sub\":\"alice\"", "\"sub\":null"),
        ("\"sub\":\"alice\"", "\"sub\":[\"alice\"]"),
        ("\"sub\":\"alice\"", "\"sub\":1"),
        ("\"sub\":\"alice\",", ""),
        ("\"sub\":\"alice\"", "\"Sub\":\"alice\""),
        ("\"sub\":\"alice\"", "\"sub\":\"alice\\r\\nRemote-Groups: admin\""),
        ("\"sub\":\"alice\"", "\"sub\":\"a\\u0000\""),
        ("\"sub\":\"alice\"", "\"sub\":\"\\u001b[2J\""),
        ("\"sub\":\"alice\"", "\"sub\":\"a\\u0085b\""),
        ("\"sub\":\"alice\"", "\"sub\":\"a\\u2028b\""),
        ("\"sub\":\"alice\"", "\"sub\":\"\\ud800\""),
        ("\"sid\":\"0123456789abcdef\"", "\"sid\":\"short\""),
        ("\"sid\":\"0123456789abcdef\"", "\"sid\":\"0123456789abcde\\n\""),
        ("\"sid\":\"0123456789abcdef\",", ""),
    ] {
        payloads.push(good.replace(from, to));
    }
    payloads.push(good.replace("0123456789abcdef", &"x".repeat(129)));
    for more in [
        ",\"sub\":\"bob\"",
        ",\"sid\":\"fedcba9876543210\"",
        ",\"exp\":99999999999",
        ",\"roles\":[],\"roles\":[\"admin\"]",
        ",\"roles\":\"admin\"",
        ",\"roles\":[1]",
        ",\"roles\":[[\"admin\"]]",
        ",\"roles\":{\"admin\":true}",
        ",\"roles\":null",
        ",\"roles\":[\"\"]",
        ",\"roles\":[\"staff,admin\"]",
        ",\"roles\":[\"a\\nb\"]",
        ",\"name\":null",
        ",\"name\":\"a\\r\\nb\"",
        ",\"email\":[]",
        ",\"cred\":7",
        ",\"admin\":true",
    ] {
        payloads.push(payload(more));
    }
    for payload in payloads {
        assert_ne!(payload, good);
        assert_signs_nobody_in(&house, &APP_PORTAL.sign(payload)).await;
    }
}

#[tokio::test]
async fn a_ticket_ends_although_its_keys_are_cached() {
    let house = House::start().await;
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").valid(2).cookie());
    house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
    until("the end of the ticket", || async { house.keyward.ask(Door::AuthRequest, &ask).await.status != 200 }).await;
    for door in DOORS {
        let answer = house.keyward.ask(door, &ask).await;
        assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (401, "expired"));
    }
}

#[tokio::test]
async fn of_several_tickets_one_genuine_is_used_and_two_are_refused() {
    let house = House::start().await;
    let name = APP_PORTAL.cookie;
    let (alice, bob) = (Ticket::of("alice").mint(), Ticket::of("bob").mint());
    let expired = Ticket::of("bob").valid(1).mint();
    let probe = Ask::get(INBOX).cookie(format!("{name}={expired}"));
    until("the end of the ticket", || async { house.keyward.ask(Door::AuthRequest, &probe).await.status != 200 }).await;
    for bad in ["bad", "", "kw1.x.y.z", &bob[..bob.len() - 1], &expired] {
        for cookies in [
            format!("{name}={bad}; {name}={alice}"),
            format!("{name}={alice}; {name}={bad}"),
            format!("{name}={alice}; x=1; {name}={alice}; {name}={bad}"),
        ] {
            for door in DOORS {
                let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(&cookies)).await;
                let upstream = answer.assert_allows("alice").one("X-Upstream-Cookie");
                assert!(!upstream.contains(name) && !upstream.contains("kw1"), "{upstream}");
            }
        }
    }
    for cookies in [format!("{name}={alice}; {name}={bob}"), format!("{name}={bob}; {name}={alice}")] {
        for door in DOORS {
            let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(&cookies)).await;
            assert_eq!(answer.assert_refuses().reason(), "forged");
        }
    }
    // Junk locks nobody out, and of forgeries a bounded number is verified.
    let junk = format!("{}{name}={alice}", format!("{name}=bad; ").repeat(500));
    house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(junk)).await.assert_allows("alice");
    let forgery = format!("{}.{}", alice.rsplit_once('.').unwrap().0, bob.rsplit_once('.').unwrap().1);
    let forged = format!("{}{name}={alice}", format!("{name}={forgery}; ").repeat(40));
    assert_eq!(house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(forged)).await.status, 401);
}

#[tokio::test]
async fn what_goes_upstream_is_well_formed_and_holds_no_portals_cookie() {
    let house = House::start().await;
    let alice = Ticket::of("alice").cookie();
    let other = Ticket::of("bob").portal(MAIL_PORTAL).cookie();
    let three_hundred: String = (0..300).map(|n| format!("c{n}={n}; ")).collect();
    for (cookies, kept) in [
        (format!(";;=;{alice}"), "=; "),
        (alice.clone(), ""),
        (format!("{alice}; {other}"), ""),
        (format!("{other};{alice};;"), ""),
        (format!("{three_hundred}{alice}"), three_hundred.as_str()),
        (format!("post_session; {alice}; post_session=; office_session="), ""),
        (format!("{alice}; \t; a=1;;b; =c; d=\"e\""), "a=1; b; =c; d=\"e\"; "),
        (format!("_hmail=evil; _HMAIL=evil; %5fhmail=evil; _hx=1; {alice}; hmail=1"), "hmail=1; "),
        (
            format!("office_session2=x; Office_Session=y; xoffice_session=z; {alice}"),
            "office_session2=x; Office_Session=y; xoffice_session=z; ",
        ),
    ] {
        for door in DOORS {
            let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(&cookies)).await;
            let upstream = answer.assert_allows("alice").one("X-Upstream-Cookie");
            let key = upstream.strip_prefix(kept).and_then(|rest| rest.strip_prefix("_hmail="));
            assert_eq!(house.office.owner(key.expect(&upstream)).as_deref(), Some("alice"), "{cookies}: {upstream}");
        }
    }
}

#[tokio::test]
async fn a_role_that_was_taken_away_is_gone_at_once_and_one_that_was_given_is_there() {
    let house = House::start().await;
    let session = Ticket::of("bob").sid("the-very-same-session");
    let (with, without) = (session.clone().roles(&["admin"]).cookie(), session.cookie());
    for door in DOORS {
        for _ in 0..2 {
            house.keyward.ask(door, &Ask::get(ADMIN).cookie(&with)).await.assert_allows("bob");
            let answer = house.keyward.ask(door, &Ask::get(ADMIN).cookie(&without)).await;
            assert_eq!(answer.assert_refuses().reason(), "role");
            house.keyward.ask(door, &Ask::get(INBOX).cookie(&without)).await.assert_allows("bob");
        }
    }
    assert_eq!(house.office.logins("bob"), 1);
}

#[tokio::test]
async fn roles_match_whole() {
    let house = House::start().await;
    for roles in
        [&["administrators"][..], &["Admin"], &["ADMIN"], &["admin\u{200b}"], &["adm", "in"], &["xadmin"], &["admin;"]]
    {
        for door in DOORS {
            let ask = Ask::get(ADMIN).cookie(Ticket::of("alice").roles(roles).cookie());
            assert_eq!(house.keyward.ask(door, &ask).await.assert_refuses().reason(), "role", "{roles:?}");
        }
    }
}
