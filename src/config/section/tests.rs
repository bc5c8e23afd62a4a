use super::*;

fn section(text: &str) -> Section {
    Document::parse("k.toml", text).unwrap().into_section()
}

fn lines(section: &Section) -> Vec<String> {
    section.mistakes().iter().map(ToString::to_string).collect()
}

#[test]
fn a_value_of_the_wrong_kind_is_a_mistake_and_the_default_is_used() {
    let mut root = section(
        "t = 1\nd = 10\ne = \"0s\"\nf = \"999y\"\ni = \"5\"\nj = true\nk = 1.5\nl = 0\nm = -1\nb = \"true\"\nn = [1]\no = \"a,b\"\nu = \"ftp://x\"\nv = \"http://a:b@x\"\nw = \"http://x/#y\"\nc = \"green\"\np = 3\nq = {}",
    );
    let default = Duration::from_secs(7);
    assert_eq!(root.text("t"), None);
    for key in ["d", "e", "f"] {
        assert_eq!(root.duration(key, default), default, "{key}");
    }
    for key in ["i", "j", "k", "l", "m"] {
        assert_eq!(root.integer(key, 3, 1..=9), 3, "{key}");
    }
    assert!(root.flag("b", true));
    assert_eq!((root.texts("n"), root.texts("o")), (None, None));
    assert_eq!((root.url("u"), root.url("v"), root.url("w")), (None, None, None));
    assert_eq!(root.choice("c", 1, &[("red", 1), ("blue", 2)]), 1);
    let _ = root.section("p");
    assert!(root.sections("q", "name").is_empty());
    let lines = lines(&root);
    assert_eq!(lines.len(), 18, "{lines:#?}");
    assert!(lines.contains(&"k.toml: c: must be one of \"red\", \"blue\"".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"k.toml: q: must be a list of tables; write [[q]] in the file".to_owned()));
}

#[test]
fn right_values_are_read_and_leave_no_mistake() {
    let mut root =
        section("t = \"x\"\nd = \"1h 30m\"\ni = 9\nb = true\nn = [\"a\"]\nu = \"https://h/p\"\n[[s]]\nid = \"one\"");
    assert_eq!(root.required("t"), "x");
    assert_eq!(root.duration("d", Duration::ZERO), Duration::from_secs(5400));
    assert_eq!(root.integer("i", 1, 1..=9), 9);
    assert!(root.flag("b", false));
    assert_eq!(root.texts("n"), Some(vec!["a".to_owned()]));
    assert_eq!(root.url("u").unwrap().as_str(), "https://h/p");
    let entries = root.sections("s", "id");
    entries[0].mistake("id", "is here");
    assert_eq!(lines(&root), ["k.toml: s[one].id: is here"]);
}

#[test]
fn what_nobody_reads_is_an_unknown_key_in_every_table() {
    let mut root = section("a = 1\nb = 2\n[t]\nc = 1\n[[l]]\nid = \"x\"\nd = 1");
    assert_eq!(root.integer("a", 1, 0..=9), 1);
    root.section("t").finish();
    let mut entry = root.sections("l", "id").remove(0);
    let _ = entry.text("id");
    entry.finish();
    let mistakes = root.shared_mistakes();
    root.finish();
    let lines: Vec<String> = mistakes.all().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "k.toml: t.c: is not a known key here; known are: ",
            "k.toml: l[x].d: is not a known key here; known are: id",
            "k.toml: b: is not a known key here; known are: a, t, l",
        ]
    );
    assert_eq!(mistakes.known_keys().into_iter().collect::<Vec<_>>(), ["a", "l", "l.id", "t"]);
}

#[test]
fn a_secret_comes_inline_or_from_a_file_and_never_from_both() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (content, secret) in [("a b\n", Some("a b")), ("a\r\n", Some("a")), ("a\n\n", Some("a\n")), ("\n", None)] {
        std::fs::write(path, content).unwrap();
        let mut root = section(&format!("s_file = {path:?}"));
        let read = root.secret("s", "s_file");
        assert_eq!(read.as_ref().map(ExposeSecret::expose_secret), secret, "{content:?}");
        assert_eq!(root.noted("s_file"), secret.is_none(), "{content:?}");
    }
    let mut root = section(&format!("s = \"marked\"\ns_file = {path:?}\ne = \"\"\nm_file = \"/nowhere/marked\""));
    assert!(root.secret("s", "s_file").is_none());
    assert!(root.secret("e", "e_file").is_none());
    assert!(root.secret("m", "m_file").is_none());
    assert!(root.secret("absent", "absent_file").is_none());
    let lines = lines(&root);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_eq!(lines[0], "k.toml: s: is given twice; keep either s or s_file");
    assert!(lines.iter().all(|line| !line.contains("marked")), "{lines:#?}");
}

#[test]
fn a_warning_is_no_mistake() {
    let root = section("a = 1");
    root.warn("a", "is odd");
    assert_eq!(lines(&root), [] as [&str; 0]);
    let mistakes = root.shared_mistakes();
    assert!(mistakes.unless_any(()).is_ok());
    assert_eq!(mistakes.warnings()[0].to_string(), "k.toml: a: is odd");
}

#[test]
fn one_key_has_one_mistake_the_first() {
    let mut root = section("");
    let _ = root.required("name");
    root.mistake("name", "must have letters");
    assert_eq!(lines(&root), ["k.toml: name: is missing, and there is no default; write one"]);
}

#[test]
fn lists_of_numbers_and_addresses_name_the_entry_that_is_wrong() {
    let mut root = section(
        "n = [200, 302]\no = [200, 600]\np = 200\nq = [\"200\"]\nu = [\"http://a\", \"https://b/c\"]\nv = [\"http://a\", \"b\"]",
    );
    assert_eq!(root.integers("n", 200..=499), [200, 302]);
    for key in ["o", "p", "q", "absent"] {
        assert_eq!(root.integers(key, 200..=499), [0_u64; 0], "{key}");
    }
    assert_eq!(root.urls("u").iter().map(url::Url::as_str).collect::<Vec<_>>(), ["http://a/", "https://b/c"]);
    assert_eq!((root.urls("v").len(), root.urls("absent").len()), (1, 0));
    let lines = lines(&root);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines.contains(&"k.toml: o: must be a list of whole numbers from 200 to 499, such as [200]".to_owned()));
    assert!(lines[3].starts_with("k.toml: v[2]: must be an http:// or https:// address"), "{lines:#?}");
}

#[test]
fn a_table_becomes_json_with_its_own_spelling() {
    let mut root = section("[j]\nuserName = \"x\"\nn = 0\nb = true\nl = [1.5, { Deep = \"y\" }]");
    let json = serde_json::Value::Object(root.section("j").all_json().into_iter().collect());
    assert_eq!(json, serde_json::json!({ "userName": "x", "n": 0, "b": true, "l": [1.5, { "Deep": "y" }] }));
}

#[test]
fn a_table_is_another_when_what_it_says_or_a_file_that_it_names_has_changed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one").unwrap();
    let text = |secret: &str| {
        let path = file.path().to_str().unwrap();
        format!("a = 1\n[[key]]\nid = \"x\"\nsecret_file = \"{path}\"\n[[key]]\nid = \"y\"\nsecret = \"{secret}\"")
    };
    let fingerprint = |text: &str| section(text).fingerprint();
    let before = fingerprint(&text("s"));
    for _ in 0..10 {
        assert_eq!(fingerprint(&text("s")), before);
    }
    assert_ne!(fingerprint(&text("t")), before);
    std::fs::write(file.path(), "two").unwrap();
    assert_ne!(fingerprint(&text("s")), before);
}
