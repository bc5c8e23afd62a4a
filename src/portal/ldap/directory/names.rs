//! What people type: which names and passwords can be anybody's at all, how a name is spelt to be counted, and how
//! it is put into a filter or a DN.

use icu_normalizer::ComposingNormalizerBorrowed;
use ldap3::{dn_escape, ldap_escape};

use crate::domain::is_control;

/// Stands for the name in a template.
pub(super) const LOGIN: &str = "{login}";
/// Stands for a DN in a template.
pub(super) const DN: &str = "{dn}";
/// Longest name and password, in bytes. Every directory has its own limits below. Ours.
const LONGEST_NAME: usize = 512;
const LONGEST_PASSWORD: usize = 1024;

/// Whether a name may be asked for. Characters that nobody sees, and that directories skip when they compare
/// (RFC 4518, section 2.2), would make many names of one.
pub(super) fn may_be_a_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && !name.trim().is_empty() && !name.chars().any(|c| is_control(c) || is_unseen(c))
}

/// Whether a password may be tried. A bind without one succeeds for everybody (RFC 4513, section 5.1.2), and
/// some directories prepare a password so that nothing is left of it.
pub(super) fn may_be_a_password(password: &str) -> bool {
    password.len() <= LONGEST_PASSWORD
        && !password.contains('\0')
        && password.chars().any(|c| !c.is_whitespace() && !is_control(c) && !is_unseen(c))
}

/// One text for all spellings that a directory takes for the same name: in whatever case, width and composition, and
/// with any number of blanks (RFC 4518, section 2).
pub(super) fn spelling(name: &str) -> String {
    let normalizer = ComposingNormalizerBorrowed::new_nfkc();
    let lower: String = normalizer.normalize(name).chars().flat_map(char::to_lowercase).collect();
    let words: Vec<&str> = lower.split_whitespace().collect();
    normalizer.normalize(&words.join(" ")).into_owned()
}

/// A filter for this name.
pub(super) fn in_filter(template: &str, placeholder: &str, value: &str) -> String {
    template.replace(placeholder, &ldap_escape(value))
}

/// A DN with this name in it.
pub(super) fn in_dn(template: &str, name: &str) -> String {
    template.replace(LOGIN, &dn_escape(name))
}

/// Default_Ignorable_Code_Point of Unicode: what is not drawn, whatever it does.
const fn is_unseen(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffc}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_value_whatever_is_in_it() {
        for (name, filter, dn) in [
            ("alice", "(uid=alice)", "uid=alice,ou=p"),
            ("*)(objectClass=*", r"(uid=\2a\29\28objectClass=\2a)", r"uid=*)(objectClass\3d*,ou=p"),
            ("alice*", r"(uid=alice\2a)", "uid=alice*,ou=p"),
            ("a,ou=x", "(uid=a,ou=x)", r"uid=a\2cou\3dx,ou=p"),
            ("a+cn=b", "(uid=a+cn=b)", r"uid=a\2bcn\3db,ou=p"),
            (" a ", "(uid= a )", r"uid=\20a\20,ou=p"),
            ("#a", "(uid=#a)", r"uid=\23a,ou=p"),
            (r"a\b", r"(uid=a\5cb)", r"uid=a\5cb,ou=p"),
            (r"a\2cb", r"(uid=a\5c2cb)", r"uid=a\5c2cb,ou=p"),
            ("{login}{dn}", "(uid={login}{dn})", "uid={login}{dn},ou=p"),
        ] {
            assert_eq!(in_filter("(uid={login})", LOGIN, name), filter);
            assert!(ldap3::parse_filter(filter).is_ok(), "{filter}");
            assert_eq!(in_dn("uid={login},ou=p", name), dn);
        }
    }

    #[test]
    fn what_cannot_be_a_name_or_a_password_is_never_asked_for() {
        for name in
            ["", " ", "\u{a0}", "a\0", "a\nb", "al\u{ad}ice", "\u{200b}alice", "alice\u{fe0f}", &"a".repeat(513)]
        {
            assert!(!may_be_a_name(name), "{name:?}");
        }
        for name in ["alice", " alice", "*", "zoë", "李", "a@example.test", "O'Hara"] {
            assert!(may_be_a_name(name), "{name:?}");
        }
        for password in ["", " ", "   ", "\0", "a\0b", "\t", "\u{ad}", "\u{200b} ", "\u{a0}", &"a".repeat(1025)] {
            assert!(!may_be_a_password(password), "{password:?}");
        }
        for password in ["a", " a", "ä ö", "50% + #1", "\u{ad}a", "a\tb"] {
            assert!(may_be_a_password(password), "{password:?}");
        }
    }

    #[test]
    fn spellings_of_one_name_are_one() {
        for name in ["alice", "ALICE", " Alice ", "\u{ff41}lice", "ａＬＩＣＥ", "aliCe\u{3000}"] {
            assert_eq!(spelling(name), "alice", "{name:?}");
        }
        assert_eq!(spelling("Zoe\u{308} \u{a0} B"), spelling("ZOË b"));
        assert_ne!(spelling("alice"), spelling("al ice"));
    }
}
