//! What is in a token: who it is for, for how long, and about whom.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::keys::Signed;
use super::settings::Settings;
use crate::config::Section;
use crate::domain::{Identity, IdentityError, UnixSeconds};

/// Longest `sub` (OpenID Connect Core, section 2), and longest `sid`, `jti` and the like, in bytes.
const LONGEST_NAME: usize = 255;

/// Why a token whose signature is good is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("its {0} is missing, or not what it must be")]
    Claim(&'static str),
    #[error("it has ended")]
    Ended,
    #[error("it is of the future; compare the clocks, and see clock_skew")]
    Early,
    #[error("it is a token for something else")]
    Kind,
}

/// What must hold of every token: whose it is, and when.
pub(super) struct Checked<'a> {
    pub claims: &'a Value,
    pub issued: Option<UnixSeconds>,
    pub ends: Option<UnixSeconds>,
}

impl<'a> Checked<'a> {
    /// Checks issuer, audience and times. A time of a wrong type is a flaw, never an absent one. Without `now`
    /// nothing follows from a good one.
    fn of(
        claims: &'a Value,
        settings: &Settings,
        audiences: &[String],
        now: Option<UnixSeconds>,
    ) -> Result<Self, Flaw> {
        if claims.get("iss").and_then(Value::as_str) != Some(&*settings.issuer) {
            return Err(Flaw::Claim("iss"));
        }
        let named = audience(claims).ok_or(Flaw::Claim("aud"))?;
        if !named.iter().any(|one| audiences.iter().any(|ours| ours == one)) {
            return Err(Flaw::Claim("aud"));
        }
        let skew = settings.clock_skew;
        let (issued, ends, begins) = (time(claims, "iat")?, time(claims, "exp")?, time(claims, "nbf")?);
        let Some(now) = now else { return Ok(Self { claims, issued, ends }) };
        if ends.is_some_and(|ends| ends.saturating_add(skew) <= now) {
            return Err(Flaw::Ended);
        }
        let latest = now.saturating_add(skew);
        if issued.is_some_and(|issued| issued > latest) || begins.is_some_and(|begins| begins > latest) {
            return Err(Flaw::Early);
        }
        Ok(Self { claims, issued, ends })
    }

    /// A name of the provider's for something, if it is there.
    pub(super) fn name(&self, claim: &'static str) -> Result<Option<&'a str>, Flaw> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(Value::String(name)) if (1..=LONGEST_NAME).contains(&name.len()) => Ok(Some(name)),
            Some(_) => Err(Flaw::Claim(claim)),
        }
    }

    fn has(&self, claim: &str) -> bool {
        self.claims.get(claim).is_some()
    }
}

/// The time of a claim, in whole seconds: a number that may have a fraction (RFC 7519, section 2).
fn time(claims: &Value, claim: &'static str) -> Result<Option<UnixSeconds>, Flaw> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    if let Some(whole) = value.as_u64() {
        return Ok(Some(whole));
    }
    let number = value.as_f64().filter(|number| (0.0..9e15).contains(number)).ok_or(Flaw::Claim(claim))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range, and whole seconds are meant"
    )]
    Ok(Some(number as u64))
}

