//! Where the time of this process goes: by phases of training and generation, and by classes of operations on the CPU.
//!
//! One profile at a time, started with [`start`]; without one, a [`phase`] costs a load of a flag. On a GPU the end of a
//! phase waits for the device, and operations count their launch alone.

use crate::device::synchronize;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::ffi::c_char;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tch::Device;

/// Operations that a trace keeps; later ones are counted in the totals alone.
const EVENTS: usize = 200_000;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct OperationTotal {
    seconds: f64,
    calls: i64,
    gflop: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct OperationEvent {
    name: [c_char; 48],
    operation: i64,
    thread: i64,
    start_us: f64,
    length_us: f64,
}

unsafe extern "C" {
    fn lora_profile_start(limit: i64);
    fn lora_profile_stop(totals: *mut OperationTotal, left_out: *mut i64) -> i64;
    fn lora_profile_events(events: *mut OperationEvent, count: i64);
    fn lora_profile_now() -> f64;
    fn lora_profile_thread() -> i64;
}

/// The classes of operations, in the order of native/profile.h.
pub const OPERATIONS: [&str; 9] = [
    "matrix products",
    "attention",
    "normalisation",
    "activation",
    "dropout",
    "loss",
    "optimiser",
    "memory",
    "other",
];

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Rows become a batch on the device.
    Data,
    /// The forward pass of a training step, with its loss.
    Forward,
    /// Its backward pass.
    Backward,
    /// Clipping and the update.
    Optimiser,
    /// The evaluation after an epoch.
    Evaluation,
    /// Generation of texts.
    Decoding,
    /// Metrics of generated texts.
    Scoring,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 7] = [
        Phase::Data,
        Phase::Forward,
        Phase::Backward,
        Phase::Optimiser,
        Phase::Evaluation,
        Phase::Decoding,
        Phase::Scoring,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Data => "data",
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::Optimiser => "optimiser",
            Phase::Evaluation => "evaluation",
            Phase::Decoding => "decoding",
            Phase::Scoring => "scoring",
        }
    }
}

/// A phase that has ended; times in microseconds since the start of the profile.
#[derive(Clone, Copy, Debug)]
struct Span {
    phase: Phase,
    thread: i64,
    start_us: f64,
    length_us: f64,
}

static ON: AtomicBool = AtomicBool::new(false);
static SPANS: Mutex<Vec<Span>> = Mutex::new(Vec::new());

/// A phase that is going on; it ends when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Running(Option<(Phase, Device, f64)>);

/// Starts a phase of work on `device`.
pub fn phase(phase: Phase, device: Device) -> Running {
    // SAFETY: reads a clock.
    Running(
        ON.load(Ordering::Relaxed)
            .then(|| (phase, device, unsafe { lora_profile_now() })),
    )
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((phase, device, start_us)) = self.0 else {
            return;
        };
        synchronize(device);
        // SAFETY: both read numbers.
        let (now, thread) = unsafe { (lora_profile_now(), lora_profile_thread()) };
        spans().push(Span {
            phase,
            thread,
            start_us,
            length_us: now - start_us,
        });
    }
}

/// The list, also after a panic of another thread: a span is pushed whole.
fn spans() -> std::sync::MutexGuard<'static, Vec<Span>> {
    SPANS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Starts a profile of the process.
///
/// # Errors
/// [`Error::Config`] if one is going on.
pub fn start() -> Result<()> {
    if ON.swap(true, Ordering::SeqCst) {
        return Err(Error::Config("a profile of this process is going on".into()));
    }
    spans().clear();
    // SAFETY: none was going on.
    unsafe { lora_profile_start(EVENTS as i64) };
    Ok(())
}

/// Ends the profile.
///
/// # Errors
/// [`Error::Config`] if none is going on.
pub fn stop() -> Result<Profile> {
    // SAFETY: reads a clock.
    let seconds = unsafe { lora_profile_now() } / 1e6;
    if !ON.swap(false, Ordering::SeqCst) {
        return Err(Error::Config("no profile of this process is going on".into()));
    }
    let mut totals = [OperationTotal::default(); OPERATIONS.len()];
    let mut left_out = 0;
    // SAFETY: one is going on, and there is room for a total of each class.
    let count = unsafe { lora_profile_stop(totals.as_mut_ptr(), &mut left_out) };
    let empty = OperationEvent {
        name: [0; 48],
        operation: 0,
        thread: 0,
        start_us: 0.0,
        length_us: 0.0,
    };
    let mut events = vec![empty; usize::try_from(count).unwrap_or(0)];
    // SAFETY: room for as many as are asked for.
    unsafe { lora_profile_events(events.as_mut_ptr(), count) };
    Ok(Profile {
        seconds,
        spans: std::mem::take(&mut *spans()),
        totals,
        events,
        left_out: left_out as u64,
    })
}

