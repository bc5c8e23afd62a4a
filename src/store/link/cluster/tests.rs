use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Section;
use crate::observe::Metrics;
use crate::store::link::Link;
use crate::store::{Place, StorePlan};

#[test]
fn slots_are_those_of_the_specification() {
    // The first is the specification's own example, the others are what a server says to CLUSTER KEYSLOT.
    for (tag, expected) in [("123456789", 0x31C3), ("foo", 12182), ("", 0), ("user1000", 3443)] {
        assert_eq!(slot(tag.as_bytes()), expected, "{tag}");
    }
}

#[test]
fn what_cannot_be_understood_is_left_out() {
    let asked = Address::parse("10.0.0.1:7000").unwrap();
    let node = |host: &str, port| Value::Array(vec![Value::BulkString(host.into()), Value::Int(port)]);
    let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
    let answer = Value::Array(vec![
        range(0, 5460, node("10.0.0.2", 7001)),
        range(5461, 9, node("10.0.0.2", 7001)),
        range(-1, 9, node("10.0.0.2", 7001)),
        range(5461, 5461, node("10.0.0.2", 70000)),
        range(5461, 5461, node("10.0.0.2", 0)),
        range(5461, 10922, node("", 7002)),
        range(10923, 16383, Value::Array(vec![Value::Nil, Value::Int(7003)])),
        Value::Nil,
    ]);
    let told: Vec<String> =
        ranges(&answer, &asked).iter().map(|(first, last, to)| format!("{first}-{last} {to}")).collect();
    assert_eq!(told, ["0-5460 10.0.0.2:7001", "5461-10922 10.0.0.1:7002", "10923-16383 10.0.0.1:7003"]);
    assert_eq!(ranges(&Value::Nil, &asked), []);
}

/// A node of which one can say what it tells.
struct Fake {
    port: u16,
    tells: Arc<Mutex<Tells>>,
    /// How often somebody came.
    met: Arc<AtomicUsize>,
}

/// What it tells: who has all slots, and whether the Cluster serves anybody. Dead, it hangs up on everybody.
struct Tells {
    holder: u16,
    is_served: bool,
    is_dead: bool,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tells = Arc::new(Mutex::new(Tells { holder: port, is_served: true, is_dead: false }));
        let met = Arc::new(AtomicUsize::new(0));
        let (telling, meeting) = (Arc::clone(&tells), Arc::clone(&met));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                meeting.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(Self::speak(stream, port, Arc::clone(&telling)));
            }
        });
        Self { port, tells, met }
    }

    async fn speak(mut stream: TcpStream, port: u16, tells: Arc<Mutex<Tells>>) {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            let asked = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let answers = {
                let Tells { holder, is_served, is_dead } = *tells.lock();
                if is_dead {
                    return;
                }
                let state = if is_served { "ok" } else { "fail" };
                let answer = |word| match word {
                    "PING" => "+PONG\r\n".to_owned(),
                    "SLOTS" => format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n+127.0.0.1\r\n:{holder}\r\n"),
                    "INFO" => format!("+cluster_state:{state}\r\n"),
                    _ => format!("*1\r\n+{port}\r\n"),
                };
                asked
                    .split("\r\n")
                    .filter(|word| ["PING", "SLOTS", "INFO", "EVALSHA"].contains(word))
                    .map(answer)
                    .collect::<String>()
            };
            if stream.write_all(answers.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn plan(nodes: &[&Fake]) -> StorePlan {
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let text = format!(
        "kind = \"redis\"\nmode = \"cluster\"\naddresses = {addresses:?}\ntimeout = \"5s\"\n\
         names_secret = \"names names names names names 32!\"\n\
         [[key]]\nid = \"k\"\nsecret = \"seals seals seals seals seals 32!\"\n"
    );
    StorePlan::read(Section::from_toml(&text).unwrap()).unwrap()
}

fn link(nodes: &[&Fake], metrics: &Metrics) -> Link {
    let StorePlan { terms, access, .. } = plan(nodes);
    Link::new(terms, access, metrics.store())
}

/// The port of whoever answers.
async fn asked(link: &Link) -> Result<Option<u64>, StoreOutage> {
    let answer = link.run(&crate::store::script::GET, &Place::from_bytes([7; 16]), &[]).await;
    answer.map(|answer| answer.number(0))
}

async fn until(so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it never was");
}

#[tokio::test]
async fn a_cluster_that_serves_nobody_is_no_store_until_it_does() {
    let (node, metrics) = (Fake::start().await, Metrics::new());
    let link = link(&[&node], &metrics);
    let is_up = || metrics.store().up.get() == 1;
    assert_eq!(asked(&link).await, Ok(Some(node.port.into())));
    until(is_up).await;
    node.tells.lock().is_served = false;
    link.configure(plan(&[&node]).access);
    until(|| !is_up()).await;
    node.tells.lock().is_served = true;
    until(is_up).await;
}

#[tokio::test]
async fn a_node_that_is_cut_off_from_the_others_is_not_believed() {
    let [apart, other] = [Fake::start().await, Fake::start().await];
    apart.tells.lock().is_served = false;
    let link = link(&[&apart, &other], &Metrics::new());
    assert_eq!(asked(&link).await, Ok(Some(other.port.into())));
}

#[tokio::test]
async fn nodes_that_are_gone_are_not_stormed_however_many_ask() {
    let node = Fake::start().await;
    let link = link(&[&node], &Metrics::new());
    assert_eq!(asked(&link).await, Ok(Some(node.port.into())));
    node.tells.lock().is_dead = true;
    while asked(&link).await.is_ok() {}
    let (begun, met) = (Instant::now(), node.met.load(Ordering::SeqCst));
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(asked(&link).await.is_err());
        sleep(Duration::from_millis(1)).await;
    }
    let often = node.met.load(Ordering::SeqCst) - met;
    let most = 16 + 2 * begun.elapsed().as_secs() as usize;
    assert!(often < most, "{often} times");
}
