//! The throw-away servers, as tests use them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use testing::{Cluster, Database, Proxy, binaries, shared, sql};

/// Nothing here takes this long, also on a machine with other work.
const BOUND: Duration = Duration::from_mins(1);

/// Whether there is anything to test with; says where there is not.
fn is_installed() -> bool {
    let installed = binaries().is_some();
    if !installed {
        drop(writeln!(std::io::stderr(), "skipped: PostgreSQL is not installed"));
    }
    installed
}

#[test]
fn a_cluster_keeps_its_data_and_its_port_when_it_is_stopped_killed_and_restarted() {
    if !is_installed() {
        return;
    }
    let cluster = Cluster::start(&[("fsync", "on"), ("application_name", "it's quoted")]);
    cluster.sql("postgres", "CREATE TABLE kept (what text); INSERT INTO kept VALUES ('a')");
    assert_eq!(cluster.sql("postgres", "SHOW application_name"), [["it's quoted"]]);
    assert_eq!(cluster.sql("postgres", "SHOW fsync"), [["on"]]);
    let port = cluster.port();
    cluster.kill();
    assert!(cluster.try_sql("postgres", "SELECT 1").is_err());
    cluster.start_again();
    cluster.restart();
    cluster.stop();
    assert!(cluster.try_sql("postgres", "SELECT 1").is_err());
    cluster.start_again();
    assert_eq!(cluster.sql("postgres", "SELECT what, NULL FROM kept"), [["a", ""]]);
    assert_eq!(cluster.port(), port);
    let folder = cluster.sql("postgres", "SHOW data_directory")[0][0].clone();
    drop(cluster);
    assert!(!Path::new(&folder).exists());
}

#[test]
fn a_promoted_standby_has_every_row_that_the_killed_primary_acknowledged() {
    if !is_installed() {
        return;
    }
    let primary = Cluster::start(&[]);
    let standby = primary.standby("second");
    primary.make_synchronous(&["second"]);
    primary.sql("postgres", "CREATE TABLE kept (what text); INSERT INTO kept VALUES ('a')");
    let refused = standby.try_sql("postgres", "INSERT INTO kept VALUES ('b')");
    assert!(refused.unwrap_err().starts_with("25006 "), "a standby is read-only");
    primary.kill();
    standby.promote();
    assert_eq!(standby.sql("postgres", "SELECT what FROM kept"), [["a"]]);
    standby.sql("postgres", "INSERT INTO kept VALUES ('b')");
}

#[test]
fn sessions_end_when_they_are_terminated() {
    if !is_installed() {
        return;
    }
    let cluster = Cluster::start(&[]);
    cluster.sql("postgres", "CREATE DATABASE busy");
    thread::scope(|scope| {
        let busy = scope.spawn(|| cluster.try_sql("busy", "SELECT pg_sleep(60)"));
        while cluster.terminate_backends("busy") == 0 {}
        assert!(busy.join().unwrap().unwrap_err().starts_with("57P01 "));
    });
}

/// The other half of the next test: it is killed.
#[test]
#[ignore = "it waits until its standard input ends"]
fn a_process_with_a_cluster() {
    let cluster = Cluster::start(&[]);
    let folder = cluster.sql("postgres", "SHOW data_directory")[0][0].clone();
    let process = std::fs::read_to_string(format!("{folder}/postmaster.pid")).unwrap();
    let process = process.lines().next().unwrap();
    let mut output = std::io::stdout();
    writeln!(output, "\nCLUSTER {folder} {process}").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_cluster_ends_with_its_process_also_where_that_is_killed() {
    if !is_installed() {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "a_process_with_a_cluster"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let line = output.lines().map(Result::unwrap).find(|line| line.starts_with("CLUSTER "));
    let line = line.expect("the child says which cluster it has");
    let [_, data, process] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert!(Path::new(data).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let folder = Path::new(data).parent().unwrap();
    let begin = Instant::now();
    while folder.exists() || is_running(process) {
        assert!(begin.elapsed() < BOUND, "the cluster has survived");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there and is not merely one that nobody has waited for.
fn is_running(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

#[test]
fn fresh_databases_are_separate_and_prepared_once() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static PREPARED: AtomicU32 = AtomicU32::new(0);
    fn prepare(url: &str) {
        PREPARED.fetch_add(1, Ordering::Relaxed);
        sql(url, "CREATE TABLE one (what text); INSERT INTO one VALUES ('prepared')");
    }
    if shared().is_none() {
        return;
    }
    let [first, second] = thread::scope(|scope| {
        let both = [(), ()].map(|()| scope.spawn(|| Database::fresh(prepare)));
        both.map(|database| database.join().unwrap())
    });
    sql(&first.url(), "INSERT INTO one VALUES ('first')");
    assert_eq!(sql(&first.url(), "SELECT * FROM one"), [["prepared"], ["first"]]);
    assert_eq!(sql(&second.url(), "SELECT * FROM one"), [["prepared"]]);
    assert_eq!(PREPARED.load(Ordering::Relaxed), 1);
    assert_eq!(sql(&Database::empty().url(), "SELECT to_regclass('one')"), [[""]]);
    let name = first.name().to_owned();
    drop(first);
    let left = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
    assert!(shared().unwrap().sql(&left).is_empty());
}

/// A server that says back what it hears.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("connections can be accepted");
            thread::spawn(move || {
                let mut back = stream.try_clone().expect("a connection can be shared");
                drop(std::io::copy(&mut stream, &mut back));
            });
        }
    });
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy accepts");
    stream.set_read_timeout(Some(BOUND)).expect("it is a bound");
    stream
}

fn hear(stream: &mut TcpStream) -> [u8; 4] {
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).expect("it comes in time");
    heard
}

#[test]
fn a_black_hole_takes_everything_and_gives_it_back_when_it_closes() {
    let proxy = Proxy::start(echo());
    let mut old = connect(&proxy);
    old.write_all(b"ping").unwrap();
    assert_eq!(&hear(&mut old), b"ping");
    proxy.black_hole(true);
    let mut new = connect(&proxy);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for (stream, words) in [(&mut old, b"olds"), (&mut new, b"news")] {
            let tell = tell.clone();
            scope.spawn(move || {
                stream.write_all(words).unwrap();
                assert_eq!(&hear(stream), words);
                tell.send(()).unwrap();
            });
        }
        let silence = told.recv_timeout(Duration::from_millis(200));
        assert_eq!(silence, Err(mpsc::RecvTimeoutError::Timeout));
        proxy.black_hole(false);
        told.recv_timeout(BOUND).unwrap();
        told.recv_timeout(BOUND).unwrap();
    });
}

#[test]
fn a_cut_resets_what_is_there_and_nothing_that_comes_later() {
    let proxy = Proxy::start(echo());
    let mut there = connect(&proxy);
    there.write_all(b"ping").unwrap();
    assert_eq!(&hear(&mut there), b"ping");
    proxy.cut();
    let cut = there.read(&mut [0; 4]).unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
    let mut later = connect(&proxy);
    later.write_all(b"pong").unwrap();
    assert_eq!(&hear(&mut later), b"pong");
}