fn audience(claims: &Value) -> Option<Vec<&str>> {
    match claims.get("aud")? {
        Value::String(one) => Some(vec![one]),
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// What an ID token says that is not about the person.
#[derive(Debug)]
pub(super) struct IdToken {
    pub subject: String,
    /// The provider's name for its session.
    pub sid: Option<String>,
    pub issued: UnixSeconds,
}

/// Checks an ID token (OpenID Connect Core, section 3.1.3.7). `nonce` is the one of the flow; one that comes
/// with a refresh need not have it (section 12.2). That one is the provider's answer of this moment, so its
/// times are not held against a wall clock that may have been set since.
pub(super) fn id_token(
    signed: &Signed,
    settings: &Settings,
    nonce: Option<&str>,
    access_token: &str,
    now: UnixSeconds,
) -> Result<IdToken, Flaw> {
    if signed.kind.as_deref().is_some_and(|kind| kind != "jwt") {
        return Err(Flaw::Kind);
    }
    let ours = std::slice::from_ref(&settings.client_id);
    let checked = Checked::of(&signed.claims, settings, ours, nonce.map(|_| now))?;
    let several = audience(checked.claims).is_some_and(|all| all.len() > 1);
    match checked.claims.get("azp") {
        None if several => return Err(Flaw::Claim("azp")),
        Some(party) if party.as_str() != Some(&*settings.client_id) => return Err(Flaw::Claim("azp")),
        _ => {}
    }
    if checked.has("events") {
        return Err(Flaw::Kind);
    }
    checked.ends.ok_or(Flaw::Claim("exp"))?;
    let issued = checked.issued.ok_or(Flaw::Claim("iat"))?;
    if let Some(nonce) = nonce
        && checked.claims.get("nonce").and_then(Value::as_str) != Some(nonce)
    {
        return Err(Flaw::Claim("nonce"));
    }
    match checked.claims.get("at_hash") {
        Some(hash) if hash.as_str() != Some(&half_hash(signed.algorithm, access_token)) => {
            return Err(Flaw::Claim("at_hash"));
        }
        _ => {}
    }
    let subject = checked.name("sub")?.ok_or(Flaw::Claim("sub"))?.to_owned();
    Ok(IdToken { subject, sid: checked.name("sid")?.map(str::to_owned), issued })
}

/// The left half of the hash that goes with the algorithm (section 3.1.3.6); SHA-512 for Ed25519.
fn half_hash(algorithm: Algorithm, text: &str) -> String {
    let hash = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => Sha384::digest(text).to_vec(),
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => Sha512::digest(text).to_vec(),
        _ => Sha256::digest(text).to_vec(),
    };
    URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
}

/// What an access token that an API caller brings says that is not about the person.
pub(super) struct AccessToken {
    pub subject: String,
    pub sid: Option<String>,
    pub issued: Option<UnixSeconds>,
    pub ends: UnixSeconds,
}

/// Checks an access token (RFC 9068, as far as providers keep to it). Other tokens of the same provider have
/// the same keys, so whatever marks one of those is refused: Keycloak says `typ` in the claims.
pub(super) fn access_token(signed: &Signed, settings: &Settings, now: UnixSeconds) -> Result<AccessToken, Flaw> {
    let known = |kind: &str| matches!(kind, "jwt" | "at+jwt");
    let is_bearer = signed.claims.get("typ").is_none_or(|kind| kind == "Bearer");
    if signed.kind.as_deref().is_some_and(|kind| !known(kind)) || !is_bearer {
        return Err(Flaw::Kind);
    }
    let checked = Checked::of(&signed.claims, settings, &settings.audiences, Some(now))?;
    // `cnf` binds it to a key of the caller's, which nobody proves here (RFC 7800).
    if ["nonce", "at_hash", "c_hash", "events", "cnf"].into_iter().any(|claim| checked.has(claim)) {
        return Err(Flaw::Kind);
    }
    let ends = checked.ends.ok_or(Flaw::Claim("exp"))?;
    let subject = checked.name("sub")?.ok_or(Flaw::Claim("sub"))?.to_owned();
    Ok(AccessToken { subject, sid: checked.name("sid")?.map(str::to_owned), issued: checked.issued, ends })
}

/// Whose sessions have ended, as a logout token says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogoutToken {
    pub subject: Option<String>,
    pub sid: Option<String>,
    /// Names the token itself, once.
    pub id: String,
    pub issued: UnixSeconds,
}

/// The member of `events` that makes a logout token of it.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Oldest logout token that is taken, in seconds. The standard wants a short time and names none.
pub(super) const OLDEST_LOGOUT: u64 = 300;

