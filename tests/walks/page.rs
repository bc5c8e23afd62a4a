//! The sign-in at Keyward's own page, with the passwords of a real directory.

use std::path::Path;

use keyward::demo::process::{TemporaryWorkspace, Workspace};
use serde_json::{Value, json};

use crate::WEBMAIL;
use crate::chromium::{Chromium, Key, Person};
use crate::real::slapd::{BASE, Options, READER, READER_PASSWORD, Slapd, person};
use crate::support::password_of;
use crate::town::{Password, Town, Webmail};

/// What people read, in their language.
struct Words {
    /// As browsers ask for it.
    language: &'static str,
    tag: &'static str,
    sign_in: &'static str,
    user_name: &'static str,
    password: &'static str,
    wrong: &'static str,
    signed_out: &'static str,
}

const ENGLISH: Words = Words {
    language: "en-GB,en;q=0.9",
    tag: "en",
    sign_in: "Sign in",
    user_name: "User name",
    password: "Password",
    wrong: "This user name and password do not belong together",
    signed_out: "You are signed out",
};
const GERMAN: Words = Words {
    language: "de-AT,de;q=0.9,en;q=0.5",
    tag: "de",
    sign_in: "Anmelden",
    user_name: "Benutzername",
    password: "Passwort",
    wrong: "Dieser Benutzername und dieses Passwort gehören nicht zusammen",
    signed_out: "Sie sind abgemeldet",
};

/// Where this says that a mailbox is open.
const MAILBOX: &str = "Mailbox of alice";

struct House {
    town: Town,
    _slapd: Slapd,
    _files: TemporaryWorkspace,
}

async fn house(webmail: Webmail) -> House {
    let files = Workspace::temporary().unwrap();
    let ldif = person("alice", &password_of("alice")) + &person("bob", &password_of("bob"));
    let options = Options { ldif, ..Options::default() };
    let slapd = Slapd::start(files.directory("slapd").unwrap().path(), options).await.unwrap();
    let portal = format!(
        "[[portal]]\nname = \"staff\"\nkind = \"ldap\"\nservers = [\"{}\"]\nbind_dn = \"{READER}\"\n\
         bind_password = \"{READER_PASSWORD}\"\nbase = \"ou=people,{BASE}\"\n",
        slapd.url()
    );
    let town = Town::start(webmail, Password::Portal, &portal).await;
    House { town, _slapd: slapd, _files: files }
}

/// Fills in the form and sends it, as with a mouse.
async fn signs_in(person: &mut Person<'_>, words: &Words, user: &str, password: &str) {
    person.sees(words.user_name).await;
    person.fills("name", user).await;
    person.fills("password", password).await;
    person.press(words.sign_in).await;
}

#[tokio::test]
async fn who_wants_mail_signs_in_at_our_page_reads_it_and_signs_out() {
    let house = house(Webmail::Roundcube).await;
    let mut chromium = Chromium::start(&house.town.names, false).await;
    let mut alice = chromium.person().await;
    alice.speaks(ENGLISH.language).await;
    let wanted = format!("{WEBMAIL}/?_task=mail&_mbox=INBOX");
    alice.open(&wanted).await;
    let page = alice.sees("User name").await;
    assert!(page.starts_with(&format!("{WEBMAIL}/.keyward/login/staff?url=")), "{page}");
    signs_in(&mut alice, &ENGLISH, "alice", "wrong").await;
    alice.sees(ENGLISH.wrong).await;
    assert_eq!(alice.run("document.querySelector('[name=name]').value").await, "alice", "it need not be typed again");
    assert_eq!(alice.run("document.querySelector('[name=password]').value").await, "");
    assert_eq!(alice.violations().await, [] as [&str; 0]);
    signs_in(&mut alice, &ENGLISH, "alice", &password_of("alice")).await;
    alice.sees("Welcome, dear Alice").await;
    assert_eq!(alice.run("location.href").await, wanted.as_str());
    let cookie = alice.cookie("webmail.example.test", "__Host-keyward-staff").await.unwrap();
    assert_eq!(
        (&cookie["httpOnly"], &cookie["secure"], &cookie["sameSite"]),
        (&json!(true), &json!(true), &json!("Lax"))
    );
    let kept: Value = alice.run("JSON.stringify({...localStorage, ...sessionStorage})").await;
    assert!(!kept.as_str().unwrap().contains(&password_of("alice")));

    // Everywhere else she is signed in as well, and out.
    let first = alice.another_tab().await;
    alice.speaks(ENGLISH.language).await;
    alice.open(WEBMAIL).await;
    alice.sees("Welcome, dear Alice").await;
    alice.open(&format!("{WEBMAIL}/?_task=logout")).await;
    assert!(alice.sees(ENGLISH.signed_out).await.starts_with(WEBMAIL));
    assert!(alice.cookie("webmail.example.test", "__Host-keyward-staff").await.is_none());
    alice.look_at(first);
    alice.reload().await;
    alice.sees("User name").await;
    signs_in(&mut alice, &ENGLISH, "bob", &password_of("bob")).await;
    alice.sees("Welcome, dear Bob").await;
}

