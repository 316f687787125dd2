//! The machine and this program, as records describe them.

use anyhow::{Context, Result};
use results::record::Host;
use std::collections::BTreeMap;

/// The libtorch that tch 0.24 is made for, and the one fetched on first build.
pub const LIBTORCH: &str = "2.11.0";

/// tch's version.
pub const TCH: &str = "0.24";

/// The machine.
pub fn host() -> Host {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| {
        l.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, n)| n.trim().to_string())
    });
    Host {
        os: std::env::consts::OS.into(),
        arch: std::env::consts::ARCH.into(),
        cpu: name.unwrap_or_default(),
    }
}

/// Commit of the sources that this program was built from, if any, and whether they had uncommitted changes.
pub fn commit() -> (Option<String>, bool) {
    let commit = Some(env!("BUILT_FROM_COMMIT")).filter(|c| !c.is_empty());
    (commit.map(String::from), env!("BUILT_FROM_CHANGED") == "true")
}

/// Versions that can change numbers.
pub fn versions() -> BTreeMap<String, String> {
    let own = env!("CARGO_PKG_VERSION");
    [("libtorch", LIBTORCH), ("tch", TCH), ("experiments", own)]
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .into()
}

/// The machine's memory in MiB, where the system reports it.
pub fn memory_mib() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    kib(&text, "MemTotal:").map(|kib| kib / 1024.0)
}

/// The memory available without swapping in MiB, where the system reports it.
pub fn available_mib() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    kib(&text, "MemAvailable:").map(|kib| kib / 1024.0)
}

/// The resident memory of this process in MiB, where the system reports it.
pub fn rss_mib() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    kib(&text, "VmRSS:").map(|kib| kib / 1024.0)
}

/// The value of a line such as `VmHWM:  1234 kB`.
fn kib(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|l| l.strip_prefix(key))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Resets the peak of [`peak_rss_mib`], where the system can.
pub fn reset_peak_rss() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The peak resident memory of this process since [`reset_peak_rss`] in MiB, where the system reports it.
pub fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kib(&status, "VmHWM:").map(|kib| (kib / 1024.0).round())
}

/// Seconds since this process started, to a hundredth, where the system reports it.
pub fn process_age() -> Option<f64> {
    const TICKS_PER_S: f64 = 100.0; // Linux's unit for programs, whatever the kernel's own
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may contain anything; the start is field 22 and the first after the name is 3.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let up = std::fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = up.split_whitespace().next()?.parse().ok()?;
    Some(((up - ticks / TICKS_PER_S) * 100.0).round() / 100.0)
}

/// The number of threads of the process's pool, once there is one.
static POOL: std::sync::OnceLock<usize> = std::sync::OnceLock::new();

/// Sets the number of threads of libtorch and rayon, 0 for as many as there are cores, and returns it.
///
/// # Errors
/// A number that libtorch cannot hold; a pool of threads that exists already.
pub fn set_threads(threads: usize) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(threads.max(1), usize::from);
    if threads > cores {
        let cores = support::counted(cores, "core");
        eprintln!(
            "warning: --threads {threads} is more than the {cores} that this process may use: threads wait for each other"
        );
    }
    let threads = if threads == 0 { cores } else { threads };
    tch::set_num_threads(i32::try_from(threads).context("--threads")?);
    // A program that opens several adapters comes here for each.
    if POOL.get() != Some(&threads) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().context("starting the threads")?;
        let _ = POOL.set(threads);
    }
    Ok(threads)
}
