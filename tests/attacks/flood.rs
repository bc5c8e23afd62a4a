//! Input that costs the sender nothing must cost us nothing that stays.

use crate::support::{APP_PORTAL, Ask, Connection, Door, HTTP_DOORS, House, Sidecar, Ticket};
use crate::{APP, INBOX};

const BATCH: usize = 100;

/// Sends batches of questions on one connection and reads all answers.
async fn pour(connection: &mut Connection, count: usize, mut next: impl FnMut(usize) -> Ask) {
    for batch in 0..count / BATCH {
        let asks = (0..BATCH).map(|n| next(batch * BATCH + n));
        let bytes: Vec<u8> =
            asks.enumerate().flat_map(|(n, ask)| ask.bytes(HTTP_DOORS[n % HTTP_DOORS.len()])).collect();
        connection.send(bytes).await;
        for _ in 0..BATCH {
            connection.answer().await.assert_refuses();
        }
    }
}

/// The names of all series, without their values.
async fn series(sidecar: &Sidecar) -> Vec<String> {
    let metrics = sidecar.metrics().await;
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// What nobody can know: hosts, paths, users, methods, tickets, all different.
fn forged(number: usize) -> Ask {
    let ticket = Ticket::of(&format!("user{number}"));
    let (signed, _) = ticket.mint().rsplit_once('.').map(|(signed, mac)| (signed.to_owned(), mac.len())).unwrap();
    let cookie = format!("{}={signed}.{}", APP_PORTAL.cookie, "A".repeat(43));
    let url = match number % 4 {
        0 => format!("https://host{number}.example.test/"),
        _ => format!("{APP}/{number}/%2e%2e/x?q={number}"),
    };
    let ask = Ask::get(url).method(&format!("METHOD{number}")).header("User-Agent", format!("agent {number}"));
    let ask = ask.header("X-Forwarded-For", format!("198.51.{}.{}", number / 250 % 250, number % 250));
    if number.is_multiple_of(3) { ask } else { ask.cookie(cookie) }
}

#[tokio::test]
async fn forged_input_leaves_nothing_behind() {
    let house = House::with("[log]\nlevel = \"error\"", |setup| setup).await;
    let real = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    let before_all = house.keyward.ask(Door::AuthRequest, &real).await.one("X-Upstream-Cookie");
    let known = series(&house.keyward).await;
    let mut connection = house.keyward.connect().await;
    pour(&mut connection, 2000, forged).await;
    let warm = house.keyward.memory();
    pour(&mut connection, 4000, |number| forged(10_000 + number)).await;
    let after = house.keyward.memory();
    assert!(after < warm + 4 * 1024 * 1024, "{warm} bytes grew to {after}");
    assert_eq!(series(&house.keyward).await, known, "no request makes a series");
    assert_eq!(house.keyward.metric("keyward_keys{backend=\"office\"}").await, 1.0);
    let after_all = house.keyward.ask(Door::AuthRequest, &real).await.one("X-Upstream-Cookie");
    assert_eq!(before_all, after_all, "the real session stays");
    assert_eq!(house.office.attempts("alice"), 1);
}

#[tokio::test]
async fn no_name_and_no_path_writes_a_log_line_of_its_own() {
    let debug = "[log]\nlevel = \"debug\"\nformat = \"json\"";
    let house = House::with(debug, |setup| setup).await;
    let users = [
        "{\"level\":\"ERROR\"}",
        "\",\"user\":\"bob",
        "a\\",
        "a\\n{\"x\":1}",
        "\u{202e}gnp.exe",
        "zoë 李 🦀",
        "<b>",
        "%0a{}",
        "a'b",
        "\\u000a",
    ];
    for user in users {
        let wrong = Ticket::of(user).password("wrong").name(user).cookie();
        let gate = Ask::get("https://gate.example.test/").cookie(Ticket::of(user).cookie());
        house.keyward.ask(Door::AuthRequest, &gate).await.assert_allows(user);
        house.keyward.ask(Door::ForwardAuth, &Ask::get(INBOX).cookie(wrong)).await.assert_refuses();
        house.keyward.get("/.keyward/logout", &[&format!("Cookie: {}", Ticket::of(user).cookie())]).await;
    }
    for user in ["a\u{1b}[2J", "a\n{\"level\":\"ERROR\"}", "a\r\nb", "\u{9b}2J", "a\u{2028}b"] {
        let iat = crate::support::now();
        let claims = serde_json::json!({"sid": "0123456789abcdef", "sub": user, "iat": iat, "exp": iat + 60});
        let ask = Ask::get(INBOX).cookie(format!("{}={}", APP_PORTAL.cookie, APP_PORTAL.sign(claims.to_string())));
        house.keyward.ask(Door::AuthRequest, &ask).await.assert_refuses();
    }
    for path in ["/\"}", "/x\u{9b}2J", "/x\u{2028}{}", "/x\u{202e}", "/{\"a\":1}", "/%0a{}", "/\\u001b"] {
        let ask = Ask::get(format!("{APP}{path}")).method("{\"M\":1}");
        house.keyward.ask(Door::AuthRequest, &ask).await.assert_refuses();
    }
    let lines = house.keyward.log_lines();
    for user in users {
        assert!(lines.iter().any(|line| line["user"] == user && line["message"] == "decided"), "{user}");
        assert!(lines.iter().any(|line| line["login"] == user && line["message"] == "login refused by the back-end"));
        assert!(lines.iter().any(|line| line["user"] == user && line["message"] == "signed out"), "{user}");
    }
    let log = house.keyward.log();
    let harmful = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    assert!(!log.contains(harmful), "{log:?}");
    assert!(lines.iter().all(|line| line["level"] != "ERROR"));
}

#[tokio::test]
async fn anonymous_sign_outs_and_questions_are_forgotten() {
    let house = House::with("[log]\nlevel = \"error\"", |setup| setup).await;
    let mut connection = house.keyward.connect().await;
    let mut pour = async |count: usize| {
        for _ in 0..count / BATCH {
            let head = "GET /.keyward/logout HTTP/1.1\r\nHost: app.example.test\r\nCookie: office_session=x\r\n\r\n";
            connection.send(head.repeat(BATCH)).await;
            for _ in 0..BATCH {
                assert_eq!(connection.answer().await.status, 200);
            }
        }
    };
    pour(1000).await;
    let warm = house.keyward.memory();
    pour(5000).await;
    let after = house.keyward.memory();
    assert!(after < warm + 4 * 1024 * 1024, "{warm} bytes grew to {after}");
}
