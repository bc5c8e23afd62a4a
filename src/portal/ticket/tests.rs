mod hostile;

use std::time::Duration;

use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::domain::{Clock, ManualClock, decode_hex};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "another secret of thirty-two bytes";
/// When the tickets of the vectors were made.
const MADE: UnixSeconds = 1_767_225_600;
const SID: &str = "0123456789abcdef";

fn key(id: &str, secret: &str) -> TicketKey {
    TicketKey::new(id, &Secret::from(secret)).unwrap()
}

fn tickets() -> Tickets {
    Tickets::new("portal_session", vec![key("2026a", SECRET)])
}

fn claims(sid: &str) -> NewTicket<'_> {
    NewTicket::new(sid, "ana", MADE, MADE + 3600)
}

/// A ticket over any payload, with a good MAC.
fn signed(payload: &[u8]) -> String {
    signed_by(&key("2026a", SECRET).mac, "2026a", &URL_SAFE_NO_PAD.encode(payload))
}

fn signed_by(mac: &Hmac<Sha256>, id: &str, payload: &str) -> String {
    let signed = format!("kw1.{id}.{payload}");
    let mac = mac.clone().chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

/// What the module's text says behind this label, for the first or second time.
fn vector(label: &str, nth: usize) -> &'static str {
    let lines = include_str!("../ticket.rs").lines().filter_map(|line| line.strip_prefix("//! ")?.strip_prefix(label));
    lines.map(str::trim).filter(|value| !value.starts_with('=')).nth(nth).unwrap()
}

fn verdict(presented: &[&str], now: UnixSeconds) -> Result<String, Reason> {
    match tickets().judge(presented, now, &mut Scratch::default()) {
        Verdict::Genuine(session) => Ok(session.id().to_owned()),
        Verdict::Rejected(reason) => Err(reason),
        Verdict::Unreachable { .. } | Verdict::Unasked => panic!("a ticket says all of it"),
    }
}

fn rejection(ticket: &str) -> Rejection {
    tickets().check(ticket, MADE, &mut Scratch::default()).err().unwrap_or_else(|| panic!("accepted: {ticket}"))
}

#[test]
fn the_vectors_of_the_documentation_hold() {
    let secret = key("2026a", SECRET);
    let hex = |label| decode_hex(vector(label, 0)).unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(&hex("K_mac   (hex)")).unwrap();
    let payload = vector("payload", 0);
    let plain = signed_by(&mac, "2026a", &URL_SAFE_NO_PAD.encode(payload));
    assert_eq!(plain, vector("ticket", 0));
    assert_eq!(verdict(&[&plain], MADE), Ok(SID.to_owned()));

    let mut claims = NewTicket::parse(payload.as_bytes()).unwrap();
    assert_eq!(secret.mint(&claims, None).unwrap(), plain);

    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&decode_hex("000102030405060708090a0b").unwrap());
    let password = Secret::from("p&w #x");
    let with_password = secret.mint_with_nonce(&claims, Some(&password), nonce).unwrap();
    assert_eq!(with_password, vector("ticket", 1));
    claims.cred = Some(vector("cred", 0).into());
    assert_eq!(signed(serde_json::to_string(&claims).unwrap().as_bytes()), with_password);
    let seal = Aes256Gcm::new_from_slice(&hex("K_seal  (hex)")).unwrap();
    let sealed = URL_SAFE_NO_PAD.decode(vector("cred", 0)).unwrap();
    let message = Payload { msg: &sealed[NONCE..], aad: SID.as_bytes() };
    assert_eq!(seal.decrypt(&Nonce::from(nonce), message).unwrap(), b"p&w #x");
}

#[test]
fn the_vectors_of_the_examples_hold() {
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../../examples/portal/vectors.json")).unwrap();
    assert!(vectors.len() > 8);
    for vector in &vectors {
        let text = |name: &str| vector[name].as_str();
        let key = key(text("key_id").unwrap(), text("secret").unwrap());
        let claims = serde_json::to_string(&vector["claims"]).unwrap();
        let claims = NewTicket::parse(claims.as_bytes()).unwrap();
        let mut nonce = [0; NONCE];
        if let Some(hex) = text("nonce") {
            nonce.copy_from_slice(&decode_hex(hex).unwrap());
        }
        let password = text("password").map(Secret::from);
        let minted = key.mint_with_nonce(&claims, password.as_ref(), nonce).unwrap();
        assert_eq!(Some(minted.as_str()), text("ticket"), "{}", vector["what"]);
    }
}

