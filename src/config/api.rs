use super::portal::PortalSettings;
use super::section::{Section, there_is};
use crate::domain::{ApiKey, ExposeSecret};

/// Shortest key, in bytes.
const SHORTEST_KEY: usize = 32;

/// The key that is printed in the documentation of this program.
const EXAMPLE_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Reads `[api]`: who may call the portal's API. A caller may have several keys, so that they can be
/// exchanged. `listens` is whether there is a listener for them.
pub(super) fn read_api(root: &mut Section, portals: &[PortalSettings], listens: bool) -> Vec<ApiKey> {
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
        let secret = entry.secret("secret", "secret_file");
        if secret.as_ref().is_some_and(|secret| secret.expose_secret() == EXAMPLE_KEY) {
            entry.warn(
                place,
                "is the one from the examples, which everybody knows; make your own: openssl rand -hex 32",
            );
        }
        match secret {
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
    if !listens && !keys.is_empty() {
        api.warn("key", "is written, and nobody can call with it: [listen] api is off");
    }
    api.finish();
    keys
}
