//! A real browser without a screen, for the page of `wocut serve`. It is told what to do over two pipes (Chromium's
//! protocol for its developer tools), so no port of the namespace is taken.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::must::{Must as _, check, fail};
use crate::netns::Netns;
use crate::processes::processes;

/// Longer than anything that a browser is asked for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nothing of these is about a page: they keep Chromium from asking for anything of its own, and from things that a
/// namespace without a desktop lacks. Root's processes cannot have its sandbox.
const FLAGS: [&str; 18] = [
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--window-size=1360,900",
];

/// Notes what its policy has kept the page from.
const WATCH: &str = "window.refusedByPolicy = [];
    addEventListener('securitypolicyviolation', (event) => refusedByPolicy.push(event.violatedDirective));";

/// What reaches beyond the frame that it is in; the head of a table is there for those alone who do not see it.
const OUTSIDE: &str = "(() => {
    const frame = '.service, #ask, #happened, dialog';
    const right = (element) => element.getBoundingClientRect().right;
    const inside = [...document.querySelectorAll(frame)].flatMap((one) => [...one.querySelectorAll('*:not(thead *)')]);
    const isOut = (one) => one.checkVisibility() && right(one) > right(one.closest(frame)) + 1;
    return inside.filter(isOut).map((one) => one.outerHTML);
})()";

/// A key, and what it is for the protocol: code, number, text.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// To the next thing that can be used.
    Tab,
    /// Presses what has the focus.
    Enter,
    /// Closes a dialog.
    Escape,
}

/// Chromium with one page; dropping it ends all of its processes, and removes what they wrote.
#[derive(Debug)]
pub struct Browser<'n> {
    netns: &'n Netns,
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    /// What the page asked for.
    asked: Vec<String>,
    /// What it complained of.
    complaints: Vec<String>,
    profile: TempDir,
}

impl<'n> Browser<'n> {
    /// Starts it in a namespace, with an empty page.
    #[track_caller]
    pub fn start(netns: &'n Netns) -> Self {
        let profile = tempfile::tempdir().must("make a folder for the browser");
        let (child, input, messages) = launch(netns, profile.path());
        let (asked, complaints) = (Vec::new(), Vec::new());
        let mut browser =
            Self { netns, child, input, messages, session: None, calls: 0, asked, complaints, profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().must("find the session").to_owned());
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.before_all(WATCH);
        browser
    }

    /// Runs a script in every page that is opened from now on, before those of its own.
    #[track_caller]
    pub fn before_all(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// Goes to a page.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let went = self.call("Page.navigate", json!({ "url": url }));
        check(went["errorText"].is_null(), || format!("go to {url}: {went}"));
        self.wait(
            &format!("{url} is loaded"),
            "document.readyState === 'complete' && location.href !== 'about:blank'",
        );
    }