#[test]
fn everything_in_a_ticket_comes_out_again() {
    let mut made = claims(SID);
    made.roles = vec!["staff".into(), "quo\"ted".into()];
    made.name = Some("Zoë 李".into());
    made.email = Some("zoe@example.test".into());
    let ticket = key("2026a", SECRET).mint(&made, None).unwrap();
    let mut scratch = Scratch::default();
    let session = tickets().check(&ticket, MADE, &mut scratch).unwrap().into_owned();
    assert_eq!((session.id(), session.expires()), (SID, MADE + 3600));
    assert_eq!((session.identity().user(), session.identity().name()), ("ana", "Zoë 李"));
    assert_eq!(session.identity().email(), "zoe@example.test");
    assert_eq!(session.identity().roles(), ["staff", "quo\"ted"]);
    assert_eq!(tickets().password(&session).err(), Some(NoPassword::Absent));
}

#[test]
fn a_ticket_is_good_until_the_second_before_its_end() {
    let clock = ManualClock::at(MADE);
    let ticket = key("2026a", SECRET).mint(&claims(SID), None).unwrap();
    clock.advance(Duration::from_secs(3599));
    assert!(verdict(&[&ticket], clock.unix()).is_ok());
    clock.advance(Duration::from_secs(1));
    assert_eq!(verdict(&[&ticket], clock.unix()), Err(Reason::Expired));
    clock.set_unix(MADE - 60);
    assert!(verdict(&[&ticket], clock.unix()).is_ok());
    clock.set_unix(MADE - 61);
    assert_eq!(verdict(&[&ticket], clock.unix()), Err(Reason::Forged));
}

#[test]
fn keys_rotate_without_anybody_signing_in_again() {
    let (old, new) = ("2025b", "2026a");
    let by_old = key(old, OTHER_SECRET).mint(&claims(SID), None).unwrap();
    let by_new = key(new, SECRET).mint(&claims(SID), None).unwrap();
    let both = Tickets::new("c", vec![key(new, SECRET), key(old, OTHER_SECRET)]);
    let mut scratch = Scratch::default();
    assert!(both.check(&by_old, MADE, &mut scratch).is_ok());
    assert!(both.check(&by_new, MADE, &mut scratch).is_ok());
    assert!(both.key(None).unwrap().id == new && both.key(Some(old)).unwrap().id == old);
    assert!(both.key(Some("2024")).is_none());
    assert!(matches!(rejection(&by_old), Rejection::UnknownKey), "retired");
    // Another portal may use the same id for its own key.
    let strangers = key(new, OTHER_SECRET).mint(&claims(SID), None).unwrap();
    assert!(matches!(rejection(&strangers), Rejection::Mac));
    let wrong_id = by_old.replacen(old, new, 1);
    assert!(matches!(both.check(&wrong_id, MADE, &mut scratch), Err(Rejection::Mac)));
}

#[test]
fn a_ticket_cut_or_extended_anywhere_is_rejected() {
    let ticket = key("2026a", SECRET).mint(&claims(SID), None).unwrap();
    for end in 0..ticket.len() {
        assert_eq!(verdict(&[&ticket[..end]], MADE), Err(Reason::Forged), "cut at {end}");
        for extra in ["A", ".", "=", " ", "\0"] {
            let longer = format!("{}{extra}{}", &ticket[..end], &ticket[end..]);
            assert_eq!(verdict(&[&longer], MADE), Err(Reason::Forged), "{extra:?} at {end}");
        }
    }
    for extra in ["A", ".", ".A", "=", " ", "\n"] {
        assert_eq!(verdict(&[&format!("{ticket}{extra}")], MADE), Err(Reason::Forged), "{extra:?} at the end");
    }
}