/// A profile that has ended.
pub struct Profile {
    /// Seconds from start to stop.
    pub seconds: f64,
    spans: Vec<Span>,
    totals: [OperationTotal; OPERATIONS.len()],
    events: Vec<OperationEvent>,
    left_out: u64,
}

/// The sum over a phase or a class of operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// Its name.
    pub name: &'static str,
    /// Seconds of all threads that did it; of an operation without those inside it that are of another class.
    pub seconds: f64,
    /// How often it happened.
    pub calls: u64,
    /// 10^9 additions and multiplications, where they are counted.
    pub gflop: f64,
}

impl Profile {
    /// The phases that happened.
    pub fn phases(&self) -> Vec<Sum> {
        let sum = |phase: Phase| {
            let spans = self.spans.iter().filter(move |span| span.phase == phase);
            Sum {
                name: phase.name(),
                seconds: spans.clone().map(|span| span.length_us).sum::<f64>() / 1e6,
                calls: spans.count() as u64,
                gflop: 0.0,
            }
        };
        Phase::ALL.into_iter().map(sum).filter(|sum| sum.calls > 0).collect()
    }

    /// The classes of operations that happened.
    pub fn operations(&self) -> Vec<Sum> {
        let sum = |(name, total): (&'static str, &OperationTotal)| Sum {
            name,
            seconds: total.seconds,
            calls: total.calls as u64,
            gflop: total.gflop,
        };
        let sums = OPERATIONS.into_iter().zip(&self.totals).map(sum);
        sums.filter(|sum| sum.calls > 0).collect()
    }

    /// Operations that the trace leaves out, because it has 200,000 others.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Phases and operations in Chrome's trace format, for chrome://tracing and Perfetto.
    pub fn trace(&self) -> Value {
        let event = |name: &str, category: &str, thread: i64, start: f64, length: f64| json!({"name": name, "cat": category, "ph": "X", "pid": 1, "tid": thread, "ts": start, "dur": length});
        let phases = self
            .spans
            .iter()
            .map(|s| event(s.phase.name(), "phase", s.thread, s.start_us, s.length_us));
        let operations = self.events.iter().map(|e| {
            let name: String = e
                .name
                .iter()
                .take_while(|c| **c != 0)
                .map(|c| char::from(*c as u8))
                .collect();
            let class = OPERATIONS.get(e.operation as usize).copied().unwrap_or("other");
            event(&name, class, e.thread, e.start_us, e.length_us)
        });
        json!({"displayTimeUnit": "ms", "traceEvents": phases.chain(operations).collect::<Vec<_>>()})
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("seconds", &self.seconds)
            .field("phases", &self.phases())
            .field("operations", &self.operations())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    /// One test: a profile is of the whole process, in which other tests run products too.
    #[test]
    fn a_profile_counts_phases_and_products() {
        assert!(stop().is_err(), "none is going on");
        start().unwrap();
        assert!(start().is_err(), "one is going on");
        let draw = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (a, b) = (draw([64, 96]), draw([96, 128]));
        {
            let _forward = phase(Phase::Forward, Device::Cpu);
            let _y = a.matmul(&b).gelu("none");
            // In place, and in a size that no other test has.
            let _z = draw([512, 512]).addmm_(&draw([512, 2048]), &draw([2048, 512]));
        }
        let profile = stop().unwrap();
        drop(phase(Phase::Backward, Device::Cpu));
        let phases = profile.phases();
        let forward = phases.iter().find(|sum| sum.name == "forward").unwrap();
        assert!(forward.calls >= 1 && forward.seconds > 0.0 && forward.seconds <= profile.seconds);
        let operations = profile.operations();
        let of = |name: &str| *operations.iter().find(|sum| sum.name == name).unwrap();
        assert!(of("matrix products").gflop >= 2.0 * 512.0 * 512.0 * 2048.0 / 1e9);
        assert!(of("activation").calls >= 1);
        let trace = profile.trace();
        let events = trace["traceEvents"].as_array().unwrap();
        assert!(
            events
                .iter()
                .any(|e| e["name"] == "forward" && e["cat"] == "phase" && e["dur"].as_f64() > Some(0.0))
        );
        assert!(
            events
                .iter()
                .any(|e| e["name"] == "aten::gelu" && e["cat"] == "activation")
        );
    }
}
