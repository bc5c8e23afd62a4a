//! A real browser. Chromium speaks its DevTools protocol over two pipes, in JSON with a zero byte behind
//! it; what is needed of it is small enough that no library is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use keyward::demo::process::{Process, TemporaryWorkspace, Workspace, find_program};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};

/// Longest wait for an answer of the browser.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for a page to say something.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(25);

pub struct Chromium {
    commands: Sender,
    answers: Receiver,
    buffer: Vec<u8>,
    number: u64,
    /// What pages complained of, in every tab.
    complaints: Vec<String>,
    // Last, so that the browser ends before its files go.
    _process: Process,
    _files: TemporaryWorkspace,
}

/// Where names lead: `https` and `http` of every host, and one more port.
pub struct Names {
    pub https: SocketAddr,
    pub http: SocketAddr,
    pub other_port: SocketAddr,
}

impl Chromium {
    /// One that keeps cookies which one site sets in another's pages, or not.
    pub async fn start(names: &Names, across_sites: bool) -> Self {
        let files = Workspace::temporary().unwrap();
        let controls = json!({"profile": {"cookie_controls_mode": if across_sites { 0 } else { 1 }}});
        let profile = files.directory("profile/Default").unwrap();
        profile.write("Preferences", &controls.to_string()).unwrap();
        let home = files.path().display().to_string();
        let program = find_program("chromium").expect("chromium; tests/run installs it");
        let (commands, answers) = (files.path().join("commands"), files.path().join("answers"));
        for pipe in [&commands, &answers] {
            assert!(files.command(Path::new("mkfifo")).arg(pipe).status().unwrap().success());
        }
        let answers = OpenOptions::new().read_write(true).open_receiver(&answers).unwrap();
        let commands = OpenOptions::new().read_write(true).open_sender(&commands).unwrap();
        let rules = format!("MAP *:443 {}, MAP *:80 {}, MAP *:8443 {}", names.https, names.http, names.other_port);
        // Its helpers would go on writing for a while, so all of its process group ends with it.
        let script = format!(
            "trap 'kill -KILL 0' TERM; env HOME={home} XDG_RUNTIME_DIR={home} '{}' --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --disable-background-networking --disable-component-update --disable-sync --disable-extensions \
             --ignore-certificate-errors --user-data-dir={home}/profile '--host-resolver-rules={rules}' \
             --remote-debugging-pipe about:blank 3<commands 4>answers & wait $!",
            program.display()
        );
        let process = Process::start("chromium", Path::new("/bin/sh"), &["-c", &script], &files).unwrap();
        Self {
            commands,
            answers,
            buffer: Vec::new(),
            number: 0,
            complaints: Vec::new(),
            _process: process,
            _files: files,
        }
    }

