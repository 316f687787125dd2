//! Computes the runs of a plan, several at once.

use crate::plan::planned::{Planned, State};
use crate::runner::claim::{Claim, Life, Taken};
use crate::runner::events::RunEvent;
use crate::runner::session::Session;
use crate::runner::sharing::MAX_DEATHS;
use crate::runner::{execute, orders, record};
use anyhow::{Context, Result};
use lora_core::train::Event;
use results::record::Status;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Exit status of a program whose runs were interrupted.
pub const INTERRUPTED: i32 = 130;

/// How a batch of runs ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchEnd {
    /// The number that failed.
    pub failed: usize,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

/// Receives events.
pub type Emit<'a> = dyn FnMut(&RunEvent) + Send + 'a;

/// Computes every run that the store lacks, `Parallelism::jobs` at a time. A run that fails is recorded as such and does not stop
/// the others. The numbers of a run do not depend on the runs beside it.
///
/// # Errors
/// A store that cannot be written.
pub fn run_all(session: &Session, emit: &mut Emit) -> Result<BatchEnd> {
    let mut all = BatchEnd::default();
    let runs = &session.plan.runs;
    // Runs that start from others are the last of the plan, and wait for these.
    let (first, then) = runs.split_at(runs.partition_point(|r| r.config.start.is_none()));
    for (runs, last) in [(first, then.is_empty()), (then, true)] {
        let missing: Vec<&Planned> = runs.iter().filter(|r| r.state != State::Done).collect();
        let queue = Queue {
            session,
            runs: &missing,
            next: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            emit: Mutex::new(&mut *emit),
        };
        let ended = queue.run(session.plan.parallelism.jobs.min(missing.len()))?;
        all.failed += ended.failed;
        all.interrupted |= ended.interrupted;
        if let Some(sharing) = session.sharing {
            let ended = queue.wait_for_others(sharing.stays || !last)?;
            all.failed += ended.failed;
            all.interrupted |= ended.interrupted;
        }
    }
    sweep_up(session)?;
    Ok(all)
}

/// Deletes what processes have left behind that were killed between keeping a record and cleaning up.
fn sweep_up(session: &Session) -> Result<()> {
    let store = &session.plan.store;
    let claimed = session.claims.all()?;
    for run in &session.plan.runs {
        let dead = |(id, life, _): &(String, Life, _)| *id == run.id && *life == Life::Dead;
        let left = run.paths(store.dir()).checkpoint().exists() || claimed.iter().any(dead);
        if left
            && store.has(&run.id)?
            && let Taken::Mine(claim) = session.claims.take(&run.id)?
        {
            execute::clean_up(session, run)?;
            claim.release()?;
        }
    }
    Ok(())
}

/// A queue of runs that several threads share.
struct Queue<'a> {
    session: &'a Session<'a>,
    runs: &'a [&'a Planned],
    next: AtomicUsize,
    /// Whether the store cannot be written.
    broken: AtomicBool,
    emit: Mutex<&'a mut Emit<'a>>,
}

/// Stack of a thread that computes runs, in bytes: that of a main thread, which libtorch expects.
const STACK: usize = 8 << 20;

/// Time between looks at the runs of other workers.
const LOOK: Duration = Duration::from_millis(500);

