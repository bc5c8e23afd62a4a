use super::*;
use crate::domain::{BackendLimits, CredentialSource, ListenAddress};

const PARTIES: &str = r#"
[[portal]]
name = "customers"
kind = "ticket"
login_url = "https://portal.example.test/login?next={url}"
[[backend]]
name = "mail"
kind = "axigen"
url = "http://127.0.0.1:8000"
"#;

/// Stands behind everything else, so that nothing is numbered after it.
const ROUTE: &str = "[[route]]\nhost = \"behind.test\"\nportal = \"customers\"";

fn draft(text: &str) -> Draft {
    Draft::read(Document::parse("k.toml", text).unwrap())
}

/// The mistakes of this text between a good portal and back-end and a good route.
fn mistakes(text: &str) -> Vec<String> {
    draft(&format!("{PARTIES}\n{text}\n{ROUTE}")).mistakes.all().iter().map(ToString::to_string).collect()
}

/// Each text has exactly one mistake, at this key and with these words.
fn each_is_one_mistake(cases: &[(&str, &str, &str)]) {
    for (text, key, words) in cases {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].starts_with(&format!("k.toml: {key}: ")), "{text}: {found:#?}");
        assert!(found[0].contains(words), "{text}: {found:#?}");
    }
}

fn route(text: &str) -> String {
    format!("[[route]]\nhost = \"h.test\"\nportal = \"customers\"\n{text}\n")
}

#[test]
fn an_empty_file_has_all_defaults_and_lacks_a_route() {
    let draft = draft("");
    let found: Vec<String> = draft.mistakes.all().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["k.toml: route: is missing; write [[route]] with host and portal, or every request is denied"]);
    let settings = draft.settings;
    assert_eq!(settings.auth, ListenAddress::Tcp("127.0.0.1:8420".parse().unwrap()));
    assert_eq!(settings.ops, Some(ListenAddress::Tcp("127.0.0.1:9420".parse().unwrap())));
    assert_eq!(settings.proxies, ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert!(settings.trust_unix);
    assert_eq!((settings.answer_limit, settings.key_limit), (16384, 1_000_000));
    assert_eq!(settings.identity_headers, ["Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups"]);
}

#[test]
fn a_back_end_has_the_documented_defaults() {
    let draft = draft(PARTIES);
    let backend = &draft.backends[0];
    assert_eq!(backend.limits, BackendLimits::default());
    assert_eq!(backend.credentials, CredentialSource::Portal);
    assert_eq!(backend.login, crate::domain::LoginName::parse("{sub}").unwrap());
    assert!(backend.roles.is_empty());
}

#[test]
fn all_mistakes_come_out_together() {
    let found = mistakes(
        "[listen]\nauth = \"x\"\n[limits]\nanswer = 1\n[nonsense]\n[[backend]]\nname = \"mail\"\nlogin_timeout = 3\n[[route]]\nroles = []",
    );
    for start in [
        "k.toml: listen.auth: ",
        "k.toml: limits.answer: ",
        "k.toml: nonsense: is not a known key here; known are: listen, trust,",
        "k.toml: backend[2].name: is used by backend[1], too",
        "k.toml: backend[2].kind: is missing",
        "k.toml: backend[2].url: is missing",
        "k.toml: backend[2].login_timeout: ",
        "k.toml: route[1].host: is missing",
        "k.toml: route[1].roles: is empty",
        "k.toml: route[1].portal: is missing",
    ] {
        assert!(found.iter().any(|line| line.starts_with(start)), "{start} is not in {found:#?}");
    }
    assert_eq!(found.len(), 10, "{found:#?}");
}

