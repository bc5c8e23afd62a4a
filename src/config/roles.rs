use super::section::Section;

/// What is wrong with a role that [`is_role`] refuses.
pub(super) const NO_ROLE: &str = "must be a role: not empty, without comma and control characters";

/// Reads `[….roles]`: each role in one vocabulary, and what it is called in another.
pub(super) fn read_role_map(section: &mut Section) -> Vec<(String, String)> {
    let mut map = section.section("roles");
    let roles = map.all_texts();
    for (from, to) in &roles {
        if from.is_empty() || from.chars().any(char::is_control) || !is_role(to) {
            map.mistake(from, NO_ROLE);
        }
    }
    roles
}

/// Whether any identity could have this role.
pub(super) fn is_role(text: &str) -> bool {
    !text.is_empty() && !text.contains(',') && !text.chars().any(char::is_control)
}
