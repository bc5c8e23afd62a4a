//! Values in a command of the CLI. A value that could end its command is never sent.

use crate::domain::is_control;

/// Longest value, in bytes.
const LONGEST: usize = 256;

/// A value as one word of a command, or nothing where it could not arrive as it is.
///
/// Two forms, both documented: between apostrophes everything is literal, and an apostrophe cannot
/// occur; without quotes a backslash stands before a blank and either quote, and nothing that cannot
/// be printed may occur. That a backslash escapes itself in the second form is assumed.
pub(super) fn quoted(value: &str) -> Option<String> {
    if value.is_empty() || value.len() > LONGEST || value.chars().any(is_control) {
        return None;
    }
    if !value.contains('\'') {
        return Some(format!("'{value}'"));
    }
    let mut word = String::with_capacity(value.len() + 8);
    for character in value.chars() {
        if matches!(character, ' ' | '\'' | '"' | '\\') {
            word.push('\\');
        }
        word.push(character);
    }
    Some(word)
}

/// An account's name or a domain's: few characters that mean nothing anywhere, in lower case.
pub(super) fn plain_name(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-']);
    fits.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_in_either_form() {
        for (value, word) in [
            ("secret", "'secret'"),
            ("n3w pass#1", "'n3w pass#1'"),
            ("a\"b\\c", "'a\"b\\c'"),
            ("it's", "it\\'s"),
            ("it's a \"b\\c\"", "it\\'s\\ a\\ \\\"b\\\\c\\\""),
            ("'", "\\'"),
            ("' COMMIT", "\\'\\ COMMIT"),
            ("žluťoučký 李", "'žluťoučký 李'"),
        ] {
            assert_eq!(quoted(value).as_deref(), Some(word), "{value}");
        }
    }

    #[test]
    fn what_could_end_its_command_is_not_sent() {
        for value in ["", "a\nCOMMIT", "a\rb", "a\r\n", "a\0b", "\u{1b}[2J", "a\tb", "\u{7f}", "\u{85}", "a\u{2028}b"] {
            assert_eq!(quoted(value), None, "{value:?}");
        }
        assert_eq!(quoted(&"x".repeat(257)), None);
    }

    #[test]
    fn a_name_has_nothing_that_means_anything() {
        assert_eq!(plain_name("Ana.Dia_1-x").as_deref(), Some("ana.dia_1-x"));
        for name in ["", ".", "-a", "a b", "a\"b", "a'b", "a\nb", "a@b", "*", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(plain_name(name), None, "{name:?}");
        }
    }
}