#[tokio::test]
async fn everybody_is_spoken_to_in_their_language_on_the_smallest_screen_and_in_a_form_that_can_be_read_out() {
    let house = house(Webmail::Axigen).await;
    let mut chromium = Chromium::start(&house.town.names, false).await;
    for words in [ENGLISH, GERMAN] {
        let mut alice = chromium.person().await;
        alice.speaks(words.language).await;
        alice.window(320, 568).await;
        alice.open(WEBMAIL).await;
        alice.sees(words.user_name).await;
        assert_eq!(alice.run("document.documentElement.lang").await, words.tag);
        let told = alice.accessible().await;
        for (role, name) in [
            ("heading", words.sign_in),
            ("textbox", words.user_name),
            ("textbox", words.password),
            ("button", words.sign_in),
        ] {
            assert!(told.contains(&(role.to_owned(), name.to_owned())), "{role} {name} in {told:?}");
        }
        assert_fits(&mut alice, "the form").await;
        signs_in(&mut alice, &words, "alice", "wrong").await;
        alice.sees(words.wrong).await;
        let alerts = alice.accessible().await;
        assert!(alerts.iter().any(|(role, _)| role == "alert"), "{alerts:?}");
        assert_fits(&mut alice, "what is wrong").await;
        signs_in(&mut alice, &words, "alice", &password_of("alice")).await;
        alice.sees(MAILBOX).await;
        alice.open(&format!("{WEBMAIL}/.keyward/logout")).await;
        alice.sees(words.signed_out).await;
        assert_fits(&mut alice, "the farewell").await;
        assert_eq!(alice.violations().await, [] as [&str; 0]);
    }
    // Whoever breaks the policy is heard.
    let mut alice = chromium.person().await;
    alice.open(WEBMAIL).await;
    alice.sees("User name").await;
    alice.run("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))").await;
    assert_eq!(alice.violations().await.len(), 1);
}

/// Nobody has to scroll to the side.
async fn assert_fits(person: &mut Person<'_>, what: &str) {
    let width = person.run("document.documentElement.scrollWidth").await.as_u64().unwrap();
    assert!(width <= 320, "{what} is {width} wide");
}

#[tokio::test]
async fn keys_alone_are_enough_and_so_is_a_browser_without_scripts() {
    let house = house(Webmail::Axigen).await;
    let mut chromium = Chromium::start(&house.town.names, false).await;
    for scripts in [true, false] {
        let mut alice = chromium.person().await;
        alice.speaks(ENGLISH.language).await;
        if !scripts {
            alice.without_scripts().await;
        }
        alice.open("data:text/html,<p>here</p><script>document.title='on'</script>").await;
        alice.sees("here").await;
        assert_eq!(alice.run("document.title").await, if scripts { "on" } else { "" });
        alice.open(WEBMAIL).await;
        alice.sees("User name").await;
        alice.is_at("name").await;
        alice.types("alice").await;
        alice.strikes(Key::Tab).await;
        alice.is_at("password").await;
        alice.types("wrong").await;
        alice.strikes(Key::Enter).await;
        alice.sees(ENGLISH.wrong).await;
        // Now the second field has the focus, and what is wrong is read out with it.
        alice.is_at("password").await;
        assert_eq!(alice.run("document.activeElement.getAttribute('aria-describedby')").await, "trouble");
        alice.types(&password_of("alice")).await;
        alice.strikes(Key::Tab).await;
        alice.strikes(Key::Space).await;
        alice.sees(MAILBOX).await;
    }
}

