//! The PostgreSQL engine compared with the same statements on a plain pool of tokio-postgres.
//!
//! Both take turns, round by round, with the same work on the same tables and with as many
//! connections. The server is as durable as in production. The table shows the engine's rate as a
//! share of the driver's. `cargo bench -p db --bench engine -- --help` lists the options.
#![expect(clippy::print_stdout, reason = "the table is the output")]
#![expect(clippy::print_stderr, reason = "says what it is doing, beside the table")]

#[path = "engine/bare.rs"]
mod bare;
#[path = "engine/cases.rs"]
mod cases;
#[path = "engine/ours.rs"]
mod ours;
#[path = "engine/place.rs"]
mod place;
#[path = "engine/report.rs"]
mod report;
#[path = "engine/settings.rs"]
mod settings;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use cases::{Case, Chance};
use place::Place;
use report::{Report, Round};
use settings::Settings;

/// The allocator of the server; with the default one, many threads would cost more than there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Threads that run futures: the number of processors of the first machine measured.
const WORKERS: usize = 2;
/// A round that is not counted, in which connections are opened and statements prepared.
const WARM_UP: Duration = Duration::from_millis(500);

/// What runs the statements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Engine,
    Bare,
}

/// Both sides with the same number of connections.
struct Sides {
    runtime: Runtime,
    engine: Arc<ours::Engine>,
    bare: Arc<bare::Pool>,
}

fn main() -> Result<()> {
    let Some(settings) = Settings::read(std::env::args().skip(1))? else {
        println!("{}", settings::HELP);
        return Ok(());
    };
    let place = Place::open(settings.server.as_deref())?;
    let mut report = Report::default();
    for &connections in &settings.connections {
        let sides = Sides::open(&place, connections)?;
        for &case in &settings.cases {
            for callers in [connections, 2 * connections] {
                eprintln!("{} at {connections}, {callers} callers", case.name());
                sides.measure(&place, case, connections, callers, &settings, &mut report)?;
            }
        }
        sides.close();
    }
    println!("{report}");
    place.check(report.sent())
}

impl Sides {
    fn open(place: &Place, connections: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()?;
        let engine = runtime.block_on(async { ours::Engine::open(place.url(), connections) })?;
        let bare = bare::Pool::open(place.url(), connections)?;
        Ok(Self { runtime, engine: Arc::new(engine), bare: Arc::new(bare) })
    }

    fn close(self) {
        self.engine.close();
    }

    fn measure(
        &self,
        place: &Place,
        case: Case,
        connections: usize,
        callers: usize,
        settings: &Settings,
        report: &mut Report,
    ) -> Result<()> {
        for side in settings.sides() {
            let warm = self.round(place, *side, case, callers, WARM_UP, 0)?;
            report.note_sent(case, &warm);
        }
        for number in 1..=settings.rounds {
            for side in settings.sides() {
                let round = self.round(place, *side, case, callers, settings.length, number)?;
                report.add(case, connections, callers, *side, round);
            }
        }
        Ok(())
    }

    /// Each caller runs one operation after the other.
    fn round(
        &self,
        place: &Place,
        side: Side,
        case: Case,
        callers: usize,
        length: Duration,
        number: usize,
    ) -> Result<Round> {
        self.runtime.block_on(async {
            let (cpu, server, begun) = (report::cpu()?, place.cpu(), Instant::now());
            let until = begun + length;
            let mut running = Vec::with_capacity(callers);
            for caller in 0..callers {
                let chance = Chance::new(caller, number);
                running.push(match side {
                    Side::Engine => {
                        let engine = Arc::clone(&self.engine);
                        tokio::spawn(async move { engine.ask(case, chance, until).await })
                    }
                    Side::Bare => {
                        let bare = Arc::clone(&self.bare);
                        tokio::spawn(async move { bare.ask(case, chance, until).await })
                    }
                });
            }
            let mut operations = 0;
            for caller in running {
                operations += caller.await??;
            }
            let taken = begun.elapsed();
            let cpu = report::cpu()?.saturating_sub(cpu);
            let server = place.cpu().saturating_sub(server);
            Ok(Round { operations, taken, cpu, server })
        })
    }
}