#[test]
fn listen_addresses_are_ports_or_sockets_and_differ() {
    let read = |text: &str| draft(text).settings;
    let unix = |path: &str, mode| ListenAddress::Unix { path: path.into(), mode };
    assert_eq!(read("[listen]\nauth = \"unix:/run/k.sock\"").auth, unix("/run/k.sock", 0o660));
    assert_eq!(read("[listen]\nauth = \"unix:/k\"\nauth_mode = \"0600\"").auth, unix("/k", 0o600));
    assert_eq!(read("[listen]\nops = \"off\"").ops, None);
    assert_eq!(mistakes("[listen]\nauth = \"[::1]:0\"\nops = \"[::1]:0\""), [] as [&str; 0]);
    let long = format!("[listen]\nauth = \"unix:/{}\"", "x".repeat(107));
    each_is_one_mistake(&[
        ("[listen]\nauth = \"localhost:8420\"", "listen.auth", "ip:port"),
        ("[listen]\nauth = \"127.0.0.1\"", "listen.auth", "ip:port"),
        ("[listen]\nauth = \"off\"", "listen.auth", "cannot be off"),
        ("[listen]\nauth = \"unix:run/k.sock\"", "listen.auth", "absolute"),
        (&long, "listen.auth", "107"),
        ("[listen]\nauth_mode = \"0600\"", "listen.auth_mode", "Unix socket"),
        ("[listen]\nauth = \"unix:/k\"\nauth_mode = \"0999\"", "listen.auth_mode", "octal"),
        ("[listen]\nauth = \"unix:/k\"\nauth_mode = \"4755\"", "listen.auth_mode", "octal"),
        ("[listen]\nauth = \"unix:/k\"\nauth_mode = \"+60\"", "listen.auth_mode", "octal"),
        ("[listen]\nauth = \"unix:/k\"\nops = \"unix:/k\"", "listen.ops", "collides"),
        ("[listen]\nops = \"127.0.0.1:8420\"", "listen.ops", "collides"),
        ("[listen]\nops = \"0.0.0.0:8420\"", "listen.ops", "collides"),
    ]);
}

#[test]
fn trust_is_given_to_named_peers_only() {
    let settings = draft("[trust]\nproxies = [\"10.1.0.0/16\", \"192.0.2.7\", \"fd00::1\"]").settings;
    let networks = ["10.1.0.0/16", "192.0.2.7/32", "fd00::1/128"].map(|text| text.parse().unwrap());
    assert_eq!((settings.proxies.as_slice(), settings.trust_unix), (networks.as_slice(), false));
    each_is_one_mistake(&[
        ("[trust]\nproxies = []", "trust.proxies", "is empty"),
        ("[trust]\nproxies = [\"unix\", \"nginx\"]", "trust.proxies[2]", "must be an address"),
        ("[trust]\nproxies = [\"0.0.0.0/0\"]", "trust.proxies[1]", "everybody"),
        ("[trust]\nproxies = [\"::/0\"]", "trust.proxies[1]", "everybody"),
        ("[trust]\nproxies = [\"10.0.0.5/8\"]", "trust.proxies[1]", "\"10.0.0.5\" or \"10.0.0.0/8\""),
    ]);
}

#[test]
fn limits_logs_sign_out_and_headers_are_checked() {
    each_is_one_mistake(&[
        ("[limits]\nanswer = 4095", "limits.answer", "from 4096 to 1048576"),
        ("[limits]\nkeys = 0", "limits.keys", "from 1"),
        ("[limits]\ndrain_timeout = \"0s\"", "limits.drain_timeout", "longer than zero"),
        ("[log]\nlevel = \"loud\"", "log.level", "one of \"error\", \"warn\", \"info\", \"debug\", \"trace\""),
        ("[log]\nformat = \"xml\"", "log.format", "\"auto\""),
        ("[logout]\nreturn_to = [\"/bye\"]", "logout.return_to[1]", "must be an http"),
        ("[logout]\nreturn_to = [\"javascript:alert(1)\"]", "logout.return_to[1]", "must be an http"),
        ("[headers]\nuser = \"X User\"", "headers.user", "letters"),
        ("[headers]\nuser = \"Remote_User\"", "headers.user", "letters"),
        ("[headers]\nuser = \"\"", "headers.user", "letters"),
        ("[headers]\nname = \"remote-user\"", "headers.name", "another identity header"),
        ("[headers]\nuser = \"X-User\"\nname = \"User\"", "headers.name", "another identity header"),
        ("[headers]\nuser = \"X-Upstream-Cookie\"", "headers.user", "of its own"),
        ("[headers]\nuser = \"Upstream-Cookie\"", "headers.user", "of its own"),
        ("[headers]\nuser = \"Content-Length\"", "headers.user", "of its own"),
        ("[headers]\nuser = \"X-Set-Cookie-1\"", "headers.user", "of its own"),
        ("[headers]\nuser = \"AUTHORIZATION\"", "headers.user", "of its own"),
    ]);
    assert_eq!(mistakes("[headers]\nuser = \"X-Host\"\nname = \"Cookie-Name\""), [] as [&str; 0]);
}