impl Queue<'_> {
    fn run(&self, jobs: usize) -> Result<BatchEnd> {
        if jobs <= 1 {
            return self.work();
        }
        std::thread::scope(|scope| {
            let start = |_| {
                let thread = std::thread::Builder::new().stack_size(STACK);
                thread.spawn_scoped(scope, || {
                    // libtorch keeps the number of threads for each calling thread.
                    tch::set_num_threads(self.session.plan.parallelism.threads as i32);
                    self.work()
                })
            };
            let threads: Vec<_> = (0..jobs).map(start).collect();
            let mut all = BatchEnd::default();
            for thread in threads {
                let joined = thread.context("starting a thread")?.join();
                let ended = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                all.failed += ended.failed;
                all.interrupted |= ended.interrupted;
            }
            Ok(all)
        })
    }

    fn emit(&self, event: &RunEvent) {
        (self.emit.lock().unwrap_or_else(PoisonError::into_inner))(event);
    }

    /// Computes runs until none is left.
    fn work(&self) -> Result<BatchEnd> {
        let mut ended = BatchEnd::default();
        while !self.broken.load(Ordering::Relaxed) {
            let Some(run) = self.runs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            if self.session.stop.load(Ordering::Relaxed) {
                ended.interrupted = true;
                break;
            }
            let end = self.compute(run);
            self.broken.fetch_or(end.is_err(), Ordering::Relaxed);
            ended.add(&end?);
        }
        Ok(ended)
    }

    /// Waits for the runs that other workers compute, and computes those whose worker has stopped or died. Unless it `stays`, it
    /// leaves when all that is left is seen to be computed.
    fn wait_for_others(&self, stays: bool) -> Result<BatchEnd> {
        let mut ended = BatchEnd::default();
        let mut left: Vec<&Planned> = self.runs.to_vec();
        while !self.session.stop.load(Ordering::Relaxed) {
            let mut still = Vec::new();
            let mut alive = true;
            for run in left {
                match self.compute(run)? {
                    RunEnd::Elsewhere(life) => {
                        alive &= life == Life::Alive;
                        still.push(run);
                    }
                    end => ended.add(&end),
                }
            }
            if still.is_empty() || (alive && !stays) {
                return Ok(ended);
            }
            left = still;
            std::thread::sleep(LOOK);
        }
        ended.interrupted = true;
        Ok(ended)
    }

    /// Computes one run, unless another process does. A run whose claim was lost is claimed again.
    fn compute(&self, run: &Planned) -> Result<RunEnd> {
        let (session, store) = (self.session, &self.session.plan.store);
        loop {
            if let Some(sharing) = session.sharing
                && (sharing.has_failed(&run.id) || store.has(&run.id)?)
            {
                return Ok(RunEnd::Settled);
            }
            let claim = match session.claims.take(&run.id)? {
                Taken::Mine(claim) => claim,
                Taken::Elsewhere(life, _) => {
                    // A worker waits for it instead.
                    if session.sharing.is_none() {
                        self.emit(&RunEvent::Elsewhere { run, done: false });
                    }
                    return Ok(RunEnd::Elsewhere(life));
                }
            };
            if store.has(&run.id)? {
                claim.release()?;
                self.emit(&RunEvent::Elsewhere { run, done: true });
                return Ok(RunEnd::Settled);
            }
            let end = std::thread::scope(|scope| {
                scope.spawn(|| claim.keep(session.stop));
                // Also where a panic ends the run: the scope waits for its thread.
                let _end = EndOf(&claim);
                self.claimed(run, &claim)
            });
            claim.release()?;
            match end? {
                RunEnd::Interrupted if claim.is_lost() && !session.stop.load(Ordering::Relaxed) => {}
                end => return Ok(end),
            }
        }
    }

    /// Computes a run that this process has claimed.
    fn claimed(&self, run: &Planned, claim: &Claim) -> Result<RunEnd> {
        let session = Session {
            stop: &claim.stop,
            ..*self.session
        };
        let store = &session.plan.store;
        let started = chrono::Local::now();
        if session.sharing.is_some() && claim.deaths >= MAX_DEATHS {
            let error = format!(
                "{} processes have died over this run; `lora sweep logs` shows what they said",
                claim.deaths
            );
            return self.failed(run, &started, error);
        }
        self.emit(&RunEvent::Started(run));
        orders::to_compute(self.session, run)?;
        let mut heard = |event: &RunEvent| {
            if let RunEvent::Training(_, Event::Progress { step, .. } | Event::Resumed(step)) = event {
                claim.step.store(*step, Ordering::Relaxed);
            }
            self.emit(event);
        };
        match execute::run(&session, run, &mut heard, &started) {
            // Another process has finished it: this can only be where the claim was lost. The first record stays.
            Ok(_) if store.has(&run.id)? => {
                self.emit(&RunEvent::Elsewhere { run, done: true });
                Ok(RunEnd::Settled)
            }
            Ok(record) => {
                store.put(&record).context("keeping the record")?;
                execute::clean_up(&session, run)?;
                self.emit(&RunEvent::Ended(run, &record));
                Ok(RunEnd::Settled)
            }
            Err(error) if is_interruption(&error) => {
                self.emit(&RunEvent::Interrupted(run, &support::printable(format!("{error:#}"))));
                Ok(RunEnd::Interrupted)
            }
            Err(error) => self.failed(run, &started, format!("{error:#}")),
        }
    }

    /// Records the failure of a run.
    fn failed(&self, run: &Planned, started: &chrono::DateTime<chrono::Local>, error: String) -> Result<RunEnd> {
        let mut record = record::new(self.session, run, started);
        let error = support::printable(error).replace('\n', " ");
        record.status = Status::Failed { error };
        let kept = self.session.plan.store.put(&record);
        kept.context("keeping the record of a failed run")?;
        if let Some(sharing) = self.session.sharing {
            sharing.note_failure(&run.id)?;
        }
        self.emit(&RunEvent::Ended(run, &record));
        Ok(RunEnd::Failed)
    }
}

/// Ends the signs of life of a claim when it is dropped.
struct EndOf<'a>(&'a Claim);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// How a run ended.
enum RunEnd {
    /// Its record is kept, or nothing is left to do for it.
    Settled,
    Failed,
    Interrupted,
    /// Another process has it.
    Elsewhere(Life),
}

impl BatchEnd {
    fn add(&mut self, end: &RunEnd) {
        match end {
            RunEnd::Settled | RunEnd::Elsewhere(_) => {}
            RunEnd::Failed => self.failed += 1,
            RunEnd::Interrupted => self.interrupted = true,
        }
    }
}

fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<lora_core::Error>(),
        Some(lora_core::Error::Interrupted { .. } | lora_core::Error::GenerationStopped { .. })
    )
}
