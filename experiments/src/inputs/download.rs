//! The progress of downloads from the hub.

use datasets::hub::Progress;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;

/// A bar for each file on a terminal, a line for each file elsewhere, nothing if `quiet`.
pub fn bars(quiet: bool) -> impl Fn(&Progress<'_>) + Send + Sync + 'static {
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let terminal = std::io::stderr().is_terminal();
    move |progress| {
        let Ok(mut slot) = bar.lock() else { return };
        let done = progress.done >= progress.total;
        if quiet {
            return;
        }
        if slot.is_none() && !terminal {
            eprintln!(
                "fetching {}: {} ({})",
                progress.repo,
                progress.file,
                HumanBytes(progress.total)
            );
        }
        let bar = slot.get_or_insert_with(|| {
            let style =
                ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
            let bar = ProgressBar::new(progress.total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(format!("{}: {}", progress.repo, progress.file));
            bar
        });
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if done {
            bar.finish_and_clear();
            *slot = None;
        }
    }
}