#[test]
fn every_bit_of_the_mac_counts() {
    let ticket = key("2026a", SECRET).mint(&claims(SID), None).unwrap();
    let (signed, mac) = ticket.rsplit_once('.').unwrap();
    let mac = URL_SAFE_NO_PAD.decode(mac).unwrap();
    for bit in 0..mac.len() * 8 {
        let mut changed = mac.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(changed));
        assert!(matches!(rejection(&forged), Rejection::Mac), "bit {bit}");
    }
    for length in [0, 1, 31] {
        let short = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&mac[..length]));
        assert!(matches!(rejection(&short), Rejection::Mac), "{length} bytes");
    }
}

#[test]
fn a_mac_made_in_any_other_way_is_none() {
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_string(&claims(SID)).unwrap());
    let with = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).unwrap();
    assert!(matches!(rejection(&signed_by(&with(SECRET.as_bytes()), "2026a", &payload)), Rejection::Mac), "raw secret");
    assert!(matches!(rejection(&signed_by(&with(b""), "2026a", &payload)), Rejection::Mac), "empty key");
    assert!(matches!(rejection(&signed_by(&with(&[0; 32]), "2026a", &payload)), Rejection::Mac), "zeros");
    let hash = <Sha256 as sha2::Digest>::digest(format!("kw1.2026a.{payload}"));
    let hashed = format!("kw1.2026a.{payload}.{}", URL_SAFE_NO_PAD.encode(hash));
    assert!(matches!(rejection(&hashed), Rejection::Mac), "a hash without a key");
    let long = hmac::Hmac::<sha2::Sha512>::new_from_slice(SECRET.as_bytes()).unwrap();
    let long = long.chain_update(format!("kw1.2026a.{payload}")).finalize().into_bytes();
    let other = format!("kw1.2026a.{payload}.{}", URL_SAFE_NO_PAD.encode(long));
    assert!(matches!(rejection(&other), Rejection::Mac), "another algorithm");
    let bare = URL_SAFE_NO_PAD.encode(with(SECRET.as_bytes()).chain_update(&payload).finalize().into_bytes());
    assert!(matches!(rejection(&format!("kw1.2026a.{payload}.{bare}")), Rejection::Mac), "payload without header");
}

#[test]
fn a_ticket_of_another_shape_is_rejected() {
    let mac = key("2026a", SECRET).mac;
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_string(&claims(SID)).unwrap());
    let good = signed_by(&mac, "2026a", &payload);
    for ticket in ["", ".", "...", "....", "kw1", "kw1...", "kw1.2026a", "null", "{}", &"A".repeat(4096), "é.é.é.é"]
    {
        assert!(matches!(rejection(ticket), Rejection::Shape | Rejection::UnknownKey), "{ticket}");
    }
    for id in ["", "2026", "2026A", "2026a ", "../../x", "2026%61", "2026a\0"] {
        assert!(matches!(rejection(&signed_by(&mac, id, &payload)), Rejection::UnknownKey | Rejection::Shape), "{id}");
    }
    for version in ["kw2", "KW1", "kw", "", " kw1"] {
        assert!(matches!(rejection(&good.replacen("kw1", version, 1)), Rejection::Shape), "{version}");
    }
}

