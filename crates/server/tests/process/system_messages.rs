//! Killed while a system message is sent to many: a retry with the key completes it, and nobody
//! gets it twice.

use std::thread;
use std::time::Instant;

use db::{Db, Tx, params};
use domain::text::{Email, Username};
use domain::{Cx, Time, Wanted, users};
use serde_json::json;
use testing::Client;

use crate::support::{Place, Random};

const KEY: &str = "prk_a-server-key-of-at-least-32-characters";
const PEOPLE: usize = 1000;
const KILLS: usize = 4;

fn write<T: Send + 'static>(
    place: &Place,
    f: impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
) -> T {
    let db = Db::open(&place.url(), domain::SCHEMA).expect("the database can be opened");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let written = runtime.expect("the system has a runtime").block_on(db.write(f));
    written.expect("the database can be written")
}

#[test]
fn a_system_message_that_is_asked_for_again_after_a_kill_reaches_everybody_once() {
    let place = Place::new().with("POSTROOM_SERVER_KEY", KEY);
    place.serve().stop();
    let recipients: Vec<i64> = write(&place, |tx| {
        let cx = Cx {
            now: Time(1_700_000_000_000_000),
            random: |bytes| bytes.fill(7),
            wanted: Wanted::default(),
            names: domain::NameReservation::default(),
        };
        let email = Email::parse("somebody@example.org")?;
        let shop = users::create(tx, &cx, &Username::parse("shop")?, None, &email, "")?;
        users::make_system(tx, shop, false)?;
        let make = |number| {
            let name = Username::parse(&format!("user{number}"))?;
            Ok(users::create(tx, &cx, &name, None, &email, "")?.get())
        };
        (0..PEOPLE).map(make).collect()
    });
    let body = json!({ "from": "shop", "to": recipients, "subject": "news", "body": "of us" });
    let ask = |address, key: &str| {
        let client = Client::new(address);
        let request = client.request("POST", "/v1/server/messages").bearer(KEY);
        request.header("idempotency-key", key).json(&body).wait()
    };
    let server = place.serve();
    let begun = Instant::now();
    ask(server.address, "undisturbed").expect("an answer").expect(201);
    let whole = begun.elapsed();
    server.stop();

    let mut random = Random::new(u64::from(std::process::id()));
    let mut cut_off = 0;
    for number in 0..KILLS {
        let key = format!("news-{number}");
        let server = place.serve();
        let (address, hundredth) = (server.address, whole / 100);
        let moment = hundredth * u32::try_from(random.below(90)).expect("it is small");
        let answered = thread::scope(|scope| {
            let first = scope.spawn(|| ask(address, &key));
            // Not to await anything: to fall into any step.
            thread::sleep(moment);
            server.kill();
            first.join().expect("it does not panic").is_ok_and(|answer| answer.status == 201)
        });
        cut_off += usize::from(!answered);
        let server = place.serve();
        let answer = ask(server.address, &key).expect("an answer").expect(201);
        assert_eq!(answer["messages"].as_array().map(Vec::len), Some(PEOPLE));
        server.stop();
    }
    let counts = write(&place, |tx| {
        let each = "SELECT recipient_id, count(*) FROM messages GROUP BY recipient_id";
        Ok(tx.query(each, &params![], |row| row.int(1))?)
    });
    assert_eq!(counts, vec![i64::try_from(KILLS).expect("it is small") + 1; PEOPLE]);
    assert!(cut_off > 0, "no kill came in time");
    place.is_whole();
}
