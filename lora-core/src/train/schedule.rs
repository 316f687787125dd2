/// Linear warm-up from 0, then linear decay to 0: transformers' `get_linear_schedule_with_warmup`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The peak learning rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// All steps; none disables decay.
    pub total: Option<u64>,
}

impl Schedule {
    /// Warm-up over the first `warmup` of `total` steps.
    pub fn linear(peak: f64, warmup: u64, total: u64) -> Schedule {
        Schedule {
            peak,
            warmup,
            total: Some(total),
        }
    }

    /// Warm-up as a share of all steps, rounded up as transformers does.
    pub fn with_ratio(peak: f64, ratio: f64, total: u64) -> Schedule {
        Schedule::linear(peak, (ratio * total as f64).ceil() as u64, total)
    }

    /// The same rate at every step.
    pub fn constant(rate: f64) -> Schedule {
        Schedule {
            peak: rate,
            warmup: 0,
            total: None,
        }
    }

    /// The learning rate of `step`, counted from 0; the first step of a warm-up has rate 0.
    pub fn rate(&self, step: u64) -> f64 {
        let factor = match self.total {
            _ if step < self.warmup => step as f64 / self.warmup as f64,
            Some(total) => total.saturating_sub(step) as f64 / total.saturating_sub(self.warmup).max(1) as f64,
            None => 1.0,
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
