//! Which language somebody wants (RFC 9110, section 12.5.4; RFC 4647, section 3.4).

/// Most languages of one browser that are looked at.
const MOST_RANGES: usize = 32;

/// What a browser asks for, and how much, in thousandths.
struct Range<'a> {
    tag: &'a str,
    weight: u16,
}

/// The index of the language that suits a browser best; `None` where none is what it asks for.
pub(super) fn best(accept_language: &[u8], there: &[&str]) -> Option<usize> {
    let text = std::str::from_utf8(accept_language).ok()?;
    let mut ranges: Vec<Range<'_>> = text.split(',').take(MOST_RANGES).filter_map(read).collect();
    let unwanted: Vec<&str> = ranges.iter().filter(|range| range.weight == 0).map(|range| range.tag).collect();
    let wanted = |tag: &&str| !unwanted.iter().any(|unwanted| covers(unwanted, tag));
    ranges.retain(|range| range.weight > 0);
    // Stable: of two that are asked for alike, the first counts.
    ranges.sort_by_key(|range| std::cmp::Reverse(range.weight));
    ranges.iter().find_map(|range| {
        if range.tag == "*" {
            return there.iter().position(wanted);
        }
        look_up(range.tag, there).filter(|index| there.get(*index).is_some_and(wanted))
    })
}

/// The language itself, else one that is less special, else one that is more so.
fn look_up(range: &str, there: &[&str]) -> Option<usize> {
    let mut shorter = range;
    loop {
        if let Some(index) = there.iter().position(|tag| tag.eq_ignore_ascii_case(shorter)) {
            return Some(index);
        }
        let Some((before, _)) = shorter.rsplit_once('-') else { break };
        // A single character begins an extension, and says nothing without it.
        shorter = before.rsplit_once('-').filter(|(_, last)| last.len() == 1).map_or(before, |(before, _)| before);
    }
    there.iter().position(|tag| covers(range, tag))
}

/// Whether a language is this one, or a kind of it.
fn covers(range: &str, tag: &str) -> bool {
    let start = tag.get(..range.len()).filter(|start| start.eq_ignore_ascii_case(range));
    start.is_some() && matches!(tag.as_bytes().get(range.len()), None | Some(b'-'))
}

fn read(item: &str) -> Option<Range<'_>> {
    let mut parts = item.split(';').map(str::trim);
    let tag = parts.next().filter(|tag| !tag.is_empty())?;
    let Some(parameter) = parts.next() else { return Some(Range { tag, weight: 1000 }) };
    let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    parts.next().is_none().then_some(Range { tag, weight: thousandths(weight)? })
}

/// A weight as RFC 9110, section 12.4.2 writes it.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_wanted_most_is_taken() {
        let there = ["en", "de", "pt-BR", "zh-Hant"];
        for (header, expected) in [
            ("", None),
            ("de", Some("de")),
            ("DE", Some("de")),
            ("de-AT", Some("de")),
            ("de-Latn-AT-x-private", Some("de")),
            ("en-GB,en;q=0.9,de;q=0.8", Some("en")),
            ("de;q=0.8, en;q=0.9", Some("en")),
            ("fr, de;q=0.5, en;q=0.4", Some("de")),
            ("fr", None),
            ("fr, *;q=0.1", Some("en")),
            ("*", Some("en")),
            ("en;q=0, *", Some("de")),
            ("en;q=0", None),
            ("de;q=0.000, en;q=0.001", Some("en")),
            ("*;q=0.5, de", Some("de")),
            ("pt", Some("pt-BR")),
            ("pt-BR", Some("pt-BR")),
            ("pt-PT", None),
            ("zh-Hant-TW", Some("zh-Hant")),
            ("d", None),
            ("deu", None),
            ("de;q=1.5, en;q=0.1", Some("en")),
            ("de;q=2, en", Some("en")),
            ("de;q=0.1234, en;q=0.1", Some("en")),
            ("de;q=-1, en;q=0.1", Some("en")),
            ("de;level=1, en;q=0.1", Some("en")),
            ("de;q=.5, en;q=0.1", Some("en")),
            ("de;q=1., en;q=0.9", Some("de")),
            (",,;q=1, ,de", Some("de")),
            ("de ; q=0.2 , en ; q=0.3", Some("en")),
            ("ä;q=1, de;q=0.1", Some("de")),
        ] {
            let found = best(header.as_bytes(), &there).map(|index| there[index]);
            assert_eq!(found, expected, "{header:?}");
        }
        assert_eq!(best(b"\xff, de", &there), None);
        let long = format!("{}de", "fr,".repeat(100_000));
        assert_eq!(best(long.as_bytes(), &there), None, "looked at to a bound");
    }
}
