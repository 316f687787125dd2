//! The journal of a worker: its events as JSON lines, which the process that started the sweep reads while they are written.

use crate::plan::planned::Planned;
use crate::runner::events::{Observer, RunEvent};
use anyhow::{Context, Result};
use lora_core::train::{Eval, Event};
use results::record::RunRecord;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two lines about the steps of a run.
const STEPS_EVERY: Duration = Duration::from_millis(500);

/// One line of a journal.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// The run.
    pub id: String,
    /// What happened to it.
    #[serde(flatten)]
    pub what: What,
}

/// What happened to a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum What {
    /// It starts or resumes.
    Started,
    /// It resumes from this step.
    Resumed {
        /// The step.
        step: u64,
    },
    /// Some steps are done.
    Steps {
        /// Steps done.
        step: u64,
        /// All steps.
        total: u64,
        /// Loss of the last step.
        loss: Option<f64>,
        /// Learning rate of the last step.
        lr: f64,
        /// Tokens trained on.
        tokens: u64,
        /// Seconds of training.
        seconds: f64,
    },
    /// An epoch was evaluated.
    Epoch {
        /// The evaluation.
        eval: Eval,
    },
    /// Some texts are generated.
    Texts {
        /// Texts done.
        done: usize,
        /// Texts in all.
        total: usize,
    },
    /// It finished or failed.
    Ended {
        /// Its record.
        record: Box<RunRecord>,
    },
    /// It was interrupted.
    Interrupted {
        /// The place, in words.
        how: String,
    },
}

/// Writes a worker's journal, and the beginning and the end of each run to its log.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// When the last line about steps was written.
    last: HashMap<String, Instant>,
    failed: bool,
}

impl Journal {
    /// Continues the journal at `path`.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path) -> Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("opening the journal {}", path.display()))?;
        // A worker that was killed may have left half a line.
        let _ = file.write_all(b"\n");
        Ok(Journal {
            file,
            last: HashMap::new(),
            failed: false,
        })
    }

    fn what(&mut self, event: &RunEvent) -> Option<(String, What)> {
        let (run, what) = match event {
            RunEvent::Started(run) => (run, What::Started),
            RunEvent::Training(run, Event::Resumed(step)) => (run, What::Resumed { step: *step }),
            RunEvent::Training(
                run,
                Event::Progress {
                    step,
                    total,
                    loss,
                    lr,
                    tokens,
                    seconds,
                },
            ) => {
                let (now, last) = (Instant::now(), self.last.get(&run.id));
                if step < total && last.is_some_and(|last| now - *last < STEPS_EVERY) {
                    return None;
                }
                self.last.insert(run.id.clone(), now);
                let loss = loss.is_finite().then_some(*loss);
                let (step, total, lr, tokens, seconds) = (*step, *total, *lr, *tokens, *seconds);
                (
                    run,
                    What::Steps {
                        step,
                        total,
                        loss,
                        lr,
                        tokens,
                        seconds,
                    },
                )
            }
            RunEvent::Training(run, Event::Epoch(eval)) => (run, What::Epoch { eval: (*eval).clone() }),
            RunEvent::Generating { run, done, total } => (
                run,
                What::Texts {
                    done: *done,
                    total: *total,
                },
            ),
            RunEvent::Ended(run, record) => (
                run,
                What::Ended {
                    record: Box::new((*record).clone()),
                },
            ),
            RunEvent::Interrupted(run, how) => (run, What::Interrupted { how: (*how).to_owned() }),
            RunEvent::Plan { .. } | RunEvent::Elsewhere { .. } | RunEvent::Tables { .. } => return None,
        };
        Some((run.id.clone(), what))
    }
}

impl Observer for Journal {
    fn on_event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started(run) => tracing::info!("{BEGIN} {} {}", run.id, run.title()),
            RunEvent::Ended(run, _) | RunEvent::Interrupted(run, _) => {
                tracing::info!("{END} {} {}", run.id, run.title())
            }
            _ => {}
        }
        let Some((id, what)) = self.what(event) else { return };
        let Ok(line) = serde_json::to_string(&Line { id, what }) else {
            return;
        };
        if let Err(error) = self.file.write_all((line + "\n").as_bytes())
            && !std::mem::replace(&mut self.failed, true)
        {
            tracing::warn!("the journal cannot be written: {error}; the runs continue; their records are kept");
        }
    }
}

/// What stands in a log where a run begins, before its id.
pub const BEGIN: &str = "begin of run";

/// What stands in a log where a run ends, before its id.
pub const END: &str = "end of run";

impl What {
    /// Gives `emit` the event about `run`.
    pub fn retell(&self, run: &Planned, emit: &mut dyn FnMut(&RunEvent)) {
        match self {
            What::Started => emit(&RunEvent::Started(run)),
            What::Resumed { step } => emit(&RunEvent::Training(run, &Event::Resumed(*step))),
            What::Steps {
                step,
                total,
                loss,
                lr,
                tokens,
                seconds,
            } => {
                let loss = loss.unwrap_or(f64::NAN);
                let (step, total, lr, tokens, seconds) = (*step, *total, *lr, *tokens, *seconds);
                emit(&RunEvent::Training(
                    run,
                    &Event::Progress {
                        step,
                        total,
                        loss,
                        lr,
                        tokens,
                        seconds,
                    },
                ));
            }
            What::Epoch { eval } => emit(&RunEvent::Training(run, &Event::Epoch(eval))),
            What::Texts { done, total } => emit(&RunEvent::Generating {
                run,
                done: *done,
                total: *total,
            }),
            What::Ended { record } => emit(&RunEvent::Ended(run, record)),
            What::Interrupted { how } => emit(&RunEvent::Interrupted(run, how)),
        }
    }
}

/// Reads a journal that is being written.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    read: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Tail {
    /// The journal at `path`, which need not exist yet, from its beginning.
    pub fn new(path: PathBuf) -> Tail {
        Tail {
            path,
            read: 0,
            rest: Vec::new(),
        }
    }

    /// The lines that are new; what is no line of a journal is left out.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn lines(&mut self) -> Result<Vec<Line>> {
        let mut new = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut new)
        });
        match read {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("reading {}", self.path.display()))?,
        };
        self.read += new.len() as u64;
        self.rest.append(&mut new);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        let lines = whole.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.jsonl");
        let mut tail = Tail::new(path.clone());
        assert!(tail.lines().unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        let mut said = |text: &str| {
            file.write_all(text.as_bytes()).unwrap();
            tail.lines()
                .unwrap()
                .iter()
                .map(|line| format!("{line:?}"))
                .collect::<String>()
        };
        assert_eq!(said("{\"id\": \"a\", \"event\": \"sta"), "");
        assert!(said("rted\"}\nhalf a li").contains("Started"));
        let last = said(
            "ne\n\n{\"id\":\"a\",\"event\":\"steps\",\"step\":3,\"total\":9,\"loss\":null,\"lr\":0.1,\"tokens\":7,\"seconds\":0.5}\n",
        );
        assert!(last.contains("step: 3") && last.contains("loss: None"), "{last}");
    }
}
