//! Configuration files with places such as `@HOST@` in them.

/// The text with every place filled in. Values are put in as they are: a [`super::Site`] holds none that could
/// mean anything else than itself.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    text
}

/// The same with values that were made for it.
pub(super) fn fill_made(template: &str, values: &[(&str, String)]) -> String {
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fill(template, &values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_name_is_filled_and_others_stay() {
        let filled = fill("@A@ is @A@, a@b is @B@", &[("A", "1"), ("C", "3")]);
        assert_eq!(filled, "1 is 1, a@b is @B@");
    }
}
