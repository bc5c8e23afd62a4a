//! What clients may say of themselves, and nobody may believe: the application could, or Keyward.

use super::Site;

/// Beside the headers that tell who somebody is, and those of single applications, which stand in the templates.
const NOT_THEIRS: [&str; 24] = [
    "Forwarded",
    "Proxy",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Method",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Forwarded-Uri",
    "X-Forwarded-User",
    "X-Host",
    "X-Original-Method",
    "X-Original-URI",
    "X-Original-URL",
    "X-Real-IP",
    "X-Request-ID",
    "X-Rewrite-URL",
    "X-Set-Cookie-1",
    "X-Set-Cookie-2",
    "X-Upstream-Authorization",
    "X-Upstream-Cookie",
    "X-Upstream-Uri",
    "X-Webobjects-Remote-User",
];

/// All such headers.
pub fn not_theirs(site: &Site) -> Vec<&str> {
    let mut names: Vec<&str> = site.identity_headers.iter().map(String::as_str).collect();
    names.extend(
        NOT_THEIRS.iter().filter(|name| !site.identity_headers.iter().any(|own| own.eq_ignore_ascii_case(name))),
    );
    names
}

/// A name in every spelling that is the same to many applications: for those `Remote_User` is `Remote-User`.
pub fn spellings(name: &str) -> Vec<String> {
    let mut spelled = vec![String::new()];
    for part in name.split_inclusive('-') {
        let marks: &[&str] = if part.ends_with('-') { &["-", "_"] } else { &[""] };
        let word = part.trim_end_matches('-');
        spelled =
            spelled.iter().flat_map(|start| marks.iter().map(move |mark| format!("{start}{word}{mark}"))).collect();
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hyphen_may_be_an_underscore() {
        assert_eq!(spellings("Forwarded"), ["Forwarded"]);
        assert_eq!(spellings("X-Real-IP"), ["X-Real-IP", "X-Real_IP", "X_Real-IP", "X_Real_IP"]);
    }
}
