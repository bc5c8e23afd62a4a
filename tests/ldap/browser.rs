//! A house whose people are in a directory, and a browser in bytes.

use crate::fakes::axigen::{Axigen, Person};
use crate::real::slapd::{self, Options, Slapd};
use crate::support::{Answer, Ask, Door, Setup, Sidecar};

pub const LOGIN: &str = "/.keyward/login/staff";
pub const COOKIE: &str = "__Host-keyward-staff";
pub const INBOX: &str = "https://app.example.test/inbox";

/// With what people sign in, and their mailboxes open.
pub const PEOPLE: [(&str, &str); 4] =
    [("alice", "wonderland"), ("bob", "pässwörd: 50% + #1&x=y"), ("carol", " leading and trailing "), ("john", "doe")];

/// Keyward between a directory and a back-end.
pub struct House {
    pub keyward: Sidecar,
    pub slapd: Slapd,
    pub office: Axigen,
    /// What the directory lives in, until it has ended.
    _directory: tempfile::TempDir,
}

impl House {
    pub async fn start() -> Self {
        Self::with("", "").await
    }

    /// With more lines in the portal, and at the end.
    pub async fn with(portal: &str, more: &str) -> Self {
        let people = PEOPLE.map(|(name, password)| Person::new(name, password, name));
        let setup = async |slapd: &Slapd, office: &Axigen| {
            let setup = Setup::new(&config(slapd, &office.url(), portal, more));
            setup.environment("RUST_LOG", "trace")
        };
        Self::set_up(people.to_vec(), setup).await
    }

    /// With these mailboxes, and Keyward as it is made for the directory and them.
    pub async fn set_up(people: Vec<Person>, setup: impl AsyncFnOnce(&Slapd, &Axigen) -> Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Base64, because LDIF takes a password with a blank in front in no other way.
        let ldif: String = PEOPLE.iter().map(|(name, password)| in_ldif(name, password)).collect();
        let ldif = ldif + &slapd::group("admin", &[slapd::person_dn("bob")]);
        let options = Options { ldif, ..Options::default() };
        let slapd = Slapd::start(&directory.path().join("slapd"), options).await.unwrap();
        let office = Axigen::start(people).await.unwrap();
        let keyward = setup(&slapd, &office).await.start().await;
        Self { keyward, slapd, office, _directory: directory }
    }

    /// How many times the directory was asked whether a password is somebody's.
    pub fn binds(&self, name: &str) -> usize {
        let dn = format!("BIND dn=\"{}\" method=128", slapd::person_dn(name));
        self.slapd.log().lines().filter(|line| line.contains(&dn)).count()
    }

    /// Has somebody get another password, as an administrator would.
    pub async fn set_password(&self, name: &str, password: &str) {
        let dn = slapd::person_dn(name);
        let ldif = format!("dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: {password}\n");
        self.slapd.modify(&ldif).await.unwrap();
    }

    pub async fn ask(&self, ask: &Ask) -> Answer {
        self.keyward.ask(Door::AuthRequest, ask).await
    }
}

fn in_ldif(name: &str, password: &str) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(password);
    slapd::person(name, password).replace(&format!("userPassword: {password}"), &format!("userPassword:: {encoded}"))
}

/// The configuration, without `[listen]`.
pub fn config(slapd: &Slapd, office: &str, portal: &str, more: &str) -> String {
    let (url, base, reader, password) = (slapd.url(), slapd::BASE, slapd::READER, slapd::READER_PASSWORD);
    format!(
        "[[portal]]\nname = \"staff\"\nkind = \"ldap\"\nservers = [\"{url}\"]\nbase = \"ou=people,{base}\"\n\
         bind_dn = \"{reader}\"\nbind_password = \"{password}\"\n\
         filter = \"(&(objectClass=person)(|(uid={{login}})(mail={{login}})))\"\n\
         group_base = \"ou=groups,{base}\"\n{portal}\n\
         [[backend]]\nname = \"office\"\nkind = \"axigen\"\nurl = \"{office}\"\ncredentials = \"portal\"\n\
         [[route]]\nhost = \"app.example.test\"\npath = \"/dav\"\nportal = \"staff\"\nbackend = \"office\"\n\
         authorization = true\n\
         [[route]]\nhost = \"app.example.test\"\npath = \"/admin\"\nportal = \"staff\"\nroles = [\"admin\"]\n\
         [[route]]\nhost = \"app.example.test\"\npath = \"/\"\nportal = \"staff\"\nbackend = \"office\"\n{more}\n"
    )
}

