//! The users of an app, of whom many are changed at once: a kill leaves whole chunks.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{Client, TIMEOUT};

use crate::support::{Place, Random};

const KEY: &str = "a-key-of-the-app-and-its-server-together";
/// Users that are in one transaction.
const CHUNK: usize = 50;

fn client(server: &crate::support::Server) -> Client {
    Client::new(server.address).with_header("authorization", &format!("Bearer {KEY}"))
}

/// A thousand users, of a round.
fn batch(round: usize) -> Value {
    let users = (0..1000).map(
        |number| json!({ "ref": format!("ext:{round}.{number}"), "display_name": "Dana Deer" }),
    );
    json!({ "users": users.collect::<Vec<_>>() })
}

/// The numbers of the users of a round that are there.
fn there(client: &Client, round: usize) -> BTreeSet<usize> {
    let (mut found, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let path = format!("/v1/server/users?limit=1000{cursor}");
        let page = client.request("GET", &path).wait().expect("an answer").ok();
        for user in page["data"].as_array().expect("it is a list") {
            let id = user["external_id"].as_str().expect("it has one");
            let (of, number) = id.split_once('.').expect("it has two parts");
            if of == round.to_string() {
                found.insert(number.parse().expect("it is a number"));
            }
        }
        let Some(next) = page["next_cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn a_kill_in_a_batch_leaves_whole_chunks_and_the_batch_can_be_repeated() {
    let place = Place::new().with("POSTROOM_SERVER_KEY", KEY);
    let mut random = Random::new(u64::from(std::process::id()));
    let mut cut_off = 0;
    // How long a batch takes where nobody kills the server.
    let server = place.serve();
    let started = Instant::now();
    let caller = client(&server);
    let request = caller.request("POST", "/v1/server/users/batch").json(&batch(8));
    request.wait().expect("an answer").ok();
    let whole = u64::try_from(started.elapsed().as_millis()).expect("it is not for ever");
    server.stop();
    for round in 0..8 {
        let server = place.serve();
        let caller = client(&server);
        let (begun, wait) = channel();
        let sending = thread::spawn(move || {
            begun.send(()).expect("somebody waits");
            let request = caller.request("POST", "/v1/server/users/batch");
            request.json(&batch(round)).wait().is_ok()
        });
        wait.recv_timeout(TIMEOUT).expect("it begins");
        // Not to await anything: to fall into any part of it.
        thread::sleep(Duration::from_millis(random.next() % whole.max(20)));
        server.kill();
        let answered = sending.join().expect("it does not panic");

        let server = place.serve();
        let found = there(&client(&server), round);
        let (whole, rest) = (found.len() / CHUNK, found.len() % CHUNK);
        assert_eq!(rest, 0, "{whole} chunks and a part of one");
        assert_eq!(found, (0..found.len()).collect(), "the first ones");
        assert!(!answered || found.len() == 1000, "what was answered is there");
        cut_off += usize::from(!found.is_empty() && found.len() < 1000);
        let request = client(&server);
        let request = request.request("POST", "/v1/server/users/batch").json(&batch(round));
        let results = request.wait().expect("an answer").ok()["results"].clone();
        let results = results.as_array().expect("it is a list").clone();
        let created = results.iter().filter(|result| result["status"] == "created").count();
        assert_eq!(created, 1000 - found.len());
        assert_eq!(there(&client(&server), round).len(), 1000);
        server.stop();
        place.is_whole();
    }
    assert!(cut_off > 0, "no kill fell into a batch");
}
