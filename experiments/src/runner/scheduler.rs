//! Computes the runs of a plan, several at once.

use crate::plan::planned::{Planned, State};
use crate::runner::events::RunEvent;
use crate::runner::session::Session;
use crate::runner::{execute, record};
use anyhow::{Context, Result};
use results::record::Status;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a batch of runs ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchEnd {
    /// The number that failed.
    pub failed: usize,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

/// Receives events.
type Emit<'a> = dyn FnMut(&RunEvent) + Send + 'a;

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
    for runs in [first, then] {
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
    }
    Ok(all)
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
            match end? {
                RunEnd::Finished => {}
                RunEnd::Failed => ended.failed += 1,
                RunEnd::Interrupted => ended.interrupted = true,
            }
        }
        Ok(ended)
    }

    /// Computes one run, unless another process does.
    fn compute(&self, run: &Planned) -> Result<RunEnd> {
        let session = self.session;
        let store = &session.plan.store;
        let paths = run.paths(store.dir());
        let Some(_lock) = lock(&paths.lock())? else {
            self.emit(&RunEvent::Elsewhere { run, done: false });
            return Ok(RunEnd::Finished);
        };
        if store.has(&run.id)? {
            self.emit(&RunEvent::Elsewhere { run, done: true });
            return Ok(RunEnd::Finished);
        }
        let started = chrono::Local::now();
        self.emit(&RunEvent::Started(run));
        match execute::run(session, run, &mut |event| self.emit(event), &started) {
            Ok(record) => {
                store.put(&record).context("keeping the record")?;
                execute::clean_up(session, run)?;
                let _ = std::fs::remove_file(paths.lock());
                self.emit(&RunEvent::Ended(run, &record));
                Ok(RunEnd::Finished)
            }
            Err(error) if is_interruption(&error) => {
                self.emit(&RunEvent::Interrupted(run, &support::printable(format!("{error:#}"))));
                Ok(RunEnd::Interrupted)
            }
            Err(error) => {
                let mut record = record::new(session, run, &started);
                let error = support::printable(format!("{error:#}")).replace('\n', " ");
                record.status = Status::Failed { error };
                let kept = store.put(&record);
                kept.context("keeping the record of a failed run")?;
                self.emit(&RunEvent::Ended(run, &record));
                Ok(RunEnd::Failed)
            }
        }
    }
}

/// How a run ended.
enum RunEnd {
    Finished,
    Failed,
    Interrupted,
}

fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<lora_core::Error>(),
        Some(lora_core::Error::Interrupted { .. } | lora_core::Error::GenerationStopped { .. })
    )
}

/// Locks the file `path` until the value is dropped; none if another process has locked it.
fn lock(path: &Path) -> Result<Option<std::fs::File>> {
    let open = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
    };
    let file = open().with_context(|| format!("making {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("locking {}", path.display())),
    }
}
