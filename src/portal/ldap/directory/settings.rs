//! What can be set for a directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ldap3::{Scope, parse_filter};
use percent_encoding::percent_decode_str;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use super::Directory;
use super::dn::Name;
use super::groups::Groups;
use super::names::{DN, LOGIN, in_dn, in_filter};
use super::person::{Attributes, Way};
use super::server::{Account, Address, Security, Server};
use super::servers::Servers;
use super::tls;
use crate::config::Section;
use crate::portal::Surroundings;

const NO_ADDRESS: &str = "must be ldaps://host, ldap://host or ldapi://%2Fpath%2Fto%2Fsocket, with a port where it is \
                          not the usual one, and nothing more";

pub(super) fn read(section: &mut Section, surroundings: &Surroundings) -> Option<Directory> {
    let timeout = section.duration("timeout", Duration::from_secs(5));
    let most = section.integer("connections", 8, 1..=256);
    let account = account(section).map(Arc::new);
    let is_somebody = account.is_some();
    let servers = servers(section, account, timeout, surroundings);
    let way = way(section, is_somebody);
    let decoy = section.text("decoy_dn");
    if decoy.as_deref().is_some_and(|dn| Name::parse(dn).is_none()) {
        section.mistake("decoy_dn", "must be a DN");
    }
    let time_limit = i32::try_from(timeout.as_secs().max(1)).unwrap_or(i32::MAX);
    let attributes = attributes(section, time_limit);
    let groups = groups(section, attributes.groups.as_ref(), time_limit);
    let servers = Servers::new(&surroundings.name, servers, timeout, usize::try_from(most).unwrap_or(1));
    Some(Directory { portal: surroundings.name.clone(), servers, way: way?, attributes, groups, decoy, is_somebody })
}

fn account(section: &mut Section) -> Option<Account> {
    let dn = section.text("bind_dn");
    let place = if section.has("bind_password_file") { "bind_password_file" } else { "bind_password" };
    let given = section.has(place);
    let password = section.secret("bind_password", "bind_password_file");
    match (dn, password) {
        (Some(dn), Some(password)) => {
            if Name::parse(&dn).is_none() {
                section.mistake("bind_dn", "must be a DN, such as \"cn=keyward,dc=example,dc=test\"");
            }
            Some(Account { dn, password })
        }
        (Some(_), None) if !given => {
            section.mistake("bind_password", "is missing: a name without a password is nobody's");
            None
        }
        (None, Some(_)) => {
            section.mistake("bind_dn", "is missing: whose password is that?");
            None
        }
        _ => None,
    }
}

fn servers(
    section: &mut Section,
    account: Option<Arc<Account>>,
    timeout: Duration,
    surroundings: &Surroundings,
) -> Vec<Server> {
    if !section.has("servers") {
        section.required("servers");
    }
    let urls = section.texts("servers").unwrap_or_default();
    if urls.is_empty() && !section.noted("servers") {
        section.mistake("servers", "must name at least one server");
    }
    let start_tls = section.flag("starttls", false);
    let plaintext = section.flag("plaintext", false);
    let parsed: Vec<Option<(bool, Address)>> = urls.iter().map(|url| address(url)).collect();
    let is_tls = |(tls, address): &(bool, Address)| *tls || (start_tls && matches!(address, Address::Tcp { .. }));
    let connector = tls::connector(section, parsed.iter().flatten().any(is_tls));
    let mut servers = Vec::new();
    for (index, (url, parsed)) in urls.into_iter().zip(parsed).enumerate() {
        let place = format!("servers[{}]", index + 1);
        let Some((tls, address)) = parsed else {
            section.mistake(&place, NO_ADDRESS);
            continue;
        };
        let security = match (tls, start_tls, &address) {
            (true, _, Address::Tcp { host, .. }) => secured(section, &place, connector.as_ref(), host, Security::Tls),
            (false, true, Address::Tcp { host, .. }) => {
                secured(section, &place, connector.as_ref(), host, Security::StartTls)
            }
            _ => Some(Security::Plain),
        };
        if matches!(security, Some(Security::Plain)) && !address.is_here() && !plaintext {
            let what = "is elsewhere and without TLS, so that passwords would cross the network as they are; use \
                        ldaps://, or starttls = true, or say plaintext = true if that network is yours alone";
            section.mistake(&place, what);
        }
        if let Some(security) = security {
            servers.push(Server::new(url, address, security, account.clone(), &surroundings.clock, timeout));
        }
    }
    servers
}

fn secured(
    section: &Section,
    place: &str,
    connector: Option<&TlsConnector>,
    host: &str,
    how: fn(TlsConnector, ServerName<'static>) -> Security,
) -> Option<Security> {
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        section.mistake(place, "must have a host whose name can stand in a certificate");
        return None;
    };
    // Without a connector a mistake was noted.
    Some(how(connector?.clone(), name))
}

