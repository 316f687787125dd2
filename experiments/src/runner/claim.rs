//! Claims: which process computes which run, on this machine or on another one.
//!
//! A claim is a file `ID.N.claim` beside the checkpoints. It appears whole or not at all, by a link to a finished file, which is
//! atomic on network file systems too. Its holder writes a sign of life into it every few seconds. A claim whose holder is dead is
//! taken over by the file `ID.N+1.claim`: of several processes that try, one succeeds, and nobody removes a file of the living. The
//! highest number holds the run; a holder that finds a higher one stops.
//!
//! A holder on this machine is dead when the system has released its lock of the file. Locks of other machines are not trusted: a
//! holder there is dead when its sign of life has not changed for [`PATIENCE`] by the observer's own clock, or is older than
//! [`LONG_DEAD`] by the clock of the file system.

use crate::runner::host::{self, Host};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between signs of life.
pub const BEAT: Duration = Duration::from_secs(5);

/// A holder on another machine without a sign of life for so long is dead.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A claim of another machine whose file is older than this is dead, however shortly it was observed.
pub const LONG_DEAD: Duration = Duration::from_secs(1800);

/// Bytes of a claim's file: always the same, so that a sign of life overwrites the one before.
const SIZE: usize = 1024;

/// Attempts to take a claim that other processes release or take meanwhile.
const ATTEMPTS: usize = 32;

/// The holder of a claim, as its file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// Where it runs.
    #[serde(flatten)]
    pub host: Host,
    /// The sweep that it works for, if any.
    pub sweep: Option<String>,
    /// When it began the run, RFC 3339.
    pub since: String,
    /// Distinguishes this claim from all others.
    pub nonce: u64,
    /// Whether the file is locked while the holder lives.
    pub locked: bool,
    /// The optimiser step that it has reached.
    pub step: u64,
    /// The number of signs of life.
    pub beat: u64,
}

/// The claims below one folder, as one process sees them.
#[derive(Debug)]
pub struct Claims {
    dir: PathBuf,
    host: Host,
    sweep: Option<String>,
    patience: Duration,
    beat: Duration,
    /// What the files of other machines held when last read, and since when.
    seen: Mutex<HashMap<PathBuf, Seen>>,
}

#[derive(Debug)]
struct Seen {
    bytes: Vec<u8>,
    since: Instant,
    changed: bool,
}

/// The state of a claim's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It lives.
    Alive,
    /// It is on another machine, and has not been observed for long enough.
    Unknown,
    /// It is dead.
    Dead,
}

/// The answer to an attempt to claim a run.
#[derive(Debug)]
pub enum Taken {
    /// The run is this process's.
    Mine(Box<Claim>),
    /// Another process has it.
    Elsewhere(Life, Holder),
}

/// A claim that this process holds.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    id: String,
    number: u64,
    path: PathBuf,
    beat: Duration,
    file: Mutex<(File, Holder)>,
    /// How many holders of the same sweep have died over this run.
    pub deaths: usize,
    /// The optimiser step that the run has reached.
    pub step: AtomicU64,
    /// Set when the run must stop: the program is to stop, or the claim is lost.
    pub stop: AtomicBool,
    lost: AtomicBool,
    ended: AtomicBool,
}

impl Claims {
    /// The claims in the folder of checkpoints `dir`; `sweep` is the name of the sweep that this process works for.
    pub fn new(dir: PathBuf, sweep: Option<String>) -> Claims {
        Claims {
            dir,
            host: host::this(),
            sweep,
            patience: PATIENCE,
            beat: BEAT,
            seen: Mutex::default(),
        }
    }

