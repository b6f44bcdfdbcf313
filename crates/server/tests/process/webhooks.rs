//! Webhooks from the command line to the recipient: commands, signatures, kills, forbidden ways.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use testing::{Database, PASSWORD, Reply, TIMEOUT, TestEndpoint};

use crate::support::{Place, until};

const EVENTS: &str = "message.created,message.read,message.destroyed,user.created,user.erased";

/// A folder with a database whose server may send webhooks to this machine.
fn place() -> Place {
    place_that_allows("127.0.0.1")
}

fn place_that_allows(hosts: &str) -> Place {
    let place = Place::new().with("POSTROOM_WEBHOOK_ALLOW_HOSTS", hosts);
    place.run(&["migrate"]).ok();
    place
}

impl Place {
    /// Adds a webhook; its secret.
    fn hooks(&self, url: &str, events: &str) -> String {
        let said = self.run(&["webhook", "add", url, "--events", events]).ok();
        last_line(&said)
    }

    fn account(&self, name: &str) {
        let email = format!("{name}@example.org");
        let input = format!("{PASSWORD}\n");
        self.run_with(&input, &["user", "add", name, "--email", &email]).ok();
    }

    /// The lines of the log, each as its columns.
    fn deliveries(&self, arguments: &[&str]) -> Vec<Vec<String>> {
        let log = self.run(&[&["webhook", "log"], arguments].concat()).ok();
        log.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}

fn last_line(said: &str) -> String {
    said.lines().last().expect("it says something").to_owned()
}

#[test]
fn an_operator_adds_lists_disables_and_removes_webhooks() {
    let place = place();
    let said = place.run(&["webhook", "add", "https://app.example.org/a"]).ok();
    let (first, secret) = said.trim_end().split_once('\n').expect("two lines");
    assert_eq!(first, format!("webhook 1 is told of {EVENTS}; its secret is"));
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    assert_eq!(place.run(&["webhook", "secret", "1"]).ok().trim_end(), secret);
    let other = place.hooks("https://APP.example.org:8443", "user.erased,user.created");
    assert_ne!(other, secret);

    let listed = place.run(&["webhook", "list"]).ok();
    let lines: Vec<Vec<_>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0][..3], ["1", "https://app.example.org/a", EVENTS]);
    assert_eq!(lines[0][4], "enabled");
    assert_eq!(lines[1][..3], ["2", "https://APP.example.org:8443", "user.created,user.erased"]);
    let disabled = place.run(&["webhook", "disable", "2"]).ok();
    assert_eq!(disabled, "webhook 2 is disabled\n");
    let listed = place.run(&["webhook", "list"]).ok();
    assert!(listed.lines().nth(1).is_some_and(|line| line.ends_with("by command")), "{listed}");
    assert_eq!(place.run(&["webhook", "enable", "2"]).ok(), "webhook 2 is enabled\n");

    let rotated = place.run(&["webhook", "rotate", "1"]).ok();
    assert!(rotated.starts_with("webhook 1 is signed for by the old secret until "), "{rotated}");
    assert_ne!(last_line(&rotated), secret);
    assert_eq!(place.run(&["webhook", "secret", "1"]).ok().trim_end(), last_line(&rotated));

    assert_eq!(place.run(&["webhook", "remove", "1"]).ok(), "webhook 1 is removed\n");
    for command in ["remove", "enable", "disable", "rotate", "secret", "test", "log"] {
        for id in ["1", "9", "0"] {
            let error = place.run(&["webhook", command, id]).failed(1);
            assert_eq!(error, format!("error: there is no webhook {id}\n"));
        }
    }
    // The number is not given again, and nobody learns the secret of another.
    let third = place.hooks("https://app.example.org/a", "user.created");
    assert_ne!(third, secret);
    assert!(place.run(&["webhook", "list"]).ok().contains("\n3\t"));
    place.is_whole();
}

