//! All runs of an experiment: how many at once, and computing them.

use crate::inputs::assets::Inputs;
use crate::plan::{Planned, State};
use crate::report::events::RunEvent;
use crate::runner::environment;
use crate::runner::execute::{Session, clean_up, execute, new_record};
use anyhow::{Context, Result, ensure};
use results::record::Status;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tch::Device;

/// What the process holds beside its runs, in MiB.
const PROCESS_MIB: f64 = 300.0;

/// The part of the machine's memory that runs side by side may fill.
const SHARE: f64 = 0.6;

/// How many runs go on side by side, and the threads of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Runs at once.
    pub jobs: usize,
    /// libtorch's threads of each.
    pub threads: usize,
}

/// As many runs as `wanted`; where that is 0, on a CPU as many as there are threads, since several runs with one thread each
/// are done sooner than one after the other with all, as far as memory goes. On a GPU one at a time: they would share
/// its generator.
///
/// Depends on the plan and the machine alone, and not on what is done already or on what else the machine does: the number
/// of threads that a run has may change its last digits, and a run that goes on must come to what it would have come to.
///
/// # Errors
/// More than one wanted on a GPU; a method that does not fit the model.
pub fn split(wanted: usize, threads: usize, runs: &[Planned], inputs: &Inputs, device: Device) -> Result<Split> {
    let jobs = at_once(wanted, threads, runs, inputs, device)?;
    let threads = (threads / jobs).max(1);
    Ok(Split { jobs, threads })
}

fn at_once(wanted: usize, threads: usize, runs: &[Planned], inputs: &Inputs, device: Device) -> Result<usize> {
    ensure!(
        device == Device::Cpu || wanted <= 1,
        "--jobs {wanted}: runs side by side on one GPU would draw from one generator; start the program once for each GPU instead"
    );
    if device != Device::Cpu {
        return Ok(1);
    }
    if wanted > 0 {
        return Ok(wanted);
    }
    let most = threads.min(runs.len());
    match environment::memory_mib() {
        Some(memory) if most > 1 => {
            let fit = SHARE * memory / (largest(runs, inputs)? + PROCESS_MIB);
            Ok(most.min((fit as usize).max(1)))
        }
        _ => Ok(most.max(1)),
    }
}

/// The memory of the largest run, in MiB, as the plan predicts it.
fn largest(runs: &[Planned], inputs: &Inputs) -> Result<f64> {
    let mut counted = BTreeMap::new();
    let mut largest = 0.0;
    for run in runs {
        let method = &run.config.method_name;
        if !counted.contains_key(method) {
            counted.insert(method, run.counted(&inputs.model).with_context(|| run.title())?);
        }
        largest = f64::max(largest, run.memory_mib(&counted[method]));
    }
    Ok(largest)
}

/// What became of the runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// How many failed.
    pub failed: usize,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

/// Tells what happens.
type Tell<'a> = dyn FnMut(&RunEvent) + Send + 'a;

/// Computes every run that the store lacks, [`Split::jobs`] at a time, and tells what happens. A run that fails is recorded
/// as such and does not stop the others. What a run comes to does not depend on what runs beside it.
///
/// # Errors
/// A store that cannot be written: then no later run could be kept either.
pub fn run_all(session: &Session, runs: &[Planned], emit: &mut Tell) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    // Those that start from others' results come when these are there; the plan has them last.
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
        let ended = queue.run(session.split.jobs.min(missing.len()))?;
        outcome.failed += ended.failed;
        outcome.interrupted |= ended.interrupted;
    }
    Ok(outcome)
}

/// Runs that several threads take from, one after the other.
struct Queue<'a> {
    session: &'a Session<'a>,
    runs: &'a [&'a Planned],
    next: AtomicUsize,
    /// Whether the store cannot be written.
    broken: AtomicBool,
    emit: Mutex<&'a mut Tell<'a>>,
}

