use super::portal::PortalSettings;
use super::section::{Section, there_is};
use crate::domain::{ApiKey, ExposeSecret};

/// Shortest key, in bytes.
const SHORTEST_KEY: usize = 32;

/// Reads `[api]`: who may call the portal's API. A caller may have several keys, so that they can be
/// exchanged.
pub(super) fn read_api(root: &mut Section, portals: &[PortalSettings]) -> Vec<ApiKey> {
    let mut api = root.section("api");
    let mut keys: Vec<ApiKey> = Vec::new();
    for mut entry in api.sections("key", "caller") {
        let caller = entry.required("caller");
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !caller.is_empty() && !caller.bytes().all(fits) {
            entry.mistake("caller", "must be a name of a-z, 0-9 and -");
        }
        let portal = entry.text("portal");
        if portal.as_ref().is_some_and(|name| !portals.iter().any(|portal| portal.name == *name)) {
            let names = portals.iter().map(|portal| &*portal.name);
            entry.mistake("portal", &format!("is not the name of a [[portal]]; {}", there_is(names)));
        }
        let place = if entry.has("secret_file") { "secret_file" } else { "secret" };
        let given = entry.has("secret") || entry.has("secret_file");
        match entry.secret("secret", "secret_file") {
            Some(secret) if secret.expose_secret().len() < SHORTEST_KEY => {
                entry.mistake(place, "must be at least 32 bytes long; make one with: openssl rand -hex 32");
            }
            Some(secret) if ApiKey::find(&keys, secret.expose_secret()).is_some() => {
                entry.mistake(place, "is used by another key, too; give each its own");
            }
            Some(secret) => keys.push(ApiKey::new(&caller, &secret).bound_to(portal)),
            None if !given => entry.mistake("secret", "is missing; give secret or secret_file"),
            // What was given is a mistake, and it is noted.
            None => {}
        }
        entry.finish();
    }
    api.finish();
    keys
}