/// Somebody's browser, with what it remembers.
pub struct Browser<'a> {
    house: &'a House,
    pub cookies: Vec<(String, String)>,
    pub address: String,
    pub language: String,
}

/// The form as it stands in a page.
pub struct Form {
    pub action: String,
    pub token: String,
}

impl<'a> Browser<'a> {
    pub fn new(house: &'a House) -> Self {
        Self::at(house, "192.0.2.1")
    }

    pub fn at(house: &'a House, address: &str) -> Self {
        Self { house, cookies: Vec::new(), address: address.to_owned(), language: "en".to_owned() }
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// All cookies, as they are sent.
    pub fn jar(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Looks at a page.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, &["Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none"], "").await
    }

    /// Sends a request with these lines and keeps the cookies that are given.
    pub async fn send(&mut self, method: &str, target: &str, lines: &[&str], body: &str) -> Answer {
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nHost: keyward\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: app.example.test\r\nX-Forwarded-For: {}\r\nAccept-Language: {}\r\nAccept: text/html\r\n",
            self.address, self.language
        );
        if !self.cookies.is_empty() {
            head += &format!("Cookie: {}\r\n", self.jar());
        }
        for line in lines {
            head += &format!("{line}\r\n");
        }
        if method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut connection = self.house.keyward.connect().await;
        connection.send(format!("{head}\r\n{body}")).await;
        let answer = if method == "HEAD" { connection.answer_to_head().await } else { connection.answer().await };
        for line in answer.all("Set-Cookie") {
            self.keep(&line);
        }
        answer
    }

    fn keep(&mut self, line: &str) {
        let (pair, terms) = line.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        if name.starts_with("__Host-") {
            assert!(terms.contains("; Secure") && terms.contains(" Path=/") && !terms.contains("Domain"), "{line}");
        }
        assert!(terms.contains("; HttpOnly") && terms.contains("; SameSite=Lax"), "{line}");
        self.cookies.retain(|(held, _)| held != name);
        if !terms.contains("Max-Age=0") {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The form of the sign-in page, on the way to an address.
    pub async fn form(&mut self, onward: &str) -> Form {
        let encoded: String = url::form_urlencoded::byte_serialize(onward.as_bytes()).collect();
        let page = self.get(&format!("{LOGIN}?url={encoded}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        Form::of(&page)
    }

    /// Sends the form as a browser does.
    pub async fn submit(&mut self, form: &Form, name: &str, password: &str) -> Answer {
        let body = filled(form, name, password);
        let lines = [
            "Content-Type: application/x-www-form-urlencoded",
            "Sec-Fetch-Site: same-origin",
            "Sec-Fetch-Mode: navigate",
            "Origin: https://app.example.test",
        ];
        self.send("POST", &form.action, &lines, &body).await
    }

    /// Signs in, whatever comes of it.
    pub async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let form = self.form(INBOX).await;
        self.submit(&form, name, password).await
    }

    /// Asks whether a page may be seen.
    pub async fn ask(&self, url: &str) -> Answer {
        let mut ask = Ask::page(url).header("X-Forwarded-For", &self.address);
        if !self.cookies.is_empty() {
            ask = ask.cookie(self.jar());
        }
        self.house.ask(&ask).await
    }
}

impl Form {
    pub fn of(page: &Answer) -> Self {
        let text = page.text();
        let value = |before: &str| text.split_once(before).unwrap_or_else(|| panic!("{text}")).1.split('"').next();
        let plain = |text: &str| text.replace("&amp;", "&").replace("&#39;", "'");
        Self {
            action: plain(value("<form method=\"post\" action=\"").unwrap()),
            token: plain(value("name=\"form\" value=\"").unwrap()),
        }
    }
}

/// The body of a form.
pub fn filled(form: &Form, name: &str, password: &str) -> String {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.append_pair("name", name).append_pair("password", password).append_pair("form", &form.token).finish()
}