/// Stack of a thread that runs: libtorch's own are as deep as a main thread's.
const STACK: usize = 8 << 20;

impl Queue<'_> {
    fn run(&self, jobs: usize) -> Result<Outcome> {
        if jobs <= 1 {
            return self.work();
        }
        std::thread::scope(|scope| {
            let start = |_| {
                let thread = std::thread::Builder::new().stack_size(STACK);
                thread.spawn_scoped(scope, || {
                    // libtorch keeps the number for each thread that calls it.
                    tch::set_num_threads(self.session.split.threads as i32);
                    self.work()
                })
            };
            let threads: Vec<_> = (0..jobs).map(start).collect();
            let mut all = Outcome::default();
            for thread in threads {
                let joined = thread.context("starting a thread")?.join();
                let ended = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                all.failed += ended.failed;
                all.interrupted |= ended.interrupted;
            }
            Ok(all)
        })
    }

    fn emit(&self, news: &RunEvent) {
        (self.emit.lock().unwrap_or_else(PoisonError::into_inner))(news);
    }

    /// Takes runs until none is left.
    fn work(&self) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        while !self.broken.load(Ordering::Relaxed) {
            let Some(run) = self.runs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            if self.session.stop.load(Ordering::Relaxed) {
                outcome.interrupted = true;
                break;
            }
            let ended = self.take(run);
            self.broken.fetch_or(ended.is_err(), Ordering::Relaxed);
            match ended? {
                Ended::Well => {}
                Ended::Failed => outcome.failed += 1,
                Ended::Interrupted => outcome.interrupted = true,
            }
        }
        Ok(outcome)
    }

    /// Computes one run, unless another process does.
    fn take(&self, run: &Planned) -> Result<Ended> {
        let session = self.session;
        let Some(_lock) = lock(session.store.dir(), &run.id)? else {
            self.emit(&RunEvent::Elsewhere { run, done: false });
            return Ok(Ended::Well);
        };
        if session.store.has(&run.id)? {
            self.emit(&RunEvent::Elsewhere { run, done: true });
            return Ok(Ended::Well);
        }
        let started = chrono::Local::now();
        self.emit(&RunEvent::Started(run));
        match execute(session, run, &mut |news| self.emit(news), &started) {
            Ok(record) => {
                session.store.put(&record).context("keeping the record")?;
                clean_up(session, run)?;
                let _ = std::fs::remove_file(lock_path(session.store.dir(), &run.id));
                self.emit(&RunEvent::Ended(run, &record));
                Ok(Ended::Well)
            }
            Err(error) if is_interruption(&error) => {
                self.emit(&RunEvent::Interrupted(run, &support::printable(format!("{error:#}"))));
                Ok(Ended::Interrupted)
            }
            Err(error) => {
                let mut record = new_record(session, run, &started);
                let error = support::printable(format!("{error:#}")).replace('\n', " ");
                record.status = Status::Failed { error };
                let kept = session.store.put(&record);
                kept.context("keeping the record of a failed run")?;
                self.emit(&RunEvent::Ended(run, &record));
                Ok(Ended::Failed)
            }
        }
    }
}

/// How a run came to its end.
enum Ended {
    Well,
    Failed,
    Interrupted,
}

fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<lora_core::Error>(),
        Some(lora_core::Error::Interrupted { .. } | lora_core::Error::GenerationStopped { .. })
    )
}

/// The right to compute a run, held until it is dropped; none if another process has it.
fn lock(out: &Path, id: &str) -> Result<Option<std::fs::File>> {
    let path = lock_path(out, id);
    let open = || {
        std::fs::create_dir_all(out.join("checkpoints"))?;
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
    };
    let file = open().with_context(|| format!("making {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("locking {}", path.display())),
    }
}

fn lock_path(out: &Path, id: &str) -> std::path::PathBuf {
    out.join("checkpoints").join(format!("{id}.lock"))
}
