use std::collections::HashMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

use config::{Config, ConfigError, Environment, File, FileFormat};

use super::mistake::{Mistake, Mistakes};
use super::section::Section;

/// What every environment variable of ours starts with; two underscores stand between levels.
const PREFIX: &str = "KEYWARD__";
/// Where a value came from that did not come from the file. The `config` crate marks values so.
pub(super) const ENVIRONMENT: &str = "the environment";

/// One configuration as it was written: a TOML file, and the environment on top of it.
pub struct Document {
    root: Section,
}

impl Document {
    /// Reads the file, then `KEYWARD__SECTION__KEY` from the environment of the process.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML.
    pub fn load(path: &Path) -> Result<Self, Mistake> {
        let name = path.display().to_string();
        let unreadable = |message: String| Mistake { file: name.clone(), key: String::new(), message };
        let bytes = std::fs::read(path)
            .map_err(|error| unreadable(format!("cannot be read: {error}{}", remedy(error.kind()))))?;
        let text =
            String::from_utf8(bytes).map_err(|_| unreadable("is not UTF-8; save it as UTF-8 text".to_owned()))?;
        Self::assemble(&name, &text, std::env::vars_os())
    }

    /// Reads a text as if it stood in a file of this name, without the environment.
    ///
    /// # Errors
    /// The text is not TOML.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistake> {
        Self::assemble(name, text, std::iter::empty())
    }

    /// Another TOML file that belongs to what stands in this section. Its mistakes come out with all others;
    /// `None` where it cannot be read at all.
    #[must_use]
    pub fn beside(section: &Section, path: &Path) -> Option<Section> {
        let (name, mistakes) = (path.display().to_string(), section.shared_mistakes());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot be read: {error}{}", remedy(error.kind()));
                mistakes.note(Mistake { file: name, key: String::new(), message });
                return None;
            }
        };
        match Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build() {
            Ok(config) => Some(Section::root(config.cache, &name, mistakes)),
            Err(error) => {
                mistakes.note(explain(&name, &text, &error));
                None
            }
        }
    }

    /// The whole document as a section, to be read key by key.
    #[must_use]
    pub fn into_section(self) -> Section {
        self.root
    }

    pub(super) fn assemble(
        name: &str,
        text: &str,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Mistake> {
        let mistakes = Mistakes::default();
        let ours = our_variables(environment, &mistakes);
        let environment = Environment::with_prefix("KEYWARD").separator("__").source(Some(ours));
        // Read from a text and not from the path: given a path, the crate goes on to look for files
        // with other endings where the named one is missing.
        let built =
            Config::builder().add_source(File::from_str(text, FileFormat::Toml)).add_source(environment).build();
        match built {
            Ok(config) => Ok(Self { root: Section::root(config.cache, name, mistakes) }),
            Err(error) => Err(explain(name, text, &error)),
        }
    }
}

/// What to do about a file that cannot be read, where that is known.
const fn remedy(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => "; name the right file with -c",
        ErrorKind::PermissionDenied => "; run this as a user who may read it",
        _ => "",
    }
}

/// The variables that are meant for us. One that cannot be a key is a mistake: whoever wrote it
/// believes that it does something.
fn our_variables(
    environment: impl Iterator<Item = (OsString, OsString)>,
    mistakes: &Mistakes,
) -> HashMap<String, String> {
    let mut ours = HashMap::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        if !name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
            continue;
        }
        let note = |message: &str| {
            mistakes.note(Mistake { file: ENVIRONMENT.to_owned(), key: name.clone(), message: message.to_owned() });
        };
        let levels = name[PREFIX.len()..].split("__");
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if !name.bytes().all(plain) || levels.clone().any(str::is_empty) {
            note("is not the name of a key; write it in capitals, such as KEYWARD__LISTEN__AUTH");
        } else if let Ok(value) = value.into_string() {
            ours.insert(name, value);
        } else {
            note("is not UTF-8");
        }
    }
    ours
}

