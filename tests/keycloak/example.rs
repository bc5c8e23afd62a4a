//! The files of the example, with the addresses of the servers that run here in place of its own.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// What Keycloak's realm is called there.
pub const REALM: &str = "example";
pub const WEBMAIL: &str = "https://webmail.example.test";
/// Where programs ask.
pub const CALENDARS: &str = "https://calendars.example.test";
/// The administrator of the directory's password.
pub const DIRECTORY_PASSWORD: &str = "change me: the password of cn=admin";
/// Its people and groups.
pub const DIRECTORY: &str = include_str!("../../examples/keycloak-openldap/directory.ldif");

const DOVECOT: &str = include_str!("../../examples/keycloak-openldap/dovecot-ldap.conf.ext");
const REALM_FILE: &str = include_str!("../../examples/keycloak-openldap/realm.json");
const KEYWARD: &str = include_str!("../../examples/keycloak-openldap/keyward.toml");
const SITE: &str = include_str!("../../examples/keycloak-openldap/site.conf");
const SLAPD: &str = include_str!("../../examples/keycloak-openldap/slapd.conf");

/// Puts addresses in place of others, each of which must be there.
pub fn with(text: &str, addresses: &[(&str, &str)]) -> String {
    addresses.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "the example has no {old} any more");
        text.replace(old, new)
    })
}

/// `slapd.conf` for a directory in which everything is.
pub fn slapd(home: &Path) -> String {
    let home = home.to_string_lossy();
    let data = format!("{home}/data");
    with(SLAPD, &[("/run/slapd", &home), ("/etc/ldap/tls", &home), ("/var/lib/ldap", &data)])
}

/// `realm.json` under another name, for this directory and a Keyward that the browser does not stand before.
pub fn realm(name: &str, directory: &str, keyward: &str) -> Value {
    let back_channel = format!("{WEBMAIL}/.keyward/backchannel-logout");
    let ours = format!("{keyward}/.keyward/backchannel-logout");
    let text = with(REALM_FILE, &[("ldaps://ldap.example.test", directory), (&back_channel, &ours)]);
    let mut realm: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(realm["realm"], REALM);
    realm["realm"] = json!(name);
    realm
}

/// `dovecot-ldap.conf.ext` for this directory.
pub fn dovecot(directory: &str, authority: &Path) -> String {
    let authority = authority.to_string_lossy();
    with(DOVECOT, &[("ldaps://ldap.example.test", directory), ("/etc/dovecot/tls/authority.pem", &authority)])
}

/// `keyward.toml` for the realm that calls itself so, and this back-end.
pub fn keyward(issuer: &str, backend: &str) -> String {
    with(KEYWARD, &[("https://sso.example.test/realms/example", issuer), ("http://127.0.0.1:8000", backend)])
}

/// `site.conf` for an nginx that listens here, with its certificate beside it, before these upstreams.
pub fn site(listens: SocketAddr, keyward: &str, axigen: &str, calendars: &str) -> String {
    with(
        SITE,
        &[
            ("443 ssl", &format!("{listens} ssl")),
            ("/etc/nginx/tls/", ""),
            ("127.0.0.1:8420", keyward),
            ("127.0.0.1:8000", axigen),
            ("127.0.0.1:8005", calendars),
        ],
    )
}

/// The secret of one of the realm's clients.
pub fn secret(client: &str) -> String {
    format!("change me: the secret of the client {client}")
}

/// Where somebody is in the directory.
pub fn dn(name: &str) -> String {
    format!("uid={name},ou=people,dc=example,dc=test")
}

/// The password of everybody there.
pub fn password(name: &str) -> String {
    format!("password of {name}")
}

/// One more entry of the directory, and who is in which of its groups.
pub fn person(name: &str, groups: &[&str]) -> String {
    let (dn, password) = (dn(name), password(name));
    let mut ldif = format!(
        "dn: {dn}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: {name}\ngivenName: Somebody\nsn: {name}\n\
         cn: Somebody {name}\nmail: {name}@example.test\nuserPassword: {password}\n\n"
    );
    for group in groups {
        let _ = write!(ldif, "{}", membership("add", name, group));
    }
    ldif
}

/// Somebody comes into a group (`add`) or leaves it (`delete`).
pub fn membership(change: &str, name: &str, group: &str) -> String {
    let dn = dn(name);
    format!("dn: cn={group},ou=groups,dc=example,dc=test\nchangetype: modify\n{change}: member\nmember: {dn}\n\n")
}
