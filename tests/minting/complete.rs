//! The functions of the README, as they stand, between a browser and the program.

use tokio::process::Command;

use crate::fakes::axigen::{Axigen, Person};
use crate::languages::{examples, languages};
use crate::support::{Ask, Door, Setup};

/// A portal of one language around the README's functions. It is asked to sign somebody in, and later, as another
/// process, to sign them out.
struct Portal {
    language: &'static str,
    /// How its block begins in the README.
    fence: &'static str,
    /// The name that the block is saved under.
    file: &'static str,
    /// What it is used with.
    beside: &'static str,
    /// What a portal would do with the functions.
    caller: (&'static str, &'static str),
    /// How to run it in a shell, with what it is asked in `$@`.
    run: &'static str,
}

const PORTALS: &[Portal] = &[
    Portal {
        language: "PHP",
        fence: "php",
        file: "portal.php",
        beside: "php/keyward_ticket.php",
        caller: (
            "caller.php",
            r#"<?php
require 'portal.php';
echo $argc > 1 ? sign_out($argv[1]) : implode("\n", sign_in('ana', 'p&w #x', ['staff'])), "\n";
"#,
        ),
        run: "php caller.php \"$@\"",
    },
    Portal {
        language: "Python",
        fence: "python",
        file: "portal.py",
        beside: "python/keyward_ticket.py",
        caller: (
            "caller.py",
            r#"import sys
from portal import sign_in, sign_out
print(sign_out(sys.argv[1]) if len(sys.argv) > 1 else "\n".join(sign_in("ana", "p&w #x", ["staff"])))
"#,
        ),
        run: "/usr/bin/python3 caller.py \"$@\"",
    },
    Portal {
        language: "JavaScript",
        fence: "javascript",
        file: "portal.mjs",
        beside: "javascript/keyward-ticket.mjs",
        caller: (
            "caller.mjs",
            r#"import { signIn, signOut } from "./portal.mjs";
console.log(process.argv[2] ? await signOut(process.argv[2]) : signIn("ana", "p&w #x", ["staff"]).join("\n"));
"#,
        ),
        run: "node caller.mjs \"$@\"",
    },
    Portal {
        language: "Java",
        fence: "java",
        file: "Portal.java",
        beside: "java/KeywardTicket.java",
        caller: (
            "Caller.java",
            r#"class Caller {
    public static void main(String[] asked) throws Exception {
        var ana = java.util.List.of("staff");
        System.out.println(
                asked.length > 0 ? Portal.signOut(asked[0]) : String.join("\n", Portal.signIn("ana", "p&w #x", ana)));
    }
}
"#,
        ),
        run: "javac *.java && java -cp . Caller \"$@\"",
    },
    Portal {
        language: "Go",
        fence: "go",
        file: "portal.go",
        beside: "go/keyward_ticket.go",
        caller: (
            "caller.go",
            r#"package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) > 1 {
		line, err := SignOut(os.Args[1])
		fmt.Println(line, err)
		return
	}
	sid, line, err := SignIn("ana", "p&w #x", []string{"staff"})
	fmt.Printf("%s\n%s\n", sid, line)
	if err != nil {
		os.Exit(1)
	}
}
"#,
        ),
        run: "go run caller.go portal.go keyward_ticket.go \"$@\"",
    },
];

impl Portal {
    /// Puts everything into a directory, with other places for what the README has in its own.
    fn install(&self, directory: &std::path::Path, api: std::net::SocketAddr) {
        let readme = std::fs::read_to_string(examples().join("README.md")).unwrap();
        let block = readme.split_once(&format!("\n```{}\n", self.fence)).unwrap().1.split("\n```").next().unwrap();
        let block = block.replace("/etc/portal/", &format!("{}/", directory.display()));
        std::fs::write(directory.join(self.file), block.replace("127.0.0.1:8423", &api.to_string())).unwrap();
        let (caller, text) = self.caller;
        std::fs::write(directory.join(caller), text).unwrap();
        let beside = examples().join(self.beside);
        std::fs::copy(&beside, directory.join(beside.file_name().unwrap())).unwrap();
    }

    async fn asked(&self, directory: &std::path::Path, asked: &[&str]) -> Vec<String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", self.run, "portal"]).args(asked).current_dir(directory).env("no_proxy", "*");
        let output = command.output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{}: {errors}", self.language);
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

/// The value of one part of an example configuration.
fn written(config: &str, heading: &str, name: &str) -> String {
    let section = config.split_once(heading).unwrap().1;
    let line = section.lines().find(|line| line.split('=').next().unwrap().trim() == name).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn the_functions_of_the_readme_sign_people_in_and_out() {
    let mail = Axigen::start(vec![Person::new("ana", "p&w #x", "Ana Día")]).await.unwrap();
    let config = std::fs::read_to_string(examples().join("keyward.toml")).unwrap();
    let (before, after) = config.split_once("[listen]\n").unwrap();
    let rest = after.split_once("\n\n").unwrap().1.replace("http://127.0.0.1:8000", &mail.url());
    let keyward = Setup::new(&format!("{before}{rest}")).with_api().start().await;
    let there = languages();
    for portal in PORTALS.iter().filter(|portal| there.iter().any(|one| one.name == portal.language)) {
        let directory = tempfile::tempdir().unwrap();
        portal.install(directory.path(), keyward.api);
        let secrets = [("keyward.secret", "[[portal.key]]"), ("keyward.key", "[[api.key]]")];
        for (file, heading) in secrets {
            let secret = format!("{}\n", written(&config, heading, "secret"));
            std::fs::write(directory.path().join(file), secret).unwrap();
        }
        let said = portal.asked(directory.path(), &[]).await;
        let [sid, line] = said.as_slice() else { panic!("{}: {said:?}", portal.language) };
        let (cookie, attributes) = line.strip_prefix("Set-Cookie: ").unwrap().split_once("; ").unwrap();
        let attributes: Vec<&str> = attributes.split("; ").collect();
        let wanted = ["Max-Age=28800", "Path=/", "Domain=example.test", "Secure", "HttpOnly", "SameSite=Lax"];
        assert_eq!(attributes, wanted, "{}", portal.language);

        let inbox = Ask::page("https://webmail.example.test/inbox").cookie(cookie);
        let answer = keyward.ask(Door::AuthRequest, &inbox).await;
        answer.assert_allows("ana");
        assert_eq!(answer.one("remote-groups"), "staff", "{}", portal.language);

        let said = portal.asked(directory.path(), &[sid]).await.concat();
        let removed = format!("Set-Cookie: portal_session=; Max-Age=0; {}", wanted[1..].join("; "));
        assert!(said.starts_with(&removed), "{}: {said}", portal.language);
        let answer = keyward.ask(Door::AuthRequest, &inbox).await;
        answer.assert_refuses();
        assert_eq!(answer.reason(), "revoked", "{}", portal.language);
    }
    assert_eq!(mail.logins("ana"), there.len(), "one for each");
}
