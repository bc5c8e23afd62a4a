//! What the provider answers.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::super::server::{Reply, Request};
use super::{CLIENT, Code, SECRET, State, now, subject};

type Fields = Vec<(String, String)>;

fn refuse(status: u16, error: &str) -> Reply {
    Reply::json(status, &json!({ "error": error, "error_description": "no" })).with("Cache-Control", "no-store")
}

/// The value of a parameter that must be there once.
fn one<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let mut named = fields.iter().filter(|(key, _)| key == name);
    let (_, value) = named.next()?;
    named.next().is_none().then_some(value)
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

impl State {
    pub fn answer(&mut self, request: &Request) -> Reply {
        let path = request.path().to_owned();
        let Some(door) = path.strip_prefix("/realms/mail/") else { return Reply::new(404, "") };
        match (&*request.method, door) {
            ("GET", ".well-known/openid-configuration") => Reply::json(200, &self.discovery()),
            ("GET", "certs") => self.certificates(),
            ("GET", "auth") => self.authorize(&request.query()),
            ("POST", "token") => match self.tokens_instead.clone() {
                Some(reply) => reply,
                None => self.token(request),
            },
            ("GET", "userinfo") => self.user_info(request),
            ("GET", "logout") => self.log_out(&request.query()),
            _ => Reply::new(404, ""),
        }
    }

