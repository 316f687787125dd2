//! How far a batch of runs is.

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
    /// Of the run in progress: where it is, its length, and its tokens a step.
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
            step: 0,
            steps: 0,
            tokens: 0.0,
        }
    }

    /// A run of this size is next.
    pub fn start(&mut self, tokens: u64, steps: u64) {
        (self.step, self.steps) = (0, steps);
        self.tokens = tokens as f64 / steps.max(1) as f64;
    }

    /// The steps up to `step` need not be computed.
    pub fn skip_to(&mut self, step: u64) {
        self.left = (self.left - step.saturating_sub(self.step) as f64 * self.tokens).max(0.0);
        self.step = step;
    }

    /// The steps up to `step` were computed.
    pub fn advance_to(&mut self, step: u64) {
        self.done += step.saturating_sub(self.step) as f64 * self.tokens;
        self.skip_to(step);
    }

    /// The run in progress is over, wherever it was.
    pub fn end(&mut self) {
        self.skip_to(self.steps);
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
        work.start(1000, 100);
        work.skip_to(50); // computed in an earlier sitting: tells nothing of the speed
        assert_eq!(left(&work), None);
        work.advance_to(75); // 250 tokens in 50 seconds: 5 a second
        assert_eq!(left(&work), Some((250 + 600) / 5));
        work.end(); // failed there
        assert_eq!(left(&work), Some(600 / 5));
        work.start(600, 7);
        work.advance_to(7);
        assert_eq!(left(&work), None, "nothing left");
    }
}
