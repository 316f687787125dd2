//! Damaged files: seeded changes to the bytes of a sound one, and a check that a reader takes or refuses each of them in time.
#![allow(clippy::panic)] // A panic here is a failed test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Number of mutations of each file, unless `LORA_MUTATIONS` states another.
const COUNT: u64 = 1000;

/// The longest that a reader may take for a damaged file.
const LIMIT: Duration = Duration::from_secs(1);

/// A reader that takes so long hangs, and the process is ended.
const HANG: Duration = Duration::from_secs(60);

/// The most memory that a test process may ever hold, in KiB.
const MEMORY_KIB: u64 = 2 << 20;

/// The number of damaged files that a reader refused and that it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcomes {
    /// Refused, with an error that names the file.
    pub refused: u64,
    /// Taken.
    pub taken: u64,
}

/// Gives `read` many damaged forms of `original`: 1000, or as many as the environment variable `LORA_MUTATIONS` states.
///
/// # Panics
/// If `read` panics, takes longer than a second (twice), or returns an error that does not contain `name`, the file's name;
/// if the process holds more than 2 GiB. The message states the seed of the mutation, which [`mutated`] takes.
pub fn survives(name: &str, original: &[u8], mut read: impl FnMut(&[u8]) -> Result<(), String>) -> Outcomes {
    read(original).unwrap_or_else(|error| panic!("the sound {name} is refused: {error}"));
    let count = std::env::var("LORA_MUTATIONS").ok().and_then(|n| n.parse().ok());
    let watch = Watch::start(name);
    let mut outcomes = Outcomes::default();
    for seed in 0..count.unwrap_or(COUNT) {
        let bytes = mutated(original, seed);
        watch.seed.store(seed, Ordering::Relaxed);
        let mut timed = || {
            let since = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
            let outcome = outcome.unwrap_or_else(|_| panic!("{name}: the reader panics on mutation {seed}"));
            (outcome, since.elapsed())
        };
        let (outcome, mut took) = timed();
        if took > LIMIT {
            // The machine may have been busy.
            took = timed().1;
        }
        assert!(took <= LIMIT, "{name}: mutation {seed} took {took:?}");
        match outcome {
            Ok(()) => outcomes.taken += 1,
            Err(error) => {
                assert!(error.contains(name), "mutation {seed}: {name} is not named: {error}");
                outcomes.refused += 1;
            }
        }
    }
    let peak = peak_memory_kib().unwrap_or(0);
    assert!(peak <= MEMORY_KIB, "{name}: {peak} KiB of memory were held");
    outcomes
}

/// A form of `bytes` with one to three changes, which differs from them; the same for the same seed.
pub fn mutated(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut changed = bytes.to_vec();
    while changed == bytes {
        for _ in 0..[1, 1, 1, 2, 3][rng.random_range(0..5)] {
            change(&mut changed, &mut rng);
        }
    }
    changed
}

/// Numbers that lengths, counts and offsets are replaced by.
const NUMBERS: [u64; 8] = [
    0,
    1,
    0x7f,
    0x8000,
    0x7fff_ffff,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX,
];

/// Texts that numbers in a text file are replaced by.
const TEXTS: [&str; 8] = [
    "99999999999999999999",
    "-1",
    "1e999",
    "4294967296",
    "9223372036854775807",
    "null",
    "[]",
    "\"\"",
];

fn change(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        bytes.push(rng.random());
        return;
    }
    let at = place(bytes.len(), rng);
    let span = |rng: &mut ChaCha8Rng, most: usize| at..bytes.len().min(at + rng.random_range(1..=most));
    match rng.random_range(0..10) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => {
            let new: Vec<u8> = (0..rng.random_range(1..16)).map(|_| rng.random()).collect();
            bytes.splice(at..at, new);
        }
        4 => {
            let gone = span(rng, 64);
            bytes.drain(gone);
        }
        5 => {
            let zeros = span(rng, 256);
            bytes[zeros].fill(0);
        }
        6 | 7 => {
            let number = NUMBERS[rng.random_range(0..NUMBERS.len())].to_le_bytes();
            let width = [2, 4, 8][rng.random_range(0..3)].min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        8 => {
            let again = bytes[span(rng, 64)].to_vec();
            let to = place(bytes.len(), rng);
            bytes.splice(to..to, again);
        }
        _ => {
            let digit = |b: &u8| b.is_ascii_digit();
            let from = at + bytes[at..].iter().position(digit).unwrap_or(0);
            let digits = bytes[from..].iter().take_while(|b| digit(b)).count();
            let text = TEXTS[rng.random_range(0..TEXTS.len())];
            bytes.splice(from..from + digits, text.bytes());
        }
    }
}

/// A place in a file of this length, often near an end, where headers and indexes are.
fn place(length: usize, rng: &mut ChaCha8Rng) -> usize {
    let near = rng.random_range(0..length.min(1024));
    match rng.random_range(0..3) {
        0 => near,
        1 => length - 1 - near,
        _ => rng.random_range(0..length),
    }
}

/// Ends the process when a reader hangs.
struct Watch {
    seed: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

impl Watch {
    fn start(name: &str) -> Watch {
        let watch = Watch {
            seed: Arc::default(),
            done: Arc::default(),
        };
        let (seed, done, name) = (watch.seed.clone(), watch.done.clone(), name.to_owned());
        std::thread::spawn(move || {
            let (mut last, mut since) = (0, Instant::now());
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                let now = seed.load(Ordering::Relaxed);
                if now != last {
                    (last, since) = (now, Instant::now());
                } else if since.elapsed() > HANG {
                    eprintln!("{name}: the reader hangs on mutation {now}");
                    std::process::abort();
                }
            }
        });
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_repeat_and_differ_from_the_file() {
        let file = b"{\"rows\": 12, \"text\": \"twelve\"}";
        let all: Vec<Vec<u8>> = (0..200).map(|seed| mutated(file, seed)).collect();
        assert!(all.iter().all(|changed| changed != file));
        assert_eq!(all[7], mutated(file, 7));
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(distinct.len() > 150, "{}", distinct.len());
        assert!(!mutated(b"", 3).is_empty());
    }

    #[test]
    fn what_a_reader_does_is_counted_and_a_panic_is_found() {
        let file = b"sound";
        let refuse = |bytes: &[u8]| {
            if bytes.len() == 5 {
                Ok(())
            } else {
                Err("a.txt: cut".into())
            }
        };
        let outcomes = survives("a.txt", file, refuse);
        assert!(outcomes.refused > 100 && outcomes.taken > 100, "{outcomes:?}");
        let panics = |bytes: &[u8]| {
            assert_eq!(bytes, b"sound");
            Ok(())
        };
        assert!(catch_unwind(|| survives("a.txt", file, panics)).is_err());
        let nameless = |bytes: &[u8]| {
            if bytes == b"sound" {
                Ok(())
            } else {
                Err("no name".into())
            }
        };
        assert!(catch_unwind(|| survives("a.txt", file, nameless)).is_err());
    }
}
