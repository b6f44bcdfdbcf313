//! The rows of the attacks, and which of them keep to what an attack may do.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use serde::Serialize;

use super::attackers::Answers;
use super::ordinary::Seen;
use crate::acked::Account;
use crate::numbers::{mib, real};

/// How many times as long others may wait, in their p99.
const TIMES: f64 = 2.0;
const TIMES_ON_POSTGRES: f64 = 3.0;
/// What an attack may add to the server's memory and to its folder.
const MEMORY_MIB: f64 = 64.0;
const FOLDER_MIB: f64 = 128.0;
/// The names of what ordinary users do, in the order of the figures.
const KINDS: [&str; 3] = ["send", "list", "sign-in"];

/// All that was measured.
#[derive(Default, Serialize)]
pub(crate) struct Table {
    pub(super) on_postgres: bool,
    pub(super) seconds: u64,
    pub(super) rows: Vec<Row>,
    /// Of what the ordinary users sent.
    pub(super) account: Account,
}

/// One attack.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) attack: &'static str,
    pub(super) conns: usize,
    /// While its connections ask for /healthz.
    pub(super) without: Side,
    pub(super) with: Side,
    /// Whether the server stopped in order afterwards.
    pub(super) stopped: bool,
}

/// The ordinary users beside one load.
#[derive(Serialize)]
pub(super) struct Side {
    pub(super) kinds: [Seen; 3],
    pub(super) answers: Answers,
    /// The server's memory at its largest.
    pub(super) peak_mib: f64,
    /// Bytes by which the folder, or on PostgreSQL the database, was larger than before.
    pub(super) growth: u64,
}

impl Side {
    fn refused(&self) -> usize {
        self.kinds.iter().flat_map(|seen| seen.refused.values()).sum()
    }
}

impl Row {
    fn memory(&self) -> f64 {
        self.with.peak_mib - self.without.peak_mib
    }

    /// How many times as long others wait, by kind.
    fn times(&self) -> [f64; 3] {
        std::array::from_fn(|kind| self.with.kinds[kind].p99_ms / self.without.kinds[kind].p99_ms)
    }

    /// What is not as it must be.
    fn misses(&self, on_postgres: bool) -> Vec<String> {
        let most = if on_postgres { TIMES_ON_POSTGRES } else { TIMES };
        let mut misses = Vec::new();
        for ((name, times), seen) in KINDS.iter().zip(self.times()).zip(&self.with.kinds) {
            if times > most {
                misses.push(format!("{name} {times:.1} x"));
            }
            for (status, count) in &seen.refused {
                misses.push(match status {
                    0 => format!("{count} of {} {name} not answered", seen.asked),
                    _ => format!("{count} of {} {name} {status}", seen.asked),
                });
            }
        }
        if self.with.answers.keys().all(|status| *status == 0) {
            misses.push("the attack was never answered".to_owned());
        }
        if !self.stopped {
            misses.push("the server did not stop in order".to_owned());
        }
        if self.memory() > MEMORY_MIB {
            misses.push("memory".to_owned());
        }
        if mib(self.with.growth) > FOLDER_MIB {
            misses.push("folder".to_owned());
        }
        misses
    }
}

impl Table {
    /// An error where an acknowledged send is not there. What an attack does to others is none.
    pub(crate) fn check(&self) -> Result<()> {
        self.account.check()
    }

    fn write_answers(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "| attack | /healthz a second | its answers a second, by status |")?;
        writeln!(out, "|---|---:|---|")?;
        let second = |count: u64| real(count) / real(self.seconds);
        for Row { attack, without, with, .. } in &self.rows {
            let asked = second(without.answers.values().sum());
            let answers = with.answers.iter().map(|(status, count)| match status {
                0 => format!("none: {:.1}", second(*count)),
                _ => format!("{status}: {:.1}", second(*count)),
            });
            let answers = answers.collect::<Vec<_>>().join(", ");
            writeln!(out, "| {attack} | {asked:.0} | {answers} |")?;
        }
        Ok(())
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| attack | conns | send p50 ms | send p99 ms | list p50 ms | list p99 ms \
             | sign-in p50 ms | sign-in p99 ms | refused | memory MiB | folder MiB \
             | meets the targets |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
        )?;
        for row in &self.rows {
            write!(out, "| {} | {} |", row.attack, row.conns)?;
            for (kind, times) in row.times().into_iter().enumerate() {
                let (without, with) = (&row.without.kinds[kind], &row.with.kinds[kind]);
                write!(out, " {:.2} → {:.2} |", without.p50_ms, with.p50_ms)?;
                write!(out, " {:.2} → {:.2}, {times:.1} x |", without.p99_ms, with.p99_ms)?;
            }
            let misses = row.misses(self.on_postgres);
            let met = match misses.as_slice() {
                [] => "yes".to_owned(),
                misses => format!("**no**: {}", misses.join(", ")),
            };
            writeln!(
                out,
                " {} → {} | {:+.1} | {:+.1} | {met} |",
                row.without.refused(),
                row.with.refused(),
                row.memory(),
                mib(row.with.growth),
            )?;
        }
        writeln!(out)?;
        self.write_answers(out)?;
        let Account { acked, lost, twice } = &self.account;
        let (lost, twice) = (lost.len(), twice.len());
        writeln!(
            out,
            "\nSends acknowledged / lost / acknowledged twice: {acked} / {lost} / {twice}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn side(p99_ms: f64, peak_mib: f64, growth: u64, refused: &[(u16, usize)]) -> Side {
        let seen = |refused| Seen { p50_ms: 1.0, p99_ms, asked: 400, refused };
        let none = BTreeMap::new;
        Side {
            kinds: [seen(refused.iter().copied().collect()), seen(none()), seen(none())],
            answers: [(0, 1), (200, 30)].into(),
            peak_mib,
            growth,
        }
    }

    fn table(on_postgres: bool, without: Side, with: Side) -> String {
        let rows = vec![Row { attack: "search", conns: 8, without, with, stopped: true }];
        let account = Account { acked: 5, lost: vec![], twice: vec![] };
        Table { on_postgres, seconds: 10, rows, account }.to_string()
    }

    #[test]
    fn a_row_says_how_others_fared_without_the_attack_and_with_it() {
        let text = table(false, side(4.0, 30.0, 0, &[]), side(6.0, 31.5, 3 << 20, &[]));
        let same = "1.00 → 1.00 | 4.00 → 6.00, 1.5 x";
        let row = format!("| search | 8 | {same} | {same} | {same} | 0 → 0 | +1.5 | +3.0 | yes |");
        assert!(text.lines().any(|line| line == row), "{row}\n\n{text}");
        assert!(text.contains("| search | 3 | none: 0.1, 200: 3.0 |"), "{text}");
    }

    #[test]
    fn each_target_that_is_missed_is_named() {
        let with = || side(10.0, 95.0, 129 << 20, &[(0, 1), (503, 7)]);
        let text = table(false, side(4.0, 30.0, 0, &[]), with());
        let no = "**no**: send 2.5 x, 1 of 400 send not answered, 7 of 400 send 503, \
                  list 2.5 x, sign-in 2.5 x, memory, folder |";
        assert!(text.contains(no), "{text}");
        let text = table(true, side(4.0, 30.0, 0, &[]), with());
        assert!(!text.contains("2.5 x, memory") && text.contains("503, memory, folder"), "{text}");
    }
}
