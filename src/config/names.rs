use serde_json::Value;

use super::section::Section;

/// The names of one member of a JSON object in a protocol whose names are not known for sure: the first
/// is written, all are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// Reads a list of names. Where nothing was written, these.
    pub fn read(section: &mut Section, key: &'static str, default: &[&str]) -> Self {
        let names = section.texts(key).unwrap_or_else(|| default.iter().map(|name| (*name).to_owned()).collect());
        let fits = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if names.is_empty() || !names.iter().all(fits) {
            section.mistake(key, "must list at least one name, without blanks; the first is written, all are read");
        }
        Self(names)
    }

    /// The name that is written.
    #[must_use]
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    /// What stands under the first of the names that is there and not `null`. A name with a dot leads into
    /// an object within.
    #[must_use]
    pub fn find<'a>(&self, json: &'a Value) -> Option<&'a Value> {
        let under = |name: &String| name.split('.').try_fold(json, |value, part| value.get(part));
        self.0.iter().filter_map(under).find(|value| !value.is_null())
    }

    /// The same, if it is a text.
    #[must_use]
    pub fn text<'a>(&self, json: &'a Value) -> Option<&'a str> {
        self.find(json)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_name_that_is_there_counts() {
        let mut section = Section::from_toml("").unwrap();
        let names = Names::read(&mut section, "url", &["url", "login_url", "data.url"]);
        for (json, found) in [
            (json!({"login_url": "b", "url": "a"}), Some("a")),
            (json!({"url": null, "login_url": "b"}), Some("b")),
            (json!({"data": {"url": "c"}}), Some("c")),
            (json!({"url": 1, "login_url": "b"}), None),
            (json!({"data": "c"}), None),
            (json!(["url"]), None),
            (json!(null), None),
        ] {
            assert_eq!(names.text(&json), found, "{json}");
        }
        assert_eq!(names.first(), "url");
    }

    #[test]
    fn a_list_without_a_name_is_a_mistake() {
        for text in ["url = []", "url = ['']", "url = ['a b']"] {
            let mut section = Section::from_toml(text).unwrap();
            let _ = Names::read(&mut section, "url", &["url"]);
            assert_eq!(section.mistakes().len(), 1, "{text}");
        }
    }
}
