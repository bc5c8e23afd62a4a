//! What Keyward is asked all day, for a program that counts what of it is used, so that the compiler makes the next one
//! for that. It measures nothing. See "A trained program" in `benches/README.md`.

#[path = "common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use common::connections::{Ask, Connections, Door};
use common::load::{Crowd, HOST};
use common::servers::{Keyward, Shape};
use common::turn::CONNECTIONS;
use common::webmail::Webmail;

const PEOPLE: usize = 2_000;
/// Questions over each transport, beside the first of everybody.
const QUESTIONS: usize = 250_000;
/// Questions of people who are not signed in.
const STRANGERS: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    if !common::is_asked("--bench train") {
        return Ok(());
    }
    let (workspace, webmail, crowd) = (tempfile::tempdir()?, Webmail::start()?, Crowd::of(PEOPLE)?);
    let socket = workspace.path().join("keyward.sock");
    for shape in [Shape::default(), Shape { socket: Some(&socket), ..Shape::default() }] {
        // What was counted is written when it ends.
        let keyward = Keyward::start_by(Command::new(common::program()), workspace.path(), &webmail, &shape)?;
        if let Door::Http(address) = keyward.http {
            for _ in 0..STRANGERS {
                ask_as_stranger(address)?;
            }
        }
        for door in [&keyward.http, &keyward.fastcgi] {
            let mut connections = Connections::open(door.clone(), CONNECTIONS)?;
            connections.ask(&crowd, 0..PEOPLE, Ask::ForKeys)?;
            connections.ask(&crowd, (0..QUESTIONS).map(|question| question * 7_919 % PEOPLE), Ask::ForKeys)?;
        }
    }
    println!("train: asked over HTTP, a Unix socket and FastCGI, {QUESTIONS} times and more each");
    Ok(())
}

/// Asks for a page, over a connection of one's own, and is sent to sign in.
fn ask_as_stranger(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /authz/auth-request HTTP/1.1\r\nHost: keyward\r\nConnection: close\r\nAccept: text/html\r\n\
         X-Original-URL: https://{HOST}/\r\nX-Original-Method: GET\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 401 ") { Ok(()) } else { Err(format!("not the answer expected: {answer}").into()) }
}
