/// Whether a character could forge a header or a log line, or steer a terminal: the control
/// characters of all of Unicode, and the two separators that some readers take for line breaks.
#[must_use]
pub fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}
