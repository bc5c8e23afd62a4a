//! Servers that do not mean well, or are none: whatever they say, nobody comes in by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::domain::{ManualClock, Outage};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{directory, timed, user};

const BIND: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const SEARCH: u8 = 0x63;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

/// What a server does when it is asked.
#[derive(Clone)]
pub enum Does {
    /// Says these bytes, and waits for the next question.
    Says(Vec<u8>),
    /// Says these bytes, and ends the connection.
    Ends(Vec<u8>),
    /// Says these bytes for ever.
    Repeats(Vec<u8>),
    /// Says these bytes, one a time.
    Drips(Vec<u8>),
    /// Nothing.
    Waits,
}

/// What it does when it is asked under this id.
type Lie = Box<dyn Fn(u8) -> Does + Send + Sync>;

/// A server that does what it is told for each question: the id and the kind of operation.
pub struct Liar {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<u8>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Liar {
    pub async fn start(script: impl Fn(u8, u8) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (script, seen, count) = (Arc::new(script), Arc::clone(&asked), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        Self { address, asked, connections }
    }

    fn template(&self) -> String {
        format!("servers = [\"ldap://{}\"]\ndn = \"uid={{login}},dc=test\"\ntimeout = \"1s\"\n", self.address)
    }
}

async fn serve(mut stream: TcpStream, script: Arc<impl Fn(u8, u8) -> Does>, asked: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = vec![0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        let Some((id, operation)) = question(&bytes[..count]) else { return };
        asked.lock().push(operation);
        let sent = match script(id, operation) {
            Does::Says(answer) => stream.write_all(&answer).await,
            Does::Ends(answer) => {
                let _ = stream.write_all(&answer).await;
                return;
            }
            Does::Repeats(answer) => loop {
                if let Err(error) = stream.write_all(&answer).await {
                    break Err(error);
                }
            },
            Does::Drips(answer) => {
                for byte in answer {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(())
            }
            Does::Waits => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The id and the operation of a message.
fn question(bytes: &[u8]) -> Option<(u8, u8)> {
    let long = usize::from(bytes.get(1)?.checked_sub(0x80).unwrap_or(0));
    match bytes.get(2 + long..)? {
        [2, 1, id, operation, ..] => Some((*id, *operation)),
        _ => None,
    }
}

pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, content].concat()
}

pub fn message(id: u8, operation: u8, content: &[u8]) -> Vec<u8> {
    element(0x30, &[element(2, &[id]), element(operation, content)].concat())
}

pub fn result(code: &[u8]) -> Vec<u8> {
    [element(10, code), element(4, b""), element(4, b"")].concat()
}

fn entry(id: u8, dn: &str, uid: &str) -> Vec<u8> {
    let attribute = element(0x30, &[element(4, b"uid"), element(0x31, &element(4, uid.as_bytes()))].concat());
    message(id, ENTRY, &[element(4, dn.as_bytes()), element(0x30, &attribute)].concat())
}

/// What an honest server says to everything: yes, and that alice is there.
pub fn honest(id: u8, operation: u8) -> Does {
    match operation {
        BIND => Does::Says(message(id, BIND_RESPONSE, &result(&[0]))),
        SEARCH => Does::Says([entry(id, "uid=alice,dc=test", "alice"), message(id, DONE, &result(&[0]))].concat()),
        EXTENDED => Does::Says(message(id, EXTENDED_RESPONSE, &result(&[0]))),
        _ => Does::Waits,
    }
}

async fn after(operation: u8, does: impl Fn(u8) -> Does + Send + Sync + 'static) -> Result<Option<String>, Outage> {
    let liar = Liar::start(move |id, asked| if asked == operation { does(id) } else { honest(id, asked) }).await;
    let outcome = user(&directory(&liar.template()), "alice", "wonderland").await;
    assert!(liar.asked.lock().contains(&operation), "it was never asked");
    outcome
}

#[tokio::test]
async fn the_scripted_server_lets_people_in_as_long_as_it_tells_the_truth() {
    let liar = Liar::start(honest).await;
    assert_eq!(user(&directory(&liar.template()), "alice", "x").await, Ok(Some("alice".to_owned())));
}

#[tokio::test]
async fn no_strange_answer_to_a_bind_is_a_yes() {
    let yes = |id| message(id, BIND_RESPONSE, &result(&[0]));
    let deep = |levels: usize| (0..levels).fold(Vec::new(), |inner, _| element(0x30, &inner));
    let lies: Vec<(&str, Lie)> = vec![
        ("nothing", Box::new(|_| Does::Ends(vec![]))),
        ("silence", Box::new(|_| Does::Waits)),
        ("half an answer", Box::new(move |id| Does::Ends(yes(id)[..12].to_vec()))),
        ("half an answer and silence", Box::new(move |id| Does::Says(yes(id)[..12].to_vec()))),
        ("a drip", Box::new(move |id| Does::Drips(yes(id)))),
        ("a web page", Box::new(|_| Does::Says(b"HTTP/1.1 200 OK\r\n\r\n<html>yes</html>".to_vec()))),
        ("JSON", Box::new(|_| Does::Says(b"{\"ok\":true}".to_vec()))),
        ("garbage", Box::new(|_| Does::Says(vec![0xff; 300]))),
        ("zeros", Box::new(|_| Does::Says(vec![0; 300]))),
        ("zeros for ever", Box::new(|_| Does::Repeats(vec![0; 9999]))),
        ("no code", Box::new(|id| Does::Says(message(id, BIND_RESPONSE, &result(&[]))))),
        ("a code that overflows", Box::new(|id| Does::Says(message(id, BIND_RESPONSE, &result(&[1, 0, 0, 0, 0]))))),
        ("no result", Box::new(|id| Does::Says(message(id, BIND_RESPONSE, &[])))),
        ("a result cut off", Box::new(|id| Does::Says(message(id, BIND_RESPONSE, &element(10, &[0]))))),
        (
            "no UTF-8",
            Box::new(|id| {
                let result = [element(10, &[0]), element(4, &[0xff]), element(4, b"")].concat();
                Does::Says(message(id, BIND_RESPONSE, &result))
            }),
        ),
        (
            "an integer for a code",
            Box::new(|id| {
                let result = [element(2, &[0]), element(4, b""), element(4, b"")].concat();
                Does::Says(message(id, BIND_RESPONSE, &result))
            }),
        ),
        ("another id", Box::new(move |id| Does::Says(yes(id + 1)))),
        ("id 0", Box::new(move |_| Does::Says(yes(0)))),
        ("another answer", Box::new(|id| Does::Says(message(id, DONE, &result(&[0]))))),
        ("an extended answer", Box::new(|id| Does::Says(message(id, EXTENDED_RESPONSE, &result(&[0]))))),
        ("an entry", Box::new(|id| Does::Says(entry(id, "uid=alice,dc=test", "alice")))),
        ("a bind of its own", Box::new(|id| Does::Says(message(id, BIND, &result(&[0]))))),
        ("an empty message", Box::new(|_| Does::Says(element(0x30, &[])))),
        ("an id alone", Box::new(|id| Does::Says(element(0x30, &element(2, &[id]))))),
        ("no operation", Box::new(|id| Does::Says(element(0x30, &[element(2, &[id]), vec![BIND_RESPONSE]].concat())))),
        ("nests", Box::new(move |_| Does::Says(deep(2000)))),
        ("a nest in a message", Box::new(move |id| Does::Says(message(id, BIND_RESPONSE, &deep(2000))))),
        ("a huge announcement", Box::new(|_| Does::Says(vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1]))),
        ("no end", Box::new(|_| Does::Says(vec![0x30, 0x80, 2, 1, 1]))),
        (
            "five megabytes",
            Box::new(|id| {
                let result = [element(10, &[0]), element(4, b""), element(4, &vec![b'x'; 5 << 20])].concat();
                Does::Says(message(id, BIND_RESPONSE, &result))
            }),
        ),
        (
            "a broken control",
            Box::new(|id| {
                let parts = [element(2, &[id]), element(BIND_RESPONSE, &result(&[0])), element(0xa0, &[0x30, 0])];
                Does::Says(element(0x30, &parts.concat()))
            }),
        ),
        (
            "more behind it",
            Box::new(|id| {
                let parts = [element(2, &[id]), element(BIND_RESPONSE, &result(&[0])), element(4, b"x")];
                Does::Says(element(0x30, &parts.concat()))
            }),
        ),
    ];
    for (what, lie) in lies {
        let outcome = after(BIND, lie).await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn result_codes_are_told_apart() {
    for code in 1..=130_u8 {
        let outcome = after(BIND, move |id| Does::Says(message(id, BIND_RESPONSE, &result(&[code])))).await;
        let no = [19, 32, 34, 48, 49, 50, 53].contains(&code);
        assert_eq!(outcome == Ok(None), no, "{code}: {outcome:?}");
        assert!(no || outcome.is_err(), "{code}: {outcome:?}");
        if code > 80 {
            continue;
        }
        let outcome = after(SEARCH, move |id| {
            Does::Says([entry(id, "uid=alice,dc=test", "alice"), message(id, DONE, &result(&[code]))].concat())
        });
        let outcome = outcome.await;
        assert!(!matches!(outcome, Ok(Some(_))), "{code}: {outcome:?}");
        assert_eq!(outcome == Ok(None), code == 32, "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn no_strange_answer_to_a_search_is_a_person() {
    let alice = |id| entry(id, "uid=alice,dc=test", "alice");
    let done = |id| message(id, DONE, &result(&[0]));
    let lies: Vec<(&str, Lie)> = vec![
        ("no end", Box::new(move |id| Does::Says(alice(id)))),
        ("half of it", Box::new(move |id| Does::Ends(alice(id)))),
        ("another id", Box::new(move |id| Does::Says([alice(id + 1), done(id)].concat()))),
        ("two at one place", Box::new(move |id| Does::Says([alice(id), alice(id), done(id)].concat()))),
        ("no end of it", Box::new(move |id| Does::Repeats(alice(id)))),
        (
            "no end of referrals",
            Box::new(|id| Does::Repeats(message(id, 0x73, &element(4, b"ldap://evil.example.test/")))),
        ),
        (
            "five megabytes",
            Box::new(move |id| Does::Says([entry(id, "uid=alice", &"a".repeat(5 << 20)), done(id)].concat())),
        ),
        ("an entry that is none", Box::new(move |id| Does::Says([message(id, ENTRY, b"alice"), done(id)].concat()))),
        (
            "an entry without values",
            Box::new(move |id| {
                let attribute = element(0x30, &element(4, b"uid"));
                let content = [element(4, b"uid=alice"), element(0x30, &attribute)].concat();
                Does::Says([message(id, ENTRY, &content), done(id)].concat())
            }),
        ),
        (
            "a bind's answer",
            Box::new(move |id| Does::Says([alice(id), message(id, BIND_RESPONSE, &result(&[0]))].concat())),
        ),
        (
            "an intermediate answer",
            Box::new(move |id| Does::Says([message(id, 0x79, &[]), alice(id), done(id)].concat())),
        ),
    ];
    for (what, lie) in lies {
        let outcome = after(SEARCH, lie).await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
    }
    for (what, uid) in [("nobody", ""), ("a line break", "ali\nce"), ("a blank", " alice")] {
        let lie = move |id| Does::Says([entry(id, "uid=alice,dc=test", uid), done(id)].concat());
        assert_eq!(after(SEARCH, lie).await, Ok(None), "{what}");
    }
    assert_eq!(after(SEARCH, move |id| Does::Says(done(id))).await, Ok(None), "nobody is there");
}

#[tokio::test]
async fn nobody_goes_where_a_referral_leads() {
    let elsewhere = Liar::start(honest).await;
    let url = format!("ldap://{}/", elsewhere.address);
    let referral = move |id, operation| {
        let result = [result(&[10]), element(0xa3, &element(4, url.as_bytes()))].concat();
        Does::Says(message(id, operation, &result))
    };
    let same = referral.clone();
    assert!(after(BIND, move |id| same(id, BIND_RESPONSE)).await.is_err());
    assert!(after(SEARCH, move |id| referral(id, DONE)).await.is_err());
    // One among the entries is left out.
    let url = format!("ldap://{}/", elsewhere.address);
    let beside = move |id| {
        let parts = [message(id, 0x73, &element(4, url.as_bytes())), entry(id, "uid=alice,dc=test", "alice")];
        Does::Says([parts.concat(), message(id, DONE, &result(&[0]))].concat())
    };
    assert_eq!(after(SEARCH, beside).await, Ok(Some("alice".to_owned())));
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn where_tls_is_not_begun_no_password_is_sent() {
    let certain = |id| message(id, EXTENDED_RESPONSE, &result(&[0]));
    let lies: Vec<(&str, Lie)> = vec![
        ("refused", Box::new(|id| Does::Says(message(id, EXTENDED_RESPONSE, &result(&[2]))))),
        ("busy", Box::new(|id| Does::Says(message(id, EXTENDED_RESPONSE, &result(&[52]))))),
        ("yes, and no TLS", Box::new(move |id| Does::Says(certain(id)))),
        (
            "yes, and what a bind would be answered",
            Box::new(move |id| Does::Says([certain(id), message(id + 1, BIND_RESPONSE, &result(&[0]))].concat())),
        ),
        ("another answer", Box::new(|id| Does::Says(message(id, BIND_RESPONSE, &result(&[0]))))),
        ("no code", Box::new(|id| Does::Says(message(id, EXTENDED_RESPONSE, &result(&[]))))),
        ("garbage", Box::new(|_| Does::Says(vec![0xff; 50]))),
        ("an end", Box::new(|_| Does::Ends(vec![]))),
        ("silence", Box::new(|_| Does::Waits)),
    ];
    for (what, lie) in lies {
        let liar = Liar::start(move |id, asked| if asked == EXTENDED { lie(id) } else { honest(id, asked) }).await;
        let outcome = user(&directory(&(liar.template() + "starttls = true\n")), "alice", "wonderland").await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
        let asked = liar.asked.lock();
        assert_eq!(asked.first(), Some(&EXTENDED), "{what}");
        assert!(!asked.contains(&BIND) && !asked.contains(&SEARCH), "{what}");
    }
    let liar = Liar::start(honest).await;
    let text = liar.template().replace("ldap://", "ldaps://");
    assert!(user(&directory(&text), "alice", "wonderland").await.is_err());
}

#[tokio::test]
async fn our_own_account_is_not_tried_again_and_again() {
    let liar = Liar::start(|id, asked| match asked {
        BIND => Does::Says(message(id, BIND_RESPONSE, &result(&[49]))),
        _ => honest(id, asked),
    });
    let liar = liar.await;
    let clock = Arc::new(ManualClock::at(0));
    let text = format!("servers = [\"ldap://{}\"]\n{}", liar.address, crate::stage::searching());
    let directory = timed(&text, &clock);
    for _ in 0..10 {
        assert!(user(&directory, "alice", "wonderland").await.is_err(), "our password is wrong: that is not theirs");
    }
    assert_eq!(*liar.asked.lock(), [BIND]);
}