    /// Claims the run `id`, unless a living process has it.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn take(&self, id: &str) -> Result<Taken> {
        for _ in 0..ATTEMPTS {
            let before = self.files(id)?;
            let mut last = None;
            if let Some((_, path)) = before.last() {
                match self.judge(path)? {
                    None => continue,
                    Some((Life::Dead, holder)) => last = Some(holder),
                    Some((life, holder)) => return Ok(Taken::Elsewhere(life, holder)),
                }
            }
            let number = before.last().map_or(0, |(number, _)| *number) + 1;
            let path = self.dir.join(format!("{id}.{number}.claim"));
            let Some((file, holder)) = self.create(&path)? else {
                continue;
            };
            let claim = Claim {
                dir: self.dir.clone(),
                id: id.into(),
                number,
                path,
                beat: self.beat,
                file: Mutex::new((file, holder)),
                deaths: self.deaths(&before),
                step: AtomicU64::new(0),
                stop: AtomicBool::new(false),
                lost: AtomicBool::new(false),
                ended: AtomicBool::new(false),
            };
            // Whoever was slow to create the file may find that the run was finished, or claimed anew, in between.
            let same = match (before.last(), last) {
                (Some((_, path)), Some(judged)) => read(path)?.is_some_and(|(now, _)| now.nonce == judged.nonce),
                _ => true,
            };
            if same && !claim.is_superseded()? {
                return Ok(Taken::Mine(Box::new(claim)));
            }
            remove(&claim.path)?;
        }
        bail!(
            "{}: other processes take and release run {id} all the time; if none is at work, delete its .claim files",
            self.dir.display()
        )
    }

    /// The claims of all runs, as (run id, its holder's state, the holder), each under its highest number.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn all(&self) -> Result<Vec<(String, Life, Holder)>> {
        let mut highest: HashMap<String, (u64, PathBuf)> = HashMap::new();
        for (id, number, path) in list(&self.dir)? {
            let entry = highest.entry(id).or_insert_with(|| (number, path.clone()));
            if number > entry.0 {
                *entry = (number, path);
            }
        }
        let mut all = Vec::new();
        for (id, (_, path)) in highest {
            if let Some((life, holder)) = self.judge(&path)? {
                all.push((id, life, holder));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// The files of one run, the lowest number first.
    fn files(&self, id: &str) -> Result<Vec<(u64, PathBuf)>> {
        numbers(&self.dir, id)
    }

    /// The holders of this sweep among the files, which are all dead.
    fn deaths(&self, files: &[(u64, PathBuf)]) -> usize {
        let ours = |path: &Path| match read(path) {
            Ok(Some((holder, _))) => holder.sweep.is_some() && holder.sweep == self.sweep,
            _ => false,
        };
        files.iter().filter(|(_, path)| ours(path)).count()
    }

    /// The state of the holder of a file; none if the file is gone.
    fn judge(&self, path: &Path) -> Result<Option<(Life, Holder)>> {
        let Some((holder, bytes)) = read(path)? else {
            return Ok(None);
        };
        if holder.host.is_earlier_start_of(&self.host) {
            return Ok(Some((Life::Dead, holder)));
        }
        if holder.locked && holder.host.same_machine(&self.host) {
            let Ok(file) = File::open(path) else { return Ok(None) };
            let life = match file.try_lock_shared() {
                Ok(()) => Some(Life::Dead),
                Err(fs::TryLockError::WouldBlock) => Some(Life::Alive),
                Err(fs::TryLockError::Error(_)) => None,
            };
            if let Some(life) = life {
                return Ok(Some((life, holder)));
            }
        }
        let life = self.observe(path, bytes);
        Ok(Some((life, holder)))
    }

    /// Judges a holder by its signs of life.
    fn observe(&self, path: &Path, bytes: Vec<u8>) -> Life {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = seen.get_mut(path) else {
            let (since, changed) = (Instant::now(), false);
            seen.insert(path.to_owned(), Seen { bytes, since, changed });
            let silent = self.age(path).is_some_and(|age| age > LONG_DEAD);
            return if silent { Life::Dead } else { Life::Unknown };
        };
        if known.bytes != bytes {
            (known.bytes, known.since, known.changed) = (bytes, Instant::now(), true);
        }
        match (known.since.elapsed() > self.patience, known.changed) {
            (true, _) => Life::Dead,
            (false, true) => Life::Alive,
            (false, false) => Life::Unknown,
        }
    }

    /// How long the holder of the run `id` has given no sign of life, by the clock of the file system; none where that is unknown.
    pub fn silence(&self, id: &str) -> Option<Duration> {
        let files = self.files(id).ok()?;
        self.age(&files.last()?.1)
    }

    /// The age of a file by the clock that gives a new file beside it its time.
    fn age(&self, path: &Path) -> Option<Duration> {
        let now = tempfile::tempfile_in(&self.dir)
            .ok()?
            .metadata()
            .ok()?
            .modified()
            .ok()?;
        now.duration_since(fs::metadata(path).ok()?.modified().ok()?).ok()
    }

    /// Makes the file of a claim; none if it exists.
    fn create(&self, path: &Path) -> Result<Option<(File, Holder)>> {
        let making = || format!("making {}", path.display());
        fs::create_dir_all(&self.dir).with_context(making)?;
        let mut holder = Holder {
            host: self.host.clone(),
            sweep: self.sweep.clone(),
            since: chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
            nonce: RandomState::new().build_hasher().finish(),
            ..Holder::default()
        };
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{}-", self.host.plain_name()))
            .suffix(".tmp")
            .tempfile_in(&self.dir);
        let (mut file, temporary) = temporary.with_context(making)?.into_parts();
        holder.locked = file.try_lock().is_ok();
        write(&mut file, &holder).with_context(making)?;
        file.sync_all().with_context(making)?;
        match fs::hard_link(&temporary, path) {
            Ok(()) => Ok(Some((file, holder))),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // The answer of a network file system to the first of two requests may have been lost.
                let ours = read(path)?.is_some_and(|(there, _)| there.nonce == holder.nonce);
                Ok(ours.then_some((file, holder)))
            }
            Err(_) => self.create_without_links(path, holder).with_context(making),
        }
    }

    /// [`Claims::create`] on a file system without links: for a moment the file is there and empty, which others take for life.
    fn create_without_links(&self, path: &Path, mut holder: Holder) -> Result<Option<(File, Holder)>> {
        let mut file = match fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
        {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(None),
            other => other?,
        };
        holder.locked = file.try_lock().is_ok();
        write(&mut file, &holder)?;
        Ok(Some((file, holder)))
    }
}