/// Checks a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6). `exp` may be missing, as drafts
/// had it; `iat` bounds it all the same.
pub(super) fn logout_token(signed: &Signed, settings: &Settings, now: UnixSeconds) -> Result<LogoutToken, Flaw> {
    if signed.kind.as_deref().is_some_and(|kind| !matches!(kind, "jwt" | "logout+jwt")) {
        return Err(Flaw::Kind);
    }
    let ours = std::slice::from_ref(&settings.client_id);
    let checked = Checked::of(&signed.claims, settings, ours, Some(now))?;
    if checked.has("nonce") {
        return Err(Flaw::Claim("nonce"));
    }
    let event = checked.claims.get("events").and_then(|events| events.get(LOGOUT_EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(Flaw::Claim("events"));
    }
    let issued = checked.issued.ok_or(Flaw::Claim("iat"))?;
    if issued.saturating_add(OLDEST_LOGOUT).saturating_add(settings.clock_skew) <= now {
        return Err(Flaw::Ended);
    }
    let [subject, sid] = ["sub", "sid"].map(|claim| checked.name(claim));
    let (subject, sid) = (subject?.map(str::to_owned), sid?.map(str::to_owned));
    if subject.is_none() && sid.is_none() {
        return Err(Flaw::Claim("sub or sid"));
    }
    let id = checked.name("jti")?.ok_or(Flaw::Claim("jti"))?.to_owned();
    Ok(LogoutToken { subject, sid, id, issued })
}

/// Where in the claims everything about the person stands.
pub(super) struct Members {
    user: Paths,
    name: Paths,
    email: Paths,
    roles: Paths,
}

/// Why nobody can be made of what the provider said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it does not say who it is: see {0} in [portal.members]")]
    Member(&'static str),
    #[error("the e-mail address that names the person is not verified")]
    Unverified,
    #[error("what it says of the person cannot be used: {0}")]
    Identity(#[from] IdentityError),
}

impl Members {
    pub(super) fn read(section: &mut Section) -> Self {
        let mut members = section.section("members");
        let read = Self {
            user: Paths::read(&mut members, "user", "preferred_username"),
            name: Paths::read(&mut members, "name", "name"),
            email: Paths::read(&mut members, "email", "email"),
            roles: Paths::read(&mut members, "roles", "realm_access.roles"),
        };
        members.finish();
        read
    }

    /// Makes a person of the claims of several sources: the first that has something to say of a member counts.
    pub(super) fn identity(&self, sources: &[&Value]) -> Result<Identity<'static>, Unusable> {
        let text = |paths: &Paths, what| match paths.find(sources) {
            None => Ok(String::new()),
            Some((_, Value::String(text))) => Ok(text.clone()),
            Some(_) => Err(Unusable::Member(what)),
        };
        let user = text(&self.user, "user")?;
        let (name, mut email) = (text(&self.name, "name")?, text(&self.email, "email")?);
        // With two, one program reads another domain than the next.
        if user.matches('@').count() > 1 || email.matches('@').count() > 1 {
            return Err(Unusable::Member("email"));
        }
        if is_unverified(sources) {
            if self.user.find(sources).is_some_and(|(path, _)| path == "email") {
                return Err(Unusable::Unverified);
            }
            // People may type in anybody's at many providers.
            email.clear();
        }
        let roles = match self.roles.find(sources) {
            None => Vec::new(),
            Some((_, Value::Array(roles))) => {
                let role = |role: &Value| role.as_str().map(|role| role.to_owned().into());
                roles.iter().map(role).collect::<Option<_>>().ok_or(Unusable::Member("roles"))?
            }
            Some(_) => return Err(Unusable::Member("roles")),
        };
        Ok(Identity::new(user, name, email, roles)?)
    }
}

/// Whether the provider says that it does not know whether the address is the person's.
fn is_unverified(sources: &[&Value]) -> bool {
    let said = sources.iter().find_map(|claims| claims.get("email_verified"));
    said.is_some_and(|said| *said != Value::Bool(true))
}

/// Names of claims. A name with dots is a claim of this name, or leads into an object within.
struct Paths(Vec<String>);

impl Paths {
    fn read(section: &mut Section, key: &'static str, default: &str) -> Self {
        let names = section.text_or_texts(key).unwrap_or_else(|| vec![default.to_owned()]);
        if names.is_empty() || names.iter().any(String::is_empty) {
            section.mistake(key, "must name at least one claim, such as \"realm_access.roles\"");
        }
        Self(names)
    }

    /// What stands under the first of the names that is there and not `null`, in the first source that has it.
    fn find<'a>(&self, sources: &[&'a Value]) -> Option<(&str, &'a Value)> {
        let under = |path: &String, claims: &'a Value| at(claims, path).filter(|value| !value.is_null());
        sources.iter().find_map(|claims| self.0.iter().find_map(|path| Some((&**path, under(path, claims)?))))
    }
}

/// Providers have claims whose own names hold dots, such as `https://example.test/roles`.
fn at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    let claims = claims.as_object()?;
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| at(claims.get(&path[..dot])?, &path[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(text: &str) -> Members {
        Members::read(&mut Section::from_toml(&format!("[members]\n{text}")).unwrap())
    }

    #[test]
    fn a_name_with_dots_is_a_claim_or_leads_into_one() {
        let claims = json!({
            "a": { "b": { "c": 1 }, "b.c": 2 }, "a.b": { "d": 3 }, "https://x.test/roles": 4, "none": null,
        });
        for (path, found) in [
            ("a.b.c", Some(2)),
            ("a.b.d", Some(3)),
            ("https://x.test/roles", Some(4)),
            ("a.b.e", None),
            ("a.", None),
            (".a", None),
            ("b", None),
        ] {
            assert_eq!(at(&claims, path), found.map(|number| json!(number)).as_ref(), "{path}");
        }
        let paths = Paths(vec!["none".to_owned(), "a.b.c".to_owned()]);
        assert_eq!(paths.find(&[&json!({}), &claims]), Some(("a.b.c", &json!(2))), "what is null is not there");
    }

    #[test]
    fn roles_are_whole_elements_of_a_list() {
        let members = members("roles = [\"groups\"]");
        for (groups, expected) in [
            (json!(["admin", "user"]), Some(&["admin", "user"][..])),
            (json!(["administrators"]), Some(&["administrators"])),
            (json!([]), Some(&[])),
            (json!(null), Some(&[])),
            (json!("admin"), None),
            (json!({ "admin": true }), None),
            (json!([["admin"]]), None),
            (json!(["admin", 1]), None),
            (json!(["user,admin"]), Some(&["user,admin"])),
            (json!([""]), None),
        ] {
            let made = members.identity(&[&json!({ "preferred_username": "ana", "groups": groups })]);
            let roles = made.ok().map(|identity| identity.roles().iter().map(ToString::to_string).collect::<Vec<_>>());
            let expected = expected.map(|roles| roles.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(roles, expected, "{groups}");
        }
    }

    #[test]
    fn half_a_hash_is_that_of_the_algorithm() {
        // The example of OpenID Connect Core, appendix A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(half_hash(Algorithm::RS256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        for (algorithm, length) in [(Algorithm::ES384, 32), (Algorithm::PS512, 43), (Algorithm::EdDSA, 43)] {
            assert_eq!(half_hash(algorithm, token).len(), length, "{algorithm:?}");
        }
    }
}
