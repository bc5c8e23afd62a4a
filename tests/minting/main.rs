//! Portals in other languages mint tickets as this program does, and refuse what it would refuse.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod complete;
mod languages;
mod wish;

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyward::domain::{Clock, SystemClock};
use keyward::portal::Scratch;
use keyward::portal::ticket::Tickets;
use rand::seq::IndexedRandom;
use serde_json::Value;

use languages::{examples, languages};
use wish::{SECRET, SID, Wish};

#[test]
fn every_language_makes_the_tickets_of_the_vectors() {
    let vectors = std::fs::read(examples().join("vectors.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).unwrap();
    let wishes: Vec<Wish> = vectors.iter().map(Wish::read).collect();
    for language in languages() {
        for ((vector, wish), minted) in vectors.iter().zip(&wishes).zip(language.mint(&wishes)) {
            let told = format!("{}, {}", language.name, vector["what"]);
            wish.check(&minted, &told);
            let expected = vector["ticket"].as_str().unwrap();
            match &wish.password {
                None => assert_eq!(minted, expected, "{told}"),
                // Sealed under another nonce, and so another text of the same length.
                Some(_) => assert_eq!((minted.len(), minted == expected), (expected.len(), false), "{told}"),
            }
        }
    }
}

/// Letters that one language or another treats in its own way.
const LETTERS: &[&str] = &[
    "a", "Z", "0", "\"", "'", "\\", "/", "<", ">", "&", "%", "+", "=", "#", "?", "$", "{", "}", ";", ":", "ä", "ß",
    "ş", "李", "🦀", "\u{301}", "\u{200d}", "\u{feff}", "\u{fffd}", "\u{202e}", "\\u0041", "%41", "&amp;",
];

fn random_text(most: usize) -> String {
    (0..rand::random_range(1..=most)).map(|_| *LETTERS.choose(&mut rand::rng()).unwrap()).collect()
}

fn random_wish() -> Wish {
    let mut wish = Wish::of(&random_text(40));
    let roles = rand::random_range(0..4);
    wish.roles = (0..roles).map(|_| random_text(5)).collect();
    wish.name = if rand::random() { format!("{} {}", random_text(20), random_text(20)) } else { String::new() };
    wish.email = if rand::random() { random_text(10) } else { String::new() };
    let blanks = *["", " ", "\u{a0}", "\t", "\n", "\0"].choose(&mut rand::rng()).unwrap();
    wish.password = rand::random::<bool>().then(|| format!("{blanks}{}{blanks}", random_text(60)));
    let secret: [u8; 48] = rand::random();
    wish.secret = match rand::random_range(0..3) {
        0 => format!("base64:{}", STANDARD.encode(secret)),
        1 => format!("hex:{}", secret.map(|byte| format!("{byte:02X}")).concat()),
        _ => format!("{SECRET}{}", random_text(20)),
    };
    wish
}

#[test]
fn whatever_people_are_called_and_have_for_a_password_comes_out_again() {
    let wishes: Vec<Wish> = (0..300).map(|_| random_wish()).collect();
    for language in languages() {
        for (wish, minted) in wishes.iter().zip(language.mint(&wishes)) {
            wish.check(&minted, language.name);
        }
    }
}

#[test]
fn what_would_be_rejected_is_not_minted_in_the_first_place() {
    let ana = || Wish { password: Some("p&w #x".to_owned()), ..Wish::of("ana") };
    let with = |change: &dyn Fn(&mut Wish)| {
        let mut wish = ana();
        change(&mut wish);
        wish
    };
    let mut wrong = vec![
        with(&|wish| wish.secret = "31 bytes, and thus one too few.".to_owned()),
        with(&|wish| wish.secret = "äöüß 28 bytes are too few.".to_owned()),
        with(&|wish| wish.secret = format!("base64:{}", STANDARD.encode([1; 31]))),
        with(&|wish| wish.secret = "base64:not base64, and more than 32 bytes long".to_owned()),
        with(&|wish| wish.secret = format!("base64:{}", STANDARD.encode([255; 40]).trim_end_matches('='))),
        with(&|wish| wish.secret = format!("base64:{}", URL_SAFE_NO_PAD.encode([255; 42]))),
        with(&|wish| wish.secret = format!("hex:{}", "0".repeat(65))),
        with(&|wish| wish.secret = format!("hex:{}", "0g".repeat(32))),
        with(&|wish| wish.sid = "fifteen letters".to_owned()),
        with(&|wish| wish.sid = "🦀".repeat(8)),
        with(&|wish| wish.sid = "x".repeat(129)),
        with(&|wish| wish.sid = "0123456789abcdef\n".to_owned()),
        with(&|wish| wish.sub = String::new()),
        with(&|wish| wish.exp = wish.iat),
        with(&|wish| (wish.iat, wish.exp) = (-1, 1)),
        with(&|wish| wish.roles = vec![String::new()]),
        with(&|wish| wish.roles = vec!["staff,admin".to_owned()]),
        with(&|wish| wish.roles = vec!["x".to_owned(); 257]),
        with(&|wish| wish.roles = (0..16).map(|_| "ä".repeat(256)).collect()),
        with(&|wish| wish.password = Some("x".repeat(6000))),
    ];
    for id in ["", "2026.a", "2026a\n", " 2026a", "2026ä", &"x".repeat(65)] {
        wrong.push(with(&|wish| wish.key_id = id.to_owned()));
    }
    let fields: [fn(&mut Wish) -> &mut String; 4] = [
        |wish| &mut wish.sub,
        |wish| &mut wish.name,
        |wish| &mut wish.email,
        |wish| {
            wish.roles = vec![String::new()];
            &mut wish.roles[0]
        },
    ];
    for (index, field) in fields.iter().enumerate() {
        for control in ["\0", "\n", "\r", "\u{1b}", "\u{7f}", "\u{85}", "\u{9f}", "\u{2028}", "\u{2029}"] {
            for text in [format!("a{control}b"), format!("a{control}"), format!("{control}a")] {
                wrong.push(with(&|wish| field(wish).clone_from(&text)));
            }
        }
        wrong.push(with(&|wish| *field(wish) = "x".repeat(513)));
        wrong.push(with(&|wish| *field(wish) = format!("{}ä", "x".repeat(511))));
        // Of these, only a name may begin or end with a blank.
        for blank in [" ", "\u{a0}", "\u{1680}", "\u{2000}", "\u{200a}", "\u{202f}", "\u{205f}", "\u{3000}"] {
            for text in [format!("a{blank}"), format!("{blank}a")] {
                if index != 1 {
                    wrong.push(with(&|wish| field(wish).clone_from(&text)));
                }
            }
        }
    }
    for wish in &wrong {
        assert!(wish.mint().is_err(), "{wish:?} is accepted");
    }
    // Accepted, and the password is as good as none then; the examples tell at once.
    wrong.push(with(&|wish| wish.password = Some(String::new())));
    for language in languages() {
        let mut wrong = wrong.clone();
        // A text is never absent in Go, so an empty one is none.
        wrong.truncate(wrong.len() - usize::from(language.name == "Go"));
        for (wish, minted) in wrong.iter().zip(language.mint(&wrong)) {
            assert!(minted.starts_with("refused: "), "{} makes a ticket of {wish:?}: {minted}", language.name);
            assert!(!minted.contains("p&w"), "{}", language.name);
        }
    }
}

#[test]
fn what_is_just_short_of_too_much_is_minted() {
    let with = |change: &dyn Fn(&mut Wish)| {
        let mut wish = Wish::of("ana");
        change(&mut wish);
        wish
    };
    let wishes = [
        with(&|wish| wish.secret = "exactly 32 bytes, and no others.".to_owned()),
        with(&|wish| wish.secret = format!("base64: {} ", STANDARD.encode([7; 32]))),
        with(&|wish| wish.secret = format!("hex: {} ", "aB".repeat(32))),
        with(&|wish| wish.key_id = format!("-_{}", "x".repeat(62))),
        with(&|wish| wish.sid = "🦀".repeat(16)),
        with(&|wish| wish.sid = "🦀".repeat(128)),
        with(&|wish| wish.sid = format!(" {} ", "x".repeat(14))),
        with(&|wish| wish.sub = "ä".repeat(256)),
        with(&|wish| wish.name = " a name may have blanks around it ".to_owned()),
        with(&|wish| wish.email = "x".repeat(512)),
        with(&|wish| wish.roles = vec!["x".to_owned(); 256]),
        with(&|wish| (wish.iat, wish.exp) = (0, 1)),
        with(&|wish| wish.password = Some("x".repeat(4000))),
    ];
    for wish in &wishes {
        wish.check(&wish.mint().unwrap(), "Keyward");
    }
    for language in languages() {
        for (wish, minted) in wishes.iter().zip(language.mint(&wishes)) {
            wish.check(&minted, language.name);
        }
    }
}

#[test]
fn a_new_session_has_a_name_that_nobody_can_guess() {
    // Without one, the examples take a new one.
    let line = Wish::of("ana").line().replace(&format!("sid={SID}&"), "");
    assert!(!line.contains("sid="));
    let tickets = Tickets::new("", vec![Wish::of("ana").key().unwrap()]);
    let name = |ticket: &String| {
        let mut scratch = Scratch::default();
        tickets.check(ticket, SystemClock::new().unix(), &mut scratch).unwrap().id().to_owned()
    };
    for language in languages() {
        let mut seen = std::collections::BTreeSet::new();
        let mut ones = [0_u32; 128];
        for name in language.answers(&vec![line.clone(); 400]).iter().map(name) {
            assert_eq!(name.len(), 32, "{}: {name}", language.name);
            let bits = u128::from_str_radix(&name, 16).expect("hexadecimal digits");
            ones.iter_mut().enumerate().for_each(|(bit, ones)| *ones += u32::try_from(bits >> bit & 1).unwrap());
            assert!(seen.insert(bits), "{}: {name} twice", language.name);
        }
        // Each bit is set in half of them; ten standard deviations are 100 of 400.
        assert!(ones.iter().all(|ones| (100..=300).contains(ones)), "{}: {ones:?}", language.name);
    }
}

#[test]
fn the_inspector_explains_what_the_examples_mint() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let wish = Wish {
        roles: vec!["staff".to_owned(), "a \"b\"".to_owned()],
        name: "Zoë 李".to_owned(),
        email: "zoe@example.test".to_owned(),
        password: Some("marked & 100% #1".to_owned()),
        ..Wish::of("zoë")
    };
    for language in languages() {
        let minted = language.mint(std::slice::from_ref(&wish)).remove(0);
        let mut inspect = Command::new(env!("CARGO_BIN_EXE_keyward"));
        inspect.args(["ticket", "inspect", "--key-id", "2026a", "--secret-file"]).arg(&secret).arg(&minted);
        let output = inspect.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}: {said}", language.name);
        for line in [
            "sub       \"zoë\"",
            "name      \"Zoë 李\"",
            "roles     \"staff\", \"a \\\"b\\\"\"",
            "password  sealed in it, and this key opens it",
            "mac       good",
        ] {
            assert!(said.lines().any(|found| found == line), "{}: {line} is not in\n{said}", language.name);
        }
        assert!(!said.contains("marked"), "{}: {said}", language.name);
    }
}

#[test]
fn a_text_that_is_none_is_refused_where_the_language_lets_it_through() {
    let good = Wish { password: Some("x".to_owned()), ..Wish::of("ana") }.line();
    for language in languages() {
        // The others put a replacement character in its place before anybody could look at it.
        if !["PHP", "Python", "Go"].contains(&language.name) {
            continue;
        }
        let lines = ["sub=ana", "password=x"].map(|field| good.replace(field, &format!("{field}%ED%A0%80")));
        for said in language.answers(&lines) {
            assert!(said.starts_with("refused: "), "{}: {said}", language.name);
        }
    }
}
