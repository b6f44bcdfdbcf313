//! The figures of the rounds, and their table.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::cases::Case;
use crate::{Result, Side};

/// The unit of the times in /proc/PID/stat, which Linux fixes for user space.
const TICKS_PER_SECOND: u64 = 100;

/// What one side did in one round.
pub(crate) struct Round {
    pub(crate) operations: u64,
    pub(crate) taken: Duration,
    /// The CPU time of this process, without the server.
    pub(crate) cpu: Duration,
    /// The CPU time of the server.
    pub(crate) server: Duration,
}

#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    sent: u64,
}

struct Line {
    case: Case,
    connections: usize,
    callers: usize,
    engine: Vec<Round>,
    bare: Vec<Round>,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        case: Case,
        connections: usize,
        callers: usize,
        side: Side,
        round: Round,
    ) {
        self.note_sent(case, &round);
        let key = (case, connections, callers);
        let found = self.lines.iter().position(|it| (it.case, it.connections, it.callers) == key);
        let at = found.unwrap_or_else(|| {
            let (engine, bare) = (Vec::new(), Vec::new());
            self.lines.push(Line { case, connections, callers, engine, bare });
            self.lines.len() - 1
        });
        match side {
            Side::Engine => self.lines[at].engine.push(round),
            Side::Bare => self.lines[at].bare.push(round),
        }
    }

    /// Counts the sends that were acknowledged.
    pub(crate) fn note_sent(&mut self, case: Case, round: &Round) {
        if case == Case::Send {
            self.sent += round.operations;
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

impl Round {
    fn rate(&self) -> f64 {
        real(self.operations) / self.taken.as_secs_f64()
    }

    fn micros(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / real(self.operations)
    }
}

impl Line {
    /// Percentage of the bare driver's rate: the median of the rounds, each against its neighbour
    /// in time.
    fn share(&self) -> Option<f64> {
        let pairs = self.engine.iter().zip(&self.bare);
        median(pairs.map(|(engine, bare)| engine.rate() / bare.rate() * 100.0))
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| case | connections | callers | engine op/s | spread | CPU us | server's | bare op/s \
             | spread | CPU us | server's | engine / bare |\n\
             |---|---:|---:|---:|---|---:|---:|---:|---|---:|---:|---:|"
        )?;
        for line in &self.lines {
            let Line { case, connections, callers, .. } = line;
            write!(out, "| {} | {connections} | {callers} |", case.name())?;
            for rounds in [&line.engine, &line.bare] {
                write_side(out, rounds)?;
            }
            match line.share() {
                Some(share) => writeln!(out, " {share:.0} % |")?,
                None => writeln!(out, " |")?,
            }
        }
        Ok(())
    }
}

fn write_side(out: &mut Formatter<'_>, rounds: &[Round]) -> fmt::Result {
    let Some(rate) = median(rounds.iter().map(Round::rate)) else {
        return write!(out, " | | | |");
    };
    let least = rounds.iter().map(Round::rate).fold(f64::INFINITY, f64::min);
    let most = rounds.iter().map(Round::rate).fold(0.0, f64::max);
    let cpu = median(rounds.iter().map(|round| round.micros(round.cpu))).unwrap_or(f64::NAN);
    let server = median(rounds.iter().map(|round| round.micros(round.server)));
    let server = server.unwrap_or(f64::NAN);
    write!(out, " {rate:.0} | {least:.0} to {most:.0} | {cpu:.1} | {server:.1} |")
}

/// The value in the middle, or between the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// The CPU time of this process: utime and stime, fields 14 and 15. Only the fields after the name
/// are split, because the name may contain spaces.
pub(crate) fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
    let fields = behind.split_ascii_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
