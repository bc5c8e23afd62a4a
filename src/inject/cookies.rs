use crate::domain::Cookies;

/// Appends the complete upstream `Cookie` value: the browser's cookies that are not `cut`, then
/// `keys` (already rendered as `a=1; b=2`, or empty).
pub fn write_upstream_cookies(out: &mut Vec<u8>, sent: &Cookies<'_>, cut: impl Fn(&[u8]) -> bool, keys: &str) {
    let start = out.len();
    for (name, pair) in sent.pairs() {
        if !cut(name) {
            if out.len() > start {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(pair);
        }
    }
    if !keys.is_empty() {
        if out.len() > start {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(keys.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(lines: &[&str], keys: &str) -> String {
        let sent = Cookies::new(lines.iter().map(|line| line.as_bytes()));
        let mut out = Vec::new();
        write_upstream_cookies(&mut out, &sent, |name| name == b"portal" || name == b"_hmail", keys);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_portal_is_cut_the_keys_are_ours_and_the_rest_stays() {
        for (lines, keys, expected) in [
            (&["a=1; portal=t; b=2"][..], "_hmail=K", "a=1; b=2; _hmail=K"),
            (&["portal=t; a=1; portal=u; _hmail=evil"], "_hmail=K", "a=1; _hmail=K"),
            (&["portal=t"], "_hmail=K", "_hmail=K"),
            (&["portal=t"], "", ""),
            (&[], "", ""),
            (&["a=1", "portal=t", "b=2"], "", "a=1; b=2"),
            (&[";;=;"], "k=v", "=; k=v"),
            (&["a=1;b=2;;  ;c"], "", "a=1; b=2; c"),
            (&["portal =t; portal; portal=; \tportal=x"], "k=v", "k=v"),
            (&["a=x=y=z; q=\"a b\""], "", "a=x=y=z; q=\"a b\""),
            (&["Portal=t; portal2=t; xportal=t"], "", "Portal=t; portal2=t; xportal=t"),
        ] {
            assert_eq!(upstream(lines, keys), expected, "{lines:?}");
        }
    }

    #[test]
    fn three_hundred_cookies_with_ours_last_lose_only_ours() {
        let mut line: String = (0..300).map(|n| format!("c{n}={n}; ")).collect();
        let kept = line.trim_end_matches("; ").to_owned();
        line.push_str("portal=t");
        assert_eq!(upstream(&[&line], ""), kept);
    }
}
