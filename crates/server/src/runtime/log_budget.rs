//! How often a line may be logged: what a client can repeat without end would fill the disk.
//!
//! Each kind of line, and of those that name a client each client's, has so many in ten seconds;
//! the wider networks of a client have a few times as many.
//! What is left out is counted, and said before the next one: an attack hides no line about others.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::throttle::Network;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SPAN: Duration = Duration::from_secs(10);
/// Lines of one kind about one client in a span. A busy minute has fewer, and an attack from one
/// address can write some 1 kB a second with each kind.
const LINES: u32 = 50;
/// The same for lines that name no client, as they are about everybody.
const LINES_OF_ALL: u32 = 200;
/// Kinds and clients that are counted at a time; beyond that, all begin again.
const COUNTED: usize = 10_000;

/// By a hash of what is counted together: the place in the code, and the client.
#[derive(Default)]
pub(super) struct LogBudget(Mutex<HashMap<u64, Span>>);

struct Span {
    began: Instant,
    lines: u32,
}

impl LogBudget {
    /// Counts a line. Returns whether it may be written, and how many like it were left out in the
    /// span before.
    fn count(&self, kind: u64, most: u32, now: Instant) -> (bool, u32) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() >= COUNTED && !spans.contains_key(&kind) {
            spans.clear();
        }
        let span = spans.entry(kind).or_insert(Span { began: now, lines: 0 });
        let mut left_out = 0;
        if now.duration_since(span.began) >= SPAN {
            left_out = span.lines.saturating_sub(most);
            *span = Span { began: now, lines: 0 };
        }
        span.lines = span.lines.saturating_add(1);
        (span.lines <= most, left_out)
    }
}

impl<S: Subscriber> Layer<S> for LogBudget {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Who asks for everything gets it.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let (mut client, now) = (Client::default(), Instant::now());
        event.record(&mut client);
        let kind = |of: Option<Network>| {
            let mut hasher = DefaultHasher::new();
            (metadata.callsite(), of).hash(&mut hasher);
            hasher.finish()
        };
        let networks: Vec<_> = client.address.into_iter().flat_map(Network::all_of).collect();
        let (may_be_written, left_out) = if networks.is_empty() {
            self.count(kind(None), LINES_OF_ALL, now)
        } else {
            // What a network does not allow counts in none that is wider.
            networks.into_iter().fold((true, 0), |(may, left_out), network| {
                if !may {
                    return (may, left_out);
                }
                let most = LINES * u32::try_from(network.share()).unwrap_or(1);
                let counted = self.count(kind(Some(network)), most, now);
                (counted.0, left_out.max(counted.1))
            })
        };
        if left_out > 0 {
            tracing::warn!(lines = left_out, "lines like the next one were left out");
        }
        may_be_written
    }
}

/// The client that a line names.
#[derive(Default)]
struct Client {
    address: Option<IpAddr>,
}

impl Visit for Client {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "client" {
            self.address = format!("{value:?}").parse().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_client_that_repeats_itself_hides_no_line_about_another() {
        let written = Written::default();
        let log = written.clone();
        let log = tracing_subscriber::fmt().with_writer(move || log.clone()).with_ansi(false);
        let refuse = |client: &str| tracing::info!(client = %client, "login refused");
        tracing::subscriber::with_default(log.finish().with(LogBudget::default()), || {
            for _ in 0..1000 {
                refuse("192.0.2.1");
            }
            refuse("192.0.2.2");
            for _ in 0..1000 {
                tracing::warn!("refused");
            }
            for number in 0..1000 {
                refuse(&format!("2001:db8:1:{number:x}::1"));
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines = |of: &str| text.lines().filter(|line| line.contains(of)).count();
        assert_eq!((lines("192.0.2.1"), lines("192.0.2.2")), (50, 1));
        assert_eq!((lines("2001:db8:1"), lines(": refused")), (400, 200));
    }

    #[test]
    fn what_was_left_out_is_counted_and_said_once() {
        let (budget, start) = (LogBudget::default(), Instant::now());
        let written = (0..70).filter(|_| budget.count(1, 50, start).0).count();
        assert_eq!(written, 50);
        let later = start + SPAN;
        assert_eq!(budget.count(1, 50, later), (true, 20));
        assert_eq!(budget.count(1, 50, later), (true, 0));
    }
}
