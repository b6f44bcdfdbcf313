//! Who is refused again and again gets their answers in turn.
//!
//! A refusal costs work as well, and no quota counts it. Who asks for nothing else, as fast as
//! they can, would take the processors from everybody else.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use db::Paces;
use domain::UserId;
use domain::throttle::Network;

use super::forwarded::Forwarded;
use super::unfinished_bodies::Holder;

/// Between two refusals of one user or address, once there were many. Wider networks of IPv6 have
/// more, see [`Network::share`].
const SPAN: Duration = Duration::from_millis(20);
/// The same of server keys: more than an app has that means no harm, and little work.
const SPAN_OF_KEYS: Duration = Duration::from_millis(1);
/// Refusals that are not held back.
const AT_ONCE: u32 = 100;

/// Whether a response is a refusal. What says how things are (404, 409, 412) is none, since those
/// who keep a copy of their mailbox get many of these.
pub(super) fn is_one(status: StatusCode) -> bool {
    let says_how_things_are =
        [StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
    status == StatusCode::SERVICE_UNAVAILABLE
        || status.is_client_error() && !says_how_things_are.contains(&status)
}

#[derive(Default)]
pub(crate) struct Refusals(Paces<Refused>);

/// Who is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Refused {
    User(UserId),
    Stranger(Network),
    /// Server keys, all together: they are the operator's own.
    Keys,
}

impl Refused {
    /// Between two refusals.
    fn span(self) -> Duration {
        match self {
            Self::User(_) => SPAN,
            Self::Keys => SPAN_OF_KEYS,
            Self::Stranger(network) => SPAN / u32::try_from(network.share()).unwrap_or(1),
        }
    }
}

impl Refusals {
    /// Counts a refusal of a user, or of an address where no credential was accepted. Returns how
    /// long it is held back. Loopback addresses stand for many, so theirs are not counted.
    pub(super) fn count(&self, accepted: Option<Holder>, from: Forwarded) -> Duration {
        let now = Instant::now();
        match accepted {
            Some(Holder::Key | Holder::ActedFor(_)) => self.pause(Refused::Keys, now),
            Some(Holder::User(user)) => self.pause(Refused::User(user), now),
            Some(Holder::Stranger(_)) | None => {
                let networks = from.public_address().into_iter().flat_map(Network::all_of);
                let pauses = networks.map(|network| self.pause(Refused::Stranger(network), now));
                pauses.max().unwrap_or_default()
            }
        }
    }

    fn pause(&self, refused: Refused, now: Instant) -> Duration {
        let span = refused.span();
        self.0.pause(refused, span, span * AT_ONCE, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_network_of_ipv6_is_told_eight_times_as_much_however_many_addresses_it_has() {
        let refusals = Refusals::default();
        let refuse = |number: u16| {
            let client = IpAddr::from([0x2001, 0xdb8, 1, number, 0, 0, 0, 1]);
            refusals.count(None, Forwarded { client, is_unreadable: false, is_shared: false })
        };
        let at_once = (0..10_000).take_while(|number| refuse(*number).is_zero()).count();
        assert!((100..400).contains(&at_once), "{at_once}");
        assert!((0..10_000).map(refuse).max() > Some(Paces::<Refused>::LONGEST / 2));
    }

    #[test]
    fn server_keys_are_told_of_a_thousand_a_second_whomever_they_act_for() {
        let (refusals, from) = (Refusals::default(), of_loopback());
        let of = |number: i64| {
            let user = UserId::new(1 + number % 100).expect("it is an id");
            if number % 2 == 0 { Holder::Key } else { Holder::ActedFor(user) }
        };
        let began = Instant::now();
        let pauses: Vec<_> = (0..4000).map(|at| refusals.count(Some(of(at)), from)).collect();
        assert!(pauses[..AT_ONCE as usize].iter().all(Duration::is_zero));
        let late = Duration::from_millis(3900).saturating_sub(began.elapsed());
        assert!((late..Paces::<Refused>::LONGEST).contains(pauses.last().unwrap()), "{pauses:?}");
        assert_eq!(
            refusals.count(Some(Holder::User(UserId::new(1).unwrap())), from),
            Duration::ZERO
        );
    }

    fn of_loopback() -> Forwarded {
        let client = IpAddr::from([127, 0, 0, 1]);
        Forwarded { client, is_unreadable: false, is_shared: true }
    }

    #[test]
    fn what_says_how_things_are_is_no_refusal() {
        for (status, is_refusal) in
            [(200, false), (304, false), (404, false), (409, false), (412, false), (500, false)]
                .into_iter()
                .chain([400, 401, 403, 413, 422, 429, 503].map(|status| (status, true)))
        {
            assert_eq!(is_one(StatusCode::from_u16(status).unwrap()), is_refusal, "{status}");
        }
    }
}