    /// Somebody's browser, with no cookie yet.
    pub async fn person(&mut self) -> Person<'_> {
        let context = self.call(None, "Target.createBrowserContext", json!({})).await;
        let context = context["browserContextId"].as_str().unwrap().to_owned();
        let session = self.tab(&context).await;
        Person { chromium: self, context, session }
    }

    /// A new tab, whose complaints are listened to.
    async fn tab(&mut self, context: &str) -> String {
        let target = json!({"url": "about:blank", "browserContextId": context});
        let target = self.call(None, "Target.createTarget", target).await;
        let attached = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call(None, "Target.attachToTarget", attached).await;
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Log.enable", "Runtime.enable"] {
            self.call(Some(&session), domain, json!({})).await;
        }
        session
    }

    /// Keeps what a page complains of: blocked by its policy, not found, thrown and not caught.
    fn note(&mut self, message: &Value) {
        let complaint = match message["method"].as_str() {
            Some("Log.entryAdded") => &message["params"]["entry"],
            Some("Runtime.exceptionThrown") => &message["params"]["exceptionDetails"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    async fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        let answer = self.try_call(session, method, parameters).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value, Value> {
        self.number += 1;
        let number = self.number;
        let mut command = json!({"id": number, "method": method, "params": parameters});
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let exchange = async {
            self.commands.write_all(format!("{command}\0").as_bytes()).await.unwrap();
            loop {
                while let Some(end) = self.buffer.iter().position(|byte| *byte == 0) {
                    let message: Value = serde_json::from_slice(&self.buffer[..end]).unwrap();
                    self.buffer.drain(..=end);
                    if message["id"] == number {
                        return match message.get("error") {
                            Some(error) => Err(error.clone()),
                            None => Ok(message["result"].clone()),
                        };
                    }
                    self.note(&message);
                }
                self.answers.read_buf(&mut self.buffer).await.unwrap();
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, exchange).await.expect("an answer of Chromium")
    }
}

/// A key that does something.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    Tab,
    Enter,
    Space,
}

/// One person's window, and the tab in it that they look at.
pub struct Person<'a> {
    chromium: &'a mut Chromium,
    context: String,
    session: String,
}

/// A tab to come back to.
pub struct Tab(String);

impl Person<'_> {
    /// Types an address.
    pub async fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address})).await;
    }

    /// Waits until the page says this, and gives its address.
    pub async fn sees(&mut self, words: &str) -> String {
        let script = "[location.href, document.body.innerText]";
        let has = |page: &Value| page[1].as_str().is_some_and(|text| text.contains(words));
        let page = self.comes(&format!("saw {words:?}"), script, has).await;
        page[0].as_str().unwrap().to_owned()
    }

    /// Waits until the field of this name has the focus, so that it gets what is typed.
    pub async fn is_at(&mut self, field: &str) {
        let script = "[document.activeElement.name, document.hasFocus()]";
        self.comes(&format!("was at {field}"), script, |at| *at == json!([field, true])).await;
    }

    /// Waits until what a script comes to is so.
    async fn comes(&mut self, what: &str, script: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let looking = async {
            loop {
                let shown = self.look(script).await;
                if is_so(&shown) {
                    return shown;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(SHOWN_WITHIN, looking).await {
            Ok(shown) => shown,
            Err(_) => {
                panic!("never {what}, but {}", self.look("[location.href, document.body.innerText]").await)
            }
        }
    }

    /// Presses what can be pressed and says this.
    pub async fn press(&mut self, words: &str) {
        self.sees(words).await;
        let find = "[...document.querySelectorAll('a, button')].find(one => one.innerText === words).click()";
        self.run(&format!("(() => {{ const words = {}; {find} }})()", json!(words))).await;
    }

    /// Opens another tab and looks at it; the result is the one before.
    pub async fn another_tab(&mut self) -> Tab {
        let tab = self.chromium.tab(&self.context).await;
        Tab(std::mem::replace(&mut self.session, tab))
    }

    /// Looks at that tab; the result is the one before.
    pub fn look_at(&mut self, tab: Tab) -> Tab {
        Tab(std::mem::replace(&mut self.session, tab.0))
    }

    /// Looks at the page again, as by F5.
    pub async fn reload(&mut self) {
        self.call("Page.reload", json!({})).await;
    }

    /// Prefers these languages, as `Accept-Language` has them.
    pub async fn speaks(&mut self, languages: &str) {
        let agent = self.call("Browser.getVersion", json!({})).await["userAgent"].clone();
        let prefers = json!({"userAgent": agent, "acceptLanguage": languages});
        self.call("Emulation.setUserAgentOverride", prefers).await;
    }

    /// Runs no scripts of pages.
    pub async fn without_scripts(&mut self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// Has a window of this size, in pixels, and light colours.
    pub async fn window(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let light = json!([{"name": "prefers-color-scheme", "value": "light"}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": light})).await;
    }

    /// Likes dark colours.
    pub async fn in_the_dark(&mut self) {
        let dark = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": dark})).await;
    }

    /// A picture of the window, as PNG.
    pub async fn picture(&mut self) -> Vec<u8> {
        use base64::Engine;
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// Types text into whatever has the focus.
    pub async fn types(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses one key.
    pub async fn strikes(&mut self, key: Key) {
        let (name, code, text) = match key {
            Key::Tab => ("Tab", 9, ""),
            Key::Enter => ("Enter", 13, "\r"),
            Key::Space => (" ", 32, " "),
        };
        let stroke = |kind: &str| json!({"type": kind, "key": name, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", stroke("keyDown")).await;
        let up = json!({"type": "keyUp", "key": name, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up).await;
    }

    /// Fills the field of this name, which must be there.
    pub async fn fills(&mut self, field: &str, text: &str) {
        let focus = format!(
            "(() => {{ const one = document.querySelector({}); one.value = ''; one.focus() }})()",
            json!(format!("[name=\"{field}\"]"))
        );
        self.run(&focus).await;
        self.types(text).await;
    }

    /// What is read out: of everything with a role, that and its name.
    pub async fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] == false);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }

    /// What was blocked by a page's policy, or thrown by a script of it and not caught, in any tab.
    pub async fn violations(&mut self) -> Vec<String> {
        // An answer comes after all that was said before it.
        self.run("0").await;
        let is_one = |text: &&String| text.contains("Content Security Policy") || text.contains("exceptionId");
        self.chromium.complaints.iter().filter(is_one).cloned().collect()
    }

    /// What a script of the page comes to; its promise is waited for.
    pub async fn run(&mut self, script: &str) -> Value {
        let run = json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        self.call("Runtime.evaluate", run).await["result"]["value"].clone()
    }

    /// All cookies, of every host: name, domain, and what was said of them.
    pub async fn cookies(&mut self) -> Vec<Value> {
        let cookies = self.call("Network.getAllCookies", json!({})).await;
        cookies["cookies"].as_array().unwrap().clone()
    }

    /// The cookie of this name at this host or domain.
    pub async fn cookie(&mut self, domain: &str, name: &str) -> Option<Value> {
        let cookies = self.cookies().await;
        cookies.into_iter().find(|cookie| cookie["domain"] == domain && cookie["name"] == name)
    }

    /// While a page is exchanged for another there is nothing to see.
    async fn look(&mut self, script: &str) -> Value {
        let run = json!({"expression": script, "returnByValue": true});
        let looked = self.chromium.try_call(Some(&self.session), "Runtime.evaluate", run).await;
        looked.map_or(Value::Null, |looked| looked["result"]["value"].clone())
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.chromium.call(Some(&self.session), method, parameters).await
    }
}
