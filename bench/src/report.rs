//! All figures of one bench, and the two Markdown tables that show them.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use serde::Serialize;

use crate::acked::Account;
use crate::batches::Batch;
use crate::delivery::{Measured, Round};
use crate::goals::{Bound, goals};
use crate::load::Figures;
use crate::numbers::{grouped, median};
use crate::process::System;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) users: usize,
    pub(crate) messages: usize,
    pub(crate) on_postgres: bool,
    pub(crate) cases: Vec<Case>,
    pub(crate) delivery: Option<Measured>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) starts_ms: Vec<f64>,
    pub(crate) idle_mib: f64,
    pub(crate) binary_mib: f64,
    pub(crate) bytes_per_message: f64,
    pub(crate) account: Account,
}

/// One row of the first table, with the figures of its rounds.
#[derive(Serialize)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) conns: usize,
    pub(crate) system: System,
    pub(crate) runs: Vec<Figures>,
}

impl Case {
    pub(crate) fn median(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.runs.iter().map(figure))
    }

    pub(crate) fn max(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.runs.iter().map(figure).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The median of PostgreSQL's CPU per request, where it could be seen.
    fn database_cpu(&self) -> Option<f64> {
        let seen = self.runs.iter().filter_map(|run| run.database_cpu_us).collect::<Vec<_>>();
        (!seen.is_empty()).then(|| median(seen))
    }

    fn min(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.runs.iter().map(figure).fold(f64::INFINITY, f64::min)
    }

    fn is(&self, name: &str, conns: usize, system: System) -> bool {
        (self.name, self.conns, self.system) == (name, conns, system)
    }
}

impl Report {
    /// An error where a message or the event of one was lost, or came twice.
    pub(crate) fn check(&self) -> Result<()> {
        self.delivery.as_ref().map_or(Ok(()), Measured::check)?;
        self.account.check()
    }

    /// A case of Postroom.
    pub(crate) fn case(&self, name: &str, conns: usize) -> Option<&Case> {
        self.cases.iter().find(|case| case.is(name, conns, System::Postroom))
    }

    /// Percentage of another system's req/s: the median of the rounds, each against its neighbour
    /// in time.
    pub(crate) fn share(&self, case: &Case, of: System) -> Option<f64> {
        let other = self.cases.iter().find(|it| it.is(case.name, case.conns, of))?;
        let pairs = case.runs.iter().zip(&other.runs);
        Some(median(pairs.map(|(ours, other)| ours.rate / other.rate * 100.0)))
    }

    /// The most connections there were, and the most memory that Postroom had with them.
    pub(crate) fn memory_under_load(&self) -> Option<(usize, f64)> {
        let ours = || self.cases.iter().filter(|case| case.system == System::Postroom);
        let conns = ours().map(|case| case.conns).max()?;
        let peaks = ours().filter(|case| case.conns == conns).map(|it| it.max(|run| run.pss_mib));
        Some((conns, peaks.fold(0.0, f64::max)))
    }

    fn write_cases(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (title, line) = if self.on_postgres { (" PostgreSQL's |", "---:|") } else { ("", "") };
        let is_against = self.cases.iter().any(|case| case.system == System::Against);
        let other = if is_against { System::Against } else { System::Floor };
        let of = if is_against { "of the other build" } else { "of the floor" };
        writeln!(
            out,
            "| workload | conns | system | req/s | spread | p50 ms | p99 ms | max ms | CPU us/req \
             |{title} {of} | not 2xx |\n\
             |---|---:|---|---:|---:|---:|---:|---:|---:|{line}---:|---:|"
        )?;
        for case in &self.cases {
            let share = match (case.system, self.share(case, other)) {
                (System::Postroom, Some(share)) => format!("{share:.0} %"),
                _ => String::new(),
            };
            let database = case.database_cpu();
            let database = match (self.on_postgres, database) {
                (true, Some(cpu)) => format!(" {cpu:.1} |"),
                (true, None) => " |".to_owned(),
                (false, _) => String::new(),
            };
            writeln!(
                out,
                "| {} | {} | {} | {} | {} to {} | {:.2} | {:.2} | {:.1} | {:.1} |{database} \
                 {share} | {} |",
                case.name,
                case.conns,
                case.system.name(),
                grouped(case.median(|run| run.rate)),
                grouped(case.min(|run| run.rate)),
                grouped(case.max(|run| run.rate)),
                case.median(|run| run.p50_ms),
                case.median(|run| run.p99_ms),
                case.max(|run| run.max_ms),
                case.median(|run| run.cpu_us),
                case.runs.iter().map(|run| run.not_2xx).sum::<u64>(),
            )?;
        }
        Ok(())
    }