    /// What an expression is in the page.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut said = self.call("Runtime.evaluate", ask);
        check(said["exceptionDetails"].is_null(), || format!("{expression}: {said}"));
        said["result"]["value"].take()
    }

    /// What can be read on the page of `wocut serve`.
    #[track_caller]
    pub fn page(&mut self) -> Value {
        self.eval(include_str!("page.js"))
    }

    /// Fails the test unless everything on the page can be read: by its contrast, and without scrolling sideways.
    #[track_caller]
    pub fn is_readable(&mut self, name: &str) {
        for (width, height) in [(1360, 900), (360, 780)] {
            self.size(width, height);
            for scheme in ["light", "dark"] {
                self.scheme(scheme);
                self.picture(&format!("{name}-{width}-{scheme}"));
                let contrast = self.eval(include_str!("contrast.js"));
                let looked = contrast["looked"].as_u64().unwrap_or_default();
                check(looked > 5, || format!("hardly anything is there: {contrast}"));
                check(contrast["found"] == json!([]), || format!("{name}, {scheme}: {}", contrast["found"]));
            }
            let wide = self.eval("document.documentElement.scrollWidth").as_u64().must("measure the page");
            check(wide <= width.into(), || format!("{name}: {wide} pixels where there are {width}"));
            let out = self.eval(OUTSIDE);
            check(out == json!([]), || format!("{name}: at {width} pixels, out of its frame is {out}"));
        }
        self.size(1360, 900);
    }

    /// What is told to those who do not see the page: roles, each with the names that it has.
    #[track_caller]
    pub fn roles(&mut self) -> BTreeMap<String, Vec<String>> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().must("read what is told").iter();
        let mut roles = BTreeMap::<String, Vec<String>>::new();
        for node in nodes.filter(|node| node["ignored"] != true) {
            let text = |key: &str| node[key]["value"].as_str().unwrap_or_default().to_owned();
            roles.entry(text("role")).or_default().push(text("name"));
        }
        roles
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait(&mut self, what: &str, expression: &str) {
        let start = Instant::now();
        // A page that is about to be has nothing to look at.
        let ready =
            format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        while self.eval(&ready) != true {
            if start.elapsed() > PATIENCE {
                let text = self.eval("document.body?.innerText");
                fail(&format!(
                    "waited in vain: {what}; complaints {:?}; the page has\n{text}",
                    self.complaints
                ));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the page has a text somewhere.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        self.wait(
            &format!("the page shows {text:?}"),
            &format!("document.body.innerText.includes({})", json!(text)),
        );
    }

    /// Presses a key and lets it go.
    #[track_caller]
    pub fn press(&mut self, key: Key) {
        let (name, code, text) = match key {
            Key::Tab => ("Tab", 9, ""),
            Key::Enter => ("Enter", 13, "\r"),
            Key::Escape => ("Escape", 27, ""),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes into what has the focus.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses Tab until what has the focus fits an expression, which calls it `it`.
    #[track_caller]
    pub fn tab_to(&mut self, what: &str, fits: &str) {
        for _ in 0..100 {
            self.press(Key::Tab);
            if self.eval(&format!("((it) => Boolean({fits}))(document.activeElement)")) == true {
                return;
            }
        }
        fail(&format!("Tab does not lead to {what}"));
    }

    /// Clicks with the mouse in the middle of the button that is called so.
    #[track_caller]
    pub fn click(&mut self, label: &str) {
        let place = format!(
            "(() => {{ const button = [...document.querySelectorAll('button')].find((it) => it.checkVisibility()
                && (it.getAttribute('aria-label') ?? it.textContent) === {});
              if (!button) return null;
              button.scrollIntoView({{ block: 'center' }});
              const box = button.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(label)
        );
        let place = self.eval(&place);
        check(place.is_array(), || format!("no button is called {label:?}"));
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Light or dark, as the user of a system has chosen.
    #[track_caller]
    pub fn scheme(&mut self, name: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": name}]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// The size of the window, in the pixels of style sheets; a narrow one is a phone's.
    #[track_caller]
    pub fn size(&mut self, width: u32, height: u32) {
        let (mobile, scale) = (width < 600, 1);
        let size = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Keeps a picture of the whole page, if `WOCUT_PICTURES` names a folder: for who wants to look at it.
    #[track_caller]
    pub fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("WOCUT_PICTURES") else { return };
        let picture = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let data = picture["data"].as_str().must("find the picture");
        let file = File::create(PathBuf::from(folder).join(format!("{name}.png"))).must("make a picture");
        let mut decode = std::process::Command::new("base64");
        let mut decode =
            decode.arg("-d").stdin(Stdio::piped()).stdout(file).spawn().must("decode the picture");
        decode.stdin.take().must("write the picture").write_all(data.as_bytes()).must("write the picture");
        decode.wait().must("write the picture");
    }

    /// Fails the test if the page asked another host for anything, was kept from something, or complained.
    #[track_caller]
    pub fn is_clean(&mut self, origin: &str) {
        let refused = self.eval("refusedByPolicy");
        check(refused == json!([]), || format!("the policy kept the page from {refused}"));
        let strange: Vec<&String> =
            self.asked.iter().filter(|url| !url.starts_with(origin) && !url.starts_with("data:")).collect();
        check(strange.is_empty(), || format!("the page asked for {strange:?}"));
        check(self.complaints.is_empty(), || format!("the page complained: {:?}", self.complaints));
    }

    /// What the page asked for, by URL.
    pub fn asked(&self) -> &[String] {
        &self.asked
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method});
        message["params"] = params;
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let bytes = [message.to_string().as_bytes(), b"\0"].concat();
        let sent = self.input.write_all(&bytes);
        check(sent.is_ok(), || format!("the browser has ended: {}", self.log()));
        loop {
            let heard = self.messages.recv_timeout(PATIENCE);
            let mut message =
                heard.unwrap_or_else(|error| fail(&format!("{method}: {error}: {}", self.log())));
            if message["id"] == self.calls {
                check(message["error"].is_null(), || format!("{method}: {message}"));
                return message["result"].take();
            }
            self.note(&message["method"], &message["params"]);
        }
    }

    /// Keeps what a test may want to know.
    fn note(&mut self, method: &Value, params: &Value) {
        match method.as_str() {
            Some("Network.requestWillBeSent") => {
                self.asked.extend(params["request"]["url"].as_str().map(ToOwned::to_owned));
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] != "log" => {
                self.complaints.push(params["args"].to_string());
            }
            // That an answer was an error is what a test wants, or is told by the page.
            Some("Log.entryAdded") if params["entry"]["source"] != "network" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.profile.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        // What it started ends with it, sooner or later, and would write into the folder until then.
        let folder = self.profile.path().display().to_string();
        for _ in 0..1000 {
            let left = processes(self.netns).into_iter().filter(|(_, line)| line.contains(&folder));
            let left: Vec<Pid> = left.filter_map(|(id, _)| Pid::from_raw(id.try_into().ok()?)).collect();
            if left.is_empty() {
                break;
            }
            for id in left {
                let _ = kill_process(id, Signal::KILL);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Starts Chromium, whose pipes are to be its files 3 and 4.
fn launch(netns: &Netns, profile: &Path) -> (Child, ChildStdin, Receiver<Value>) {
    let log = File::create(profile.join("log")).must("make a log");
    let mut command = netns.command("sh");
    command.args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "chromium"]).args(FLAGS);
    command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
    for name in ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
        command.env(name, profile);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().must("start a browser");
    let input = child.stdin.take().must("talk to the browser");
    let output = child.stdout.take().must("hear the browser");
    (child, input, messages(output))
}

/// Each message ends with a zero byte.
fn messages(output: ChildStdout) -> Receiver<Value> {
    let (send, messages) = channel();
    thread::spawn(move || {
        let parts = BufReader::new(output).split(0).map_while(Result::ok);
        parts.filter_map(|part| serde_json::from_slice(&part).ok()).try_for_each(|message| send.send(message))
    });
    messages
}
