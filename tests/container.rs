//! The image that `examples/container/Dockerfile` makes. Its last stage is put together here as a folder, from the very
//! lines of the file, and the program runs there with nothing else around it.
//!
//! The program is the one just built, and brings the shared libraries that it needs. With `STATIC_KEYWARD=<file>` it is
//! that one, which must need none: to build it takes longer than all tests together.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fakes::server::{Reply, Request, Server};
use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, find_program, free_address};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use serde_json::json;
use support::{Answer, Ask, Connection, Door};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const DOCKERFILE: &str = include_str!("../examples/container/Dockerfile");
/// As the portal wrote it into her browser.
const ANAS_SESSION: &str = "0123456789abcdef-of-ana";
const IGNORED: &str = include_str!("../examples/container/Dockerfile.dockerignore");

/// The program as the image has it.
fn program() -> PathBuf {
    std::env::var_os("STATIC_KEYWARD").map_or_else(|| env!("CARGO_BIN_EXE_keyward").into(), PathBuf::from)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What the last stage says: each instruction with what stands behind it.
fn last_stage() -> Vec<(&'static str, &'static str)> {
    let (_, stage) = DOCKERFILE.split_once("\nFROM scratch\n").expect("the last stage begins with nothing");
    let lines = stage.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

fn said_once(instruction: &str) -> &'static str {
    let stage = last_stage();
    let mut said = stage.iter().filter(|(name, _)| *name == instruction).map(|(_, rest)| *rest);
    let first = said.next().unwrap_or_else(|| panic!("no {instruction}"));
    assert_eq!(said.next(), None, "{instruction} twice");
    first
}

fn words(instruction: &str) -> Vec<String> {
    serde_json::from_str(said_once(instruction)).expect("a list of words: there is no shell")
}

#[test]
fn hadolint_finds_no_fault_with_the_dockerfile() {
    let hadolint = root().join("target/tools/hadolint/bin/hadolint");
    assert!(hadolint.is_file(), "hadolint is not there; tests/run installs it");
    let output = Command::new(hadolint).arg(root().join("examples/container/Dockerfile")).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Every file that the compiler read for the library, as it noted them itself when this test was built.
fn files_of_the_library() -> Vec<PathBuf> {
    let notes = std::fs::read_dir(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let notes = notes.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "d"));
    let ours = notes.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("keyward-"));
    let of_a_library = |path: &PathBuf| std::fs::read_to_string(path).unwrap().contains(".rlib:");
    // Those of builds before it are still there.
    let newest = ours.filter(of_a_library).max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    let note = std::fs::read_to_string(newest.expect("a note of the compiler's")).unwrap();
    let (_, files) = note.lines().next().unwrap().split_once(": ").unwrap();
    let within = |file: &str| {
        let file = root().join(file).canonicalize().unwrap();
        file.strip_prefix(root().canonicalize().unwrap()).unwrap().to_owned()
    };
    files.split(' ').map(within).collect()
}

#[test]
fn the_build_is_handed_everything_that_it_reads() {
    let given: Vec<&str> = IGNORED.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(IGNORED.lines().filter(|line| !line.starts_with(['#', '!'])).collect::<Vec<_>>(), ["*"]);
    for name in &given {
        assert!(root().join(name).exists(), "{name} is not there");
    }
    let mut read = files_of_the_library();
    for sure in ["src/lib.rs", "src/demo/mod.rs", "examples/nginx/nginx.conf", "tests/fakes/mod.rs"] {
        assert!(read.contains(&PathBuf::from(sure)), "the note was not understood: {sure} is not in {read:?}");
    }
    // cargo itself looks for these.
    read.extend(
        ["src/main.rs", "build.rs", "Cargo.toml", "Cargo.lock", "benches/decide.rs", "benches/side_by_side/main.rs"]
            .map(PathBuf::from),
    );
    for file in read {
        assert!(given.iter().any(|name| file.starts_with(name)), "{file:?} is read, and not handed to the build");
    }
}