#[test]
fn names_have_plain_letters_and_are_unique() {
    for name in ["", "Mail", "a.b", "a_b", "ä", "a b", &"x".repeat(65)] {
        let text = format!("[[backend]]\nname = {name:?}\nkind = \"k\"\nurl = \"http://h\"");
        assert_eq!(mistakes(&text).len(), 1, "{name}");
    }
    each_is_one_mistake(&[(
        "[[portal]]\nname = \"customers\"\nkind = \"ticket\"\nlogin_url = \"x\"",
        "portal[2].name",
        "is used by portal[1], too; give each its own",
    )]);
}

#[test]
fn entries_of_one_name_have_mistakes_of_their_own() {
    let backend = |name: &str| format!("[[backend]]\nname = \"{name}\"\nurl = \"http://h\"\n");
    for (names, keys) in [
        (["post", "post"], ["backend[post].kind", "backend[3].name", "backend[3].kind"]),
        // A name that looks like a number is not mistaken for one.
        (["3", "3"], ["backend[2].kind", "backend[3].name", "backend[3].kind"]),
    ] {
        let noted = draft(&format!("{PARTIES}{}{ROUTE}", names.map(backend).concat())).mistakes.all();
        assert_eq!(noted.iter().map(|mistake| &mistake.key).collect::<Vec<_>>(), keys);
    }
}

#[test]
fn back_end_settings_fit_each_other() {
    let backend = |text: &str| format!("[[backend]]\nname = \"b\"\nkind = \"k\"\n{text}\n");
    let good = backend("url = \"http://h\"\n[backend.roles]\nstaff = \"admin\"");
    assert_eq!(mistakes(&good), [] as [&str; 0]);
    assert_eq!(draft(&good).backends[0].roles, [("staff".to_owned(), "admin".to_owned())]);
    let several = backend("url = \"http://h\"\n[backend.roles]\n\"cn=a,dc=b.c\" = [\"x\", \"ü y\"]");
    let pair = |to: &str| ("cn=a,dc=b.c".to_owned(), to.to_owned());
    assert_eq!(draft(&several).backends[0].roles, [pair("x"), pair("ü y")]);
    let derived = |ids: &[&str]| {
        let key =
            |id: &&str| format!("[[backend.derive]]\nid = \"{id}\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n");
        let keys: String = ids.iter().map(key).collect();
        format!("url = \"http://h\"\ncredentials = \"derived\"\n{keys}")
    };
    assert_eq!(draft(&backend(&derived(&["a", "b"]))).backends[0].derivation.len(), 2);
    for (text, key, words) in [
        ("url = \"http://h?x=1\"", "url", "query"),
        ("url = \"unix:/x\"", "url", "must be an http:// or https:// address"),
        ("url = \"ftp://h/\"", "url", "must be an http:// or https:// address"),
        ("url = \"http://h\"\ncredentials = \"ours\"", "credentials", "\"derived\", \"master\", \"none\""),
        ("url = \"http://h\"\ncredentials = \"derived\"", "derive", "is missing"),
        (&derived(&["a", "a"]), "derive[2].id", "is used by derive[1], too"),
        (&derived(&["a b"]), "derive[a b].id", "letters, digits"),
        (&derived(&["a", "b", "c", "d", "e"]), "derive", "more than four"),
        (&derived(&["a"]).replace("123", ""), "derive[a].secret", "at least 32 bytes"),
        ("url = \"http://h\"\nlogin = \"admin\"", "login", "names nobody"),
        ("url = \"http://h\"\nlogin = \"{user}\"", "login", "not known"),
        ("url = \"http://h\"\nmax_logins = 0", "max_logins", "from 1"),
        ("url = \"http://h\"\nkeep_alive_interval = \"15m\"", "keep_alive_interval", "shorter than idle_timeout"),
        ("url = \"http://h\"\nmax_age = \"15m\"", "idle_timeout", "shorter than max_age"),
        ("url = \"http://h\"\nlogin_timeout = \"15m\"", "login_timeout", "shorter than idle_timeout"),
        ("url = \"http://h\"\nfailure_backoff = \"61s\"", "failure_backoff", "one minute"),
        ("url = \"http://h\"\n[backend.roles]\nstaff = \"\"", "roles.staff", "must be a role"),
        ("url = \"http://h\"\n[backend.roles]\nstaff = \"a,b\"", "roles.staff", "must be a role"),
        ("url = \"http://h\"\n[backend.roles]\nstaff = \" a\"", "roles.staff", "must be a role"),
        ("url = \"http://h\"\n[backend.roles]\nstaff = []", "roles.staff", "must be a role"),
        ("url = \"http://h\"\n[backend.roles]\nstaff = [\"a\", \"b,c\"]", "roles.staff", "must be a role"),
        ("url = \"http://h\"\n[backend.roles]\nstaff = [1]", "roles.staff", "must be a role"),
        ("url = \"http://h\"\n[backend.roles]\nstaff = true", "roles.staff", "must be a role"),
    ] {
        each_is_one_mistake(&[(&backend(text), &format!("backend[b].{key}"), words)]);
    }
}

