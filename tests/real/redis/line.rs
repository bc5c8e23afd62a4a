use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use keyward::demo::process::free_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// All lines have a thread of their own: where they shared one with a crowd, whatever the crowd does would take
/// time on the way to the store.
static LINES: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// How a [`Line`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Slow(Duration),
    Stalled,
    Cut,
}

/// What its connections go by.
#[derive(Clone, Copy, Debug)]
struct Course {
    state: State,
    target: SocketAddr,
    /// Those that are older than this are dead, and nobody tells either end.
    age: u64,
}

/// A TCP connection's way, from an address of its own to another.
pub struct Line {
    address: SocketAddr,
    course: Arc<watch::Sender<Course>>,
    accepting: JoinHandle<()>,
}

/// What stands for what in answers.
type Words = Arc<Vec<(Vec<u8>, Vec<u8>)>>;

impl Line {
    /// To what listens there.
    pub async fn to(target: SocketAddr) -> Self {
        Self::from(listener().await, target, Words::default())
    }

    /// A line to each of these servers, which tell each other's addresses to whoever asks. On these lines they name the
    /// beginning of the line in the place of the server, as where addresses are translated on the way.
    pub async fn translated(servers: &[SocketAddr]) -> Vec<Self> {
        let mut listeners = Vec::new();
        for _ in servers {
            listeners.push(listener().await);
        }
        let mut words = Vec::new();
        for (server, listener) in servers.iter().zip(&listeners) {
            let line = listener.local_addr().unwrap();
            words.extend(spellings(*server).into_iter().zip(spellings(line)));
        }
        let words = Arc::new(words);
        let lines = listeners.into_iter().zip(servers);
        lines.map(|(listener, server)| Self::from(listener, *server, Arc::clone(&words))).collect()
    }

    fn from(listener: TcpListener, target: SocketAddr, words: Words) -> Self {
        let address = listener.local_addr().unwrap();
        let course = Arc::new(watch::Sender::new(Course { state: State::Whole, target, age: 0 }));
        let seen = Arc::clone(&course);
        let accepting = LINES.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, seen.subscribe(), Arc::clone(&words)));
            }
        });
        Self { address, course, accepting }
    }

    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and every new one at once.
    pub fn cut(&self) {
        self.become_so(State::Cut);
    }

    /// Holds everything back. Connections stay, and new ones are taken.
    pub fn stall(&self) {
        self.become_so(State::Stalled);
    }

    /// Holds every piece back for so long, each way.
    pub fn slow(&self, delay: Duration) {
        self.become_so(State::Slow(delay));
    }

    /// All is well again; what was held back goes on.
    pub fn heal(&self) {
        self.become_so(State::Whole);
    }

    fn become_so(&self, state: State) {
        self.course.send_modify(|course| course.state = state);
    }

    /// Forgets every connection there is, and tells nobody: what is said on one of them from now on is lost. New
    /// ones are as good as ever.
    pub fn forget_connections(&self) {
        self.course.send_modify(|course| course.age += 1);
    }

    /// Leads elsewhere from now on. Connections stay where they are.
    pub fn lead_to(&self, target: SocketAddr) {
        self.course.send_modify(|course| course.target = target);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn listener() -> TcpListener {
    // Not at a port that was free a moment ago.
    LINES.spawn(async { TcpListener::bind((free_address().unwrap().ip(), 0)).await.unwrap() }).await.unwrap()
}

/// An address as Sentinels, the nodes of a Cluster, and those who send somebody elsewhere write it.
fn spellings(address: SocketAddr) -> [Vec<u8>; 3] {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    [bulk(&ip) + &bulk(&port), format!("{}:{port}\r\n", bulk(&ip)), format!(" {ip}:{port}\r\n")].map(String::into_bytes)
}

async fn carry(near: TcpStream, watching: watch::Receiver<Course>, words: Words) {
    let mut cut = watching.clone();
    let both = async {
        let course = *watching.borrow();
        let Ok(far) = TcpStream::connect(course.target).await else { return };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = one_way(near_in, far_out, watching.clone(), course.age, Words::default()) => {}
            () = one_way(far_in, near_out, watching.clone(), course.age, words) => {}
        }
    };
    tokio::select! {
        _ = cut.wait_for(|course| course.state == State::Cut) => {}
        () = both => {}
    }
}

async fn one_way(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut watching: watch::Receiver<Course>,
    age: u64,
    words: Words,
) {
    let mut piece = [0; 16384];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        let may_pass = |course: &Course| course.state != State::Stalled && course.age == age;
        let Ok(state) = watching.wait_for(may_pass).await.map(|course| course.state) else { return };
        if let State::Slow(delay) = state {
            tokio::time::sleep(delay).await;
        }
        let passed = words.iter().fold(piece[..length].to_vec(), |text, (this, that)| replaced(text, this, that));
        if to.write_all(&passed).await.is_err() {
            return;
        }
    }
}

/// Servers write such answers in one piece, so that no word is torn apart.
fn replaced(text: Vec<u8>, this: &[u8], that: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memmem::find(&text, this) else { return text };
    let rest = replaced(text[at + this.len()..].to_vec(), this, that);
    [&text[..at], that, &rest].concat()
}