    fn write_delivery(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Some(measured) = &self.delivery else { return Ok(()) };
        let Measured { streams, rate, idle_kib, loaded_kib, idle_cpu_ms, rounds } = measured;
        let all = |of: fn(&Round) -> f64| median(rounds.iter().map(of));
        let sum = |of: fn(&Round) -> usize| rounds.iter().map(of).sum::<usize>();
        let database = median(rounds.iter().filter_map(|round| round.database_cpu_us));
        let (title, line, database) = if self.on_postgres {
            (" PostgreSQL's |", "---:|", format!(" {database:.1} |"))
        } else {
            ("", "", String::new())
        };
        writeln!(
            out,
            "\n| streams | messages/s | messages | lost | twice or astray | p50 ms | p99 ms | max \
             ms | CPU us/message |{title} KiB/stream idle | after load | CPU ms/s idle |\n\
             |---:|---:|---:|---:|---:|---:|---:|---:|---:|{line}---:|---:|---:|"
        )?;
        writeln!(
            out,
            "| {streams} | {rate} | {} | {} | {} | {:.2} | {:.2} | {:.1} | {:.1} |{database} \
             {idle_kib:.1} | {loaded_kib:.1} | {idle_cpu_ms:.1} |",
            sum(|round| round.messages),
            sum(|round| round.lost),
            sum(|round| round.twice + round.astray),
            all(|round| round.p50_ms),
            all(|round| round.p99_ms),
            rounds.iter().map(|round| round.max_ms).fold(f64::NEG_INFINITY, f64::max),
            all(|round| round.cpu_us),
        )
    }

