use serde_json::Value;

use super::section::Section;

/// What is wrong with a role that [`is_role`] refuses.
pub(super) const NO_ROLE: &str = "must be a role: not empty, without comma and control characters";

/// Reads `[….roles]`: each role in one vocabulary, with what it is called in another. One that is called
/// several things has as many pairs. Keys may be anything that the other side writes, such as the name of a
/// group in a directory.
pub(super) fn read_role_map(section: &mut Section) -> Vec<(String, String)> {
    let mut map = section.section("roles");
    let mut pairs = Vec::new();
    for (from, to) in map.all_json() {
        let to = match to {
            Value::String(to) => vec![to],
            Value::Array(several) if !several.is_empty() => {
                several.into_iter().map(|to| to.as_str().unwrap_or_default().to_owned()).collect()
            }
            _ => Vec::new(),
        };
        if from.is_empty() || from.chars().any(char::is_control) || to.is_empty() || !to.iter().all(|to| is_role(to)) {
            map.mistake(&from, &format!("{NO_ROLE}; or a list of such"));
        }
        pairs.extend(to.into_iter().map(|to| (from.clone(), to)));
    }
    pairs
}

/// Whether any identity could have this role, which could be told from others where they are joined.
pub(super) fn is_role(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(',') && !text.chars().any(char::is_control)
}