    fn discovery(&self) -> Value {
        let at = |door: &str| format!("{}/{door}", self.issuer);
        let mut document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("auth"),
            "token_endpoint": at("token"),
            "jwks_uri": at("certs"),
            "userinfo_endpoint": at("userinfo"),
            "end_session_endpoint": at("logout"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": true,
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
        });
        if let Some(twist) = &self.discovery {
            twist(&mut document);
        }
        document
    }

    /// With keys beside that are for something else, as real providers have them.
    fn certificates(&self) -> Reply {
        if let Some(keys) = &self.keys_instead {
            return Reply::json(200, &json!({ "keys": keys }));
        }
        let mut keys: Vec<Value> = self.keys.iter().map(super::SigningKey::jwk).collect();
        keys.push(json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256" }));
        keys.push(json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "of-tomorrow" }));
        let mut encrypts = self.keys[0].jwk();
        (encrypts["use"], encrypts["kid"]) = (json!("enc"), json!("encrypts"));
        keys.push(encrypts);
        Reply::json(200, &json!({ "keys": keys }))
    }

    fn authorize(&mut self, fields: &Fields) -> Reply {
        // Nobody is sent to an address that is not known (RFC 6749, section 4.1.2.1).
        let (Some(CLIENT), Some(callback)) = (one(fields, "client_id"), one(fields, "redirect_uri")) else {
            return Reply::html(400, "no client");
        };
        if !self.redirect_uris.iter().any(|known| known == callback) {
            return Reply::html(400, format!("not registered: {callback}"));
        }
        let Some(state) = one(fields, "state") else { return Reply::html(400, "no state") };
        let issuer = self.issuer.clone();
        let back = |more: &[(&str, &str)]| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(more).append_pair("state", state).append_pair("iss", &issuer);
            Reply::new(303, "").with("Location", &format!("{callback}?{}", query.finish()))
        };
        if let Some(query) = &self.answer_to_authorize {
            let location = format!("{callback}?{}", query.replace("{state}", state));
            return Reply::new(303, "").with("Location", &location);
        }
        let openid = one(fields, "scope").is_some_and(|scopes| scopes.split(' ').any(|scope| scope == "openid"));
        let challenge = one(fields, "code_challenge").filter(|challenge| challenge.len() == 43);
        let nonce = one(fields, "nonce").filter(|nonce| nonce.len() >= 22);
        let asked = (one(fields, "response_type"), one(fields, "code_challenge_method"), challenge, nonce);
        let (Some("code"), Some("S256"), Some(challenge), Some(nonce)) = asked else {
            return back(&[("error", "invalid_request")]);
        };
        if !openid || state.len() < 22 {
            return back(&[("error", "invalid_scope")]);
        }
        let (code, sid) = (self.next("code"), self.next("session"));
        let user = self.person.clone();
        let given = Code {
            user: user.clone(),
            sid: sid.clone(),
            nonce: nonce.to_owned(),
            challenge: challenge.to_owned(),
            redirect_uri: callback.to_owned(),
        };
        let reply = back(&[("code", code.as_str()), ("session_state", "7d6f")]);
        self.sessions.insert(sid, user);
        self.codes.insert(code, given);
        reply
    }

    fn next(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}-{:016x}", self.made, rand::random::<u64>())
    }

    fn token(&mut self, request: &Request) -> Reply {
        let is_form = request.header("content-type") == Some("application/x-www-form-urlencoded");
        let fields: Fields = form_urlencoded::parse(&request.body).into_owned().collect();
        if !is_form || fields.iter().any(|(name, _)| one(&fields, name).is_none()) {
            return refuse(400, "invalid_request");
        }
        if !self.knows_client(request, &fields) {
            return refuse(401, "invalid_client").with("WWW-Authenticate", "Basic");
        }
        match one(&fields, "grant_type") {
            Some("authorization_code") => self.change_code(&fields),
            Some("refresh_token") => self.refresh(&fields),
            _ => refuse(400, "unsupported_grant_type"),
        }
    }

    /// By the header or, for a client without a secret, by its name alone (RFC 6749, section 2.3).
    fn knows_client(&self, request: &Request, fields: &Fields) -> bool {
        if !self.confidential {
            return request.header("authorization").is_none() && one(fields, "client_id") == Some(CLIENT);
        }
        let basic = request.header("authorization").and_then(|header| header.strip_prefix("Basic "));
        let Some(pair) = basic.and_then(|basic| STANDARD.decode(basic).ok()) else { return false };
        let pair = String::from_utf8(pair).unwrap_or_default();
        let decoded = |text: &str| -> String {
            let mut parsed = form_urlencoded::parse(text.as_bytes());
            parsed.next().map(|(name, _)| name.into_owned()).unwrap_or_default()
        };
        let Some((name, secret)) = pair.split_once(':') else { return false };
        decoded(name) == CLIENT && decoded(secret) == SECRET && one(fields, "client_secret").is_none()
    }

    fn change_code(&mut self, fields: &Fields) -> Reply {
        let (Some(code), Some(verifier)) = (one(fields, "code"), one(fields, "code_verifier")) else {
            return refuse(400, "invalid_request");
        };
        if let Some(sid) = self.used_codes.get(code) {
            // Somebody has it who should not: what came of it ends (RFC 6749, section 4.1.2).
            let sid = sid.clone();
            self.sessions.remove(&sid);
            return refuse(400, "invalid_grant");
        }
        let Some(given) = self.codes.remove(code) else { return refuse(400, "invalid_grant") };
        self.used_codes.insert(code.to_owned(), given.sid.clone());
        let long_enough = (43..=128).contains(&verifier.len());
        if !long_enough
            || hash(verifier) != given.challenge
            || one(fields, "redirect_uri") != Some(&*given.redirect_uri)
        {
            return refuse(400, "invalid_grant");
        }
        self.grant(&given.user, &given.sid, Some(&given.nonce))
    }

    fn refresh(&mut self, fields: &Fields) -> Reply {
        let Some(token) = one(fields, "refresh_token") else { return refuse(400, "invalid_request") };
        if let Some(sid) = self.spent.get(token) {
            // Somebody has it who should not (RFC 9700, section 4.14.2).
            let sid = sid.clone();
            self.sessions.remove(&sid);
            self.spent_again += 1;
            return refuse(400, "invalid_grant");
        }
        let Some((user, sid)) = self.refreshes.remove(token) else { return refuse(400, "invalid_grant") };
        self.spent.insert(token.to_owned(), sid.clone());
        if !self.sessions.contains_key(&sid) {
            return refuse(400, "invalid_grant");
        }
        self.grant(&user, &sid, None)
    }

    fn grant(&mut self, user: &str, sid: &str, nonce: Option<&str>) -> Reply {
        let refresh = self.next("refresh");
        self.refreshes.insert(refresh.clone(), (user.to_owned(), sid.to_owned()));
        let key = self.keys[0].clone();
        let access = match self.opaque_access {
            true => self.next("opaque"),
            false => {
                let mut claims = self.access_claims(user, sid);
                if let Some(twist) = &self.access_claims {
                    twist(&mut claims);
                }
                key.sign(&claims)
            }
        };
        if let Some(hears) = &self.hears_of_access {
            hears(&access, user);
        }
        let mut answer = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": self.access_lifetime, "refresh_token": refresh,
            "session_state": "7d6f", "scope": "openid profile email",
        });
        if let Some(lifetime) = self.refresh_lifetime {
            answer["refresh_expires_in"] = json!(lifetime);
        }
        if nonce.is_some() || self.id_token_at_refresh {
            answer["id_token"] = json!(self.id_token(user, sid, nonce, &access));
        }
        Reply::json(200, &answer).with("Cache-Control", "no-store")
    }

    fn id_token(&self, user: &str, sid: &str, nonce: Option<&str>, access: &str) -> String {
        let digest = Sha256::digest(access);
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "azp": CLIENT, "sub": subject(user), "sid": sid, "typ": "ID",
            "iat": now(), "exp": now() + self.access_lifetime, "auth_time": now(),
            "at_hash": URL_SAFE_NO_PAD.encode(&digest[..16]), "preferred_username": user,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        self.describe(user, &mut claims);
        // Real ones have roles in the access token alone.
        claims.as_object_mut().map(|claims| claims.remove("realm_access"));
        let key = &self.keys[0];
        let mut header = key.header();
        if let Some(twist) = &self.id_claims {
            twist(&mut claims);
        }
        if let Some(twist) = &self.id_header {
            twist(&mut header);
        }
        key.sign_with(&header, &claims)
    }

    pub fn access_claims(&self, user: &str, sid: &str) -> Value {
        let mut claims = json!({
            "iss": self.issuer, "aud": "account", "azp": CLIENT, "sub": subject(user), "sid": sid, "typ": "Bearer",
            "jti": format!("token-{:016x}", rand::random::<u64>()), "iat": now(), "exp": now() + self.access_lifetime,
            "preferred_username": user,
        });
        self.describe(user, &mut claims);
        claims
    }

    fn describe(&self, user: &str, claims: &mut Value) {
        let known = self.claims.get(user).and_then(Value::as_object);
        for (name, value) in known.into_iter().flatten() {
            claims[name] = value.clone();
        }
    }

    fn user_info(&self, request: &Request) -> Reply {
        let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        if token.is_none() {
            return refuse(401, "invalid_token").with("WWW-Authenticate", "Bearer");
        }
        let mut claims = json!({ "sub": subject(&self.person), "preferred_username": self.person });
        self.describe(&self.person, &mut claims);
        if let Some(twist) = &self.userinfo {
            twist(&mut claims);
        }
        Reply::json(200, &claims)
    }

    fn log_out(&mut self, fields: &Fields) -> Reply {
        let hint = one(fields, "id_token_hint").and_then(|token| token.split('.').nth(1));
        let claims = hint.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Option<Value> = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (Some(claims), Some(CLIENT)) = (claims, one(fields, "client_id")) else {
            return Reply::html(400, "nobody knows whose session");
        };
        let after = one(fields, "post_logout_redirect_uri").unwrap_or_default();
        if !self.after_logout.iter().any(|known| known == after) {
            return Reply::html(400, format!("not registered: {after}"));
        }
        self.sessions.remove(claims["sid"].as_str().unwrap_or_default());
        Reply::new(303, "").with("Location", after)
    }
}