impl Claim {
    /// Gives signs of life until [`Claim::end`]; sets `self.stop` when `stop` is set or the claim is lost.
    pub fn keep(&self, stop: &AtomicBool) {
        let mut last = Instant::now();
        while !self.ended.load(Ordering::Relaxed) {
            self.stop.fetch_or(stop.load(Ordering::Relaxed), Ordering::Relaxed);
            if last.elapsed() >= self.beat {
                last = Instant::now();
                self.give_sign();
                // A folder that cannot be read now may be readable later.
                if self.is_superseded().unwrap_or(false) {
                    self.lost.store(true, Ordering::Relaxed);
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Writes a sign of life. A failure is no failure of the run: at worst another process takes it over.
    fn give_sign(&self) {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, holder) = &mut *held;
        holder.beat += 1;
        holder.step = self.step.load(Ordering::Relaxed);
        let _ = write(file, holder).and_then(|()| file.sync_data());
    }

    /// Ends [`Claim::keep`].
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether another process has taken the claim over, or its file was removed.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn is_superseded(&self) -> Result<bool> {
        let files = numbers(&self.dir, &self.id)?;
        Ok(files.last().is_none_or(|(number, _)| *number != self.number))
    }

    /// Gives the run up, and removes the files of dead holders before this one; leaves everything where the claim is lost.
    ///
    /// # Errors
    /// Files that cannot be removed.
    pub fn release(&self) -> Result<()> {
        if self.is_superseded()? {
            return Ok(());
        }
        for (_, path) in numbers(&self.dir, &self.id)? {
            remove(&path)?;
        }
        Ok(())
    }
}

/// All files of claims in a folder, as (run id, number, path). A missing folder has none.
fn list(dir: &Path) -> Result<Vec<(String, u64, PathBuf)>> {
    let reading = || format!("reading {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(reading)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let parts: Vec<&str> = name.split('.').collect();
        if let [id, number, "claim"] = parts[..]
            && let Ok(number) = number.parse()
        {
            found.push((id.to_owned(), number, path.clone()));
        }
    }
    Ok(found)
}

/// The files of one run, the lowest number first.
fn numbers(dir: &Path, id: &str) -> Result<Vec<(u64, PathBuf)>> {
    let all = list(dir)?.into_iter().filter(|(other, ..)| other == id);
    let mut files: Vec<(u64, PathBuf)> = all.map(|(_, number, path)| (number, path)).collect();
    files.sort();
    Ok(files)
}

/// The holder that a file names, and its bytes; a holder without a name where they cannot be read; none if there is no file.
fn read(path: &Path) -> Result<Option<(Holder, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(4 * SIZE as u64).read_to_end(&mut bytes));
    match opened {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("reading {}", path.display()))?,
    };
    Ok(Some((serde_json::from_slice(&bytes).unwrap_or_default(), bytes)))
}

fn write(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    let text = serde_json::to_string(holder)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{text:<width$}\n", width = SIZE - 1).as_bytes())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).with_context(|| format!("removing {}", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The claims of another process, which is on another machine where `machine` differs.
    fn claims(dir: &Path, machine: &str) -> Claims {
        let mut claims = Claims::new(dir.to_owned(), Some("sweep".into()));
        claims.host.machine = machine.into();
        (claims.beat, claims.patience) = (Duration::from_millis(20), Duration::from_millis(300));
        claims
    }

    fn mine(claims: &Claims) -> Option<Box<Claim>> {
        match claims.take("run").unwrap() {
            Taken::Mine(claim) => Some(claim),
            Taken::Elsewhere(..) => None,
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn one_of_many_gets_a_run() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let held: Vec<Option<Box<Claim>>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|i| (dir.path(), format!("machine {i}")))
                    .map(|(dir, machine)| scope.spawn(move || mine(&claims(dir, &machine))))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let held: Vec<_> = held.into_iter().flatten().collect();
            assert_eq!((held.len(), names(dir.path())), (1, vec!["run.1.claim".to_string()]));
            held[0].release().unwrap();
            assert!(names(dir.path()).is_empty());
        }
    }

