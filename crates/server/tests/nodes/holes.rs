//! A connection on which nothing comes and nothing ends.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::{PASSWORD, Proxy, Response, User};

use crate::letters::{is_a_refusal, list};
use crate::nodes::{CONNECTIONS, Nodes, all_slots_work, cluster, poll, readiness, url};

/// The longest that any request may take.
const LONGEST: Duration = Duration::from_secs(6);
/// More than there are connections.
const WRITERS: usize = 2 * CONNECTIONS;
const ROUNDS: usize = 2;

/// Asserts that a request is refused, and in time.
#[track_caller]
fn is_refused_in_time(what: &str, ask: impl FnOnce() -> Response) {
    let begun = Instant::now();
    let answer = ask();
    let time = begun.elapsed();
    assert!(time < LONGEST, "{what} took {time:?}");
    assert_eq!(answer.status, 503, "{what}: {}", answer.text());
    is_a_refusal(&answer);
}

/// On a connection of its own: an idle one is closed after a while.
fn login(address: SocketAddr) -> Response {
    let mut visitor = User::visitor(address, "reader");
    visitor.try_login(PASSWORD)
}

#[test]
fn a_connection_in_which_all_is_lost_keeps_no_request_waiting() {
    let Some(cluster) = cluster() else { return };
    let proxy = Proxy::start(cluster.port());
    let nodes = Nodes::start(1, &url(&[proxy.port()]));
    let address = nodes.address(0);
    let mut writers: Vec<_> =
        (0..WRITERS).map(|number| nodes.user(0, &format!("writer-{number}"))).collect();
    let mut reader = nodes.user(0, "reader");
    let recipient = reader.id;

    proxy.black_hole(true);
    thread::scope(|scope| {
        for (number, writer) in writers.iter_mut().enumerate() {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Not all at once: some find all connections taken.
                    thread::sleep(Duration::from_millis(100) * u32::try_from(number).unwrap_or(0));
                    let key = format!("{number}-{round}");
                    writer.connect_to(address);
                    is_refused_in_time("a send", || {
                        writer.send_keyed(recipient, &key).expect("an answer")
                    });
                }
            });
        }
        scope.spawn(|| {
            for path in ["/v1/messages?limit=10", "/v1/unread", "/v1/messages?q=word"] {
                is_refused_in_time(path, || {
                    reader.call("GET", path, &Value::Null).expect("an answer")
                });
            }
        });
        scope.spawn(|| is_refused_in_time("a login", || login(address)));
        scope.spawn(|| is_refused_in_time("/readyz", || readiness(address)));
    });
    assert_eq!(testing::get(address, "/healthz").status, 200);

    proxy.black_hole(false);
    poll("it is ready again", || readiness(address).status == 200);
    for (number, writer) in writers.iter_mut().enumerate() {
        for round in 0..ROUNDS {
            let key = format!("{number}-{round}");
            writer.connect_to(address);
            let answer = writer.send_keyed(recipient, &key).expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }
    reader.connect_to(address);
    assert_eq!(list(&mut reader, "inbox").len(), WRITERS * ROUNDS, "each is there once");
    assert_eq!(login(address).status, 200);
    let mut writers: Vec<_> = writers.iter_mut().collect();
    all_slots_work(&cluster, address, &mut writers, recipient);
    nodes.are_well();
}

#[test]
fn connections_that_are_reset_are_made_again() {
    let Some(cluster) = cluster() else { return };
    let proxy = Proxy::start(cluster.port());
    let nodes = Nodes::start(2, &url(&[proxy.port()]));
    let mut office = crate::letters::Office::open(&nodes, 4, 2);
    office.works(|progress| {
        for _ in 0..20 {
            progress.more(10);
            proxy.cut();
        }
        progress.more(50);
    });
    office.is_in_order();
    office.has_all_connections(&cluster);
    nodes.are_well();
}