#[test]
fn the_image_is_called_what_the_manifests_call_it() {
    let name = concat!("keyward:", env!("CARGO_PKG_VERSION"));
    for file in [
        "container/Dockerfile",
        "container/README.md",
        "kubernetes/shared/deployment.yaml",
        "kubernetes/sidecar/deployment.yaml",
    ] {
        let text = std::fs::read_to_string(root().join("examples").join(file)).unwrap();
        assert!(text.contains(name), "examples/{file} does not name {name}");
    }
}

#[test]
fn the_ports_are_those_that_the_program_listens_on() {
    let reference = std::fs::read_to_string(root().join("conf/keyward.toml")).unwrap();
    let port = |key: &str| {
        let line = reference.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.trim_end_matches('"').rsplit(':').next().unwrap().to_owned()
    };
    assert_eq!(said_once("EXPOSE"), format!("{} {}", port("auth"), port("ops")));
}

/// The shared libraries that a program needs.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let found = text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    let found: Vec<PathBuf> = found.map(PathBuf::from).collect();
    let is_static = text.contains("statically linked") || text.contains("not a dynamic executable");
    assert_eq!(found.is_empty(), is_static, "{text}");
    assert!(is_static || std::env::var_os("STATIC_KEYWARD").is_none(), "it is not static: {text}");
    found
}

/// A certificate authority, and a server that it vouches for under a name.
fn authority(name: &str) -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (issuer.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// Stands before a server and speaks TLS; gives back its port.
async fn with_tls(acceptor: TlsAcceptor, server: SocketAddr) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut outside) = acceptor.accept(stream).await {
                    let mut inside = TcpStream::connect(server).await.unwrap();
                    // Whoever hangs up first ends it; that is no failure.
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
        }
    });
    port
}

/// A portal that knows ana by her cookie.
async fn portal() -> Server {
    let answer = |request: Request| async move {
        let known = request.cookies().get("portal_session").is_some_and(|cookie| cookie == ANAS_SESSION);
        Reply::json(200, &json!({"active": known, "username": "ana"}))
    };
    Server::start(answer).await.unwrap()
}

fn configuration(ports: [u16; 2]) -> String {
    let portal = |name: &str, port: u16| {
        format!(
            "[[portal]]\nname = \"{name}\"\nkind = \"introspect\"\ncookie = \"portal_session\"\n\
             login_url = \"https://portal.example.test/?next={{url}}\"\nurl = \"https://portal.internal:{port}/\"\n"
        )
    };
    let route = |name: &str| format!("[[route]]\nhost = \"{name}.example.test\"\nportal = \"{name}\"\n");
    [portal("known", ports[0]), portal("stranger", ports[1]), route("known"), route("stranger")].concat()
}

/// The running container.
struct Container {
    process: Process,
    workspace: TemporaryWorkspace,
    auth: Address,
    ops: Address,
}

