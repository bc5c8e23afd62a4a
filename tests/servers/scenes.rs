//! What takes more than one request.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::application::form_key;
use crate::broken::{Broken, InPlace};
use crate::browser::{Call, Connection};
use crate::fakes::server::locked;
use crate::play::{Outcome, check_spoofed, must, nothing, outage, status};
use crate::rows::spoofing;
use crate::suite::Report;
use crate::web_server::WebServer;
use crate::world::{ALICE, BOB, Kind, World};

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
    report.add("large keys arrive", large_keys(world).await);
}

async fn large_keys<S: WebServer>(world: &World<S>) -> Outcome {
    let name = world.name();
    let answer = world.browse(&name, &Call::page("/inbox").line("Cookie", &BOB.ticket().cookie())).await;
    status(&answer, &[200])?;
    let cookies: Vec<_> = world.arrived(&name).iter().flat_map(|arrived| arrived.all("Cookie")).collect();
    let wanted = format!("sid={}; csrf=C1; lang=en", form_key(BOB.user));
    must(cookies == [wanted], || format!("{cookies:?}"))
}

/// Something else where Keyward should be, in a world of its own: web servers may wait long for an answer.
pub async fn broken<S: WebServer>(broken: Broken) -> (&'static str, Outcome) {
    let mut world = World::<S>::start(Kind::Mail).await;
    let before = passes(&world, &ALICE.ticket().cookie()).await;
    drop(world.keyward.take());
    let in_place = InPlace::of(broken, &world.places).await;
    let outcome = match broken {
        Broken::Hangs => closed(&world, &[S::ABILITIES.when_hanging]).await,
        Broken::SaysLittle => believes_nobody(&world).await,
        _ => closed(&world, &[403, 500, 502, 503, 504]).await,
    };
    in_place.end().await;
    let leaks = std::mem::take(&mut *locked(&world.leaks));
    (broken.says(), before.and(outcome).and(must(leaks.is_empty(), || leaks.concat())))
}

