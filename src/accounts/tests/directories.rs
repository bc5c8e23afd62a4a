//! Portals whose directory is told of new passwords before any back-end is.

use super::*;

/// What a directory says when it is asked.
#[derive(Clone, Copy)]
enum Says {
    Yes,
    No,
    Nothing,
    /// It never answers.
    Hangs,
}

struct Directory {
    portal: &'static str,
    says: StdMutex<Says>,
    /// Shared with the back-end, so that the order can be seen.
    script: Arc<Script>,
}

impl PasswordKeeper for Directory {
    fn portal(&self) -> &str {
        self.portal
    }

    fn people_of(&self) -> &[String] {
        &[]
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(20)
    }

    fn change<'a>(
        &'a self,
        user: &'a str,
        new: &'a Secret,
    ) -> BoxFuture<'a, Result<Result<(), AccountRefusal>, Outage>> {
        let password = new.expose_secret();
        self.script.asked.lock().unwrap().push(format!("{user} at {} {password}", self.portal));
        let says = *self.says.lock().unwrap();
        async move {
            match says {
                Says::Yes => Ok(Ok(())),
                Says::No => Ok(Err(AccountRefusal::Password)),
                Says::Nothing => Err(Outage::TimedOut),
                Says::Hangs => std::future::pending().await,
            }
        }
        .boxed()
    }
}

struct Town {
    world: World,
    directory: Arc<Directory>,
}

impl Town {
    fn new(says: Says) -> Self {
        let world = World::new();
        let (says, script) = (StdMutex::new(says), Arc::clone(&world.script));
        let directory = Arc::new(Directory { portal: "staff", says, script });
        world.provisioner.configure(vec![directory.clone() as Arc<dyn PasswordKeeper>]);
        Self { world, directory }
    }

    fn say(&self, says: Says) {
        *self.directory.says.lock().unwrap() = says;
    }

    async fn change_at(&self, portal: &str, wish: Wish) -> Vec<(At, Outcome)> {
        let ana = Identity::new("ana", "", "", vec![]).unwrap();
        let backends = vec![Arc::clone(&self.world.backend)];
        let reports = self.world.provisioner.change(&ana, &wish, portal, backends).await.unwrap();
        reports.into_iter().map(|report| (report.at, report.outcome)).collect()
    }

    async fn change(&self, text: &str) -> [Outcome; 2] {
        let reports = self.change_at("staff", password(text)).await;
        let [(At::Portal(portal), first), (At::Backend(backend), second)] = reports.as_slice() else {
            panic!("{reports:?}")
        };
        assert_eq!((portal.as_str(), backend.as_str()), ("staff", "mail"));
        [*first, *second]
    }
}

#[tokio::test]
async fn the_directory_is_told_before_the_back_ends() {
    let town = Town::new(Says::Yes);
    assert_eq!(town.change("new").await, [Outcome::Done, Outcome::Done]);
    assert_eq!(town.world.asked(), ["ana at staff new", "ana password new"]);
    assert!(town.world.provisioner.is_empty());
}

#[tokio::test]
async fn what_the_directory_refuses_is_done_nowhere() {
    let town = Town::new(Says::No);
    let refused = [AccountRefusal::Password, AccountRefusal::LeftAlone].map(Outcome::Refused);
    assert_eq!(town.change("weak").await, refused);
    assert_eq!(town.world.asked(), ["ana at staff weak"]);
    assert!(town.world.provisioner.is_empty());
    town.world.pass(120).await;
    assert_eq!(town.world.asked().len(), 1, "it is not tried again");
}

#[tokio::test]
async fn a_directory_that_is_down_is_told_later_and_keeps_no_back_end_waiting() {
    for silence in [Says::Nothing, Says::Hangs] {
        let town = Town::new(silence);
        assert_eq!(town.change("new").await, [Outcome::Pending, Outcome::Done]);
        // What hangs is cut off a moment later.
        tokio::time::timeout(Duration::from_secs(20), async {
            while town.world.provisioner.portal_turn("staff").try_lock().is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        town.say(Says::Yes);
        town.world.pass(61).await;
        town.world.done().await;
        assert_eq!(town.world.asked().last().unwrap(), "ana at staff new");
    }
}

#[tokio::test]
async fn a_newer_password_takes_the_place_of_one_that_the_directory_has_not_heard_of() {
    let town = Town::new(Says::Nothing);
    assert_eq!(town.change("new").await, [Outcome::Pending, Outcome::Done]);
    assert_eq!(town.change("newer").await, [Outcome::Pending, Outcome::Done]);
    town.say(Says::Yes);
    town.world.pass(61).await;
    town.world.done().await;
    let told: Vec<String> = town.world.asked().into_iter().filter(|line| line.contains("staff")).collect();
    assert_eq!(told.last().unwrap(), "ana at staff newer");
    assert_eq!(told.iter().filter(|line| line.ends_with(" new")).count(), 1);
}

#[tokio::test]
async fn people_of_another_portal_and_other_changes_are_none_of_its_business() {
    let town = Town::new(Says::Yes);
    for (portal, wish) in
        [("customers", password("new")), ("staff", Wish::Put(Some(Secret::from("new")))), ("staff", Wish::Remove)]
    {
        let reports = town.change_at(portal, wish).await;
        assert_eq!(reports, [(At::Backend("mail".to_owned()), Outcome::Done)], "{portal}");
    }
    assert!(town.world.asked().iter().all(|line| !line.contains("staff")));
}

#[tokio::test]
async fn a_directory_that_is_no_longer_configured_is_given_up() {
    let town = Town::new(Says::Nothing);
    assert_eq!(town.change("new").await, [Outcome::Pending, Outcome::Done]);
    town.world.provisioner.configure(Vec::new());
    town.world.pass(61).await;
    town.world.done().await;
    assert!(town.world.provisioner.is_empty());
}

#[tokio::test]
async fn a_directory_that_hangs_keeps_no_other_waiting() {
    let town = Town::new(Says::Hangs);
    let script = Arc::clone(&town.world.script);
    let other = Arc::new(Directory { portal: "customers", says: StdMutex::new(Says::Yes), script });
    town.world.provisioner.configure(vec![town.directory.clone() as Arc<dyn PasswordKeeper>, other]);
    // Others before it, each of which takes as long as the directory is given.
    let ask = |name: &'static str, portal: &'static str| {
        let provisioner = Arc::clone(&town.world.provisioner);
        async move {
            let somebody = Identity::new(name, "", "", vec![]).unwrap();
            let reports = provisioner.change(&somebody, &password("new"), portal, Vec::new()).await.unwrap();
            reports[0].outcome
        }
    };
    let staff = join_all(["ana", "ben", "cleo", "dora"].map(|name| ask(name, "staff")));
    let (staff, customer) = tokio::join!(staff, ask("emil", "customers"));
    assert_eq!((staff, customer), (vec![Outcome::Pending; 4], Outcome::Done));
}