impl Container {
    /// Puts the last stage together, with what a container's runtime adds, and starts it with a root that is read-only.
    async fn start(authorities: &str, config: &str) -> Self {
        let workspace = Workspace::temporary().unwrap();
        let image = workspace.path().join("image");
        for path in ["", "etc", "etc/keyward"] {
            std::fs::create_dir(image.join(path)).unwrap();
        }
        for (_, copy) in last_stage().into_iter().filter(|(name, _)| *name == "COPY") {
            let [stage, from, to] = copy.split(' ').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(stage, "--from=build", "{copy}");
            let to = image.join(to.strip_prefix('/').unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            match from {
                "/image/keyward" => drop(std::fs::copy(program(), to).unwrap()),
                "/etc/ssl/certs/ca-certificates.crt" => std::fs::write(to, authorities).unwrap(),
                other => panic!("nobody knows what {other} is"),
            }
        }
        for library in libraries(&program()) {
            let to = image.join(library.strip_prefix("/").unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(library, to).unwrap();
        }
        std::fs::write(image.join("etc/hosts"), "127.0.0.1 portal.internal\n").unwrap();
        std::fs::write(image.join("etc/keyward/keyward.toml"), config).unwrap();
        Self::run(workspace, &image).await
    }

    async fn run(workspace: TemporaryWorkspace, image: &Path) -> Self {
        let [auth, ops] = [free_address().unwrap(), free_address().unwrap()];
        // Who is not root is the root of a namespace of its own, where there is nobody else to become.
        let (namespace, user) = match is_root() {
            true => ("--mount", format!("--userspec={} --groups=", said_once("USER"))),
            false => ("--mount --map-root-user", String::new()),
        };
        let script = format!(
            "mount --bind {image} {image} && mount -o remount,bind,ro {image} && echo $$ >{pid} &&
             exec {env} -i KEYWARD__LISTEN__AUTH={auth} KEYWARD__LISTEN__OPS={ops} {chroot} {user} {image} \"$@\"",
            image = image.display(),
            pid = workspace.path().join("pid").display(),
            env = find_program("env").unwrap().display(),
            chroot = find_program("chroot").unwrap().display(),
        );
        let start = format!("exec unshare {namespace} /bin/sh -c \"$0\" sh \"$@\"");
        let command = [vec!["-c".to_owned(), start, script], words("ENTRYPOINT"), words("CMD")].concat();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let ours = workspace.with_our_rights();
        let mut process = Process::start("keyward", Path::new("/bin/sh"), &command, &ours).unwrap();
        let (auth, ops) = (Address::Tcp(auth), Address::Tcp(ops));
        process.ready(&auth).await.unwrap();
        process.ready(&ops).await.unwrap();
        Self { process, workspace, auth, ops }
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(self.workspace.path().join("pid")).unwrap().trim().to_owned()
    }

    async fn ask(&self, url: &str) -> Answer {
        let ask = Ask::get(url).cookie(format!("portal_session={ANAS_SESSION}"));
        Connection::open(&self.auth).await.ask(Door::AuthRequest, &ask).await
    }
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

#[tokio::test]
async fn with_nothing_else_around_it_the_program_finds_names_trusts_and_decides() {
    let portal = portal().await;
    let (known, acceptor) = authority("portal.internal");
    let (_, stranger) = authority("portal.internal");
    let ports = [with_tls(acceptor, portal.address()).await, with_tls(stranger, portal.address()).await];
    let mut container = Container::start(&known, &configuration(ports)).await;

    let mut operator = Connection::open(&container.ops).await;
    operator.send("GET /readyz HTTP/1.1\r\nHost: ops\r\n\r\n").await;
    assert_eq!(operator.answer().await.status, 200);
    container.ask("https://known.example.test/").await.assert_allows("ana");
    let unsure = container.ask("https://stranger.example.test/").await;
    assert_eq!((unsure.status, unsure.reason().as_str()), (503, "portal_unavailable"), "nobody vouches for that one");

    let proc = PathBuf::from("/proc").join(container.pid());
    let mounts = std::fs::read_to_string(proc.join("mountinfo")).unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(mount.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{mount}");
    if is_root() {
        let status = std::fs::read_to_string(proc.join("status")).unwrap();
        for line in
            ["Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000"]
        {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        assert_eq!(said_once("USER"), "65532:65532");
        // The kernel takes the files of a process from its user that must not be dumped (proc(5)).
        let environment = std::fs::metadata(proc.join("environ")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&environment), 0);
    }
    let signal = said_once("STOPSIGNAL").strip_prefix("SIG").unwrap();
    let kill = Command::new("/bin/sh").args(["-c", &format!("kill -{signal} {}", container.pid())]).status();
    assert!(kill.unwrap().success());
    assert_eq!(container.process.ended().await.unwrap().code(), Some(0));
}