#[test]
fn a_payload_in_any_other_encoding_is_rejected() {
    let mac = key("2026a", SECRET).mac;
    // Two of the last character's bits are loose here, so there are four spellings of one payload.
    let json = serde_json::to_string(&claims(SID)).unwrap();
    let json = (0..3).map(|blanks| json.clone() + &" ".repeat(blanks)).find(|json| json.len() % 3 == 2).unwrap();
    let payload = URL_SAFE_NO_PAD.encode(&json);
    assert!(verdict(&[&signed_by(&mac, "2026a", &payload)], MADE).is_ok());
    let (front, last) = payload.split_at(payload.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let canonical = alphabet.find(last).unwrap();
    for loose in 1..4 {
        let spelled = format!("{front}{}", &alphabet[canonical + loose..=canonical + loose]);
        assert!(matches!(rejection(&signed_by(&mac, "2026a", &spelled)), Rejection::Encoding), "{spelled}");
    }
    for spelled in [format!("{payload}="), format!("{payload}=="), format!("{payload}\n"), format!(" {payload}"), json]
    {
        let refused = rejection(&signed_by(&mac, "2026a", &spelled));
        assert!(matches!(refused, Rejection::Encoding | Rejection::Shape), "{spelled}: {refused}");
    }
    let standard = STANDARD.encode([b"{\"sid\":\"".as_slice(), "÷?>~÷?>~".as_bytes(), b"\"}"].concat());
    assert!(standard.contains(['+', '/']));
    assert!(matches!(rejection(&signed_by(&mac, "2026a", standard.trim_end_matches('='))), Rejection::Encoding));
}

#[test]
fn many_bytes_at_once_are_decoded_as_one_after_the_other() {
    // It has both letters that no other alphabet has, and loose bits in its last one.
    let (codec, payload) = (tickets().codec, URL_SAFE_NO_PAD.encode([0xfb; 97]));
    for place in 0..payload.len() {
        for byte in 0..=u8::MAX {
            let mut payload = payload.clone().into_bytes();
            payload[place] = byte;
            let (at_once, one_by_one) = (codec.decode(&payload), URL_SAFE_NO_PAD.decode(&payload));
            assert_eq!(at_once, one_by_one, "{byte:#x} at {place}");
        }
    }
}

#[test]
fn claims_that_are_not_exactly_right_are_rejected() {
    let with = |exp: &str, iat: &str| format!(r#"{{"sid":"{SID}","sub":"ana","iat":{iat},"exp":{exp}}}"#);
    let and = |more: &str| format!(r#"{{"sid":"{SID}","sub":"ana","iat":{MADE},"exp":{},{more}}}"#, MADE + 60);
    let later = (MADE + 60).to_string();
    let tomorrow = (MADE + 86400).to_string();
    let made = MADE.to_string();
    assert!(verdict(&[&signed(with(&later, &made).as_bytes())], MADE).is_ok(), "the pattern of this table");
    assert!(verdict(&[&signed(and(r#""roles":["admin"]"#).as_bytes())], MADE).is_ok(), "the pattern of this table");
    let deep = format!("{}1{}", "[".repeat(3000), "]".repeat(3000));
    let many_roles = format!(r#""roles":[{}"r"]"#, r#""r","#.repeat(256));
    let cases = [
        ("no exp", format!(r#"{{"sid":"{SID}","sub":"ana","iat":{MADE}}}"#)),
        ("no iat", format!(r#"{{"sid":"{SID}","sub":"ana","exp":{later}}}"#)),
        ("no sub", format!(r#"{{"sid":"{SID}","iat":{MADE},"exp":{later}}}"#)),
        ("no sid", format!(r#"{{"sub":"ana","iat":{MADE},"exp":{later}}}"#)),
        ("exp 0", with("0", &made)),
        ("exp as a text", with(&format!("\"{later}\""), &made)),
        ("exp 1e300", with("1e300", &made)),
        ("exp a fraction", with(&format!("{later}.5"), &made)),
        ("exp a float", with(&format!("{later}.0"), &made)),
        ("exp negative", with("-1", &made)),
        ("exp too large", with("18446744073709551616", &made)),
        ("exp null", with("null", &made)),
        ("exp true", with("true", &made)),
        ("exp a list", with(&format!("[{later}]"), &made)),
        ("exp not a number", with("NaN", &made)),
        ("exp before iat", with(&later, &format!("{}", MADE + 61))),
        ("exp equal to iat", with(&later, &later)),
        ("iat tomorrow", with(&(MADE + 2 * 86400).to_string(), &tomorrow)),
        ("iat as a text", with(&later, "\"0\"")),
        ("iat negative", with(&later, "-1")),
        ("exp twice", and(&format!(r#""exp":{later}"#))),
        ("sub twice", and(r#""sub":"bob""#)),
        ("sub twice, once escaped", and(r#""s\u0075b":"bob""#)),
        ("roles twice", and(r#""roles":[],"roles":["admin"]"#)),
        ("roles a text", and(r#""roles":"admin""#)),
        ("roles nested", and(r#""roles":[["admin"]]"#)),
        ("roles a table", and(r#""roles":{"admin":true}"#)),
        ("roles null", and(r#""roles":null"#)),
        ("a role null", and(r#""roles":[null]"#)),
        ("a role empty", and(r#""roles":[""]"#)),
        ("a role with a comma", and(r#""roles":["a,admin"]"#)),
        ("too many roles", and(&many_roles)),
        ("name null", and(r#""name":null"#)),
        ("name a number", and(r#""name":1"#)),
        ("email null", and(r#""email":null"#)),
        ("cred null", and(r#""cred":null"#)),
        ("cred a number", and(r#""cred":1"#)),
        ("unknown field", and(r#""admin":true"#)),
        ("unknown field, nested deep", and(&format!(r#""x":{deep}"#))),
        ("name of a wrong case", and(r#""Roles":[]"#)),
        ("line break in the name", and(r#""name":"a\nb""#)),
        ("escape in the name", and(r#""name":"\u001b[2J""#)),
        ("nul in the e-mail address", and(r#""email":"a\u0000b""#)),
        ("line break in a role", and(r#""roles":["a\r\nb"]"#)),
        ("half a surrogate", and(r#""name":"\ud800""#)),
        ("raw control character", and("\"name\":\"a\nb\"")),
        ("name too long", and(&format!(r#""name":"{}""#, "n".repeat(513)))),
        ("sub empty", format!(r#"{{"sid":"{SID}","sub":"","iat":{MADE},"exp":{later}}}"#)),
        ("sub with a tab", format!(r#"{{"sid":"{SID}","sub":"a\tb","iat":{MADE},"exp":{later}}}"#)),
        ("sid of 15", format!(r#"{{"sid":"0123456789abcde","sub":"ana","iat":{MADE},"exp":{later}}}"#)),
        ("sid of 129", format!(r#"{{"sid":"{}","sub":"ana","iat":{MADE},"exp":{later}}}"#, "s".repeat(129))),
        ("sid with nul", format!(r#"{{"sid":"{SID}\u0000","sub":"ana","iat":{MADE},"exp":{later}}}"#)),
        ("sid a number", format!(r#"{{"sid":1234567890123456,"sub":"ana","iat":{MADE},"exp":{later}}}"#)),
        ("a list in place of the object", format!(r#"["{SID}","ana",{MADE},{later}]"#)),
        ("a list with all fields", format!(r#" ["{SID}","ana",{MADE},{later},[],"n","e","c"]"#)),
        ("two objects", format!("{}{}", with(&later, &made), with(&later, &made))),
        ("something behind it", format!("{} x", with(&later, &made))),
        ("a comment", format!("/**/{}", with(&later, &made))),
        ("nothing", String::new()),
        ("null", "null".to_owned()),
        ("a text", "\"ana\"".to_owned()),
        ("only brackets", deep.clone()),
        ("an empty object", "{}".to_owned()),
        ("a byte order mark", format!("\u{feff}{}", with(&later, &made))),
    ];
    for (name, payload) in cases {
        let ticket = signed(payload.as_bytes());
        let result = verdict(&[&ticket], MADE);
        assert!(matches!(result, Err(Reason::Forged)), "{name}: {result:?}");
    }
    let binary = with(&later, &made).into_bytes().into_iter().map(|byte| if byte == b'n' { 0xff } else { byte });
    assert!(matches!(rejection(&signed(&binary.collect::<Vec<_>>())), Rejection::Json(_)), "not UTF-8");
}

#[test]
fn eight_kibibytes_are_the_most() {
    let blanks = |count: usize| {
        signed(format!("{}{}", serde_json::to_string(&claims(SID)).unwrap(), " ".repeat(count)).as_bytes())
    };
    let longest = (5000..7000).rev().map(blanks).find(|ticket| ticket.len() <= LONGEST_TICKET).unwrap();
    assert!(longest.len() > LONGEST_TICKET - 2 && verdict(&[&longest], MADE).is_ok());
    let longer = (5000..7000).map(blanks).find(|ticket| ticket.len() > LONGEST_TICKET).unwrap();
    assert!(matches!(rejection(&longer), Rejection::TooLong));
    assert!(matches!(rejection(&"A".repeat(10 * 1024 * 1024)), Rejection::TooLong));
    let secret = key("2026a", SECRET);
    let huge = Secret::from("p".repeat(8192));
    assert!(matches!(secret.mint(&claims(SID), Some(&huge)), Err(MintError::TooLong)));
}

#[test]
fn of_several_cookies_the_one_genuine_counts() {
    let secret = key("2026a", SECRET);
    let good = secret.mint(&claims(SID), None).unwrap();
    let planted = secret.mint(&claims("fedcba9876543210"), None).unwrap();
    let over = secret.mint(&NewTicket { exp: MADE + 1, ..claims("fedcba9876543210") }, None).unwrap();
    let forged = format!("{}A", &good[..good.len() - 1]);
    let now = MADE + 10;
    let mine = || Ok(SID.to_owned());
    for (name, presented, expected) in [
        ("none at all", vec![], Err(Reason::NoSession)),
        ("a bad one first", vec!["bad", &*good], mine()),
        ("a bad one behind", vec![&*good, "bad"], mine()),
        ("the same twice", vec![&*good, &*good], mine()),
        ("two genuine ones", vec![&*good, &*planted], Err(Reason::Forged)),
        ("two genuine ones, swapped", vec![&*planted, &*good], Err(Reason::Forged)),
        ("two genuine ones and a bad one", vec![&*good, "bad", &*planted], Err(Reason::Forged)),
        ("an expired one first", vec![&*over, &*good], mine()),
        ("an expired one behind", vec![&*good, &*over], mine()),
        ("expired and bad", vec![&*over, "bad"], Err(Reason::Expired)),
        ("bad and expired", vec!["bad", &*over], Err(Reason::Expired)),
        ("only bad ones", vec!["", "bad"], Err(Reason::Forged)),
        ("behind any amount of junk", [vec!["junk"; 300], vec![&*good]].concat(), mine()),
        ("behind a few forged ones", [vec![&*forged; 15], vec![&*good]].concat(), mine()),
        ("behind many forged ones", [vec![&*forged; 16], vec![&*good]].concat(), Err(Reason::Forged)),
    ] {
        assert_eq!(verdict(&presented, now), expected, "{name}");
    }
}

#[test]
fn a_sealed_password_opens_only_in_its_own_session() {
    let secret = key("2026a", SECRET);
    let session = |claims: &NewTicket<'_>| {
        let ticket = signed(serde_json::to_string(claims).unwrap().as_bytes());
        tickets().check(&ticket, MADE, &mut Scratch::default()).unwrap().into_owned()
    };
    for password in ["p&w #x", " leading", "50% + #1", "päß\"w'", &"x".repeat(1000)] {
        let ticket = secret.mint(&claims(SID), Some(&Secret::from(password))).unwrap();
        assert!(!ticket.contains(password));
        let mut scratch = Scratch::default();
        let session = tickets().check(&ticket, MADE, &mut scratch).unwrap();
        assert_eq!(tickets().password(&session).unwrap().expose_secret(), password);
        assert!(!format!("{session:?}").contains(password));
    }
    let sealed = vector("cred", 0);
    let mut claims = NewTicket { cred: Some(sealed.into()), ..claims(SID) };
    assert_eq!(tickets().password(&session(&claims)).unwrap().expose_secret(), "p&w #x");
    claims.sid = "0123456789abcdeg".into();
    assert_eq!(tickets().password(&session(&claims)).err(), Some(NoPassword::Unreadable), "another session");
    claims.sid = SID.into();
    let mut bytes = URL_SAFE_NO_PAD.decode(sealed).unwrap();
    for index in 0..bytes.len() {
        bytes[index] ^= 1;
        claims.cred = Some(URL_SAFE_NO_PAD.encode(&bytes).into());
        assert_eq!(tickets().password(&session(&claims)).err(), Some(NoPassword::Unreadable), "byte {index}");
        bytes[index] ^= 1;
    }
    for cred in ["", "A", "AAAA", "p&w #x", &sealed[..20], &format!("{sealed}=")] {
        claims.cred = Some(cred.to_owned().into());
        assert_eq!(tickets().password(&session(&claims)).err(), Some(NoPassword::Unreadable), "{cred}");
    }
    let empty = secret.mint(&NewTicket { cred: None, ..claims }, Some(&Secret::from(""))).unwrap();
    let mut scratch = Scratch::default();
    let session = tickets().check(&empty, MADE, &mut scratch).unwrap();
    assert_eq!(tickets().password(&session).err(), Some(NoPassword::Unreadable), "an empty password");
}

#[test]
fn a_ticket_that_nobody_would_accept_is_not_minted() {
    let secret = key("2026a", SECRET);
    for (name, claims) in [
        ("short sid", NewTicket { sid: "short".into(), ..claims(SID) }),
        ("no user", NewTicket { sub: "".into(), ..claims(SID) }),
        ("line break", NewTicket { name: Some("a\nb".into()), ..claims(SID) }),
        ("comma", NewTicket { roles: vec!["a,b".into()], ..claims(SID) }),
        ("no time", NewTicket { exp: MADE, ..claims(SID) }),
    ] {
        assert!(matches!(secret.mint(&claims, None), Err(MintError::Claims(_))), "{name}");
    }
}

#[test]
fn secrets_come_as_text_base64_or_hex_and_short_ones_are_refused() {
    let ticket = key("k", SECRET).mint(&claims(SID), None).unwrap();
    for secret in [
        SECRET.to_owned(),
        format!("base64:{}", STANDARD.encode(SECRET)),
        format!("hex:{}", SECRET.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()),
    ] {
        let tickets = Tickets::new("c", vec![key("k", &secret)]);
        assert!(tickets.check(&ticket, MADE, &mut Scratch::default()).is_ok(), "{secret}");
    }
    let made = |id: &str, secret: &str| TicketKey::new(id, &Secret::from(secret)).err();
    for secret in ["base64:?", "base64:AAA", "hex:0", "hex:zz", "hex:é"] {
        assert_eq!(made("k", secret), Some(TicketKeyError::Secret(KeyMaterialError::Encoding)), "{secret}");
    }
    for secret in ["", &SECRET[1..], "base64:AAAA", "hex:00ff"] {
        assert_eq!(made("k", secret), Some(TicketKeyError::Secret(KeyMaterialError::TooShort)), "{secret}");
    }
    for id in ["", "a.b", "a b", "ä", &"x".repeat(65)] {
        assert_eq!(made(id, SECRET), Some(TicketKeyError::Id), "{id}");
    }
}

#[test]
fn mistakes_in_a_portals_keys_are_told_once_and_without_the_secret() {
    for (text, expected) in [
        ("cookie = \"c\"", vec!["key: is missing"]),
        (
            "cookie = \"a b\"\n[[key]]\nid = \"k\"\nsecret = \"marked\"",
            vec!["cookie: must be", "key[k].secret: the secret must be"],
        ),
        ("[[key]]\nid = \"k\"", vec!["cookie: is missing", "key[k].secret: is missing"]),
        ("cookie = \"c\"\n[[key]]\nid = \"k\"\nsecret_file = \"/nowhere\"", vec!["key[k].secret_file: names a file"]),
        (
            "cookie = \"c\"\n[[key]]\nid = \"k\"\nsecret = \"marked\"\nsecret_file = \"x\"",
            vec!["key[k].secret: is given twice"],
        ),
        (
            "cookie = \"c\"\n[[key]]\nid = \"a.b\"\nsecret = \"0123456789abcdef0123456789marked\"",
            vec!["key[a.b].id: the id"],
        ),
        (
            "cookie = \"c\"\n[[key]]\nid = \"k\"\nsecret = \"0123456789abcdef0123456789marked\"\n[[key]]\nid = \"k\"\nsecret = \"hex:marked\"\nx = 1",
            vec!["key[2].id: is used by key[1], too", "key[2].secret: the secret is not", "key[2].x: is not a known"],
        ),
    ] {
        let mut section = Section::from_toml(text).unwrap();
        let _ = Tickets::read(&mut section);
        let found = section.mistakes();
        assert_eq!(found.len(), expected.len(), "{text}: {found:#?}");
        for (mistake, start) in found.iter().zip(expected) {
            assert!(mistake.to_string().starts_with(&format!("a text: {start}")), "{text}: {mistake}");
            assert!(!mistake.message.contains("marked"), "{mistake}");
        }
    }
}
