//! A site for tests.

use std::time::Duration;

use super::{Door, Host, Place, Site, Upstream};

/// One host before one application.
pub fn site() -> Site {
    let local = |port: u16| ([127, 0, 0, 1], port).into();
    Site {
        public: local(8080),
        auth: Door::Tcp(local(8420)),
        fastcgi: Some(Door::Tcp(local(8421))),
        grpc: None,
        identity_headers: ["User", "Name", "Email", "Groups"].map(|name| format!("Remote-{name}")),
        signed_out: None,
        answer_limit: 8192,
        longest_question: Duration::from_secs(20),
        hosts: vec![Host {
            name: "webmail.example.test".to_owned(),
            places: vec![place("", "http", "127.0.0.1:8000", false)],
        }],
    }
}

/// A place with an application behind it.
pub fn place(path: &str, scheme: &str, authority: &str, takes_authorization: bool) -> Place {
    let upstream = Upstream {
        name: "mail".to_owned(),
        kind: "form".to_owned(),
        secure: scheme == "https",
        authority: authority.to_owned(),
        query_key: true,
        script_cookies: Vec::new(),
    };
    Place { path: path.to_owned(), upstream: Some(upstream), takes_authorization, lacks_key: false }
}
