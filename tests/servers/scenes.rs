//! What takes more than one request.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::browser::{Call, Connection};
use crate::play::{Outcome, must, nothing, status};
use crate::suite::Report;
use crate::web_server::WebServer;
use crate::world::{ALICE, World};

/// Where browsers get cookies from Keyward.
pub async fn cookies_for_scripts<S: WebServer>(world: &World<S>, report: &mut Report) {
    let ours = ["csrf=C1; Path=/; SameSite=Strict", "lang=en; Path=/; SameSite=Strict"];
    let theirs = ["first=1; Path=/; HttpOnly", "second=2; Path=/; Expires=Fri, 31 Dec 2038 23:59:59 GMT"];
    let ticket = ALICE.ticket().cookie();
    let all = [ours, theirs].concat();
    for (says, target, cookies, wanted) in [
        ("two cookies of Keyward reach the browser, each in its line", "/inbox", "", &ours[..]),
        ("beside two of the application", "/cookies", "", &all[..]),
        ("but none that it has", "/inbox", "; lang=en; csrf=C1", &[]),
        ("and the application's own are left alone then", "/cookies", "; lang=en; csrf=C1", &theirs[..]),
    ] {
        let call = Call::get(target).line("Cookie", &format!("{ticket}{cookies}"));
        let answer = world.browse(&world.name(), &call).await;
        let (mut lines, mut wanted) = (answer.all("Set-Cookie"), wanted.to_vec());
        if !S::HANDS_COOKIES {
            wanted.retain(|line| !ours.contains(line));
        }
        lines.sort();
        wanted.sort_unstable();
        report.add(says, status(&answer, &[200]).and(must(lines == wanted, || format!("{lines:#?}"))));
    }
}

/// All of them; the last ones break what the others need.
pub async fn all<S: WebServer>(world: &mut World<S>, report: &mut Report) {
    report.add("two cookies of the application reach the browser", two_cookies(world).await);
    report.add("a socket opens where it may, and carries bytes both ways", socket(world).await);
    report.add("a stranger opens no socket", stranger_socket(world).await);
    drop(world.keyward.take());
    report.add("where Keyward is down nothing passes", closed(world, S::ABILITIES.when_down).await);
    let hanging = Hanging::at(&[world.places.auth, world.places.fastcgi, world.places.grpc]).await;
    report.add("where it hangs nothing passes", closed(world, S::ABILITIES.when_hanging).await);
    drop(hanging);
    world.restart_keyward().await;
    let known = ALICE.ticket().cookie();
    report.add("when it is back everything is as before", passes(world, &known).await);
    drop(world.application.take());
    report.add("where the application is down nobody is sent to sign in", application_down(world, &known).await);
    world.restart_application().await;
    report.add("when the application is back it is served again", passes(world, &known).await);
}

fn alice(call: Call) -> Call {
    call.line("Cookie", &ALICE.ticket().cookie())
}

async fn two_cookies<S: WebServer>(world: &World<S>) -> Outcome {
    let answer = world.browse(&world.name(), &alice(Call::get("/cookies"))).await;
    let lines = answer.all("Set-Cookie");
    let wanted = ["first=1; Path=/; HttpOnly", "second=2; Path=/; Expires=Fri, 31 Dec 2038 23:59:59 GMT"];
    must(lines == wanted, || format!("{answer:?}"))
}

fn upgrade() -> Call {
    Call::get("/socket")
        .line("Connection", "Upgrade")
        .line("Upgrade", "websocket")
        .line("Sec-WebSocket-Version", "13")
        .line("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn socket<S: WebServer>(world: &World<S>) -> Outcome {
    let call = alice(upgrade());
    let connection = Connection::open(world.places.public).await;
    let mut connection = connection.ok_or("nobody listens")?;
    connection.send(&call.bytes(&world.name(), world.places.public.port())).await;
    let answer = connection.answer(false).await.ok_or("no answer")?;
    world.look_for_leaks(&call, &answer);
    status(&answer, &[101])?;
    // A whole frame, masked, as a browser would send it.
    let frame = [0x81, 0x84, 1, 2, 3, 4, b'p' ^ 1, b'i' ^ 2, b'n' ^ 3, b'g' ^ 4];
    connection.send(&frame).await;
    let echoed = connection.exactly(frame.len()).await;
    must(echoed.as_deref() == Some(&frame), || format!("{echoed:?} came back"))
}

async fn stranger_socket<S: WebServer>(world: &World<S>) -> Outcome {
    let name = world.name();
    let answer = world.browse(&name, &upgrade()).await;
    nothing(&world.arrived(&name)).and(status(&answer, &[401]))
}

/// Whatever is asked, it is refused, with this status and a page; and all at once, because it may take long.
async fn closed<S: WebServer>(world: &World<S>, wanted: u16) -> Outcome {
    let calls = [
        alice(Call::page("/inbox")),
        alice(Call::get("/list?a=1")),
        alice(Call::form("/send", "a=1")),
        Call::page("/public/logo"),
    ];
    let asked = calls.iter().map(async |call| {
        let name = world.name();
        let answer = world.browse(&name, call).await;
        nothing(&world.arrived(&name)).and(status(&answer, &[wanted]))
    });
    futures_util::future::join_all(asked).await.into_iter().collect()
}

async fn passes<S: WebServer>(world: &World<S>, cookie: &str) -> Outcome {
    let name = world.name();
    let answer = world.browse(&name, &Call::page("/inbox").line("Cookie", cookie)).await;
    status(&answer, &[200])?;
    must(world.arrived(&name).len() == 1, || "it did not arrive".to_owned())
}

/// It is the web server who says so to those that have their keys, and Keyward to those that have none yet.
async fn application_down<S: WebServer>(world: &World<S>, known: &str) -> Outcome {
    for cookie in [known, &ALICE.ticket().cookie()] {
        let answer = world.browse(&world.name(), &Call::page("/inbox").line("Cookie", cookie)).await;
        status(&answer, &[502, 503, 504])?;
    }
    Ok(())
}

/// Listeners that take everything and never answer.
struct Hanging(Vec<tokio::task::JoinHandle<()>>);

impl Hanging {
    async fn at(addresses: &[SocketAddr]) -> Self {
        let mut taking = Vec::new();
        for address in addresses {
            let listener = TcpListener::bind(address).await.unwrap();
            taking.push(tokio::spawn(async move {
                let mut held = Vec::new();
                while let Ok((stream, _)) = listener.accept().await {
                    held.push(stream);
                }
            }));
        }
        Self(taking)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
