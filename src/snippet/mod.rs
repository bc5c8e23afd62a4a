//! What a web server must be told so that it asks Keyward: written from the configuration, one file per web server.
//!
//! A [`Site`] is what the configuration means to a web server, and nothing in it can break out of a configuration
//! file; each entry of [`SERVERS`] writes it in its server's language. `examples/<server>/` holds what comes out for
//! the `keyward.toml` there. Files that are the same for everybody lie there only; templates lie beside the code.

mod apache;
mod caddy;
mod clients;
mod envoy;
mod haproxy;
mod lighttpd;
mod nginx;
mod outage;
#[cfg(test)]
mod samples;
mod site;
mod template;
mod traefik;
mod variables;

pub use site::{Door, Host, Place, Site, SnippetError, Upstream};
pub use template::fill;
use template::fill_made;

/// Every web server there is a snippet for. A new one is a file, its `mod` line above and its line here.
pub const SERVERS: &[Server] = &[
    Server { name: "nginx", about: "nginx, by auth_request", write: nginx::write },
    Server { name: "nginx-fastcgi", about: "nginx, by auth_request over FastCGI", write: nginx::write_fastcgi },
    Server { name: "haproxy", about: "HAProxy, from Lua", write: haproxy::write },
    Server { name: "apache", about: "Apache httpd, over FastCGI (mod_authnz_fcgi)", write: apache::write },
    Server { name: "lighttpd", about: "lighttpd, over FastCGI, with Lua (mod_magnet)", write: lighttpd::write },
    Server { name: "caddy", about: "Caddy, by the long form of forward_auth", write: caddy::write },
    Server { name: "traefik", about: "Traefik, by forwardAuth, with its file provider", write: traefik::write },
    Server { name: "envoy-grpc", about: "Envoy, over gRPC (ext_authz): envoy.yaml", write: envoy::write_grpc },
    Server { name: "envoy", about: "Envoy, over HTTP (ext_authz): envoy.yaml", write: envoy::write_http },
];

/// One web server.
pub struct Server {
    /// The word for it on the command line, and of its folder below `examples/`.
    pub name: &'static str,
    /// What it is, for the help: a few words.
    pub about: &'static str,
    /// Writes its files. The first is the one that an administrator changes.
    pub write: fn(&Site) -> Result<Vec<File>, SnippetError>,
}

/// One file of a web server's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it lies, relative to the folder of the web server's configuration.
    pub path: &'static str,
    /// All of it.
    pub text: String,
}
