use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;

use super::*;

fn at(address: &str) -> Option<IpAddr> {
    address.parse().ok()
}

/// Asks a future once, and says whether it is not done.
async fn waits(mut future: Pin<&mut impl Future>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// The places that a client gets at once.
fn places(pool: &Pool, address: Option<IpAddr>, purpose: Purpose) -> Vec<Place> {
    std::iter::from_fn(|| pool.place(address, purpose)).take(2 * PLACES).collect()
}

#[test]
fn an_address_has_few_places_and_a_network_at_most_half_of_all() {
    let pool = Pool::start(0).unwrap();
    let one = places(&pool, at("192.0.2.1"), Purpose::SignIn);
    assert_eq!(one.len(), 8);
    let network = (0..100).flat_map(|number| {
        places(&pool, at(&format!("2001:db8:1:{number:x}00::1")), Purpose::SignIn)
    });
    let network: Vec<_> = network.collect();
    assert_eq!(network.len(), PLACES / 2);
    let mut small = (0..9).flat_map(|number| {
        places(&pool, at(&format!("2001:db8:2:{number:x}::1")), Purpose::SignIn)
    });
    assert_eq!(small.by_ref().take(20).collect::<Vec<_>>().len(), 16, "a /56 is one customer");
    drop((one, network));
    assert_eq!(places(&pool, None, Purpose::SignIn).len(), PLACES, "and all are given back");
    assert!(pool.queue.state().by_network.is_empty());
}

#[test]
fn registrations_leave_most_places_to_sign_ins() {
    let pool = Pool::start(0).unwrap();
    let registrations = places(&pool, None, Purpose::Registration);
    let sign_ins = places(&pool, None, Purpose::SignIn);
    assert_eq!((registrations.len(), sign_ins.len()), (REGISTRATIONS, PLACES - REGISTRATIONS));
    drop(registrations);
    assert_eq!(places(&pool, None, Purpose::Registration).len(), REGISTRATIONS);
}

#[tokio::test]
async fn sign_ins_come_first_and_other_clients_than_the_last_before_that_one() {
    let pool = Pool::start(1).unwrap();
    let (served, order) = mpsc::channel();
    let (go, begin) = mpsc::channel::<()>();
    let first = pool.place(at("192.0.2.1"), Purpose::SignIn).unwrap();
    let first = tokio::spawn(first.run(move || begin.recv().is_ok()));
    while !pool.queue.state().sign_ins.is_empty() || pool.queue.state().served.is_empty() {
        tokio::task::yield_now().await;
    }
    let mut waiting = vec![];
    for (address, purpose) in [
        ("192.0.2.9", Purpose::Registration),
        ("192.0.2.1", Purpose::SignIn),
        ("192.0.2.1", Purpose::SignIn),
        ("192.0.2.2", Purpose::SignIn),
        ("192.0.2.3", Purpose::SignIn),
    ] {
        let (place, served) = (pool.place(at(address), purpose).unwrap(), served.clone());
        let mut run = Box::pin(place.run(move || served.send(address).is_ok()));
        // It waits from the first time that it is asked.
        assert!(waits(run.as_mut()).await);
        waiting.push(run);
    }
    go.send(()).unwrap();
    for run in waiting {
        assert_eq!(run.await, Ok(true));
    }
    assert_eq!(first.await.unwrap(), Ok(true));
    let order: Vec<_> = order.try_iter().collect();
    let expected = ["192.0.2.2", "192.0.2.1", "192.0.2.3", "192.0.2.1", "192.0.2.9"];
    assert_eq!(order, expected);
}

#[tokio::test]
async fn an_address_is_served_by_one_thread_at_a_time() {
    let pool = Pool::start(2).unwrap();
    let (go, begin) = mpsc::channel::<()>();
    let (served, order) = mpsc::channel();
    let first = pool.place(at("192.0.2.1"), Purpose::SignIn).unwrap();
    let mut first = Box::pin(first.run(move || begin.recv().is_ok()));
    assert!(waits(first.as_mut()).await);
    let run = |address: &'static str| {
        let (place, served) = (pool.place(at(address), Purpose::SignIn), served.clone());
        Box::pin(place.unwrap().run(move || served.send(address).is_ok()))
    };
    let mut same = run("192.0.2.1");
    assert!(waits(same.as_mut()).await);
    for _ in 0..3 {
        assert_eq!(run("192.0.2.2").await, Ok(true));
    }
    go.send(()).unwrap();
    assert_eq!((first.await, same.await), (Ok(true), Ok(true)));
    let order: Vec<_> = order.try_iter().collect();
    assert_eq!(order, ["192.0.2.2", "192.0.2.2", "192.0.2.2", "192.0.2.1"]);
}

#[tokio::test]
async fn one_thread_does_what_is_costly_and_the_others_go_on() {
    let pool = Pool::start(3).unwrap();
    let (go, begin) = mpsc::channel::<()>();
    let (served, order) = mpsc::channel();
    let place = |address: &str| pool.place(at(address), Purpose::SignIn).unwrap();
    let mut first = Box::pin(place("192.0.2.1").run_alone(move || begin.recv().is_ok()));
    assert!(waits(first.as_mut()).await);
    let run = |address: &'static str| {
        let served = served.clone();
        (place(address), move || served.send(address).is_ok())
    };
    let (next, work) = run("192.0.2.2");
    let mut costly = Box::pin(next.run_alone(work));
    assert!(waits(costly.as_mut()).await);
    for _ in 0..4 {
        let (next, work) = run("192.0.2.3");
        assert_eq!(next.run(work).await, Ok(true));
    }
    go.send(()).unwrap();
    assert_eq!((first.await, costly.await), (Ok(true), Ok(true)));
    let order: Vec<_> = order.try_iter().collect();
    assert_eq!(order, ["192.0.2.3", "192.0.2.3", "192.0.2.3", "192.0.2.3", "192.0.2.2"]);
}

#[tokio::test]
async fn who_waits_when_the_pool_ends_is_told_so() {
    let pool = Pool::start(0).unwrap();
    let place = pool.place(None, Purpose::SignIn).unwrap();
    let mut run = Box::pin(place.run(|| ()));
    assert!(waits(run.as_mut()).await);
    let late = pool.place(None, Purpose::SignIn).unwrap();
    drop(pool);
    assert_eq!(run.await, Err(db::Error::Closed));
    assert_eq!(late.run(|| ()).await, Err(db::Error::Closed));
}

#[test]
fn failures_wait_as_much_longer_as_verifying_has_taken_lately_and_never_less() {
    let pool = Pool::start(0).unwrap();
    let (wait, second) = (Duration::from_secs(2), Duration::from_secs(1));
    assert_eq!(pool.stretch(wait), wait);
    for (took, expected) in [(1, 2), (8, 5), (4, 5), (100, 8)] {
        pool.note(took * second, 4 * second);
        assert_eq!(pool.stretch(wait), expected * second, "{took}");
    }
    let old = Instant::now().checked_sub(SLOW_FOR + second).unwrap();
    *pool.slowness.lock().unwrap() = Some((SLOWEST, old));
    assert_eq!(pool.stretch(wait), wait, "it was long ago");
    pool.note(8 * second, 4 * second);
    assert_eq!(pool.stretch(wait), 5 * second);
}