/// Says what is wrong with the file's syntax. The parser's own words would quote the line, and that
/// line may hold a secret.
fn explain(name: &str, text: &str, error: &ConfigError) -> Mistake {
    let mut mistake = Mistake {
        file: name.to_owned(),
        key: String::new(),
        message: "is not TOML; numbers must have 64 bits, everything else quotes".to_owned(),
    };
    let ConfigError::FileParse { cause, .. } = error else { return mistake };
    let Some(syntax) = cause.downcast_ref::<toml::de::Error>() else { return mistake };
    if let Some(before) = syntax.span().and_then(|span| text.get(..span.start)) {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        mistake.key = format!("line {line}, column {column}");
    }
    mistake.message = format!("is not TOML: {}", syntax.message().replace('\n', ", "));
    mistake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_environment(text: &str, variables: &[(&str, &str)]) -> Section {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Document::assemble("k.toml", text, variables).unwrap().into_section()
    }

    #[test]
    fn the_environment_wins_over_the_file_and_is_named_in_mistakes() {
        let variables = [("KEYWARD__LIMITS__KEYS", "many"), ("KEYWARD__LISTEN__AUTH", "b"), ("KEYWARD_PORT", "x")];
        let mut root = with_environment("[listen]\nauth = \"a\"\nops = 1\n[limits]\nkeys = 5", &variables);
        let mut listen = root.section("listen");
        assert_eq!(listen.text("auth").as_deref(), Some("b"));
        assert_eq!(listen.text("ops"), None);
        assert_eq!(root.section("limits").integer("keys", 7, 1..=9), 7);
        let lines: Vec<String> = root.mistakes().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "k.toml: listen.ops: must be a text in quotes",
                "the environment: limits.keys: must be a whole number from 1 to 9"
            ]
        );
    }

    #[test]
    fn texts_of_the_environment_stand_for_numbers_flags_and_lists() {
        let variables = [("KEYWARD__A__N", "5"), ("KEYWARD__A__F", "true"), ("KEYWARD__A__L", "10.0.0.7, unix,")];
        let mut table = with_environment("[a]\nn = 1\n", &variables).section("a");
        assert_eq!(table.integer("n", 0, 1..=9), 5);
        assert!(table.flag("f", false));
        assert_eq!(table.texts("l"), Some(vec!["10.0.0.7".to_owned(), "unix".to_owned()]));
        assert_eq!(table.mistakes(), []);
    }

    #[test]
    fn the_environment_cannot_take_the_place_of_a_list_of_tables() {
        let mut root = with_environment("[[portal]]\nname = \"p\"", &[("KEYWARD__PORTAL__P__KIND", "ticket")]);
        assert!(root.sections("portal", "name").is_empty());
        assert_eq!(
            root.mistakes()[0].to_string(),
            "the environment: portal: must be a list of tables; write [[portal]] in the file"
        );
    }

    #[test]
    fn a_variable_that_cannot_be_a_key_is_a_mistake() {
        for name in ["KEYWARD__", "KEYWARD__LISTEN____AUTH", "keyward__listen__auth", "KEYWARD__PORTAL[99999]__KIND"] {
            let root = with_environment("", &[(name, "s3cret")]);
            let mistakes = root.mistakes();
            assert_eq!(mistakes.len(), 1, "{name}");
            assert!(mistakes[0].to_string().starts_with(&format!("the environment: {name}: is not the name")));
            assert!(!mistakes[0].to_string().contains("s3cret"));
        }
    }

    #[test]
    fn an_unknown_variable_is_an_unknown_key() {
        let root = with_environment("", &[("KEYWARD__LISTEM__AUTH", "x")]);
        let mistakes = root.shared_mistakes();
        root.finish();
        assert!(mistakes.all()[0].to_string().starts_with("the environment: listem: is not a known"));
    }

    #[test]
    fn broken_toml_is_told_with_its_position_and_without_its_line() {
        let broken = Document::parse("k.toml", "[[portal]]\nsecret = \"s3cret\nx = 1").err().unwrap().to_string();
        assert!(broken.starts_with("k.toml: line 2, column "), "{broken}");
        assert!(!broken.contains("s3cret"), "{broken}");
        let twice = Document::parse("k.toml", "[log]\nlevel = \"a\"\nlevel = \"b\"").err().unwrap().to_string();
        assert!(twice.starts_with("k.toml: line 3, column 1: is not TOML: duplicate key"), "{twice}");
        let huge = Document::parse("k.toml", "a = 99999999999999999999").err().unwrap().to_string();
        assert!(huge.starts_with("k.toml: is not TOML"), "{huge}");
    }

    #[test]
    fn a_file_that_is_missing_or_no_text_is_a_mistake_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Document::load(&directory.path().join("keyward.toml")).err().unwrap().to_string();
        assert!(missing.contains("keyward.toml: cannot be read: ") && missing.ends_with("with -c"), "{missing}");
        let no_file = Document::load(directory.path()).err().unwrap().to_string();
        assert!(no_file.ends_with("with -c"), "{no_file}");
        // Whoever runs the tests may be allowed to read everything.
        assert_eq!(remedy(ErrorKind::PermissionDenied), "; run this as a user who may read it");
        // The crate below would take this one in place of the one that was asked for.
        std::fs::write(directory.path().join("keyward.toml.toml"), "").unwrap();
        assert!(Document::load(&directory.path().join("keyward.toml")).is_err());
        let binary = directory.path().join("binary.toml");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        assert!(Document::load(&binary).err().unwrap().message.contains("UTF-8"));
    }
}
