//! How far a batch of runs is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How much of all runs is left, in tokens to train on, and how long that takes.
#[derive(Debug)]
pub struct Work {
    /// Tokens in all.
    pub total: f64,
    /// Tokens to go.
    pub left: f64,
    /// Tokens computed here since then, and not before or elsewhere.
    done: f64,
    since: Instant,
    /// The runs in progress, by id.
    runs: HashMap<String, Run>,
}

/// Where a run is, its length, and its tokens a step.
#[derive(Debug)]
struct Run {
    step: u64,
    steps: u64,
    tokens: f64,
}

impl Work {
    /// `total` tokens, none of them done.
    pub fn new(total: u64) -> Work {
        let total = total as f64;
        Work {
            total,
            left: total,
            done: 0.0,
            since: Instant::now(),
            runs: HashMap::new(),
        }
    }

    /// The run `id` of this size begins.
    pub fn start(&mut self, id: &str, tokens: u64, steps: u64) {
        let tokens = tokens as f64 / steps.max(1) as f64;
        self.runs.insert(id.into(), Run { step: 0, steps, tokens });
    }

    /// The steps up to `step` need not be computed.
    pub fn skip_to(&mut self, id: &str, step: u64) {
        self.pass(id, step, false);
    }

    /// The steps up to `step` were computed.
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

    /// The run is over, wherever it was.
    pub fn end(&mut self, id: &str) {
        if let Some(steps) = self.runs.get(id).map(|run| run.steps) {
            self.skip_to(id, steps);
        }
        self.runs.remove(id);
    }

    /// At the speed so far; none where there is no speed yet, or nothing left.
    pub fn time_left(&self) -> Option<Duration> {
        self.left_after(self.since.elapsed())
    }

    fn left_after(&self, elapsed: Duration) -> Option<Duration> {
        let left = elapsed.as_secs_f64() * self.left / self.done;
        // Less than a token is a rounding.
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
        let mut work = Work::new(1000 + 600);
        let left = |work: &Work| work.left_after(Duration::from_secs(50)).map(|d| d.as_secs());
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
