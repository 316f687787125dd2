//! `--launcher processes`: worker processes on this machine, and the process that starts them.
//!
//! Workers read their standard input, which says nothing and ends when they are to stop: at Ctrl-C, and when the process that
//! started them is gone, however it died.

use crate::launch::journal::{Line, Tail, What};
use crate::launch::sweep::{Info, Sweep};
use crate::plan::planned::{Planned, State};
use crate::runner::events::RunEvent;
use crate::runner::scheduler::{BatchEnd, Emit, INTERRUPTED};
use crate::runner::session::Session;
use anyhow::{Context, Result, bail};
use results::record::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time between looks at the workers.
const LOOK: Duration = Duration::from_millis(100);

/// The time that workers have to end by themselves after the last run.
const FAREWELL: Duration = Duration::from_secs(20);

/// So many workers, for each that was asked for, are started in place of dead ones before a run must have ended.
const REPLACED: usize = 3;

/// The workers of a sweep.
#[derive(Debug)]
pub struct Fleet {
    sweep: Sweep,
    info: Info,
    size: usize,
    /// libtorch's threads of each.
    threads: usize,
    /// GPUs to spread the workers over; none where the device is fixed.
    gpus: Option<usize>,
    members: Vec<Member>,
    started: usize,
    /// Workers started in place of dead ones since a run last ended.
    replaced: usize,
    /// Lines about runs of a plan that this process has not made yet.
    early: Vec<Line>,
}

#[derive(Debug)]
struct Member {
    name: String,
    child: Child,
    /// Closed to stop it.
    input: Option<ChildStdin>,
    journal: Tail,
    /// The run that it computes.
    run: Option<String>,
    /// Whether it has begun a run.
    useful: bool,
}

/// What is known of the runs of a plan.
struct Batch<'a> {
    runs: BTreeMap<&'a str, &'a Planned>,
    left: BTreeSet<String>,
    failed: usize,
}

impl Fleet {
    /// No workers yet; `size` of them will be started, each with this number of threads.
    ///
    /// # Errors
    /// A sweep whose folder cannot be read.
    pub fn new(sweep: Sweep, size: usize, threads: usize, gpus: Option<usize>) -> Result<Fleet> {
        Ok(Fleet {
            info: sweep.info()?,
            sweep,
            size,
            threads,
            gpus,
            members: Vec::new(),
            started: 0,
            replaced: 0,
            early: Vec::new(),
        })
    }

    /// Lets the workers compute the runs of a plan that the store lacks.
    ///
    /// # Errors
    /// Workers that cannot be started; all have died.
    pub fn compute(&mut self, session: &Session, emit: &mut Emit) -> Result<BatchEnd> {
        let runs = &session.plan.runs;
        self.sweep.keep_plan(runs)?;
        let missing = runs.iter().filter(|run| run.state != State::Done);
        let mut batch = Batch {
            runs: runs.iter().map(|run| (run.id.as_str(), run)).collect(),
            left: missing.map(|run| run.id.clone()).collect(),
            failed: 0,
        };
        for line in std::mem::take(&mut self.early) {
            batch.hear(line, &mut self.early, emit);
        }
        while self.members.len() < self.size.min(batch.left.len()) {
            self.start()?;
        }
        let mut deaths = Vec::new();
        while !batch.left.is_empty() && !self.members.is_empty() {
            let stopping = self.is_stopped(session);
            if stopping {
                self.members.iter_mut().for_each(|member| member.input = None);
            }
            self.listen(&mut batch, emit)?;
            self.bury(&mut batch, &mut deaths, stopping, emit)?;
            std::thread::sleep(LOOK);
        }
        // Workers that were stopped one by one, and not killed, are an interruption too.
        let interrupted = (self.is_stopped(session) || deaths.is_empty()) && !batch.left.is_empty();
        if !interrupted && !batch.left.is_empty() {
            let (left, sweep) = (batch.left.len(), self.sweep.name());
            bail!(
                "all workers have ended before {left} runs were computed ({}); the logs are in {}; the same command resumes sweep {sweep}",
                deaths.join("; "),
                self.sweep.worker("").display()
            );
        }
        Ok(BatchEnd {
            failed: batch.failed,
            interrupted,
        })
    }

