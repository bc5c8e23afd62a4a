//! Traefik, which asks with its middleware `forwardAuth`.

use keyward::demo::process::{Process, Workspace};

use crate::browser::{Call, Connection};
use crate::support::until;
use crate::web_server::{Abilities, Places, WebServer};
use crate::world::{ALICE, Kind, World};
use crate::{example, installed, suite};

/// Traefik with the files of `examples/traefik/`.
pub struct Traefik {
    _process: Process,
}

impl WebServer for Traefik {
    const NAME: &'static str = "traefik";
    const ABILITIES: Abilities = Abilities {
        sets_query: false,
        when_down: 500,
        when_hanging: 500,
        shows_page_when_down: false,
        keeps_encoded_slash: true,
    };
    const HANDS_COOKIES: bool = false;
    const CLEANS_ADDRESSES: bool = true;

    async fn start(folder: &Workspace, places: &Places) -> Self {
        let folder = folder.with_our_rights();
        installed::write(&folder, &example::files(Self::NAME, places));
        let program = installed::program("traefik");
        let process = installed::start(Self::NAME, &program, &["--configfile=traefik.yml"], &folder, places).await;
        // It listens before it has read its routers; until then everything is 404.
        until("the routers", || async {
            let mut connection = Connection::open(places.public).await.unwrap();
            connection.send(&Call::get("/").bytes("ready", places.public.port())).await;
            connection.answer(false).await.is_some_and(|answer| answer.status != 404)
        })
        .await;
        Self { _process: process }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traefik_asks_with_forward_auth() {
    suite::run::<Traefik>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_has_the_key_in_its_address_and_a_script_has_not() {
    let world = World::<Traefik>::start(Kind::Mail).await;
    let ticket = ALICE.ticket().cookie();
    let mut connection = Connection::open(world.places.public).await.unwrap();
    let page = Call::page("/inbox?a=1&_h=stale").line("Cookie", &ticket);
    connection.send(&page.bytes("page", world.places.public.port())).await;
    let answer = connection.answer(false).await.unwrap();
    let target = world.with_key(&answer).expect("sent to the address with the key");
    assert!(target.starts_with("/inbox?a=1&_h=0"), "{target}");
    assert_eq!(answer.all("Referrer-Policy"), ["no-referrer"]);
    assert!(world.arrived("page").is_empty());
    let there = world.browse("there", &Call { target: target.clone(), ..page }).await;
    assert_eq!((there.status, there.all("Referrer-Policy")), (200, vec!["same-origin".to_owned()]));
    assert_eq!(world.arrived("there")[0].target, target);
    world.browse("script", &Call::get("/list?a=1").line("Cookie", &ticket)).await;
    assert_eq!(world.arrived("script")[0].target, "/list?a=1");
}
