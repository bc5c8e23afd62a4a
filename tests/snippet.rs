//! `keyward snippet`: what it writes is what the examples hold, and no configuration makes it write anything else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/command.rs"]
mod command;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use command::{keyward, run};
use keyward::config::RouteSettings;
use keyward::demo::process::find_program;
use keyward::domain::{ListenAddress, UrlKey};
use keyward::snippet::{Door, Host, SERVERS, Site, SnippetError, Upstream};
use proptest::prelude::*;
use url::Url;

/// Files in an example's folder that are not written by the command: read by people, the configuration that it is
/// made from, and what is around it for trying it out.
const BESIDE: [&str; 4] = ["README.md", "keyward.toml", "kustomization.yaml", "nginx.conf"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn example(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(server)
}

/// Every file below a folder, relative to it.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort_unstable();
    files
}

#[test]
fn the_example_of_every_web_server_is_what_comes_out_for_its_configuration() {
    let wrong: Vec<String> = SERVERS.iter().flat_map(|server| differences(server.name)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the example of a web server.
fn differences(server: &str) -> Vec<String> {
    let folder = example(server);
    let configuration = folder.join("keyward.toml");
    let configuration = configuration.to_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().to_str().unwrap();
    for arguments in [&["check", "-c", configuration][..], &["snippet", server, "-c", configuration, "--into", into]] {
        let output = run(arguments);
        if output.status.code() != Some(0) {
            return vec![format!("examples/{server}: {arguments:?}: {output:?}")];
        }
    }
    let mut wrong = Vec::new();
    let written = files_below(directory.path());
    for file in &written {
        let new = std::fs::read_to_string(directory.path().join(file)).unwrap();
        if std::fs::read_to_string(folder.join(file)).ok() != Some(new) {
            let again =
                format!("keyward snippet {server} -c examples/{server}/keyward.toml --into examples/{server} --force");
            wrong.push(format!("examples/{server}/{file} is not what comes out; run: {again}"));
        }
    }
    for file in files_below(&folder).iter().filter(|file| !written.contains(file) && !BESIDE.contains(&&***file)) {
        wrong.push(format!("examples/{server}/{file} does not come out"));
    }
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    if !readme.contains(&format!("keyward snippet {server}")) {
        wrong.push(format!("examples/{server}/README.md does not name the command"));
    }
    wrong
}

#[test]
fn a_web_server_that_nobody_knows_is_told_which_are_known() {
    let output = run(&["snippet", "iis"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = text(&output.stderr);
    assert!(SERVERS.iter().all(|server| said.contains(server.name)), "{said}");
}

#[test]
fn a_web_server_waits_longer_than_the_portals_of_a_route_and_a_login_take() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("keyward.toml");
    let example = std::fs::read_to_string(example("nginx-fastcgi").join("keyward.toml")).unwrap();
    for (timeout, expected) in [("3s", "proxy_read_timeout    21s;"), ("40s", "proxy_read_timeout    51s;")] {
        let asked = format!(
            "[[portal]]\nname = \"asked\"\nkind = \"introspect\"\ncookie = \"asked\"\n\
             url = \"http://127.0.0.1:8002/who\"\ntimeout = \"{timeout}\"\n\
             login_url = \"https://portal.example.test/?next={{url}}\"\n[[backend]]"
        );
        let text = example.replacen("[[backend]]", &asked, 1);
        let text = text.replace("portal  = \"customer-portal\"", "portal = [\"customer-portal\", \"asked\"]");
        std::fs::write(&configuration, text).unwrap();
        let output = run(&["snippet", "nginx", "-c", configuration.to_str().unwrap()]);
        let files = String::from_utf8(output.stdout).unwrap();
        assert!(files.contains(expected), "{timeout}: {files}");
    }
}

#[test]
fn what_is_there_stays_unless_force_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("new/folder");
    let configuration = example("haproxy").join("keyward.toml");
    let arguments =
        ["snippet", "haproxy", "-c", configuration.to_str().unwrap(), "--into", into.to_str().unwrap(), "--force"];
    let first = run(&arguments[..6]);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let file = into.join("haproxy.cfg");
    assert!(text(&first.stdout).contains(&format!("{} written\n", file.display())), "{first:?}");
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "mine").unwrap();
    let second = run(&arguments[..6]);
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    let said = text(&second.stdout);
    assert!(said.contains(&format!("{} is there already and stays as it is (--force)\n", file.display())), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(run(&arguments).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    let without_folder = run(&["snippet", "haproxy", "--force"]);
    assert_eq!(without_folder.status.code(), Some(2), "{without_folder:?}");
}

#[test]
fn several_files_are_printed_each_under_its_name() {
    let configuration = example("nginx").join("keyward.toml");
    let output = run(&["snippet", "nginx", "-c", configuration.to_str().unwrap(), "--listen", "192.0.2.1:81"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = text(&output.stdout);
    assert!(printed.starts_with("#### site.conf\n") && printed.contains("\n#### keyward/server.inc\n"), "{printed}");
    assert!(printed.contains("listen 192.0.2.1:81 default_server;") && !printed.contains("127.0.0.1:8080"));
}

#[test]
fn a_broken_configuration_is_told_with_all_its_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.toml");
    std::fs::write(&file, "[limits]\nanswer = 1\n[[route]]\nhost = \"a b\"\npublic = true\n").unwrap();
    let output = run(&["snippet", "nginx", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("limits.answer") && said.contains("route[1].host") && output.stdout.is_empty(), "{said}");
}

#[test]
fn a_reader_that_went_away_is_no_panic() {
    let configuration = example("nginx").join("keyward.toml");
    let mut child = keyward(&["snippet", "nginx", "-c", configuration.to_str().unwrap()]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    assert!(output.status.code().is_some() && !text(&output.stderr).contains("panicked"), "{output:?}");
}

/// A configuration with one application, and this in place of a part of it.
fn refused(from: &str, to: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.toml");
    let whole = std::fs::read_to_string(example("haproxy").join("keyward.toml")).unwrap();
    assert!(whole.contains(from), "{from}");
    std::fs::write(&file, whole.replacen(from, to, 1)).unwrap();
    let output = run(&["snippet", "haproxy", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{to}: {output:?}");
    assert!(output.stdout.is_empty(), "{to}: {output:?}");
    text(&output.stderr)
}

#[test]
fn what_could_mean_something_else_is_refused_with_its_key_and_the_remedy() {
    for (from, to, key) in [
        ("[logout]", "[listen]\nauth = \"unix:/run/key ward.sock\"\n[logout]", "listen.auth"),
        ("[logout]", "[listen]\nauth = \"unix:/run/a;b\"\n[logout]", "listen.auth"),
        ("[logout]", "[listen]\nauth = 'unix:/run/\"a\"'\n[logout]", "listen.auth"),
        ("[logout]", "[listen]\nauth = \"unix:/run/a\\nb\"\n[logout]", "listen.auth"),
        ("[logout]", "[listen]\nfastcgi = \"unix:/run/{a}\"\n[logout]", "listen.fastcgi"),
    ] {
        let said = refused(from, to);
        assert!(said.contains(key) && said.contains("only letters, digits and"), "{to}: {said}");
    }
}

/// What each web server writes for these values, by the name of the server and of the file.
fn written(values: &Values) -> Result<Vec<(String, String)>, SnippetError> {
    let url = Url::parse(&format!("http://{}:8000", values.authority));
    let url = url.map_err(|_| SnippetError::at("backend.url", "is none"))?;
    let upstream = Upstream::new(&values.name, "form", &url)?.wanting(false, vec![values.cookie.clone()])?;
    let route = RouteSettings {
        host: values.host.clone(),
        path: values.path.clone(),
        methods: Vec::new(),
        portals: vec!["portal".to_owned()],
        backend: Some(values.name.clone()),
        roles: Vec::new(),
        public: false,
        authorization: true,
        url_key: UrlKey::Upstream,
    };
    let socket = ListenAddress::Unix { path: values.socket.clone().into(), mode: 0o660 };
    Door::new("listen.auth", &socket)?;
    let header = |name: &str| format!("{}-{name}", values.header);
    let site = Site {
        public: ([127, 0, 0, 1], 8080).into(),
        auth: Door::Tcp(([127, 0, 0, 1], 8420).into()),
        fastcgi: Some(Door::Tcp(([127, 0, 0, 1], 8421).into())),
        grpc: Some(Door::Tcp(([127, 0, 0, 1], 8422).into())),
        identity_headers: [header("user"), header("name"), header("email"), header("groups")],
        signed_out: Some(Site::in_query(&url)),
        answer_limit: 8192,
        longest_question: Duration::from_secs(20),
        hosts: Host::of_routes(&[route], &[upstream])?,
    };
    let site = site.checked()?;
    let mut all = Vec::new();
    for server in SERVERS {
        let files = (server.write)(&site)?;
        all.extend(files.into_iter().map(|file| (format!("{}/{}", server.name, file.path), file.text)));
    }
    Ok(all)
}

#[derive(Clone, Debug)]
struct Values {
    host: String,
    path: String,
    name: String,
    authority: String,
    cookie: String,
    header: String,
    socket: String,
}

fn innocent() -> Values {
    Values {
        host: "a.test".to_owned(),
        path: "/a".to_owned(),
        name: "mail".to_owned(),
        authority: "b.test".to_owned(),
        cookie: "sid".to_owned(),
        header: "remote".to_owned(),
        socket: "/run/a.sock".to_owned(),
    }
}

/// A line less all that can mean nothing: what is left is the configuration's own grammar.
fn skeleton(text: &str) -> Vec<String> {
    let is_grammar = |c: &char| !c.is_ascii_alphanumeric() && !b"-._~/%:[]\\".contains(&(*c as u8)) || !c.is_ascii();
    let line = |line: &str| {
        let words: Vec<String> =
            line.split_whitespace().map(|word| word.chars().filter(is_grammar).collect()).collect();
        words.join(" ")
    };
    text.lines().map(line).collect()
}

/// Words, and words with one character too many in them.
fn word(start: &'static str) -> impl Strategy<Value = String> {
    let odd = r#"[ \t\n\r;{}"'`$#\\@%<>&|(),=*?!^+~\[\]é\u{0}]"#;
    prop_oneof![
        "[a-z0-9]{1,12}".prop_map(move |word| format!("{start}{word}")),
        ("[a-z]{0,3}", odd, "[a-z@]{0,3}").prop_map(move |(a, b, c)| format!("{start}{a}{b}{c}")),
    ]
}

proptest! {
    #[test]
    fn no_value_writes_configuration_of_its_own(
        at in 0_usize..7, plain in "[a-z][a-z0-9]{0,12}", host in word(""), path in word("/"), other in word(""),
    ) {
        let mut values = innocent();
        values.host = plain.clone();
        match at {
            0 => values.host = host,
            1 => values.path = path,
            2 => values.name = other,
            3 => values.authority = other,
            4 => values.cookie = other,
            5 => values.header = other,
            _ => values.socket = path,
        }
        match written(&values) {
            Err(error) => prop_assert!(!error.key.is_empty() && !error.message.is_empty()),
            Ok(files) => {
                for ((name, text), (_, plain)) in files.iter().zip(&written(&innocent()).unwrap()) {
                    prop_assert_eq!(skeleton(text), skeleton(plain), "{} with {:?}", name, values);
                }
            }
        }
    }
}

#[test]
fn plain_values_are_never_refused() {
    let written = written(&innocent());
    assert!(written.is_ok(), "{:?}", written.err());
}

/// Several applications on one host and one on another, on a Unix socket, with headers of their own names.
const SEVERAL: &str = r#"
[listen]
auth = "unix:/run/keyward/auth.sock"
[logout]
return_to = ["https://portal.example.test/out?a='$host;&b={"]
[headers]
user = "X-Sso-User"
groups = "G"
[[portal]]
name = "p"
kind = "ticket"
cookie = "portal_session"
login_url = "https://portal.example.test/login?next={url}"
key = [{ id = "k", secret = "0123456789abcdef0123456789abcdef" }]
[[backend]]
name = "mail-1"
kind = "roundcube"
url = "http://127.0.0.1:8000"
[[backend]]
name = "mail-2"
kind = "roundcube"
url = "http://[::1]:8001"
[[route]]
host = "webmail.example.test"
path = "/second.one"
portal = "p"
backend = "mail-2"
authorization = true
[[route]]
host = "webmail.example.test"
path = "/open"
public = true
[[route]]
host = "webmail.example.test"
portal = "p"
backend = "mail-1"
[[route]]
host = "[2001:db8::1]"
path = "/api"
portal = "p"
backend = "mail-2"
authorization = true
[[route]]
host = "[2001:db8::1]"
portal = "p"
backend = "mail-2"
[[route]]
host = "bare.example.test"
public = true
"#;

/// What comes out for a configuration, in a folder, with its arguments.
fn written_into(folder: &Path, server: &str, configuration: &str) -> Output {
    let file = folder.join("keyward.toml");
    std::fs::write(&file, configuration).unwrap();
    let (file, into) = (file.to_str().unwrap(), folder.to_str().unwrap());
    run(&["snippet", server, "-c", file, "--into", into, "--listen", "[::1]:8080"])
}

#[test]
fn nginx_accepts_several_applications_on_one_host() {
    let directory = tempfile::tempdir().unwrap();
    let output = written_into(directory.path(), "nginx", SEVERAL);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::fs::copy(example("nginx").join("nginx.conf"), directory.path().join("nginx.conf")).unwrap();
    let site = std::fs::read_to_string(directory.path().join("site.conf")).unwrap();
    assert!(site.contains("server unix:/run/keyward/auth.sock;") && site.contains("%24host%3B%26b%3D%7B"));
    let place =
        site.split_once("location ~ \"^/second\\.one(?:/|$)\" {").unwrap().1.split_once("protected.inc").unwrap().0;
    assert!(place.contains("set $keyward_upstream mail-2;") && place.contains("$http_authorization;"), "{place}");
    let place = site.split_once("location ~ \"^/open(?:/|$)\" {").unwrap().1.split_once("protected.inc").unwrap().0;
    assert!(place.contains("set $keyward_upstream mail-1;") && !place.contains("$http_authorization;"), "{place}");
    let nginx = find_program("nginx").unwrap();
    let arguments = ["-e", "stderr", "-p", directory.path().to_str().unwrap(), "-c", "nginx.conf", "-t"];
    let tested = Command::new(nginx).args(arguments).output().unwrap();
    assert!(tested.status.success(), "{tested:?}");
}

#[test]
fn haproxy_accepts_several_applications_on_one_host() {
    let directory = tempfile::tempdir().unwrap();
    let output = written_into(directory.path(), "haproxy", SEVERAL);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let haproxy = find_program("haproxy").unwrap_or_else(|| panic!("haproxy is not installed; tests/run installs it"));
    let file = directory.path().join("haproxy.cfg");
    let tested = Command::new(haproxy).args(["-c", "-f"]).arg(&file).output().unwrap();
    assert!(tested.status.success(), "{tested:?}");
}

#[test]
fn an_application_that_wants_a_host_of_its_own_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let output = written_into(directory.path(), "nginx", &SEVERAL.replacen("roundcube", "axigen", 1));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("backend[mail-1].kind") && said.contains("give it another host"), "{said}");
}

#[test]
fn https_to_an_application_is_refused_where_it_is_not_spoken() {
    for server in ["nginx", "haproxy"] {
        let directory = tempfile::tempdir().unwrap();
        let configuration = SEVERAL.replace("http://127.0.0.1:8000", "https://127.0.0.1:8000");
        let output = written_into(directory.path(), server, &configuration);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("backend[mail-1].url is https"), "{output:?}");
    }
}