    fn write_batches(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.batches.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n| about many at once | users | single calls ms | one call ms |\n|---|---:|---:|---:|"
        )?;
        for batch in &self.batches {
            let (singles, one) = batch.medians();
            writeln!(out, "| {} | {} | {singles:.1} | {one:.2} |", batch.name, batch.users)?;
        }
        Ok(())
    }

    fn write_goals(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "| figure | measured | goal | met |\n|---|---:|---:|---|")?;
        for goal in goals(self) {
            let met = goal.bound.met(goal.measured);
            let (than, bound) = match goal.bound {
                Bound::AtLeast(least) | Bound::Aim(least) => (">=", least),
                Bound::AtMost(most) | Bound::Limit(most) => ("<=", most),
            };
            let (what, measured, unit) = (goal.what, goal.measured, goal.unit);
            writeln!(out, "| {what} | {measured:.1} {unit} | {than} {bound} {unit} | {met} |")?;
        }
        let Account { acked, lost, twice } = &self.account;
        let (lost, twice) = (lost.len(), twice.len());
        let met = if lost + twice == 0 { "yes" } else { "**no**" };
        writeln!(
            out,
            "| sends acked / lost / acked twice | {acked} / {lost} / {twice} | 0 | {met} |"
        )
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.write_cases(out)?;
        self.write_delivery(out)?;
        self.write_batches(out)?;
        writeln!(out)?;
        self.write_goals(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rate: f64) -> Figures {
        Figures {
            answers: 10,
            not_2xx: 0,
            seconds: 1.0,
            rate,
            p50_ms: 1.0,
            p99_ms: 7.0,
            max_ms: 9.0,
            slow: 0,
            cpu_us: 20.0,
            database_cpu_us: None,
            pss_mib: 30.0,
        }
    }

    fn report() -> Report {
        let case = |name, system, rates: [f64; 3]| Case {
            name,
            conns: 32,
            system,
            runs: rates.map(figures).into(),
        };
        Report {
            users: 1000,
            messages: 100_000,
            on_postgres: false,
            cases: vec![
                case("w3", System::Postroom, [700.0, 40.0, 600.0]),
                case("w3", System::Floor, [1000.0, 50.0, 1000.0]),
                case("v1page", System::Postroom, [50.0, 60.0, 70.0]),
                case("v1page", System::Floor, [100.0, 100.0, 100.0]),
            ],
            delivery: None,
            batches: vec![],
            starts_ms: vec![19.0, 30.0, 18.0],
            idle_mib: 16.5,
            binary_mib: 4.0,
            bytes_per_message: 400.0,
            account: Account { acked: 5, lost: vec![3], twice: vec![] },
        }
    }

    #[test]
    fn the_share_is_taken_round_by_round() {
        let report = report();
        let share = report.share(report.case("w3", 32).unwrap(), System::Floor).unwrap();
        assert!((share - 70.0).abs() < 1e-9);
    }

    #[test]
    fn on_postgresql_only_the_shares_are_binding() {
        let mut report = report();
        report.on_postgres = true;
        report.cases[0].runs[1].database_cpu_us = Some(31.0);
        let text = report.to_string();
        for line in [
            "| w3 | 32 | postroom | 600 | 40 to 700 | 1.00 | 7.00 | 9.0 | 20.0 | 31.0 | 70 % | 0 |",
            "| w3 | 32 | floor | 1,000 | 50 to 1,000 | 1.00 | 7.00 | 9.0 | 20.0 | |  | 0 |",
            "| w3 at 32: share of the floor | 70.0 % | >= 70 % | yes |",
            "| v1page at 32: share of the floor | 60.0 % | >= 70 % | **no** |",
            "| memory idle | 16.5 MiB | <= 16 MiB | no, for information |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n\n{text}");
        }
        assert!(!text.contains("w3 at 32: p99"), "{text}");
    }

    #[test]
    fn what_streams_delivered_has_a_table_of_its_own() {
        let round = |lost, p99_ms| Round {
            messages: 50,
            not_2xx: 0,
            lost,
            twice: 0,
            astray: 1,
            p50_ms: 1.0,
            p99_ms,
            max_ms: 2.0 * p99_ms,
            cpu_us: 90.0,
            database_cpu_us: None,
        };
        let measured = Measured {
            streams: 300,
            rate: 25,
            idle_kib: 12.5,
            loaded_kib: 13.0,
            idle_cpu_ms: 0.5,
            rounds: vec![round(0, 90.0), round(1, 130.0)],
        };
        assert!(measured.check().is_err());
        let text = Report { delivery: Some(measured), ..report() }.to_string();
        for line in [
            "| 300 | 25 | 100 | 1 | 2 | 1.00 | 110.00 | 260.0 | 90.0 | 12.5 | 13.0 | 0.5 |",
            "| 300 streams: events delivered | 99.0 % | >= 100 % | **no** |",
            "| 300 streams: p99 | 110.0 ms | <= 100 ms | **no** |",
            "| 300 streams: memory of one | 12.5 KiB | <= 20 KiB | yes |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n\n{text}");
        }
    }

    #[test]
    fn what_is_asked_about_many_is_compared_with_as_many_calls() {
        let batch =
            |name, users, rounds: &[(f64, f64)]| Batch { name, users, rounds: rounds.into() };
        let batches = vec![
            batch("unreads", 1000, &[(80.0, 4.0), (90.0, 3.0), (50.0, 5.0)]),
            batch("system", 68, &[(40.0, 10.0)]),
        ];
        let text = Report { batches, ..report() }.to_string();
        for line in [
            "| unreads | 1000 | 80.0 | 4.00 |",
            "| unreads of 1000: times faster than single calls | 20.0 x | >= 20 x | yes |",
            "| system of 68: times faster than single calls | 4.0 x | >= 8 x | no, for \
             information |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n\n{text}");
        }
    }

    #[test]
    fn the_tables_say_what_was_met() {
        let text = report().to_string();
        for line in [
            "| w3 | 32 | postroom | 600 | 40 to 700 | 1.00 | 7.00 | 9.0 | 20.0 | 70 % | 0 |",
            "| w3 | 32 | floor | 1,000 | 50 to 1,000 | 1.00 | 7.00 | 9.0 | 20.0 |  | 0 |",
            "| w3 at 32: share of the floor | 70.0 % | >= 65 % | yes |",
            "| w3 at 32: p99 | 7.0 ms | <= 6 ms | **no** |",
            "| v1page at 32: share of the floor | 60.0 % | >= 70 % | no, for information |",
            "| v1page at 32: CPU per request | 20.0 us | <= 200 us | yes |",
            "| start to first answer | 19.0 ms | <= 20 ms | yes |",
            "| memory idle | 16.5 MiB | <= 16 MiB | **no** |",
            "| memory under load at 32 | 30.0 MiB | <= 64 MiB | yes |",
            "| sends acked / lost / acked twice | 5 / 1 / 0 | 0 | **no** |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n\n{text}");
        }
    }
}
