//! A headless Chromium, told what to do by the DevTools protocol through a pair of pipes: JSON messages,
//! each with a zero byte behind it. No driver, no port, no other program.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::{Value, json};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// As root, without a network, and silent about what it misses in a container.
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions \
    --force-color-profile=srgb --window-size=1280,800 --remote-debugging-pipe about:blank";

/// A browser that answers nothing for so long hangs.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// A browser with one page.
pub struct Browser {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// What the page complained of: exceptions, refused or missing files, messages on its console.
    pub complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

/// The browser's program, if there is one.
pub fn find() -> Option<&'static str> {
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    NAMES.into_iter().find(|name| folders.iter().any(|folder| folder.join(name).is_file()))
}

impl Browser {
    pub fn start(program: &str) -> Browser {
        let profile = tempfile::tempdir().expect("a temporary folder");
        // The browser reads from descriptor 3 and writes to descriptor 4.
        let script = format!(
            "exec {program} {FLAGS} --user-data-dir=\"$1\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(profile.path());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the browser starts");
        let stdin = child.stdin.take().expect("a pipe");
        let messages = listen(child.stdout.take().expect("a pipe"));
        let (session, last_id, complaints) = (None, 0, Vec::new());
        let mut browser =
            Browser { child, stdin, messages, session, last_id, complaints, _profile: profile };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = self
            .call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Calls a method of the protocol and returns its answer.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.stdin.write_all(format!("{message}\0").as_bytes()).expect("the browser reads");
        loop {
            let answer = match self.messages.recv_timeout(ANSWER_MAX) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser ended"),
            };
            if answer["id"] == self.last_id {
                assert_eq!(answer["error"], Value::Null, "{method}");
                return answer["result"].clone();
            }
            self.listen_to(&answer);
        }
    }

    fn listen_to(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(parameters["exceptionDetails"].to_string());
            }
            Some("Runtime.consoleAPICalled") => self.complaints.push(parameters["args"].to_string()),
            Some("Log.entryAdded") => self.complaints.push(parameters["entry"].to_string()),
            _ => {}
        }
    }

    /// Opens the report in `folder` at `hash`, in a page that is loaded anew.
    pub fn open(&mut self, folder: &Path, hash: &str) {
        self.call("Page.navigate", json!({ "url": "about:blank" }));
        let url = format!("file://{}/index.html{hash}", folder.display());
        self.call("Page.navigate", json!({ "url": url }));
        self.wait("document.querySelector('main')?.dataset.view");
    }

    /// The value of a JavaScript expression.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].clone()
    }

    /// The text of what `selector` finds first.
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({})?.textContent", json!(selector)));
        text.as_str().unwrap_or_else(|| panic!("nothing is {selector}")).to_owned()
    }

    /// How many elements `selector` finds.
    pub fn count(&mut self, selector: &str) -> u64 {
        let count = self.value(&format!("document.querySelectorAll({}).length", json!(selector)));
        count.as_u64().expect("a number")
    }

    /// Waits until `expression` holds.
    pub fn wait(&mut self, expression: &str) {
        let looking = format!(
            "new Promise((resolve) => {{ let left = 3000;
                const look = () => ({expression}) ? resolve(true) : left-- ? setTimeout(look, 20) : resolve(false);
                look(); }})"
        );
        let holds = self.value(&looking);
        let seen = self.value("document.body.innerText.slice(0, 600)");
        assert_eq!(holds, json!(true), "never: {expression}\n{seen}\n{:?}", self.complaints);
    }

    /// Waits until `selector` finds something, and presses the mouse on the middle of it.
    pub fn click(&mut self, selector: &str) {
        let selector = json!(selector);
        self.wait(&format!("document.querySelector({selector})"));
        let place = self.value(&format!(
            "(() => {{ const element = document.querySelector({selector});
                element.scrollIntoView({{ block: 'nearest' }});
                const box = element.getBoundingClientRect();
                return [box.left + Math.min(box.width / 2, 200), box.top + box.height / 2]; }})()"
        ));
        self.click_at(place[0].as_f64().expect("x"), place[1].as_f64().expect("y"));
    }

    pub fn click_at(&mut self, x: f64, y: f64) {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses a key, named as in `KeyboardEvent.key`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { key };
        let has_text = key.chars().count() == 1 || key == "Enter";
        let mut event = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if has_text {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", event);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }));
    }

    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Lets the system be light or dark.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Messages of the browser, as they come.
fn listen(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, messages) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let mut message = Vec::new();
            let read = stdout.read_until(0, &mut message).unwrap_or(0);
            message.pop();
            let Ok(message) = serde_json::from_slice(&message) else { return };
            if read == 0 || sender.send(message).is_err() {
                return;
            }
        }
    });
    messages
}