#[test]
fn an_address_that_cannot_be_told_is_refused_when_it_is_added() {
    let place = place_that_allows("");
    for (url, problem) in [
        ("app.example.org", "it must"),
        ("ftp://app.example.org", "it must begin with https://"),
        ("https://", "it must look like"),
        ("https:///path", "it must look like"),
        ("https://ann:secret@app.example.org", "it must not contain a user name or a password"),
        ("https://app.example.org/#top", "it must not have a part after #"),
        ("https://app.example.org:99999", "it must look like"),
        ("https://app.example.org:0", "it must look like"),
        ("https://app.example.org:", "it must look like"),
        ("https://bücher.example", "it must look like"),
        ("https://[fe80::1%25eth0]/", "it must look like"),
        ("http://app.example.org", "it must be https, or webhook_allow_hosts must name"),
        ("https://127.0.0.1/", "127.0.0.1 is not a public address"),
        ("https://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1 is not a public address"),
        ("https://169.254.169.254/latest", "169.254.169.254 is not a public address"),
    ] {
        let error = place.run(&["webhook", "add", url]).failed(2);
        assert!(error.contains(problem), "{url}: {error}");
    }
    let error = place.run(&["webhook", "add", "https://a.example", "--events", "all"]).failed(2);
    assert_eq!(error, "error: there is no event all\n");
    for arguments in [&["webhook", "replay", "1"][..], &["webhook", "replay", "1", "seventeen"]] {
        place.hooks("https://a.example", "user.created");
        place.run(arguments).failed(2);
    }
    for hosts in ["a b", "http://a.example", "10.0.0.0/40"] {
        let config = Place::bare().with("POSTROOM_WEBHOOK_ALLOW_HOSTS", hosts);
        assert!(config.run(&["config"]).failed(2).contains("webhook_allow_hosts"));
    }
}

#[test]
fn a_test_says_what_came_of_it_and_connects_only_where_it_may() {
    let place = place().with("POSTROOM_WEBHOOK_TIMEOUT_SECONDS", "1");
    let endpoint = TestEndpoint::start();
    let secret = place.hooks(&endpoint.url(), EVENTS);
    let said = place.run(&["webhook", "test", "1"]).ok();
    assert!(said.starts_with("webhook 1 answered 200 after "), "{said}");
    let request = endpoint.next_request();
    assert_eq!(request.body()["type"], "webhook.test");
    assert_eq!(request.body()["data"]["webhook_id"], 1);
    assert!(request.is_signed_by(&secret));
    assert!(!request.is_signed_by(&place.hooks("https://a.example", EVENTS)));

    for (reply, problem) in [
        (Reply::status(500), "webhook 1: 500"),
        (Reply::status(410), "webhook 1: 410"),
        (Reply::Closes, "webhook 1: no answer"),
        (Reply::Hangs, "webhook 1: no answer in 1 s"),
    ] {
        endpoint.next([reply]);
        let error = place.run(&["webhook", "test", "1"]).failed(1);
        assert!(error.contains(problem), "{error}");
    }
    assert!(place.run(&["webhook", "list"]).ok().lines().all(|line| line.ends_with("enabled")));

    // What is no longer allowed is refused where it is connected to.
    let before = endpoint.connections();
    let forbidden = ["--set", "webhook_allow_hosts=10.0.0.0/8", "webhook", "test", "1"];
    let error = place.run(&forbidden).failed(1);
    assert!(error.contains("it must be https"), "{error}");
    assert_eq!(endpoint.connections(), before);
}

