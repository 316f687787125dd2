//! What stops a process after a checkpoint, beside Ctrl-C.

use crate::launch::sweep::Sweep;
use anyhow::{Context, Result};
use signal_hook::consts::SIGTERM;
#[cfg(unix)]
use signal_hook::consts::SIGUSR1;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between looks at the flags of signals.
const LOOK: Duration = Duration::from_millis(100);

/// Time between looks for the file that cancels a sweep.
const LOOK_FOR_FILE: Duration = Duration::from_secs(2);

/// The signals that this process has received.
#[derive(Clone, Debug)]
pub struct Signals {
    term: Arc<AtomicBool>,
    /// The signal of Slurm before the end of the time limit.
    warning: Arc<AtomicBool>,
}

impl Signals {
    /// Whether the time limit is near: work is left, and the job is to be queued again.
    pub fn time_is_up(&self) -> bool {
        self.warning.load(Ordering::Relaxed)
    }

    /// Waits for SIGTERM, `most` at the longest.
    pub fn wait_for_term(&self, most: Duration) {
        let since = Instant::now();
        while !self.term.load(Ordering::Relaxed) && since.elapsed() < most {
            std::thread::sleep(LOOK);
        }
    }
}

/// Sets `stop` at SIGTERM or SIGUSR1, and when `sweep` is cancelled.
///
/// # Errors
/// Signals that cannot be handled.
pub fn watch(stop: &'static AtomicBool, sweep: Option<Sweep>) -> Result<Signals> {
    let signals = Signals {
        term: Arc::default(),
        warning: Arc::default(),
    };
    let listening = "listening for signals";
    signal_hook::flag::register(SIGTERM, signals.term.clone()).context(listening)?;
    #[cfg(unix)]
    signal_hook::flag::register(SIGUSR1, signals.warning.clone()).context(listening)?;
    let seen = signals.clone();
    std::thread::spawn(move || {
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let mut now = seen.term.load(Ordering::Relaxed) || seen.time_is_up();
            if last.elapsed() >= LOOK_FOR_FILE {
                last = Instant::now();
                now |= sweep.as_ref().is_some_and(Sweep::is_cancelled);
            }
            stop.fetch_or(now, Ordering::Relaxed);
            std::thread::sleep(LOOK);
        }
    });
    Ok(signals)
}

/// Sets `stop` when standard input ends: the process that holds its other end wants it, or is gone.
pub fn watch_input(stop: &'static AtomicBool) {
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
        stop.store(true, Ordering::Relaxed);
    });
}
