//! The progress of a batch of runs, and the time left.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The progress of a batch of runs, in tokens to train on.
#[derive(Debug)]
pub struct Progress {
    /// Tokens in all.
    pub total: f64,
    /// Tokens left.
    pub left: f64,
    /// Tokens computed by this process since `since`.
    done: f64,
    since: Instant,
    /// The runs in progress, by id.
    runs: HashMap<String, RunProgress>,
}

/// The step of a run, its number of steps, and its tokens a step.
#[derive(Debug)]
struct RunProgress {
    step: u64,
    steps: u64,
    tokens: f64,
}

impl Progress {
    /// The start, with `total` tokens left.
    pub fn new(total: u64) -> Progress {
        let total = total as f64;
        Progress {
            total,
            left: total,
            done: 0.0,
            since: Instant::now(),
            runs: HashMap::new(),
        }
    }

    /// Starts the run `id` of this size.
    pub fn start(&mut self, id: &str, tokens: u64, steps: u64) {
        let tokens = tokens as f64 / steps.max(1) as f64;
        self.runs.insert(id.into(), RunProgress { step: 0, steps, tokens });
    }

    /// Counts the steps up to `step` as done, but not by this process.
    pub fn skip_to(&mut self, id: &str, step: u64) {
        self.pass(id, step, false);
    }

    /// Counts the steps up to `step` as computed.
    pub fn advance_to(&mut self, id: &str, step: u64) {
        self.pass(id, step, true);
    }

    fn pass(&mut self, id: &str, step: u64, computed: bool) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let tokens = step.saturating_sub(run.step) as f64 * run.tokens;
        run.step = step;
        self.left = (self.left - tokens).max(0.0);
        self.done += if computed { tokens } else { 0.0 };
    }

    /// Ends the run, whatever its step.
    pub fn end(&mut self, id: &str) {
        if let Some(steps) = self.runs.get(id).map(|run| run.steps) {
            self.skip_to(id, steps);
        }
        self.runs.remove(id);
    }

    /// The time left at the speed so far; none without a speed, or with nothing left.
    pub fn time_left(&self) -> Option<Duration> {
        self.left_after(self.since.elapsed())
    }

    fn left_after(&self, elapsed: Duration) -> Option<Duration> {
        let left = elapsed.as_secs_f64() * self.left / self.done;
        // Less than a token is rounding.
        (self.left >= 1.0)
            .then(|| Duration::try_from_secs_f64(left).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_work_done_here() {
        let mut work = Progress::new(1000 + 600);
        let left = |work: &Progress| work.left_after(Duration::from_secs(50)).map(|d| d.as_secs());
        assert_eq!(left(&work), None, "no speed yet");
        work.start("a", 1000, 100);
        work.skip_to("a", 50); // computed in an earlier sitting: tells nothing of the speed
        assert_eq!(left(&work), None);
        work.advance_to("a", 75); // 250 tokens in 50 seconds: 5 a second
        assert_eq!(left(&work), Some((250 + 600) / 5));
        work.start("b", 600, 6); // beside it
        work.advance_to("b", 1); // 100 tokens more: 7 a second
        assert_eq!(left(&work), Some((250 + 500) / 7));
        work.end("a"); // failed there
        assert_eq!(left(&work), Some(500 / 7));
        work.advance_to("b", 6);
        assert_eq!(left(&work), None, "nothing left");
    }
}