    /// Whether the runs are to stop: after Ctrl-C, or `lora sweep cancel`.
    fn is_stopped(&self, session: &Session) -> bool {
        session.stop.load(Ordering::Relaxed) || self.sweep.is_cancelled()
    }

    /// Starts one more worker.
    fn start(&mut self) -> Result<()> {
        let number = self.started;
        self.started += 1;
        let name = format!("worker-{}", number + 1);
        let place = self.sweep.worker(&name);
        let output = place.with_extension("out");
        let open = OpenOptions::new().create(true).append(true).open(&output);
        let output = open.with_context(|| format!("opening {}", output.display()))?;
        let (program, flags) = self.info.command.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(flags).arg("--worker").arg(&place);
        command.args(["--threads", &self.threads.to_string(), "--jobs", "1"]);
        if let Some(gpus) = self.gpus {
            command.args(["--device", &format!("cuda:{}", number % gpus)]);
        }
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        // Ctrl-C in a terminal goes to a whole group: this process alone is to hear it, and to tell its workers.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting the worker {program}"))?;
        self.members.push(Member {
            input: child.stdin.take(),
            journal: Tail::new(place.with_extension("jsonl")),
            run: None,
            useful: false,
            name,
            child,
        });
        Ok(())
    }

    /// Reads the journals.
    fn listen(&mut self, batch: &mut Batch, emit: &mut Emit) -> Result<()> {
        for member in &mut self.members {
            for line in member.journal.lines()? {
                member.useful = true;
                member.run = match &line.what {
                    What::Ended { .. } | What::Interrupted { .. } => None,
                    _ => Some(line.id.clone()),
                };
                if matches!(line.what, What::Ended { .. }) {
                    self.replaced = 0;
                }
                batch.hear(line, &mut self.early, emit);
            }
        }
        Ok(())
    }

    /// Takes leave of workers that have ended, and starts others in place of those that died over a run.
    fn bury(&mut self, batch: &mut Batch, deaths: &mut Vec<String>, stopping: bool, emit: &mut Emit) -> Result<()> {
        let mut ended = Vec::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            if let Some(status) = member
                .child
                .try_wait()
                .with_context(|| format!("waiting for {}", member.name))?
            {
                ended.push((at, status));
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        // What they wrote last.
        self.listen(batch, emit)?;
        for (at, status) in ended.into_iter().rev() {
            let member = self.members.remove(at);
            let how = format!("{}, process {}: {status}", member.name, member.child.id());
            let died = !said_goodbye(status);
            if let Some(run) = member.run.as_deref().and_then(|id| batch.runs.get(id)) {
                emit(&RunEvent::Interrupted(
                    run,
                    &format!("{how}; another worker goes on with it"),
                ));
            }
            if died {
                let output = std::fs::read_to_string(self.sweep.worker(&member.name).with_extension("out"));
                let last = output.unwrap_or_default().lines().last().unwrap_or_default().to_owned();
                tracing::warn!("{how} {last}");
                deaths.push(format!("{how} {last}").trim_end().to_owned());
            }
            let hope = member.useful && self.replaced < REPLACED * self.size;
            if died && hope && !stopping && !batch.left.is_empty() {
                self.replaced += 1;
                self.start()?;
            }
        }
        Ok(())
    }
}

/// Whether a worker ended by itself and without an error; it tells of failed runs in its journal.
fn said_goodbye(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | INTERRUPTED))
}

impl Batch<'_> {
    fn hear(&mut self, line: Line, early: &mut Vec<Line>, emit: &mut Emit) {
        let Some(run) = self.runs.get(line.id.as_str()) else {
            early.push(line);
            return;
        };
        line.what.retell(run, emit);
        if let What::Ended { record } = &line.what
            && self.left.remove(&line.id)
        {
            self.failed += usize::from(matches!(record.status, Status::Failed { .. }));
        }
    }
}

impl Drop for Fleet {
    /// Lets the workers end, and ends those that do not.
    fn drop(&mut self) {
        let until = Instant::now() + FAREWELL;
        for member in &mut self.members {
            member.input = None;
        }
        for member in &mut self.members {
            while matches!(member.child.try_wait(), Ok(None)) {
                if Instant::now() > until {
                    let _ = member.child.kill();
                    let _ = member.child.wait();
                    break;
                }
                std::thread::sleep(LOOK);
            }
        }
    }
}
