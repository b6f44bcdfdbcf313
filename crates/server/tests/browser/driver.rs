//! Chromium, driven by the protocol of `WebDriver`.

use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testing::Client;

use crate::support::until;

/// Longer than anything takes in a browser, on a machine with other work.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// The end of a script: what the page gave or how it failed.
const RUN: &str = "const done = arguments[arguments.length - 1];
    const work = async (...args) => { BODY };
    work(...Array.from(arguments).slice(0, -1)).then(
        (value) => done({ value: value ?? null }),
        (error) => done({ error: String(error?.stack || error) }),
    );";

/// A browser with a profile of its own, which ends with the value.
pub(crate) struct Browser {
    driver: Child,
    client: Client,
    session: String,
    /// The window that it has from its start.
    window: Value,
}

/// A tab of it.
pub(crate) struct Tab<'b> {
    browser: &'b Browser,
    handle: String,
}

impl Browser {
    /// Starts one; nothing where there is none.
    pub(crate) fn start() -> Option<Self> {
        let started = match launch() {
            Ok(started) => started,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                testing::skip("the driver of Chromium");
                return None;
            }
            Err(error) => panic!("the driver of Chromium does not start: {error}"),
        };
        // The port that it found free may be taken when it comes to the other family of addresses.
        let mut again = (0..5).filter_map(|_| launch().ok().flatten());
        let (driver, port) = started.or_else(|| again.next()).expect("its driver listens");
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut browser = Self { driver, client, session: String::new(), window: Value::Null };
        // In a container there is nothing to build a sandbox of, and little of /dev/shm. The pipe
        // ends the browser where its driver is killed.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--remote-debugging-pipe",
        ];
        let wanted = json!({ "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": LONG.as_millis() },
        } });
        match browser.command("POST", "", &json!({ "capabilities": wanted })) {
            Ok(made) => {
                made["sessionId"].as_str().expect("it is text").clone_into(&mut browser.session);
            }
            Err(error) if error.contains("binary") => {
                testing::skip("Chromium");
                return None;
            }
            Err(error) => panic!("Chromium does not start: {error}"),
        }
        browser.window = browser.must("GET", "/window", &Value::Null);
        Some(browser)
    }

    /// A command of the protocol, to the session.
    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut path = format!("/session/{}{path}", self.session);
        path.truncate(path.trim_end_matches('/').len());
        let mut request = self.client.request(method, &path).timeout(2 * LONG);
        if method == "POST" {
            request = request.json(body);
        }
        let answer = request.wait().unwrap_or_else(|why| panic!("{method} {path}: {why:?}"));
        let mut json = answer.json();
        if answer.status == 200 { Ok(json["value"].take()) } else { Err(json.to_string()) }
    }

    #[track_caller]
    fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        self.command(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Opens a tab with a page.
    #[track_caller]
    pub(crate) fn open(&self, server: SocketAddr, path: &str) -> Tab<'_> {
        // The tab that was used last may be closed.
        self.must("POST", "/window", &json!({ "handle": self.window }));
        let made = self.must("POST", "/window/new", &json!({ "type": "tab" }));
        let handle = made["handle"].as_str().expect("it is text").to_owned();
        let tab = Tab { browser: self, handle };
        tab.go(server, path);
        tab
    }

    /// What pages complained of: errors of scripts, and what the policy of a page forbids.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.must("POST", "/se/log", &json!({ "type": "browser" }));
        let lines = log.as_array().expect("it is a list").iter();
        let text = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
        // That a request failed is what the tests are about.
        lines.map(text).filter(|line| !line.contains("Failed to load resource")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            drop(self.command("DELETE", "", &Value::Null));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

impl Tab<'_> {
    fn chosen(&self) -> &Browser {
        self.browser.must("POST", "/window", &json!({ "handle": self.handle }));
        self.browser
    }

    /// Goes to a page.
    #[track_caller]
    pub(crate) fn go(&self, server: SocketAddr, path: &str) {
        let url = json!({ "url": format!("http://{server}{path}") });
        self.chosen().must("POST", "/url", &url);
    }

    /// Closes it.
    pub(crate) fn close(self) {
        self.chosen().must("DELETE", "/window", &Value::Null);
    }

    /// Takes the network away from it, or gives it back.
    #[track_caller]
    pub(crate) fn is_offline(&self, offline: bool) {
        let conditions = json!({ "offline": offline, "latency": 0, "throughput": -1 });
        let conditions = json!({ "network_conditions": conditions });
        self.chosen().must("POST", "/chromium/network_conditions", &conditions);
    }

    /// Runs the body of an async function; what it returns.
    #[track_caller]
    pub(crate) fn run(&self, body: &str, arguments: &[Value]) -> Value {
        let script = json!({ "script": RUN.replace("BODY", body), "args": arguments });
        let mut ended = self.chosen().must("POST", "/execute/async", &script);
        assert_eq!(ended["error"], Value::Null, "{body}");
        ended["value"].take()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn shows(&self, expression: &str) {
        let body = format!("return !!({expression});");
        until(LONG, expression, || self.run(&body, &[]) == true);
    }

    /// The text that an element shows.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let body = "return document.querySelector(args[0]).innerText;";
        self.run(body, &[json!(selector)]).as_str().expect("it is text").to_owned()
    }

    /// Clicks on what a user would click on.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.chosen().must("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into a field.
    #[track_caller]
    pub(crate) fn type_in(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.chosen().must("POST", &format!("/element/{element}/clear"), &json!({}));
        let text = json!({ "text": text });
        self.chosen().must("POST", &format!("/element/{element}/value"), &text);
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.chosen().must("POST", "/element", &by);
        let id = found.as_object().and_then(|found| found.values().next()?.as_str());
        id.expect("an element has an id").to_owned()
    }
}

/// Starts the driver; nothing where it ends again, else the port that it took.
fn launch() -> io::Result<Option<(Child, u16)>> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = command.spawn()?;
    let out = BufReader::new(driver.stdout.take().expect("it is a pipe"));
    let port = out.lines().map_while(Result::ok).find_map(|line| {
        line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    if port.is_none() {
        driver.wait()?;
    }
    Ok(port.map(|port| (driver, port)))
}
