use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::snippet::{SERVERS, Server};

#[derive(Parser)]
#[command(name = "keyward", version, about = ABOUT, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const ABOUT: &str = "Single sign-on into webmail: answers the web server's question who may pass, and signs people in \
to the application.";

const EXIT_CODES: &str = "Exit codes: 0 all is well, 1 a mistake in the configuration, a ticket or a secret, \
2 the command line was not understood, 3 it could not start or failed while running.";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Answers the web server until it is told to stop.
    Serve(ConfigurationFile),
    /// Prints every mistake in the configuration. Contacts nothing.
    Check(ConfigurationFile),
    /// Makes or explains a portal ticket.
    #[command(subcommand)]
    Ticket(TicketCommand),
    /// Prints the password that is derived for a user, for whoever makes the accounts.
    Derive(DeriveOptions),
    /// Prints the configuration of a web server for the routes that are configured.
    Snippet(SnippetOptions),
    /// Starts all of it on loopback, with a portal, webmails and nginx, and prints the address to open.
    Demo(DemoOptions),
}

#[derive(Args)]
pub(super) struct DemoOptions {
    /// Install the Debian packages that are missing
    #[arg(long)]
    pub install: bool,
    /// The port of the web server on 127.0.0.1 [default: 8080, or any that is free]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
}

#[derive(Args)]
pub(super) struct SnippetOptions {
    /// The web server
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SERVERS.iter().map(possible)))]
    pub server: String,
    /// The configuration [default: as for serve]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the web server listens
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Write the files into this folder instead of printing them. It is made where it is missing, and
    /// files that are there already stay as they are unless --force is given
    #[arg(long, value_name = "FOLDER")]
    pub into: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long, requires = "into")]
    pub force: bool,
}

fn possible(server: &Server) -> clap::builder::PossibleValue {
    clap::builder::PossibleValue::new(server.name).help(server.about)
}

#[derive(Args)]
pub(super) struct ConfigurationFile {
    /// The configuration [default: /etc/keyward/keyward.toml, else conf/keyward.toml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum TicketCommand {
    /// Makes a ticket and prints nothing else.
    Mint(Box<MintOptions>),
    /// Explains a ticket line by line, and exactly why it is rejected if it is.
    Inspect(InspectOptions),
}

/// Where the keys come from: a file with one secret, or a portal of the configuration.
#[derive(Args)]
pub(super) struct KeySource {
    /// A file with the secret: text, base64:… or hex:…; needs --key-id
    #[arg(long, value_name = "FILE", group = "key_source", requires = "key_id", conflicts_with = "config")]
    pub secret_file: Option<PathBuf>,
    /// A portal of the configuration
    #[arg(long, value_name = "NAME", group = "key_source")]
    pub portal: Option<String>,
    /// The configuration [default: as for serve]
    #[arg(short, long, value_name = "FILE", requires = "portal")]
    pub config: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct MintOptions {
    #[command(flatten)]
    pub keys: KeySource,
    /// The id of the key; with --portal, its first key if left out
    #[arg(long, value_name = "ID", requires = "key_source")]
    pub key_id: Option<String>,
    /// The user
    #[arg(long, requires = "key_source")]
    pub sub: String,
    /// The session, 16 to 128 characters [default: 128 random bits]
    #[arg(long)]
    pub sid: Option<String>,
    /// How long the ticket is good
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub valid: Duration,
    /// A role; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// The user's full name
    #[arg(long)]
    pub name: Option<String>,
    /// The user's e-mail address
    #[arg(long)]
    pub email: Option<String>,
    /// A file with the password to seal in; - for standard input. There is no option for the
    /// password itself: everybody on the machine can read command lines
    #[arg(long, value_name = "FILE", conflicts_with = "ask_password")]
    pub password_file: Option<PathBuf>,
    /// Ask for the password at the terminal
    #[arg(long)]
    pub ask_password: bool,
}

#[derive(Args)]
pub(super) struct InspectOptions {
    #[command(flatten)]
    pub keys: KeySource,
    /// The id under which the portal has the secret of --secret-file
    #[arg(long, value_name = "ID", requires = "secret_file", conflicts_with = "portal")]
    pub key_id: Option<String>,
    /// The ticket. Whoever has it is the user, and everybody on the machine can read command lines:
    /// leave it out and give it on standard input, unless it is one for trying things out
    pub ticket: Option<String>,
}

#[derive(Args)]
pub(super) struct DeriveOptions {
    /// The configuration [default: as for serve]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The back-end whose accounts they are
    #[arg(long, value_name = "NAME")]
    pub backend: String,
    /// The id of the key [default: the first, which is the current one]
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
    /// The name at the back-end. Without one, names are read from standard input, one a line, and each
    /// is printed with a tab and its password behind it
    pub user: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_has_no_contradiction() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_password_or_secret_itself() {
        for line in [
            ["keyward", "ticket", "mint", "--sub", "a", "--password", "x"],
            ["keyward", "ticket", "mint", "--sub", "a", "--secret", "x"],
            ["keyward", "ticket", "mint", "--sub", "a", "--ask-password", "x"],
        ] {
            assert!(Arguments::try_parse_from(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_help_opens_with_what_it_is_for() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.starts_with("Single sign-on into webmail: answers the web server's question"), "{help}");
    }
}