#[test]
fn a_route_is_stored_in_one_spelling() {
    let text =
        format!("{PARTIES}[[route]]\nhost = \"Mail.Example.TEST\"\npath = \"/a-b/c_d~e.f/\"\nportal = \"customers\"");
    let read = draft(&text);
    assert_eq!(read.mistakes.all(), []);
    assert_eq!((&*read.settings.routes[0].host, &*read.settings.routes[0].path), ("mail.example.test", "/a-b/c_d~e.f"));
    let root = draft(&format!("{PARTIES}{}", route("path = \"/\""))).settings.routes;
    assert_eq!(root[0].path, "");
}

#[test]
fn a_route_that_could_be_misread_is_a_mistake() {
    for host in
        ["", "a:80", "a b", "a..b", ".a", "a.", "a/b", "http://a", "*.a", "127.1", "müller.test", "a@b", "a%2eb"]
    {
        let text = format!("[[route]]\nhost = {host:?}\nportal = \"customers\"");
        each_is_one_mistake(&[(&text, "route[1].host", "")]);
    }
    for path in
        ["", "a", "//", "/a//b", "/a/../b", "/./a", "/..", "/%61", "/a b", "/a?b", "/a#b", "/a;b", "/ä", "/a\\b"]
    {
        each_is_one_mistake(&[(&route(&format!("path = {path:?}")), "route[1].path", "")]);
    }
    each_is_one_mistake(&[
        (&route("methods = []"), "route[1].methods", "is empty"),
        (&route("methods = [\"GET\", \"get\"]"), "route[1].methods[2]", "capitals"),
        (&route("methods = [\"\"]"), "route[1].methods[1]", "capitals"),
        (&route("roles = []"), "route[1].roles", "is empty"),
        (&route("roles = [\"\"]"), "route[1].roles[1]", "must be a role"),
        (&route("roles = [\"a\", \"b,c\"]"), "route[1].roles[2]", "must be a role"),
        (&route("role = [\"admin\"]"), "route[1].role", "not a known key"),
        (&route("roles = \"admin\""), "route[1].roles", "list of texts"),
        (&route("backend = \"post\""), "route[1].backend", "not the name of a [[backend]]; there is mail"),
        (
            "[[route]]\nhost = \"h\"\nportal = \"x\"",
            "route[1].portal",
            "not the name of a [[portal]]; there is customers",
        ),
        ("[[route]]\nhost = \"h\"", "route[1].portal", "public = true"),
        ("[[route]]\nhost = \"h\"\nportal = []", "route[1].portal", "public = true"),
        ("[[route]]\nhost = \"h\"\nportal = [\"\"]", "route[1].portal", "there is customers"),
        ("[[route]]\nhost = \"h\"\nportal = [\"customers\", \"x\"]", "route[1].portal", "not the name of a [[portal]]"),
        (
            "[[route]]\nhost = \"h\"\nportal = [\"customers\", \"customers\"]",
            "route[1].portal",
            "names \"customers\" twice",
        ),
        ("[[route]]\nhost = \"h\"\nportal = [1]", "route[1].portal", "list of texts"),
        (&route("authorization = 1"), "route[1].authorization", "true or false"),
        ("[[route]]\nhost = \"h\"\npublic = true\nauthorization = true", "route[1].authorization", "everybody"),
        (&route("url_key = \"path\""), "route[1].url_key", "\"upstream\""),
        (&route("url_key = \"address\""), "route[1].url_key", "name one"),
        ("[[route]]\nhost = \"h\"\npublic = true\nurl_key = \"address\"", "route[1].url_key", "everybody"),
        (&route("public = true"), "route[1].portal", "everybody"),
        ("[[route]]\nhost = \"h\"\npublic = true\nroles = [\"a\"]", "route[1].roles", "everybody"),
    ]);
}