/// Whether it is TLS from the first byte on, and where.
fn address(text: &str) -> Option<(bool, Address)> {
    let url = Url::parse(text).ok()?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !is_bare || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let (tls, usual) = match url.scheme() {
        "ldaps" => (true, 636),
        "ldap" => (false, 389),
        "ldapi" => {
            let path = PathBuf::from(percent_decode_str(host).decode_utf8().ok()?.into_owned());
            return (path.is_absolute() && url.port().is_none()).then_some((false, Address::Unix(path)));
        }
        _ => return None,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let fits = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:_".contains(&byte));
    fits.then(|| (tls, Address::Tcp { host, port: url.port().unwrap_or(usual) }))
}

fn way(section: &mut Section, is_somebody: bool) -> Option<Way> {
    let template = section.text("dn");
    let (base, filter) = (section.text("base"), section.text("filter"));
    let scope = section.choice("scope", Scope::Subtree, &[("subtree", Scope::Subtree), ("one", Scope::OneLevel)]);
    match (template, base) {
        (Some(template), None) if filter.is_none() => {
            if !is_dn_template(&template) {
                section.mistake(
                    "dn",
                    "must be a DN with {login} as a value, such as \"uid={login},ou=people,dc=example\"",
                );
                return None;
            }
            if !is_somebody {
                let what = "stands alone: without bind_dn nobody can look whether somebody is still there, and \
                            what their roles are, until they sign in again";
                section.warn("dn", what);
            }
            Some(Way::Template(template))
        }
        (None, Some(base)) => {
            // The root of everything has an empty DN.
            if !base.is_empty() && Name::parse(&base).is_none() {
                section.mistake("base", "must be a DN, such as \"dc=example,dc=test\"");
            }
            let filter = filter.unwrap_or_else(|| format!("(&(objectClass=person)(uid={LOGIN}))"));
            if !is_filter_template(&filter, LOGIN) {
                let what = "must be a filter with {login} as a value, such as \"(&(objectClass=person)(uid={login}))\"";
                section.mistake("filter", what);
            }
            Some(Way::Search { base, scope, filter })
        }
        (Some(_), _) => {
            section.mistake("dn", "and base with filter are two ways; keep one");
            None
        }
        (None, None) => {
            section.mistake("base", "is missing; give base, below which people are looked for, or dn");
            None
        }
    }
}

/// Whether the placeholder stands for values and nothing else: what no attribute can be called must fit there.
fn is_filter_template(template: &str, placeholder: &str) -> bool {
    template.contains(placeholder) && parse_filter(in_filter(template, placeholder, "(*)\\")).is_ok()
}

fn is_dn_template(template: &str) -> bool {
    template.contains(LOGIN) && Name::parse(&in_dn(template, "(=,)\\")).is_some()
}

fn attributes(section: &mut Section, time_limit: i32) -> Attributes {
    let mut table = section.section("attributes");
    let read = |table: &mut Section, key: &'static str, default: &str| {
        let name = table.text(key).unwrap_or_else(|| default.to_owned());
        if !is_attribute(&name) {
            table.mistake(key, "must be the name of an attribute: letters, digits and -");
        }
        name
    };
    let (user, name) = (read(&mut table, "user", "uid"), read(&mut table, "name", "cn"));
    let email = read(&mut table, "email", "mail");
    let groups = table.has("groups").then(|| read(&mut table, "groups", ""));
    table.finish();
    Attributes { user, name, email, groups, time_limit }
}

fn is_attribute(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn groups(section: &mut Section, attribute: Option<&String>, time_limit: i32) -> Groups {
    let (base, filter) = (section.text("group_base"), section.text("group_filter"));
    let given = section.has("group_name") || section.has("nested_groups");
    let called = section.text("group_name").unwrap_or_else(|| "cn".to_owned());
    if !is_attribute(&called) {
        section.mistake("group_name", "must be the name of an attribute: letters, digits and -");
    }
    let nested = section.flag("nested_groups", false);
    let parsed = base.as_deref().and_then(Name::parse);
    if base.is_some() && parsed.is_none() {
        section.mistake("group_base", "must be a DN, such as \"ou=groups,dc=example,dc=test\"");
    }
    match (attribute, filter, base) {
        (Some(_), Some(_), _) => {
            section.mistake("group_filter", "and attributes.groups are two ways to find groups; keep one");
            Groups::Unknown
        }
        (Some(attribute), None, base) => {
            if nested {
                section
                    .mistake("nested_groups", "needs group_base and group_filter: an entry lists what it is in itself");
            }
            // Names are taken from DNs, and whoever may make a group anywhere could take any name.
            if base.is_none() && attribute.eq_ignore_ascii_case("memberOf") {
                section.mistake("group_base", "is missing: below which DN are the groups that count?");
            }
            Groups::Listed { attribute: attribute.clone(), base: parsed, called }
        }
        (None, filter, Some(base)) => {
            let filter = filter.unwrap_or_else(|| format!("(member={DN})"));
            if !is_filter_template(&filter, DN) {
                section.mistake("group_filter", "must be a filter with {dn} as a value, such as \"(member={dn})\"");
            }
            Groups::Searched { base, filter, called, nested, time_limit }
        }
        (None, filter, None) => {
            if filter.is_some() || given {
                section.mistake("group_base", "is missing: below which DN are the groups?");
            }
            Groups::Unknown
        }
    }
}
