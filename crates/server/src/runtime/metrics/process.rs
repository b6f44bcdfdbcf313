//! The figures of the process that every exporter gives, by the names that everybody knows. Linux
//! only; elsewhere there are none.

use std::fs;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Registers the present figures; one that the system does not tell is left out.
pub(super) fn register(registry: &mut Registry) {
    let mut gauge = |name, help, value: Option<u64>| {
        if let Some(value) = value {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            registry.register(name, help, ConstGauge::new(value));
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").ok();
    // What is before the last bracket is the name of the program, which may hold anything; what
    // follows it begins with the third field of proc(5).
    let fields: Vec<u64> = stat
        .and_then(|stat| {
            let (_, fields) = stat.rsplit_once(')')?;
            // A negative number, such as the priority, is none of those below.
            Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        })
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).copied();
    let memory = field(24).map(|pages| pages.saturating_mul(page_size() as u64));
    gauge("process_resident_memory_bytes", "Memory that the process holds", memory);
    gauge("process_open_fds", "Open files and sockets", open_files());
    gauge("process_max_fds", "The open file limit", getrlimit(Resource::Nofile).current);
    let ticks = clock_ticks_per_second();
    let started = field(22).and_then(|since_boot| Some(boot_time()? + since_boot / ticks));
    gauge("process_start_time_seconds", "When the process started, in seconds since 1970", started);
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a metric are floating point")]
        let seconds = (user + system) as f64 / ticks as f64;
        let help = "Processor time that the process used";
        registry.register("process_cpu_seconds", help, ConstCounter::new(seconds));
    }
}

/// Linux since 6.2 tells the number as the size of the folder; before, it has to be counted.
fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    let told = fs::metadata(FOLDER).ok()?.len();
    if told > 0 { Some(told) } else { Some(fs::read_dir(FOLDER).ok()?.count() as u64) }
}

/// When the system started, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