#[test]
fn a_route_may_name_several_portals_and_their_order_counts() {
    let staff = "[[portal]]\nname = \"staff\"\nkind = \"ticket\"\nlogin_url = \"https://s.test/\"\n";
    let route = "[[route]]\nhost = \"h\"\nportal = [\"staff\", \"customers\"]\nauthorization = true\n";
    let read = draft(&format!("{PARTIES}{staff}{route}"));
    assert_eq!(read.mistakes.all(), []);
    assert_eq!(read.settings.routes[0].portals, ["staff", "customers"]);
    assert!(read.settings.routes[0].authorization);
    // Who vouches makes no route another one.
    let behind = "[[route]]\nhost = \"h\"\npath = \"/a\"\nportal = \"customers\"\n";
    let found = mistakes(&format!("{staff}{route}{behind}"));
    assert!(found.len() == 1 && found[0].contains("because route 1 comes first"), "{found:?}");
}

#[test]
fn a_route_behind_one_that_takes_everything_is_a_mistake() {
    let pair = |first: &str, second: &str| mistakes(&format!("{}{}", route(first), route(second)));
    for (first, second) in [
        ("", ""),
        ("path = \"/\"", "path = \"/admin\""),
        ("path = \"/a\"", "path = \"/a/b\""),
        ("path = \"/a/\"", "path = \"/a\""),
        ("", "methods = [\"GET\"]"),
        ("methods = [\"GET\", \"POST\"]", "methods = [\"POST\"]"),
        ("roles = [\"admin\"]", ""),
    ] {
        let found = pair(first, second);
        assert_eq!(found.len(), 1, "{first} | {second}");
        assert!(found[0].starts_with("k.toml: route[2]: can never match, because route 1"), "{found:?}");
    }
    for (first, second) in [
        ("path = \"/admin\"", "path = \"/\""),
        ("path = \"/a\"", "path = \"/ab\""),
        ("methods = [\"GET\"]", ""),
        ("methods = [\"GET\"]", "methods = [\"GET\", \"POST\"]"),
    ] {
        assert_eq!(pair(first, second), [] as [&str; 0], "{first} | {second}");
    }
    for unreadable in ["path = \"mail\"", "path = 7", "methods = \"GET\"", "methods = []"] {
        let found = pair(unreadable, "path = \"/inbox\"");
        assert_eq!(found.len(), 1, "{unreadable}: {found:#?}");
        assert!(found[0].starts_with("k.toml: route[1]."), "{unreadable}: {found:#?}");
    }
}

#[test]
fn a_key_for_the_api_names_its_caller_and_perhaps_a_portal() {
    let (one, two) = ("0".repeat(32), "1".repeat(32));
    let key = |text: &str| format!("[[api.key]]\ncaller = \"shop\"\n{text}\n");
    let good = format!(
        "{}{}",
        key(&format!("secret = \"{one}\"\nportal = \"customers\"")),
        key(&format!("secret = \"{two}\""))
    );
    let keys = draft(&format!("{PARTIES}{good}")).settings.api_keys;
    let known: Vec<_> = keys.iter().map(|key| (key.caller(), key.portal())).collect();
    assert_eq!(known, [("shop", Some("customers")), ("shop", None)]);
    let warned = |listen: &str| draft(&format!("{PARTIES}{listen}{good}{ROUTE}")).mistakes.warnings();
    assert_eq!(warned("[listen]\napi = \"127.0.0.1:8423\"\n"), []);
    assert_eq!(warned("").len(), 1, "nobody can call");
    each_is_one_mistake(&[
        (&key("secret = \"short\""), "api.key[shop].secret", "at least 32 bytes"),
        (&key(""), "api.key[shop].secret", "is missing"),
        (&format!("[[api.key]]\nsecret = \"{one}\""), "api.key[1].caller", "is missing"),
        (&format!("[[api.key]]\ncaller = \"Shop 1\"\nsecret = \"{one}\""), "api.key[Shop 1].caller", "a-z, 0-9 and -"),
        (&key(&format!("secret = \"{one}\"\nportal = \"staff\"")), "api.key[shop].portal", "there is customers"),
        (&format!("{0}{0}", key(&format!("secret = \"{one}\""))), "api.key[2].secret", "used by another key"),
    ]);
}
