use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The learning rate after the warm-up, as transformers names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Falls to 0 along a line: `get_linear_schedule_with_warmup`.
    #[default]
    Linear,
    /// Falls to 0 along half a wave of the cosine: `get_cosine_schedule_with_warmup`.
    Cosine,
    /// Stays at the peak: `get_constant_schedule_with_warmup`.
    Constant,
}

impl ScheduleKind {
    /// Whether it is the default.
    pub fn is_linear(&self) -> bool {
        *self == ScheduleKind::Linear
    }
}

/// Linear warm-up from 0, then one of the [`ScheduleKind`]s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The peak learning rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// All steps.
    pub total: u64,
    /// The rate after the warm-up.
    pub kind: ScheduleKind,
}

impl Schedule {
    /// Warm-up over the first `warmup` of `total` steps, and a linear decay.
    pub fn linear(peak: f64, warmup: u64, total: u64) -> Schedule {
        Schedule {
            peak,
            warmup,
            total,
            kind: ScheduleKind::Linear,
        }
    }

    /// Warm-up as a share of all steps, rounded up as transformers does.
    pub fn with_ratio(peak: f64, ratio: f64, total: u64) -> Schedule {
        Schedule::linear(peak, (ratio * total as f64).ceil() as u64, total)
    }

    /// The same rate at every step.
    pub fn constant(rate: f64) -> Schedule {
        Schedule::linear(rate, 0, 0).kind(ScheduleKind::Constant)
    }

    /// Selects the rate after the warm-up.
    pub fn kind(self, kind: ScheduleKind) -> Schedule {
        Schedule { kind, ..self }
    }

    /// The learning rate of `step`, counted from 0; the first step of a warm-up has rate 0.
    pub fn rate(&self, step: u64) -> f64 {
        let decay = self.total.saturating_sub(self.warmup).max(1) as f64;
        let factor = match self.kind {
            _ if step < self.warmup => step as f64 / self.warmup as f64,
            ScheduleKind::Linear => self.total.saturating_sub(step) as f64 / decay,
            ScheduleKind::Cosine => 0.5 * (1.0 + (PI * (step - self.warmup) as f64 / decay).cos()),
            ScheduleKind::Constant => 1.0,
        };
        self.peak * factor
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn warms_up_and_decays() {
        let s = Schedule::with_ratio(2.0, 0.06, 20);
        assert_eq!(s.warmup, 2);
        let rates: Vec<f64> = (0..=20).map(|i| s.rate(i)).collect();
        assert_eq!(&rates[..4], &[0.0, 1.0, 2.0, 2.0 * 17.0 / 18.0]);
        assert_eq!(rates[20], 0.0);
        assert_eq!(Schedule::with_ratio(1.0, 0.0, 4).rate(0), 1.0);
        assert_eq!(Schedule::with_ratio(1.0, 1.0, 4).rate(4), 0.0);
        // The schedule of the paper's GPT-2 runs: step / 500, then (T - step) / (T - 500).
        let steps = Schedule::linear(1.0, 500, 1500);
        assert_eq!(
            [0, 250, 500, 1000, 1500].map(|s| steps.rate(s)),
            [0.0, 0.5, 1.0, 0.5, 0.0]
        );
        assert_eq!(Schedule::linear(1.0, 500, 100).rate(100), 0.2);
        assert_eq!(Schedule::constant(3.0).rate(1_000_000), 3.0);
    }
}