/// All of them; the last ones break what the others need.
pub async fn all<S: WebServer>(world: &mut World<S>, report: &mut Report) {
    report.add("two cookies of the application reach the browser", two_cookies(world).await);
    report.add("a socket opens where it may, and carries bytes both ways", socket(world).await);
    report.add("a stranger opens no socket", stranger_socket(world).await);
    report.add("no other protocol is switched to", other_protocol(world).await);
    report.add("a redirect of the application stays on the host", redirect(world).await);
    report.add("a no of the application to a page is shown, after a renewal where there is one", renewal(world).await);
    report.add("Keyward says who somebody is", whoami(world).await);
    report.add("its pages have their style", style(world).await);
    report.add("Keyward knows who is connected, and not by their word", client(world).await);
    report.add("whoever signs out is out", sign_out(world).await);
    report.add("people who ask at once are not mixed up", crowd(world).await);
    drop(world.keyward.take());
    report.add("where Keyward is down nothing passes", closed(world, &[S::ABILITIES.when_down]).await);
    world.restart_keyward().await;
    let known = ALICE.ticket().cookie();
    report.add("when it is back everything is as before", passes_again(world, &known).await);
    world.end_application().await;
    report.add("where the application is down nobody is sent to sign in", application_down(world, &known).await);
    world.start_application().await;
    report.add("when the application is back it is served again", passes_again(world, &known).await);
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

/// h2c would let a client send what nobody decides about.
async fn other_protocol<S: WebServer>(world: &World<S>) -> Outcome {
    let name = world.name();
    let call = alice(Call::get("/socket")).line("Connection", "Upgrade, HTTP2-Settings").line("Upgrade", "h2c");
    let answer = world.browse(&name, &call.line("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")).await;
    let upgrades: Vec<_> = world.arrived(&name).iter().flat_map(|arrived| arrived.all("Upgrade")).collect();
    must(answer.status != 101 && upgrades.is_empty(), || format!("{} and {upgrades:?}", answer.status))
}

async fn redirect<S: WebServer>(world: &World<S>) -> Outcome {
    let answer = world.browse(&world.name(), &alice(Call::get("/moved"))).await;
    status(&answer, &[302])?;
    let location = answer.all("Location").join(", ");
    must(["/inbox?moved=1".to_owned(), world.url("/inbox?moved=1")].contains(&location), || location.clone())
}

async fn renewal<S: WebServer>(world: &World<S>) -> Outcome {
    let name = world.name();
    let answer = world.browse(&name, &alice(Call::page("/says/401"))).await;
    status(&answer, &[401]).and(must(answer.text() == "the application says 401", || answer.text()))?;
    let arrived = world.arrived(&name);
    let keys: BTreeSet<String> = arrived.iter().flat_map(|arrived| arrived.all("Cookie")).collect();
    let wanted = if S::RENEWS { 2 } else { 1 };
    must((arrived.len(), keys.len()) == (wanted, wanted), || format!("{} times, with {keys:?}", arrived.len()))
}

async fn whoami<S: WebServer>(world: &World<S>) -> Outcome {
    let answer = world.browse(&world.name(), &alice(Call::get("/.keyward/whoami"))).await;
    status(&answer, &[200])?;
    let who: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    must(who.to_string().contains("alice"), || who.to_string())
}

/// From an address of its own, which Keyward would take for that of one more proxy: it believes whoever stands behind it.
async fn client<S: WebServer>(world: &World<S>) -> Outcome {
    let (path, address) = (format!("/{}", world.name()), "127.0.0.77");
    let call = spoofing(Call::get(&path));
    let connection = Connection::open_from(address.parse().unwrap(), world.places.public).await;
    let mut connection = connection.ok_or("nobody listens")?;
    connection.send(&call.bytes(&world.name(), world.places.public.port())).await;
    status(&connection.answer(false).await.ok_or("no answer")?, &[401])?;
    let lines = world.log_lines();
    let clients: Vec<_> =
        lines.iter().filter(|line| line["path"] == path.as_str()).map(|line| line["client"].clone()).collect();
    must(clients == [address], || format!("{clients:?} instead of {address}"))
}

async fn style<S: WebServer>(world: &World<S>) -> Outcome {
    let answer = world.browse(&world.name(), &Call::get("/.keyward/style.css")).await;
    status(&answer, &[200])?;
    must(answer.all("Content-Type").join(",").starts_with("text/css"), || answer.everything())
}

async fn sign_out<S: WebServer>(world: &World<S>) -> Outcome {
    let ticket = ALICE.ticket().cookie();
    passes(world, &ticket).await?;
    let page = |target| Call::page(target).line("Cookie", &ticket).line("Sec-Fetch-Site", "same-origin");
    status(&world.browse(&world.name(), &page("/.keyward/logout")).await, &[200, 302, 303])?;
    let name = world.name();
    let answer = world.browse(&name, &page("/inbox")).await;
    nothing(&world.arrived(&name)).and(status(&answer, &[302, 303]))
}

/// Four connections at once, on each of which two people take turns.
async fn crowd<S: WebServer>(world: &World<S>) -> Outcome {
    let people = [ALICE, BOB].map(|person| (person, person.ticket().cookie()));
    let walks = (0..4).map(async |walk| {
        let mut connection = Connection::open(world.places.public).await.ok_or("nobody listens")?;
        for step in 0..10 {
            let (person, cookie) = &people[(walk + step) % 2];
            let call = Call::get("/inbox").line("Cookie", cookie).line("Connection", "keep-alive");
            let name = world.name();
            connection.send(&call.bytes(&name, world.places.public.port())).await;
            let answer = connection.answer(false).await.ok_or("no answer")?;
            world.look_for_leaks(&call, &answer);
            status(&answer, &[200])?;
            let arrived = world.arrived(&name);
            let cookies = arrived.iter().flat_map(|arrived| arrived.all("Cookie")).collect::<Vec<_>>().concat();
            let owner = world.mail.owner(cookies.trim_start_matches("_hmail="));
            let users: Vec<_> = arrived.iter().flat_map(|arrived| arrived.all("Remote-User")).collect();
            let right = owner.as_deref() == Some(person.email) && users == [person.user];
            must(right, || format!("{owner:?} and {users:?} instead of {}", person.user))?;
        }
        Ok(())
    });
    futures_util::future::join_all(walks).await.into_iter().collect()
}

async fn stranger_socket<S: WebServer>(world: &World<S>) -> Outcome {
    let name = world.name();
    let answer = world.browse(&name, &upgrade()).await;
    nothing(&world.arrived(&name)).and(status(&answer, &[401]))
}

/// Whatever is asked, it is refused, with this status and a page; and all at once, because it may take long.
async fn closed<S: WebServer>(world: &World<S>, wanted: &[u16]) -> Outcome {
    let calls = [
        alice(Call::page("/inbox")),
        alice(Call::get("/list?a=1")),
        alice(Call::form("/send", "a=1")),
        Call::page("/public/logo"),
    ];
    let asked = calls.iter().map(async |call| {
        let name = world.name();
        let answer = world.browse(&name, call).await;
        nothing(&world.arrived(&name))?;
        status(&answer, wanted)?;
        // A person looks at it.
        let page = call.lines.iter().any(|(name, _)| name == "Accept");
        if page { outage(&answer, S::ABILITIES.shows_page_when_down) } else { Ok(()) }
    });
    futures_util::future::join_all(asked).await.into_iter().collect()
}

/// A yes that says nothing more may pass or not, but a client's word never takes the place of Keyward's.
async fn believes_nobody<S: WebServer>(world: &World<S>) -> Outcome {
    for call in [Call::page("/inbox"), alice(Call::get("/inbox"))] {
        let name = world.name();
        world.browse(&name, &spoofing(call)).await;
        for arrived in world.arrived(&name) {
            let [users, cookies] = ["Remote-User", "Cookie"].map(|name| arrived.all(name).concat());
            must(users.is_empty(), || users)?;
            must(cookies.is_empty(), || cookies)?;
            check_spoofed(&arrived)?;
        }
    }
    Ok(())
}

async fn passes<S: WebServer>(world: &World<S>, cookie: &str) -> Outcome {
    let name = world.name();
    let answer = world.browse(&name, &Call::page("/inbox").line("Cookie", cookie)).await;
    status(&answer, &[200])?;
    must(world.arrived(&name).len() == 1, || "it did not arrive".to_owned())
}

/// As soon as the web server tries again.
async fn passes_again<S: WebServer>(world: &World<S>, cookie: &str) -> Outcome {
    let until_it_does = async {
        while passes(world, cookie).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if !S::TRIES_AGAIN_AT_ONCE {
        let _ = tokio::time::timeout(Duration::from_secs(20), until_it_does).await;
    }
    passes(world, cookie).await
}

/// It is the web server who says so to those that have their keys, and Keyward to those that have none yet.
async fn application_down<S: WebServer>(world: &World<S>, known: &str) -> Outcome {
    for cookie in [known, &ALICE.ticket().cookie()] {
        let answer = world.browse(&world.name(), &Call::page("/inbox").line("Cookie", cookie)).await;
        status(&answer, &[502, 503, 504])?;
    }
    Ok(())
}
