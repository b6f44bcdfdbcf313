//! The figures to reach, and which of them were.

use crate::delivery::{Measured, Round};
use crate::numbers::{median, real};
use crate::process::System;
use crate::report::Report;
use crate::rounds::{BY_TOKEN, SOAK, USUAL, W1_ALONE, W1_BESIDE, W3_ALONE, W3_BESIDE};
use crate::settings::Workload;

/// A measured figure beside what it must be.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) bound: Bound,
    pub(crate) unit: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// A least value to compare with, shown for information.
    Aim(f64),
    /// The same for a greatest value.
    Limit(f64),
}

use Bound::{Aim, AtLeast, AtMost, Limit};

#[derive(Clone, Copy)]
enum Figure {
    Share,
    Cpu,
    P99,
}

use Figure::{Cpu, P99, Share};

/// Shares are percentages of the floor's req/s in the same round.
const OF_CASES: [(&str, usize, Figure, Bound); 17] = [
    ("w1", 1, Share, AtLeast(80.0)),
    ("w1", 32, Share, AtLeast(55.0)),
    ("w1", 256, Share, AtLeast(58.0)),
    ("w1", 32, Cpu, AtMost(60.0)),
    ("w1", 32, P99, AtMost(15.0)),
    ("w1", 256, P99, AtMost(40.0)),
    ("w2", 32, Share, AtLeast(65.0)),
    ("w2", 32, Cpu, AtMost(28.0)),
    ("w2", 32, P99, AtMost(6.0)),
    ("w3", 32, Share, AtLeast(65.0)),
    ("w3", 32, Cpu, AtMost(20.0)),
    ("w3", 32, P99, AtMost(6.0)),
    ("v1send", 32, Share, Aim(70.0)),
    ("v1page", 32, Share, Aim(70.0)),
    ("v1page", 32, Cpu, AtMost(200.0)),
    ("v1read", 32, Share, Aim(70.0)),
    ("v1unread", 32, Share, Aim(70.0)),
];

/// The same on PostgreSQL, where the floor executes the statements that ours executes.
const OF_CASES_ON_POSTGRES: [(&str, usize, Figure, Bound); 14] = [
    ("w1", 32, Share, AtLeast(70.0)),
    ("w1", 256, Share, AtLeast(70.0)),
    ("w2", 32, Share, AtLeast(70.0)),
    ("w2", 256, Share, AtLeast(70.0)),
    ("w3", 32, Share, AtLeast(70.0)),
    ("w3", 256, Share, AtLeast(70.0)),
    ("v1send", 32, Share, AtLeast(70.0)),
    ("v1send", 256, Share, AtLeast(70.0)),
    ("v1page", 32, Share, AtLeast(70.0)),
    ("v1page", 256, Share, AtLeast(70.0)),
    ("v1read", 32, Share, AtLeast(70.0)),
    ("v1read", 256, Share, AtLeast(70.0)),
    ("v1unread", 32, Share, AtLeast(70.0)),
    ("v1unread", 256, Share, AtLeast(70.0)),
];

impl Bound {
    /// The word of the table for a figure that was measured.
    pub(crate) fn met(self, measured: f64) -> &'static str {
        let holds = match self {
            AtLeast(least) | Aim(least) => measured >= least,
            AtMost(most) | Limit(most) => measured <= most,
        };
        match (holds, self) {
            (true, _) => "yes",
            (false, Aim(_) | Limit(_)) => "no, for information",
            (false, AtLeast(_) | AtMost(_)) => "**no**",
        }
    }
}

