//! What FastCGI authorizers call the headers of an answer.

use super::{Site, SnippetError};

/// The variables that tell user, name, e-mail address and groups, each with its header.
///
/// # Errors
/// Two headers that are one variable, so that one would overwrite the other.
pub fn of_identity(site: &Site) -> Result<Vec<(String, String)>, SnippetError> {
    let mut held: Vec<(String, String)> = Vec::new();
    for header in &site.identity_headers {
        let variable = of_header(header);
        if let Some((other, _)) = held.iter().find(|(_, named)| *named == variable) {
            let message = format!("has {other} and {header}, which are both {variable} in FastCGI; rename one");
            return Err(SnippetError::at("headers", message));
        }
        held.push((header.clone(), variable));
    }
    Ok(held)
}

/// As `Variable-…` has it: without `X-`, in capitals, with underscores.
fn of_header(header: &str) -> String {
    let upper = header.to_ascii_uppercase();
    upper.strip_prefix("X-").unwrap_or(&upper).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_variable_without_its_x() {
        for (header, variable) in [("Remote-User", "REMOTE_USER"), ("x-sso-user", "SSO_USER"), ("User", "USER")] {
            assert_eq!(of_header(header), variable);
        }
    }
}