#[test]
fn while_a_secret_is_replaced_both_sign_and_neither_is_written_down() {
    let place = place().with("POSTROOM_LOG", "trace");
    let endpoint = TestEndpoint::start();
    let old = place.hooks(&endpoint.url(), "user.created");
    let server = place.serve();
    place.account("ann");
    let first = endpoint.next_request();
    assert!(first.is_signed_by(&old));
    let log = || place.deliveries(&["1"]);
    until(TIMEOUT, "it is written down", || log()[0][4].starts_with("delivered"));
    assert_eq!(log()[0][..2], [first.id(), "user.created"]);
    assert_eq!(log()[0][5..], ["1", "200"]);

    let new = last_line(&place.run(&["webhook", "rotate", "1"]).ok());
    until(TIMEOUT, "the server knows", || {
        let replayed = place.run(&["webhook", "replay", "1", first.id()]).ok();
        assert_eq!(replayed, "webhook 1 is told once more\n");
        let again = endpoint.next_request();
        assert_eq!((again.id(), &again.text), (first.id(), &first.text));
        assert!(again.is_signed_by(&old));
        again.is_signed_by(&new)
    });
    let words = server.last_words();
    for secret in [&old, &new] {
        let secret = secret.strip_prefix("whsec_").expect("it begins so");
        assert!(!words.contains(secret), "{words}");
        let stored = place.stored_bytes();
        assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
    assert!(!words.contains("from=postroom"), "the address is no business of the log");
}

#[test]
fn what_was_given_up_is_told_when_it_is_asked_for() {
    let place = place();
    let endpoint = TestEndpoint::start();
    place.hooks(&endpoint.url(), "user.created");
    place.run(&["webhook", "add", &endpoint.url(), "--events", "user.erased"]).ok();
    let server = place.serve();
    for name in ["ann", "bob", "cid"] {
        place.account(name);
        endpoint.next_request();
    }
    let delivered =
        || place.deliveries(&[]).iter().filter(|row| row[4].starts_with("delivered")).count();
    until(TIMEOUT, "it is written down", || delivered() == 3);
    assert_eq!(place.deliveries(&["--limit", "2"]).len(), 2);
    assert_eq!(place.deliveries(&["1", "--failed"]).len(), 0);
    assert_eq!(place.deliveries(&["2"]).len(), 0);
    let replay = |arguments: &[&str]| place.run(&[&["webhook", "replay"], arguments].concat());
    assert_eq!(replay(&["1", "--failed"]).ok(), "webhook 1 is told of 0 events once more\n");
    let all = replay(&["1", "--since", "2020-01-01"]).ok();
    assert_eq!(all, "webhook 1 is told of 3 events once more\n");
    let mut ids: Vec<_> = (0..3).map(|_| endpoint.next_request().id().to_owned()).collect();
    ids.sort();
    let mut logged: Vec<_> = place.deliveries(&[]).into_iter().map(|row| row[0].clone()).collect();
    logged.sort();
    assert_eq!(ids, logged);
    let none = replay(&["2", "--since", "2020-01-01T00:00:00Z"]).ok();
    assert_eq!(none, "webhook 2 is told of 0 events once more\n");
    assert_eq!(replay(&["1", "evt_99_1"]).failed(1), "error: there is no event evt_99_1\n");
    replay(&["1", "--since", "yesterday"]).failed(2);
    server.stop();
    place.is_whole();
}

#[test]
fn what_a_killed_server_had_not_told_is_told_by_the_next() {
    let place = place();
    let endpoint = TestEndpoint::start();
    endpoint.always(Reply::Hangs);
    place.hooks(&endpoint.url(), "message.created");
    let server = place.serve();
    let (mut ann, bob) = (server.user("ann"), server.user("bob"));
    let sent: Vec<i64> = (0..40).map(|_| ann.send_message(bob.id, "a", "b")).collect();
    // Some are on their way, and others wait.
    let hanging = endpoint.next_request();
    server.kill();
    endpoint.always(Reply::status(200));
    drop(endpoint.requests());
    let server = place.serve();
    let mut delivered = BTreeMap::<i64, String>::new();
    while delivered.len() < sent.len() {
        let request = endpoint.next_request();
        let message = request.body()["data"]["message_id"].as_i64().expect("it names one");
        let before = delivered.insert(message, request.id().to_owned());
        assert_eq!(before, None, "nothing that was written down is told again");
    }
    assert_eq!(delivered.keys().copied().collect::<Vec<_>>(), sent);
    assert!(delivered.values().any(|id| id == hanging.id()), "it comes again under its id");
    server.stop();
    place.is_whole();
}

#[test]
fn nothing_of_this_machine_is_connected_to_unless_it_is_allowed() {
    let trap = TestEndpoint::start();
    let port = trap.address.port();
    let hosts = [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "localhost",
        "LOCALHOST.",
        "0",
        "0x0",
        "127.000.000.001",
    ];
    // By name they may be spoken to without TLS, but not be private.
    let place = place_that_allows("a.example");
    for host in hosts {
        place.hooks(&format!("https://{host}:{port}/"), EVENTS);
    }
    for id in 1..=hosts.len() {
        let error = place.run(&["webhook", "test", &id.to_string()]).failed(1);
        let refused = ["is not a public address", "there is no host"];
        assert!(refused.iter().any(|refused| error.contains(refused)), "{error}");
    }
    assert_eq!(trap.connections(), 0);
}

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let made = made.expect("openssl is installed");
    assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// Speaks TLS before a recipient, with a certificate for `localhost` by the authority `ours.crt`.
fn before(endpoint: &TestEndpoint, folder: &Path) -> SocketAddr {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -days 2 -subj /CN=ours -keyout o.key -out ours.crt"));
    openssl(folder, &format!("req {key} -subj /CN=a -keyout server.key -out server.csr"));
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").expect("it can be written");
    let sign = "x509 -req -in server.csr -CA ours.crt -CAkey o.key -CAcreateserial -days 2";
    openssl(folder, &format!("{sign} -extfile names -out server.crt"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_file(folder.join("server.crt")).expect("it is one");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("it is one");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("they are")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    let config = Arc::new(config.expect("they belong together"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let (address, behind) = (listener.local_addr().expect("it is bound"), endpoint.address);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = ServerConnection::new(Arc::clone(&config)).expect("it is configured");
            pass(StreamOwned::new(tls, stream), behind);
        }
    });
    address
}

/// Passes one request on, and its answer back.
fn pass(mut tls: StreamOwned<ServerConnection, TcpStream>, behind: SocketAddr) {
    let mut request = String::new();
    let mut piece = [0; 4096];
    while !request.ends_with("}}") {
        match tls.read(&mut piece) {
            Ok(bytes @ 1..) => request.push_str(&String::from_utf8_lossy(&piece[..bytes])),
            // Who does not trust this certificate goes away.
            _ => return,
        }
    }
    let mut plain = TcpStream::connect(behind).expect("it listens");
    plain.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).expect("it answers");
    drop(tls.write_all(&answer));
}

#[test]
fn an_endpoint_is_who_its_certificate_says() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let endpoint = TestEndpoint::start();
    let address = before(&endpoint, folder.path());
    let place = place_that_allows("127.0.0.0/8,::1,localhost");
    let authority = folder.path().join("ours.crt");
    let trusting = |id: &str| {
        let mut command = place.command(&["webhook", "test", id]);
        crate::support::finish(command.env("SSL_CERT_FILE", &authority), "")
    };
    place.hooks(&format!("https://localhost:{}/", address.port()), EVENTS);
    place.hooks(&format!("https://127.0.0.1:{}/", address.port()), EVENTS);
    assert!(trusting("1").ok().starts_with("webhook 1 answered 200"));
    assert_eq!(endpoint.next_request().body()["type"], "webhook.test");
    let error = place.run(&["webhook", "test", "1"]).failed(1);
    assert!(error.contains("TLS: "), "{error}");
    // Of that authority, and for another name.
    assert!(trusting("2").failed(1).contains("TLS: "));
    assert_eq!(endpoint.requests().len(), 0);
}