    #[test]
    fn on_one_machine_the_death_of_a_holder_is_known_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (claims(dir.path(), "here"), claims(dir.path(), "here"));
        let held = mine(&a).unwrap();
        assert!(matches!(b.take("run").unwrap(), Taken::Elsewhere(Life::Alive, _)));
        // The end of a process closes its files.
        drop(held);
        let next = mine(&b).unwrap();
        assert_eq!(
            (next.deaths, names(dir.path())),
            (1, vec!["run.1.claim".into(), "run.2.claim".into()])
        );
        next.release().unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn on_another_machine_signs_of_life_decide() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (claims(dir.path(), "here"), claims(dir.path(), "there"));
        let held = mine(&a).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| held.keep(&stop));
            let begun = Instant::now();
            assert!(matches!(b.take("run").unwrap(), Taken::Elsewhere(Life::Unknown, _)));
            while begun.elapsed() < 3 * b.patience {
                std::thread::sleep(Duration::from_millis(60));
                assert!(matches!(b.take("run").unwrap(), Taken::Elsewhere(Life::Alive, _)));
            }
            held.end();
        });
        // Its file is still locked, which another machine does not trust.
        std::thread::sleep(2 * b.patience);
        let next = mine(&b).unwrap();
        assert_eq!(next.deaths, 1);
        // It only slept: it finds that the run is another's, and stops.
        held.ended.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| held.keep(&stop));
            while !held.is_lost() {
                std::thread::sleep(Duration::from_millis(5));
            }
            held.end();
        });
        assert!(held.stop.load(Ordering::Relaxed));
        held.release().unwrap();
        assert_eq!(
            names(dir.path()),
            ["run.1.claim", "run.2.claim"],
            "a lost claim leaves the new one alone"
        );
        next.release().unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_removed_or_damaged_file_is_no_run_computed_twice_unnoticed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (claims(dir.path(), "here"), claims(dir.path(), "there"));
        let held = mine(&a).unwrap();
        fs::write(&held.path, "not JSON").unwrap();
        assert!(mine(&b).is_none(), "who cannot be read may live");
        fs::remove_file(&held.path).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| held.keep(&stop));
            while !held.is_lost() {
                std::thread::sleep(Duration::from_millis(5));
            }
            held.end();
        });
        assert!(mine(&b).is_some());
    }

    #[test]
    fn a_requeued_job_takes_its_own_run_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut a, mut b) = (claims(dir.path(), "n1"), claims(dir.path(), "n2"));
        (a.host.job, b.host.job) = (Some("7".into()), Some("7".into()));
        let held = mine(&a).unwrap();
        assert!(mine(&b).is_none(), "two processes of one job");
        b.host.restart = 1;
        assert!(mine(&b).is_some());
        drop(held);
    }
}
