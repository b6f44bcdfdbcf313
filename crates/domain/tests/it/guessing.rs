//! Guessing a password, as a game: an attacker with any number of addresses and the owner of the
//! account move as they like. The owner gets in from where they have signed in before, and by their
//! session, and the attacker never has more than a hundred guesses within a day.

use std::net::{IpAddr, Ipv4Addr};

use domain::credential::Credential;
use domain::throttle::{self, Counted};
use domain::{Cx, Error, Result, Time, UserId, users};
use proptest::prelude::{Just, ProptestConfig, Strategy, proptest};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq, prop_oneof};
use testing::{Engine, engine};

use crate::support::World;

type Holds = std::result::Result<(), TestCaseError>;

/// Moves of a game at most.
const MOVES: usize = 60;
const GUESSES_A_DAY: usize = 100;
/// What an owner mistypes in a day; a tenth failure would cost them seconds.
const TYPOS: usize = 9;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

#[derive(Debug, Clone)]
enum Move {
    /// The attacker guesses until they are told to wait, and waits as told, so many times.
    Guess {
        address: u32,
        rounds: u8,
    },
    /// The attacker signs in to an account of their own.
    SignInAsEve {
        address: u32,
    },
    /// The owner signs in, at home or somewhere new.
    SignIn,
    SignInElsewhere {
        address: u32,
    },
    Mistype,
    /// The owner, who is signed in, changes their password.
    ChangePassword,
    Wait {
        seconds: i64,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    let address = || 0..5_u32;
    let seconds = prop_oneof![1..60_i64, 60..3600_i64, Just(86_399_i64), 3600..90_000_i64];
    prop_oneof![
        6 => (address(), 1..40_u8).prop_map(|(address, rounds)| Move::Guess { address, rounds }),
        1 => address().prop_map(|address| Move::SignInAsEve { address }),
        4 => Just(Move::SignIn),
        2 => address().prop_map(|address| Move::SignInElsewhere { address }),
        1 => Just(Move::Mistype),
        1 => Just(Move::ChangePassword),
        4 => seconds.prop_map(|seconds| Move::Wait { seconds }),
    ]
}

/// 64 games on SQLite and 6 across a network, or as many as the environment asks for.
#[expect(clippy::disallowed_methods, reason = "proptest's own variable, which its API hides")]
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(if engine() == Engine::Sqlite { 64 } else { 6 }),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_owner_gets_in_and_the_attacker_has_a_hundred_guesses_a_day(
        moves in proptest::collection::vec(moves(), 1..=MOVES),
    ) {
        let mut game = Game::begin();
        moves.iter().try_for_each(|one| game.play(one))?;
        game.is_fair()?;
    }
}

struct Game {
    world: World,
    ann: UserId,
    eve: UserId,
    session: Credential,
    /// When a guess of the attacker's was looked at.
    guesses: Vec<Time>,
    /// When the owner mistyped their password at home.
    typos: Vec<Time>,
    passwords: usize,
}

fn somewhere(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc633_6400 + number).into()
}

impl Game {
    fn begin() -> Self {
        let world = World::new();
        let (ann, eve) = (world.user("ann"), world.user("eve"));
        let session = world.log_in("ann");
        let game = Self { world, ann, eve, session, guesses: vec![], typos: vec![], passwords: 0 };
        game.signs_in("ann", ann, HOME).expect("nobody has guessed yet");
        game
    }

    fn play(&mut self, one: &Move) -> Holds {
        match *one {
            Move::Guess { address, rounds } => self.guess(address, rounds),
            Move::SignInAsEve { address } => {
                drop(self.signs_in("eve", self.eve, somewhere(address)));
            }
            Move::SignIn => self.comes_home()?,
            Move::SignInElsewhere { address } => {
                // Where no attacker is; they do without it if they have to wait.
                drop(self.signs_in("ann", self.ann, somewhere(1_000 + address)));
            }
            Move::Mistype => self.mistypes()?,
            Move::ChangePassword => self.changes_password()?,
            Move::Wait { seconds } => self.world.wait(seconds * Time::SECOND),
        }
        Ok(())
    }

    fn signs_in(&self, name: &'static str, user: UserId, from: IpAddr) -> Result<()> {
        self.world.write(move |tx, cx| {
            let counted = throttle::count(tx, cx, name, Some(from))?;
            throttle::let_in(tx, cx, user, &counted)
        })
    }

    /// Guesses from one address after the other, all in one transaction, as that is faster.
    fn guess(&mut self, address: u32, rounds: u8) {
        let rounds = self.world.write(move |tx, cx| {
            let (mut guesses, mut now) = (vec![], cx.now);
            let mut address = address;
            for _ in 0..rounds {
                let cx = Cx { now, ..*cx };
                address += 1;
                match throttle::count(tx, &cx, "ann", Some(somewhere(address % 1_000))) {
                    Ok(_wrong) => guesses.push(now),
                    Err(Error::Throttled(exceeded)) => {
                        now = now.plus(exceeded.retry_after * Time::SECOND);
                    }
                    Err(other) => return Err(other),
                }
            }
            Ok((guesses, now))
        });
        let (guesses, now) = rounds.expect("the database is there");
        self.guesses.extend(guesses);
        self.world.set_clock(now);
    }

    fn comes_home(&self) -> Holds {
        let came = self.signs_in("ann", self.ann, HOME);
        prop_assert_eq!(came, Ok(()), "at {:?}, after {:?}", self.world.now(), self.typos);
        Ok(())
    }

    fn mistypes(&mut self) -> Holds {
        let now = self.world.now();
        // Two windows may meet within a day.
        self.typos.retain(|typo| typo.plus(2 * Time::DAY) > now);
        if self.typos.len() < TYPOS {
            let counted: Result<Counted> =
                self.world.write(move |tx, cx| throttle::count(tx, cx, "ann", Some(HOME)));
            prop_assert!(counted.is_ok(), "{:?}", counted);
            self.typos.push(now);
        }
        Ok(())
    }

    fn changes_password(&mut self) -> Holds {
        let (ann, session) = (self.ann, self.session);
        let old = self.world.credentials("ann").expect("they have one");
        self.passwords += 1;
        let hash = format!("hash {}", self.passwords);
        let changed = self.world.write(move |tx, cx| {
            let counted = throttle::count_of_holder(tx, cx, &session, Some(HOME))?;
            users::change_password(tx, &old, &hash, Some(&session))?;
            throttle::let_in(tx, cx, ann, &counted)
        });
        prop_assert_eq!(changed, Ok(()));
        Ok(())
    }

    /// Whether the attacker had few guesses within any day.
    fn is_fair(&self) -> Holds {
        for (at, first) in self.guesses.iter().enumerate() {
            let end = first.plus(Time::DAY);
            let within = self.guesses[at..].iter().take_while(|guess| **guess < end).count();
            prop_assert!(within <= GUESSES_A_DAY, "{} guesses from {:?}", within, first);
        }
        Ok(())
    }
}
