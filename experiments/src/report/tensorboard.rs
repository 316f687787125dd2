//! Event files for `tensorboard --logdir OUT/tensorboard`, in a folder `TASK-METHOD-sSEED-ID` for each run.
//!
//! A resumed run continues in a new file, which invalidates the later steps of older files.

use crate::plan::planned::Planned;
use crate::report::tfevents::EventFile;
use crate::runner::events::{Observer, RunEvent};
use lora_core::train::Event as Training;
use std::collections::HashMap;
use std::io::Result;
use std::path::{Path, PathBuf};

/// The event files of one run.
#[derive(Debug)]
struct Log {
    folder: PathBuf,
    /// Opened at the first write.
    file: Option<EventFile>,
    /// Older files are invalid from this step on.
    from: u64,
    /// Tokens and seconds at the last event; none right after resuming.
    last: Option<(u64, f64)>,
}

impl Log {
    fn new(folder: PathBuf) -> Log {
        let (file, from, last) = (None, 0, Some((0, 0.0)));
        Log {
            folder,
            file,
            from,
            last,
        }
    }

    fn training(&mut self, event: &Training) -> Result<()> {
        match *event {
            Training::Resumed(step) => (self.from, self.last) = (step + 1, None),
            Training::Progress {
                step,
                loss,
                lr,
                tokens,
                seconds,
                ..
            } => {
                let speed = self.last.map_or(f64::NAN, |(t, s)| (tokens - t) as f64 / (seconds - s));
                self.last = Some((tokens, seconds));
                let values = [
                    ("train/loss", loss),
                    ("train/lr", lr),
                    ("train/tokens_per_second", speed),
                ];
                self.scalars(step, values.into_iter().filter(|(_, v)| v.is_finite()))?;
            }
            Training::Epoch(eval) => {
                let defined = eval
                    .metrics
                    .iter()
                    .filter_map(|(name, value)| Some((name.as_str(), (*value)?)));
                self.scalars(eval.step, defined)?;
            }
        }
        Ok(())
    }

    fn scalars<'a>(&mut self, step: u64, values: impl Iterator<Item = (&'a str, f64)>) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(EventFile::create(&self.folder, self.from)?),
        };
        file.scalars(step, values)
    }
}

/// Writes the event files. The first failure gives a warning; the run continues without files.
#[derive(Debug)]
pub struct TensorBoard {
    dir: PathBuf,
    /// The runs in progress, by id.
    logs: HashMap<String, Log>,
    warned: bool,
}

impl TensorBoard {
    /// Below the folder `out`.
    pub fn new(out: &Path) -> TensorBoard {
        TensorBoard {
            dir: out.join("tensorboard"),
            logs: HashMap::new(),
            warned: false,
        }
    }

    fn training(&mut self, run: &str, event: &Training) {
        let Some(log) = self.logs.get_mut(run) else { return };
        if let Err(error) = log.training(event) {
            if !self.warned {
                tracing::warn!(
                    "{}: {error}; the run continues without TensorBoard's files",
                    log.folder.display()
                );
            }
            self.warned = true;
            self.logs.remove(run);
        }
    }
}

impl Observer for TensorBoard {
    fn on_event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started(run) => drop(self.logs.insert(run.id.clone(), Log::new(self.dir.join(folder(run))))),
            RunEvent::Training(run, event) => self.training(&run.id, event),
            RunEvent::Ended(run, _) | RunEvent::Interrupted(run, _) => drop(self.logs.remove(&run.id)),
            RunEvent::Plan { .. }
            | RunEvent::Generating { .. }
            | RunEvent::Elsewhere { .. }
            | RunEvent::Tables { .. } => {}
        }
    }
}

/// `mrpc-lora-s1-0123456789abcdef`.
fn folder(run: &Planned) -> String {
    let config = &run.config;
    // The user names methods, with any characters and length; the id keeps folders distinct.
    let fine = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    let method: String = config.method_name.chars().take(40).map(fine).collect();
    format!("{}-{method}-s{}-{}", config.task, config.seed, run.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tfevents;
    use lora_core::train::Eval;

    fn progress(step: u64, tokens: u64, seconds: f64) -> Training<'static> {
        let (total, loss, lr) = (20, 0.5, 0.25);
        Training::Progress {
            step,
            total,
            loss,
            lr,
            tokens,
            seconds,
        }
    }

    #[test]
    fn a_resumed_run_voids_what_it_does_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        let metrics = [("dev/f1".to_string(), Some(0.75)), ("dev/mcc".to_string(), None)];
        let eval = Eval {
            epoch: 1,
            step: 12,
            train_loss: 0.5,
            metrics: metrics.into(),
        };
        let mut log = Log::new(folder.clone());
        log.training(&progress(10, 300, 3.0)).unwrap();
        log.training(&Training::Epoch(&eval)).unwrap();
        log.training(&progress(20, 500, 4.0)).unwrap();
        let mut log = Log::new(folder.clone());
        log.training(&Training::Resumed(15)).unwrap();
        log.training(&progress(20, 500, 4.5)).unwrap();
        log.training(&progress(30, 700, 5.5)).unwrap();

        let (train, rate) = ("train/loss 0.5, train/lr 0.25", "train/tokens_per_second");
        assert_eq!(
            tfevents::read(&folder),
            [
                "0: brain.Event:2".to_string(),
                "0: status 1".to_string(),
                format!("10: {train}, {rate} 100"),
                "12: dev/f1 0.75".to_string(),
                format!("20: {train}, {rate} 200"),
                "0: brain.Event:2".to_string(),
                "16: status 1".to_string(),
                format!("20: {train}"),
                format!("30: {train}, {rate} 200"),
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_ends_the_log_and_not_the_run() {
        let mut log = Log::new("/dev".into());
        log.file = Some(EventFile::full());
        let mut board = TensorBoard::new(Path::new("/dev/null"));
        board.logs.insert("a".into(), log);
        board.training("a", &progress(10, 300, 3.0));
        assert!(board.logs.is_empty() && board.warned);
        board.training("a", &progress(20, 300, 3.0));
    }
}
