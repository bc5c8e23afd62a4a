//! One web server, asked everything.

use futures_util::future::join_all;

use crate::broken::Broken;
use crate::play;
use crate::rows::rows;
use crate::scenes;
use crate::web_server::WebServer;
use crate::world::{Kind, World};

/// What became of everything that one web server was asked.
#[derive(Default)]
pub struct Report {
    wrong: Vec<String>,
    asked: usize,
}

impl Report {
    pub fn add(&mut self, says: &str, outcome: Result<(), String>) {
        self.asked += 1;
        if let Err(how) = outcome {
            self.wrong.push(format!("{says}: {how}"));
        }
    }
}

/// Asks everything, and fails at the end with all that was wrong.
pub async fn run<S: WebServer>() {
    let mut report = Report::default();
    let mut world = World::<S>::start(Kind::Mail).await;
    let asking = async {
        for row in rows() {
            report.add(row.says, play::row(&world, &row).await);
        }
        scenes::all(&mut world, &mut report).await;
    };
    let ((), broken) = futures_util::future::join(asking, join_all(Broken::AT_ONCE.map(scenes::broken::<S>))).await;
    for (says, outcome) in broken {
        report.add(says, outcome);
    }
    let form = World::<S>::start(Kind::Form).await;
    scenes::cookies_for_scripts(&form, &mut report).await;
    let mut leaks = std::mem::take(&mut *crate::fakes::server::locked(&world.leaks));
    leaks.append(&mut crate::fakes::server::locked(&form.leaks));
    report.wrong.extend(leaks);
    assert!(report.asked >= 30, "{} were asked", report.asked);
    let (wrong, asked) = (report.wrong.len(), report.asked);
    let told: Vec<String> = report.wrong.iter().map(|wrong| format!("{}: {wrong}", S::NAME)).collect();
    assert!(wrong == 0, "{wrong} of {asked} are wrong:\n{}", told.join("\n"));
}
