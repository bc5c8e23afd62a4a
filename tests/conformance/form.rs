//! Applications of other kinds, described in the configuration.
//!
//! Roundcube by the very file that is shipped as the sample, but for the address; and two logins that
//! are unlike it, with a key in the query and with JSON.

use super::{Application, axigen, roundcube};

pub const ROUNDCUBE: &str = include_str!("../../examples/form/keyward.toml");
pub const URL_KEY: &str = include_str!("form/url_key.toml");
pub const JSON: &str = include_str!("form/json.toml");

pub async fn start_roundcube() -> Application {
    let mut application = roundcube::start().await;
    let cannot = [
        "a refusal in a language whose sentence the sample does not list, which a description cannot ask for",
        "a mail server that is down, told from a locked account by the time that the answer takes",
    ];
    application.left_out.extend(cannot.map(str::to_owned));
    application
}

pub async fn start_axigen() -> Application {
    axigen::start().await
}
