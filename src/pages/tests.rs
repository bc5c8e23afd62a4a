use super::*;
use crate::config::{Document, Draft, Mistakes};

fn read(toml: &str) -> (Arc<Pages>, Mistakes) {
    let draft = Draft::read(Document::parse("k.toml", toml).unwrap());
    (Pages::read(draft.pages), draft.mistakes)
}

fn about_pages(mistakes: &Mistakes) -> Vec<String> {
    let all = mistakes.all().into_iter().map(|mistake| mistake.to_string());
    all.filter(|mistake| !mistake.contains("k.toml: route:")).collect()
}

#[test]
fn every_message_is_there_in_every_language_that_is_shipped_and_no_other() {
    for (tag, text) in [("en", include_str!("messages/en.toml")), ("de", include_str!("messages/de.toml"))] {
        let mut keys: Vec<String> =
            Section::from_toml(text).unwrap().all_texts().into_iter().map(|(key, _)| key).collect();
        let mut known: Vec<&str> = Message::ALL.iter().map(|message| message.key()).collect();
        keys.sort();
        known.sort_unstable();
        assert_eq!(keys, known, "{tag}");
    }
    let shipped = catalogue::shipped();
    for message in Message::ALL {
        let mut places: Vec<Vec<&str>> =
            shipped.iter().map(|language| catalogue::places(language.text(*message))).collect();
        places.iter_mut().for_each(|places| places.sort_unstable());
        assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{}: {places:?}", message.key());
        assert!(shipped.iter().all(|language| !language.text(*message).is_empty()), "{}", message.key());
    }
}

#[test]
fn a_page_says_its_language_and_escapes_what_it_is_given() {
    let pages = Pages::shipped();
    for (asked, lang, title) in [("de-CH, en;q=0.5", "de", "Anmelden"), ("fr", "en", "Sign in"), ("", "en", "Sign in")]
    {
        let language = pages.speaking(asked.as_bytes());
        let page = language.page(Message::SignIn, "");
        assert!(page.contains(&format!("<html lang=\"{lang}\">")), "{page}");
        assert!(page.contains(&format!("<title>{title}</title>")) && page.contains(&format!("<h1>{title}</h1>")));
    }
    let language = pages.speaking(b"en");
    let html = language.html(Message::ChangeAccountAdvice, &[("now", "<b>{then}"), ("then", "\"e&'")]);
    assert!(html.contains("<bdi>&lt;b&gt;{then}</bdi>") && html.contains("<bdi>&quot;e&amp;&#39;</bdi>"), "{html}");
}

#[test]
fn an_operator_changes_texts_and_adds_languages_and_a_look() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("de.toml", "sign_in = \"Grüezi <b>\"\n");
    write("ar.toml", "sign_in = \"دخول\"\nsigned_in_as = \"{user}\"\n");
    write("de-CH.toml", "go_on = \"Wiiter\"\n");
    write("notes.txt", "nobody reads this");
    write("own.css", "body { color: teal }");
    let path = directory.path().display();
    let (pages, mistakes) = read(&format!("[pages]\nmessages = \"{path}\"\nstylesheet = \"{path}/own.css\"\n"));
    assert_eq!(about_pages(&mistakes), [""; 0]);
    assert!(mistakes.warnings().iter().any(|warning| warning.message.starts_with("ar.toml leaves ")));
    assert_eq!(pages.theme(), Some("body { color: teal }"));
    let swiss = pages.speaking(b"de-CH");
    assert_eq!(
        (swiss.tag(), swiss.text(Message::GoOn), swiss.text(Message::Password)),
        ("de-CH", "Wiiter", "Passwort")
    );
    let page = pages.speaking(b"de").page(Message::SignIn, "");
    assert!(page.contains("<h1>Grüezi &lt;b&gt;</h1>") && page.contains("href=\"/.keyward/theme.css\""), "{page}");
    let page = pages.speaking(b"ar-EG").page(Message::SignIn, "");
    assert!(page.contains("<html lang=\"ar\" dir=\"rtl\">"), "{page}");
    assert_eq!(pages.speaking(b"ar").text(Message::GoOn), "Go on", "what it leaves out is in English");
    assert_eq!(pages.speaking(b"en").text(Message::SignIn), "Sign in");
}

#[test]
fn what_is_wrong_in_a_file_of_messages_is_named_with_file_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    for (name, text, expected) in [
        ("fr.toml", "sing_in = \"x\"", "fr.toml: sing_in: is not a known key"),
        ("fr.toml", "sign_in = 1", "fr.toml: sign_in: must be a text in quotes"),
        ("fr.toml", "signed_in_as = \"{name}\"", "fr.toml: signed_in_as: has {name}, for which"),
        ("fr.toml", "sign_in = ", "fr.toml: line 1, column "),
        ("a b.toml", "", "pages.messages: has a file that is not named by a language"),
        ("f.toml", "", "pages.messages: has a file that is not named by a language"),
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        let (_, mistakes) = read(&format!("[pages]\nmessages = \"{path}\"\n"));
        let found = about_pages(&mistakes);
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}");
        std::fs::remove_file(file).unwrap();
    }
    for (line, expected) in [
        (format!("messages = \"{path}\""), "pages.messages: names a directory without files"),
        (format!("messages = \"{path}/none\""), "pages.messages: names a directory that cannot be read"),
        (format!("stylesheet = \"{path}/none.css\""), "pages.stylesheet: names a file that cannot be read"),
        ("style = \"x\"".to_owned(), "pages.style: is not a known key"),
    ] {
        let found = about_pages(&read(&format!("[pages]\n{line}\n")).1);
        assert!(found.len() == 1 && found[0].contains(expected), "{line}: {found:?}");
    }
}

#[test]
fn the_look_and_a_page_are_small_and_fit_into_a_web_servers_file() {
    // nginx takes at most 4096 bytes in one parameter, quoted by what does not occur in it.
    assert!(STYLE.len() < 3500 && !STYLE.contains(['\'', '$', '\\']), "{}", STYLE.len());
}

/// The contrast of two colours (WCAG 2.2, "contrast ratio").
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let linear = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = |[red, green, blue]: [u8; 3]| 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn colours_can_be_told_apart_on_light_and_dark_ground() {
    let colour = |line: &str, name: &str| {
        let value = line.split_once(&format!("{name}: #")).unwrap().1.split(';').next().unwrap();
        let digits: String =
            if value.len() == 3 { value.chars().flat_map(|c| [c, c]).collect() } else { value.to_owned() };
        let bytes = crate::domain::decode_hex(&digits).unwrap();
        [bytes[0], bytes[1], bytes[2]]
    };
    let line = |start: &str| STYLE.lines().find(|line| line.starts_with(start)).unwrap();
    // Chromium's grounds under `color-scheme`.
    for (start, ground) in [(":root", [255, 255, 255]), ("@media (prefers-color-scheme: dark)", [18, 18, 18])] {
        let line = line(start);
        let (accent, edge, alert) = (colour(line, "--accent"), colour(line, "--edge"), colour(line, "--alert"));
        assert!(contrast(accent, colour(line, "--on-accent")) >= 4.5, "{start}: the button");
        assert!(contrast(accent, ground) >= 4.5, "{start}: links");
        assert!(contrast(edge, ground) >= 3.0 && contrast(alert, ground) >= 3.0, "{start}: frames");
    }
}
