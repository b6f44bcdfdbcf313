//! What a server of PostgreSQL spends, seen from outside.

use std::fs;
use std::time::Duration;

use crate::sql::try_sql;

/// The unit of the times in /proc/PID/stat, which Linux fixes for user space.
const TICKS_PER_SECOND: u64 = 100;

/// The processes of a server on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Processes {
    /// The one that starts all others.
    postmaster: u32,
}

impl Processes {
    /// Those of the server at an address; nothing where they cannot be seen.
    pub fn of(url: &str) -> Option<Self> {
        // Each process of the server says whose child it is, and this one is always there.
        let one = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
        let rows = try_sql(url, one).ok()?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", rows.first()?.first()?)).ok()?;
        let named = stat.contains("(postgres)");
        named.then(|| Stat::parse(&stat)).flatten().map(|stat| Self { postmaster: stat.parent })
    }

    /// The time of processors that they have spent, those that are gone too.
    pub fn cpu(self) -> Duration {
        let mut ticks = 0;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process may have gone meanwhile; then it is counted by the one that started it.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let Some(stat) = Stat::parse(&stat) else { continue };
            if pid == self.postmaster {
                ticks += stat.own + stat.children;
            } else if stat.parent == self.postmaster {
                ticks += stat.own;
            }
        }
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }
}

/// What /proc/PID/stat says of a process, in ticks.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that have ended.
    children: u64,
}

impl Stat {
    /// Fields are counted behind the name, which may hold blanks and brackets.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut ticks = fields.skip(9).map(|field| field.parse::<u64>().ok());
        let own = ticks.next()?? + ticks.next()??;
        let children = ticks.next()?? + ticks.next()??;
        Some(Self { parent, own, children })
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn the_time_of_a_process_is_its_own_and_that_of_its_dead_children() {
        let stat = "77 (a ) b) S 5 77 77 0 -1 4194560 900 0 1 0 250 31 7 8 20 0 4 0 12 345 67";
        let expected = Stat { parent: 5, own: 281, children: 15 };
        assert_eq!(Stat::parse(stat), Some(expected));
    }
}