#[test]
fn what_waits_is_told_after_a_restore_and_in_another_house() {
    if testing::is_about_sqlite("the file is copied, and moved to the other engine") {
        return;
    }
    let place = place();
    let endpoint = TestEndpoint::start();
    let secret = place.hooks(&endpoint.url(), "user.created");
    place.account("ann");
    let backup = place.path("backup.db");
    place.run(&["backup", backup.to_str().expect("it is text")]).ok();
    place.run(&["webhook", "remove", "1"]).ok();
    place.run(&["restore", backup.to_str().expect("it is text")]).ok();
    if testing::shared().is_some() {
        let house = Database::empty();
        let copied = place.run(&["copy", "--from", "sqlite:postroom.db", "--to", &house.url()]);
        assert_eq!(copied.status, 0, "{}", copied.err);
        let mut command = place.command(&[]);
        command.env("POSTROOM_DATABASE_URL", house.url());
        command.env("POSTROOM_SECRET_KEY_FILE", "data/secret.key");
        let server = place.serve_by(command);
        assert!(endpoint.next_request().is_signed_by(&secret));
        server.stop();
    }
    let server = place.serve();
    let request = endpoint.next_request();
    assert!(request.is_signed_by(&secret));
    assert_eq!(request.body()["data"]["user_id"], 1);
    server.stop();
    place.is_whole();
}

#[test]
fn a_server_that_tells_is_stopped_soon() {
    let place = place();
    let endpoint = TestEndpoint::start();
    endpoint.always(Reply::Hangs);
    place.hooks(&endpoint.url(), "user.created");
    let mut server = place.serve();
    place.account("ann");
    endpoint.next_request();
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ends_within(Duration::from_secs(8)).success());
}
