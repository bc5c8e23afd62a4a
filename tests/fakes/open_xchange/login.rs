//! The login servlet of the stand-in.

use serde_json::json;

use super::{Parameters, Reply, Request, Session, State, Variant, deleting, public_hash, security, user_agent};

/// What a text of the built-in error page says of a wrong password.
const WRONG: &str = "The user name or password is incorrect.";

impl State {
    pub(super) fn login_servlet(&mut self, action: &str, parameters: &Parameters, request: &Request) -> Reply {
        // Read: in the address a password is refused, whatever the action. (The status is assumed.)
        if parameters.query.iter().any(|(name, _)| name == "password") {
            return Reply::new(400, "");
        }
        match action {
            "login" if request.method == "POST" => self.login(parameters, request),
            "formlogin" if request.method == "POST" => self.form_login(parameters, request),
            "autologin" => self.autologin(parameters, request),
            "store" => self.store(parameters, request),
            "refreshSecret" => self.refresh_secret(parameters, request),
            "logout" => self.logout(parameters, request),
            _ => self.error("SVL-0001"),
        }
    }

    fn login(&mut self, parameters: &Parameters, request: &Request) -> Reply {
        let failures = (self.remote_address(request), user_agent(request).to_vec());
        if self.failures.get(&failures).is_some_and(|count| *count >= self.options.failed_logins) {
            return Reply::new(429, "").with("Retry-After", "300");
        }
        let (Some(name), Some(password)) = (parameters.get("name"), parameters.get("password")) else {
            return self.error("SVL-0002");
        };
        if let Variant::Redirect(address) = self.variant {
            return self.json(&json!({ "error": address, "code": "LGI-0016", "category": 8 }));
        }
        match self.open(name, password, parameters, request) {
            Err(code) => {
                if code == "LGI-0006" {
                    *self.failures.entry(failures).or_default() += 1;
                }
                self.error(code)
            }
            Ok(index) => {
                let session = &self.sessions[index];
                let person = &self.people[session.person];
                let mut told = json!({
                    "session": session.id, "user": person.login, "user_id": person.user,
                    "context_id": person.context, "locale": "de_DE",
                });
                if self.variant == Variant::NoSession {
                    told = json!({ "user": person.login });
                }
                let reply = self.json(&told);
                self.setting(index, request, reply)
            }
        }
    }

    fn form_login(&mut self, parameters: &Parameters, request: &Request) -> Reply {
        let wanted = ["login", "password", "client", "version", "authId"].map(|name| parameters.get(name));
        let [Some(name), Some(password), Some(_), Some(_), Some(_)] = wanted else { return self.error("SVL-0002") };
        match self.open(name, password, parameters, request) {
            Err(code) if self.variant == Variant::ErrorInJson => self.error(code),
            Err(code) => self.error_page(code),
            Ok(index) => {
                let session = &self.sessions[index];
                let person = &self.people[session.person];
                let path = parameters.get("uiWebPath").unwrap_or("/appsuite/");
                let origin = if self.variant == Variant::AbsoluteLocation {
                    format!("https://{}", request.header("host").unwrap_or_default())
                } else {
                    String::new()
                };
                let (id, user, context) = (&session.id, person.user, person.context);
                let mut location = format!("{origin}{path}#session={id}&user_id={user}&context_id={context}");
                location.push_str("&language=de_DE&locale=de_DE&storeLocale=true");
                if self.variant == Variant::NoSession {
                    location = format!("{path}#user_id={user}");
                }
                let reply = Reply::new(302, "").with("Location", &location);
                self.setting(index, request, reply)
            }
        }
    }

    /// The text alone tells what it was. (The status is assumed.)
    fn error_page(&self, code: &str) -> Reply {
        let message = match (&self.variant, code) {
            (Variant::ErrorPage(text), _) => text,
            (_, "LGI-0006") => WRONG,
            _ => "Something went wrong inside.",
        };
        let script = "setTimeout(function(){location.href=document.referrer+'?login=failed'},5000)";
        Reply::html(200, format!("<!doctype html><title>Error</title><p>{message}</p><script>{script}</script>"))
    }