/// Every goal whose figure was measured.
pub(crate) fn goals(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut add = |what: String, measured, bound, unit| {
        goals.push(Goal { what, measured, bound, unit });
    };
    let of_cases: &[_] = if report.on_postgres { &OF_CASES_ON_POSTGRES } else { &OF_CASES };
    for &(name, conns, figure, bound) in of_cases {
        let Some(case) = report.case(name, conns) else { continue };
        let (title, measured, unit) = match figure {
            Share => ("share of the floor", report.share(case, System::Floor), "%"),
            Cpu => ("CPU per request", Some(case.median(|run| run.cpu_us)), "us"),
            P99 => ("p99", Some(case.median(|run| run.p99_ms)), "ms"),
        };
        if let Some(measured) = measured {
            add(format!("{name} at {conns}: {title}"), measured, bound, unit);
        }
    }
    if let (Some(alone), Some(beside)) =
        (report.case(W3_ALONE, USUAL), report.case(W3_BESIDE, USUAL))
    {
        let growth = beside.median(|run| run.p99_ms) / alone.median(|run| run.p99_ms);
        add("w3 p99, 2 sign-ins to none".to_owned(), growth, AtMost(2.0), "x");
    }
    if let (Some(alone), Some(beside)) =
        (report.case(W1_ALONE, USUAL), report.case(W1_BESIDE, USUAL))
    {
        let pairs = alone.runs.iter().zip(&beside.runs);
        let share = median(pairs.map(|(alone, beside)| beside.rate / alone.rate * 100.0));
        add("w1 with a stream per recipient to none".to_owned(), share, AtLeast(85.0), "%");
    }
    if let Some(Measured { streams, rounds, idle_kib, .. }) = &report.delivery {
        let sum = |of: fn(&Round) -> usize| real(rounds.iter().map(of).sum::<usize>() as u64);
        let delivered = 100.0 * (1.0 - sum(|round| round.lost) / sum(|round| round.messages));
        add(format!("{streams} streams: events delivered"), delivered, AtLeast(100.0), "%");
        let p99 = median(rounds.iter().map(|round| round.p99_ms));
        add(format!("{streams} streams: p99"), p99, AtMost(100.0), "ms");
        add(format!("{streams} streams: memory of one"), *idle_kib, AtMost(20.0), "KiB");
    }
    for (workload, least) in
        [(Workload::V1key, 90.0), (Workload::V1browser, 97.0), (Workload::V1jwt, 97.0)]
    {
        let cases = (report.case(BY_TOKEN, USUAL), report.case(workload.name(), USUAL));
        if let (Some(token), Some(other)) = cases {
            let pairs = token.runs.iter().zip(&other.runs);
            let share = median(pairs.map(|(token, other)| other.rate / token.rate * 100.0));
            let what = format!("{}: share of reads by a token", workload.name());
            add(what, share, AtLeast(least), "%");
        }
    }
    for batch in &report.batches {
        let least = match batch.name {
            "unreads" => 20.0,
            "puts" => 10.0,
            _ => 8.0,
        };
        // The goals are set for a thousand.
        let bound = if batch.users < 900 { Aim(least) } else { AtLeast(least) };
        let what = format!("{} of {}: times faster than single calls", batch.name, batch.users);
        add(what, batch.times(), bound, "x");
    }
    if let Some(soak) = report.case(SOAK, USUAL) {
        let slow = soak.runs.iter().map(|run| run.slow).sum();
        add("soak: sends over 100 ms".to_owned(), real(slow), AtMost(0.0), "sends");
        add("soak: longest send".to_owned(), soak.max(|run| run.max_ms), AtMost(100.0), "ms");
    }
    // A server that refuses is fast and cheap: without this the figures above would praise it.
    let ours = report.cases.iter().filter(|case| case.system == System::Postroom);
    let refused: u64 = ours.flat_map(|case| &case.runs).map(|run| run.not_2xx).sum();
    let unsent = report.delivery.iter().flat_map(|it| &it.rounds).map(|it| it.not_2xx);
    let refused = refused + unsent.sum::<u64>();
    add("answers that are not 2xx".to_owned(), real(refused), AtMost(0.0), "answers");
    // What the process itself needs was set for the embedded database.
    let most = if report.on_postgres { Limit } else { AtMost };
    let start = median(report.starts_ms.iter().copied());
    add("start to first answer".to_owned(), start, most(20.0), "ms");
    add("memory idle".to_owned(), report.idle_mib, most(16.0), "MiB");
    if let Some((conns, peak)) = report.memory_under_load() {
        add(format!("memory under load at {conns}"), peak, most(64.0), "MiB");
    }
    add("binary".to_owned(), report.binary_mib, AtMost(18.0), "MiB");
    add("disk per message".to_owned(), report.bytes_per_message, most(420.0), "bytes");
    goals
}
