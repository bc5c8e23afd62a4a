use std::fs::File;
use std::io::{Error, Read};
use std::path::Path;

use crate::domain::Secret;

/// Longest secret in a file, in bytes. Whoever names something endless is told so.
const LONGEST: u64 = 65536;

/// Reads a secret from a file. One line break at its end is cut, since every editor puts one there.
///
/// # Errors
/// The file cannot be read, is not UTF-8, or is longer than 64 KiB.
pub fn read_secret_file(path: &Path) -> std::io::Result<Secret> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(Error::other("it is longer than 64 KiB"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::from(line.strip_suffix('\r').unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ExposeSecret;

    #[test]
    fn one_line_break_is_cut_and_nothing_endless_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, secret) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(read_secret_file(file.path()).unwrap().expose_secret(), secret);
        }
        std::fs::write(file.path(), "x".repeat(65536)).unwrap();
        assert!(read_secret_file(file.path()).is_ok());
        for path in [Path::new("/dev/zero"), Path::new("/nowhere"), Path::new("/")] {
            assert!(read_secret_file(path).is_err(), "{}", path.display());
        }
    }
}
