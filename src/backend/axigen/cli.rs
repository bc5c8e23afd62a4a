//! One conversation with Axigen's command line, which listens on TCP port 7000 (documented).
//!
//! A reply is any number of lines, then one that begins with `+OK` or `-ERR`, then a prompt without a
//! line break, which names the context: `<domain#> ` (seen in the vendor's own client). Prompts are
//! spelled differently in different versions, so they are matched by their shape. What a reply says is
//! never kept, and no line of a conversation is ever logged.

use std::fmt::Write;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::domain::{ExposeSecret, Outage, Secret};

/// Longest reply, in bytes.
const LONGEST_REPLY: usize = 64 * 1024;

/// Where a conversation is, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// A name is asked for.
    Login,
    /// The password of that name.
    Password,
    /// Signed in.
    Root,
    /// In a domain.
    Domain,
    /// In an account of a domain.
    Account,
    /// Anywhere else.
    Other,
}

impl Context {
    /// What stands between the angle brackets. `domain-account#` and `account#` are both seen.
    fn of(prompt: &str) -> Self {
        match prompt {
            "login" => Self::Login,
            "password" => Self::Password,
            "#" => Self::Root,
            "domain#" => Self::Domain,
            "domain-account#" | "account#" => Self::Account,
            _ => Self::Other,
        }
    }
}

/// A conversation, over TCP or TLS.
pub(super) struct Cli<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Cli<S> {
    /// Waits for the first prompt and signs the administrator in.
    ///
    /// # Errors
    /// [`Outage`]; also where the administrator is refused, since that says nothing of anybody's account.
    pub(super) async fn open(stream: S, user: &str, password: &Secret) -> Result<Self, Outage> {
        let mut cli = Self { stream, buffer: Vec::new() };
        cli.expect(Context::Login).await?;
        cli.send(&format!("USER {user}")).await?;
        cli.expect(Context::Password).await?;
        // As it is, on a line of its own (documented), so it is never quoted.
        cli.send(password.expose_secret()).await?;
        match cli.reply().await? {
            (true, Context::Root) => Ok(cli),
            (false, Context::Login) => {
                Err(Outage::Protocol("it refused the administrator; see [backend.accounts]".to_owned()))
            }
            _ => Err(Outage::Protocol("it answered a sign-in with something else".to_owned())),
        }
    }

    /// Gives a command that leads to a context, and says whether it was accepted.
    ///
    /// # Errors
    /// [`Outage`]; also where it was accepted and leads elsewhere: nothing may be said there.
    pub(super) async fn command(&mut self, command: &str, leads_to: Context) -> Result<bool, Outage> {
        self.send(command).await?;
        match self.reply().await? {
            (false, _) => Ok(false),
            (true, context) if context == leads_to => Ok(true),
            (true, _) => Err(Outage::Protocol("its command line is not where it should be".to_owned())),
        }
    }

    /// Takes leave. What was not committed is gone, also without this.
    pub(super) async fn quit(mut self) {
        let _ = self.send("QUIT").await;
        let _ = self.stream.shutdown().await;
    }

    async fn send(&mut self, line: &str) -> Result<(), Outage> {
        let mut bytes = String::with_capacity(line.len() + 2);
        let _ = write!(bytes, "{line}\r\n");
        let sent = self.stream.write_all(bytes.as_bytes()).await;
        sent.map_err(|error| broken(&error))?;
        self.stream.flush().await.map_err(|error| broken(&error))
    }

    /// Before the sign-in a prompt is enough of an answer.
    async fn expect(&mut self, wanted: Context) -> Result<(), Outage> {
        loop {
            match prompt(&self.buffer) {
                Some((_, context)) if context == wanted => {
                    self.buffer.clear();
                    return Ok(());
                }
                Some(_) => return Err(Outage::Protocol("it does not ask for a name and a password".to_owned())),
                None => self.read().await?,
            }
        }
    }

    /// Whether the last command was accepted, and where it led.
    async fn reply(&mut self) -> Result<(bool, Context), Outage> {
        loop {
            if let Some((before, context)) = prompt(&self.buffer)
                && let Some(accepted) = verdict(before)
            {
                self.buffer.clear();
                return Ok((accepted, context));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Outage> {
        if self.buffer.len() >= LONGEST_REPLY {
            return Err(Outage::Protocol("its reply is too long".to_owned()));
        }
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Outage::Unreachable("it closed the connection".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }
}

/// What went wrong, without a word of what was said.
pub(super) fn broken(error: &std::io::Error) -> Outage {
    Outage::Unreachable(error.kind().to_string())
}

/// What stands before the prompt at the very end, and what the prompt says.
fn prompt(buffer: &[u8]) -> Option<(&[u8], Context)> {
    let rest = buffer.strip_suffix(b"> ")?;
    let start = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (before, line) = rest.split_at(start);
    let name = std::str::from_utf8(line.strip_prefix(b"<")?).ok()?;
    let inner = name.strip_suffix('#').unwrap_or(name);
    let fits = name.len() <= 64 && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (fits && !name.is_empty()).then(|| (before, Context::of(name)))
}

/// What the last line says: `+OK` or `-ERR`, then nothing or a colon.
fn verdict(lines: &[u8]) -> Option<bool> {
    let lines = lines.strip_suffix(b"\n")?;
    let lines = lines.strip_suffix(b"\r").unwrap_or(lines);
    let start = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let last = &lines[start..];
    let says = |word: &[u8]| last.strip_prefix(word).is_some_and(|rest| rest.is_empty() || b": ".contains(&rest[0]));
    if says(b"+OK") {
        Some(true)
    } else if says(b"-ERR") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_with_a_verdict_and_a_prompt() {
        let read = |text: &str| {
            let (before, context) = prompt(text.as_bytes())?;
            Some((verdict(before)?, context))
        };
        for (text, reply) in [
            ("+OK: done\r\n<#> ", Some((true, Context::Root))),
            ("-ERR: no\r\n<domain#> ", Some((false, Context::Domain))),
            ("line\r\nline\r\n+OK\r\n<domain-account#> ", Some((true, Context::Account))),
            ("+OK: now\r\n<account#> ", Some((true, Context::Account))),
            ("+OK: now\n<server-userdb#> ", Some((true, Context::Other))),
            ("+OK: done\r\n<#>", None),
            ("+OK: done\r\n", None),
            ("+OKAY\r\n<#> ", None),
            ("done\r\n<#> ", None),
            ("+OK: done\r\nmore\r\n<#> ", None),
            ("+OK: done\r\nx<#> ", None),
            ("+OK: done\r\n<a b> ", None),
            ("+OK: done\r\n<> ", None),
            ("+OK: done\r\n<#> \r\n", None),
            ("<#> ", None),
        ] {
            assert_eq!(read(text), reply, "{text:?}");
        }
    }
}
