/// Whether a character could forge a header or a log line, or steer a terminal: the control
/// characters of all of Unicode, and the two separators that some readers take for line breaks.
#[must_use]
pub fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Whether a byte may stand in the name of a cookie or a header (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_token(byte: u8) -> bool {
    TOKENS[usize::from(byte)]
}

static TOKENS: [bool; 256] = {
    let mut tokens = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        tokens[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    tokens
};

/// Whether all of it is printable ASCII. Every byte is looked at, since the compiler takes many at once where no
/// early end is wanted.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.bytes().fold(true, |so_far, byte| so_far & (b' '..0x7f).contains(&byte))
}

/// The bytes that pairs of hexadecimal digits stand for.
#[must_use]
pub fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Text made harmless inside HTML, attribute values included.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_letters_digits_and_fifteen_signs() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn what_is_printable_takes_no_more_than_one_column_a_byte() {
        for text in ["", " ", "~", "Ana <ana@example.test> has a name longer than any register"] {
            assert!(is_printable(text), "{text}");
        }
        for odd in ['\0', '\n', '\u{1f}', '\u{7f}', '\u{80}', 'é'] {
            for before in ["", "a", "Ana <ana@example.test> has a name longer than any register"] {
                assert!(
                    !is_printable(&format!("{before}{odd}")) && !is_printable(&format!("{odd}{before}")),
                    "{odd:?}"
                );
            }
        }
    }
}