    /// A session for this person, or the code of what is in the way.
    fn open(
        &mut self,
        name: &str,
        password: &str,
        sent: &Parameters,
        request: &Request,
    ) -> Result<usize, &'static str> {
        // As Java trims.
        let login = name.trim_matches(|c: char| c <= ' ').to_owned();
        *self.attempts.entry(login.clone()).or_default() += 1;
        if let Variant::Error(code) = self.variant {
            return Err(code);
        }
        let client = sent.get("client").unwrap_or("default").to_owned();
        if client.as_bytes() == user_agent(request) {
            return Err("LGI-0021");
        }
        self.made += 1;
        let auth_id = sent.get("authId").map_or_else(|| format!("made-{}", self.made), str::to_owned);
        if self.sessions.iter().any(|session| session.auth_id == auth_id) {
            return Err("SES-0008");
        }
        let right = |person: &super::Person| person.login == login && person.password == password;
        let person = self.people.iter().position(right).ok_or("LGI-0006")?;
        if self.options.locked_contexts.contains(&self.people[person].context) {
            return Err("SES-0204");
        }
        if let Some(index) = self.by_cookies(&client, request).filter(|index| self.sessions[*index].person == person) {
            return Ok(index);
        }
        if self.sessions.iter().filter(|session| session.person == person).count() >= self.options.sessions_per_user {
            return Err("SES-0007");
        }
        let address = sent.get("clientIP").map_or_else(|| self.remote_address(request), str::to_owned);
        // Every one different from all others, and all of the right shape.
        let word = |kind: u64| format!("{:08x}{:08x}{:016x}", kind, 0x5eed, self.made);
        let (context, user) = (self.people[person].context, self.people[person].user);
        let values = self.hash_values(request);
        self.sessions.push(Session {
            id: word(1),
            secret: word(2),
            public: word(3),
            person,
            hash: self.hash_for(&client, request),
            public_hash: public_hash(user_agent(request), context, user, &values, &self.options.salt),
            client,
            address,
            auth_id,
        });
        Ok(self.sessions.len() - 1)
    }

    /// The cookies of a login.
    fn setting(&self, index: usize, request: &Request, reply: Reply) -> Reply {
        let session = &self.sessions[index];
        let security = security(request);
        let mut reply = reply;
        let mut set = |name: String, value: &str| {
            let line = format!("{name}={value}; Path=/{security}");
            reply.headers.push(("Set-Cookie".to_owned(), line));
        };
        if self.variant != Variant::NoSecret {
            set(format!("open-xchange-secret-{}", session.hash), &session.secret);
        }
        if self.variant == Variant::TwoSecrets {
            set("open-xchange-secret-AnotherHash".to_owned(), &session.public);
        }
        set(format!("open-xchange-public-session-{}", session.public_hash), &session.public);
        set("open-xchange-shard".to_owned(), &self.shard(session));
        if self.variant != Variant::Older {
            set(format!("open-xchange-session-{}", session.hash), &session.id);
        }
        // Of somebody else on this host, and none of the session's.
        set("theme".to_owned(), "dark");
        reply
    }

    fn shard(&self, session: &Session) -> String {
        if self.options.shards { format!("shard{}", session.person) } else { "default".to_owned() }
    }

    fn autologin(&mut self, parameters: &Parameters, request: &Request) -> Reply {
        if !self.options.autologin {
            return self.error("LGI-0019");
        }
        // Which error it is where no session is found is assumed.
        let Some(index) = self.by_cookies(parameters.get("client").unwrap_or("default"), request) else {
            return self.error("SES-0203");
        };
        if !self.address_fits(index, request) {
            let session = self.sessions.remove(index);
            return deleting(&session, self.error("SES-0205"));
        }
        let session = &self.sessions[index];
        let person = &self.people[session.person];
        self.json(&json!({
            "session": session.id, "user": person.login, "user_id": person.user, "locale": "de_DE",
        }))
    }

    fn store(&self, parameters: &Parameters, request: &Request) -> Reply {
        match self.find(parameters, request) {
            Err(code) => self.error(code),
            Ok(_) if self.variant != Variant::Older => Reply::new(200, "").with("Deprecation", "version=\"v7.10.3\""),
            Ok(_) if !self.options.autologin => self.error("LGI-0019"),
            Ok(index) => {
                let Session { hash, id, .. } = &self.sessions[index];
                let line = format!("open-xchange-session-{hash}={id}; Path=/{}", security(request));
                self.json(&json!({ "data": "1" })).with("Set-Cookie", &line)
            }
        }
    }

    fn refresh_secret(&mut self, parameters: &Parameters, request: &Request) -> Reply {
        if let Variant::CheckError(code) = self.variant {
            return self.error(code);
        }
        let index = match self.find(parameters, request) {
            Err(code) => return self.error(code),
            // The login servlet reports it, and ends nothing.
            Ok(index) if !self.address_fits(index, request) => return self.error("SES-0205"),
            Ok(index) => index,
        };
        let reply = self.json(&json!({ "data": "1" }));
        match self.variant {
            Variant::TakesSecret => return deleting(&self.sessions[index], reply),
            Variant::NewSecret => {
                self.made += 1;
                let made = self.made;
                self.http_sessions.clear();
                let session = &mut self.sessions[index];
                session.secret = format!("{:032x}", 0xfeed_0000 + made);
            }
            _ => {}
        }
        let session = &self.sessions[index];
        let Session { hash, secret, public_hash, public, .. } = session;
        let attributes = format!("; Path=/{}", security(request));
        reply
            .with("Set-Cookie", &format!("open-xchange-secret-{hash}={secret}{attributes}"))
            .with("Set-Cookie", &format!("open-xchange-public-session-{public_hash}={public}{attributes}"))
            .with("Set-Cookie", &format!("open-xchange-shard={}{attributes}", self.shard(session)))
    }

    fn logout(&mut self, parameters: &Parameters, request: &Request) -> Reply {
        if parameters.get("session").is_none() {
            return Reply::new(400, "");
        }
        let Ok(index) = self.find(parameters, request) else { return Reply::new(403, "") };
        // An error inside is only logged.
        if !self.address_fits(index, request) || self.variant == Variant::LogoutFails {
            return Reply::new(200, "");
        }
        let session = self.sessions.remove(index);
        let reply = Reply::new(200, "");
        if self.variant == Variant::SilentLogout { reply } else { deleting(&session, reply) }
    }
}