#[tokio::test]
async fn of_two_tabs_on_their_way_in_the_second_goes_on_as_who_signed_in_in_the_first() {
    let house = house(Webmail::Axigen).await;
    let mut chromium = Chromium::start(&house.town.names, false).await;
    let mut alice = chromium.person().await;
    alice.open(WEBMAIL).await;
    alice.sees("User name").await;
    let first = alice.another_tab().await;
    alice.open(WEBMAIL).await;
    alice.sees("User name").await;
    let second = alice.look_at(first);
    signs_in(&mut alice, &ENGLISH, "alice", &password_of("alice")).await;
    alice.sees(MAILBOX).await;
    alice.look_at(second);
    signs_in(&mut alice, &ENGLISH, "bob", &password_of("bob")).await;
    alice.sees("You are signed in as alice").await;
    alice.press("Go on").await;
    alice.sees(MAILBOX).await;
}

/// Twice as large letters are what half the width is for, and dark colours are for those who like them.
#[tokio::test]
async fn large_letters_and_dark_colours_leave_everything_readable() {
    let house = house(Webmail::Axigen).await;
    let mut chromium = Chromium::start(&house.town.names, false).await;
    let mut alice = chromium.person().await;
    for words in [ENGLISH, GERMAN] {
        alice.speaks(words.language).await;
        alice.window(320, 900).await;
        alice.in_the_dark().await;
        alice.open(WEBMAIL).await;
        signs_in(&mut alice, &words, "alice", "wrong").await;
        alice.sees(words.wrong).await;
        alice.run("document.documentElement.style.fontSize = '200%'").await;
        let picture = alice.picture().await;
        let file = format!("sign-in-{}-dark.png", words.tag);
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), picture).unwrap();
        assert_fits(&mut alice, "the form in large letters").await;
        assert!(alice.run(CONTRASTS).await.as_f64().unwrap() >= 4.5, "{}", alice.run(CONTRASTS).await);
    }
}

/// The least contrast of letters with what is behind them (WCAG 2.2, section 1.4.3).
const CONTRASTS: &str = "(() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const light = colour => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const probe = document.createElement('main');
    probe.style.cssText = 'color: canvas';
    document.body.append(probe);
    const page = getComputedStyle(probe).color;
    probe.remove();
    const least = one => {
        const {color, backgroundColor} = getComputedStyle(one);
        const behind = backgroundColor === 'rgba(0, 0, 0, 0)' ? page : backgroundColor;
        const [low, high] = [light(color), light(behind)].sort((one, other) => one - other);
        return (high + 0.05) / (low + 0.05);
    };
    return Math.min(...[...document.querySelectorAll('h1, p, label, input, button')].map(least));
})()";

/// The README shows the page: `examples/demo/sign-in.png` is what this leaves.
#[tokio::test]
async fn the_page_can_be_looked_at() {
    let house = house(Webmail::Axigen).await;
    let mut chromium = Chromium::start(&house.town.names, false).await;
    let mut alice = chromium.person().await;
    alice.speaks(ENGLISH.language).await;
    alice.window(900, 480).await;
    alice.open(WEBMAIL).await;
    alice.sees("User name").await;
    alice.fills("name", "alice").await;
    alice.fills("password", "a password").await;
    let one_below_the_other = "[...document.querySelectorAll('label, input:not([type=hidden]), button')]
        .map(one => one.getBoundingClientRect()).every((one, index, all) => index === 0 || one.top >= all[index - 1].bottom)";
    assert_eq!(alice.run(one_below_the_other).await, true);
    let picture = alice.picture().await;
    assert_eq!(picture[16..24], [0, 0, 3, 132, 0, 0, 1, 224], "900 by 480");
    assert!((2_000..100_000).contains(&picture.len()), "{} bytes: neither blank nor large", picture.len());
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("sign-in.png"), picture).unwrap();
}
