//! Estimates with standard errors, Student's t tests of them, and Holm's correction.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Standard errors below this are rounding errors of equal values, which cannot be tested.
const NONE: f64 = 1e-9;

/// A quantity with its standard error and the degrees of freedom of that error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The quantity.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom.
    pub freedom: f64,
}

/// Mean and sample standard deviation (n - 1); `None` for fewer than two values.
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0)).sqrt()))
}

impl Estimate {
    /// Mean of the values; `None` for fewer than two.
    #[must_use]
    pub fn mean(values: &[f64]) -> Option<Self> {
        let (value, sd) = moments(values)?;
        Some(Self {
            value,
            error: sd / (values.len() as f64).sqrt(),
            freedom: values.len() as f64 - 1.0,
        })
    }

    /// Weighted sum of independent estimates, with degrees of freedom after Welch and Satterthwaite.
    #[must_use]
    pub fn sum(parts: &[(f64, Self)]) -> Self {
        let squares = |part: &(f64, Self)| (part.0 * part.1.error).powi(2);
        let all: f64 = parts.iter().map(squares).sum();
        let each = parts.iter().map(|part| squares(part).powi(2) / part.1.freedom);
        let freedom = all.powi(2) / each.sum::<f64>();
        Self {
            value: parts.iter().map(|(weight, part)| weight * part.value).sum(),
            error: all.sqrt(),
            freedom: if freedom.is_finite() { freedom } else { 1.0 },
        }
    }

    /// One-sided p values against `x`: the first is small if the quantity is above `x`, the second if it is below. `None` if all
    /// values are equal.
    #[must_use]
    pub fn beside(&self, x: f64) -> Option<(f64, f64)> {
        if self.error.is_nan() || self.error < NONE {
            return None;
        }
        let t = (self.value - x) / self.error;
        let student = StudentsT::new(0.0, 1.0, self.freedom).ok()?;
        Some((student.cdf(-t), student.cdf(t)))
    }
}

impl Estimate {
    /// Two-sided interval of Student's t that misses the quantity with probability `level`. `None` if all values are equal.
    #[must_use]
    pub fn interval(&self, level: f64) -> Option<(f64, f64)> {
        if self.error.is_nan() || self.error < NONE {
            return None;
        }
        let student = StudentsT::new(0.0, 1.0, self.freedom).ok()?;
        let half = student.inverse_cdf(1.0 - level / 2.0) * self.error;
        Some((self.value - half, self.value + half))
    }
}

/// Holm's correction: the smallest p value times the number n of tests, the next times n - 1, and so on, monotone and at most 1.
#[must_use]
pub fn holm(all: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|a, b| all[*a].total_cmp(&all[*b]));
    let mut corrected = vec![0.0; all.len()];
    let mut most = 0.0f64;
    for (place, at) in order.into_iter().enumerate() {
        most = most.max(all[at] * (all.len() - place) as f64).min(1.0);
        corrected[at] = most;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paired_test_is_scipys() {
        // scipy.stats.ttest_1samp([1, 2.5, .5, .5, 1.5], 0): t = 3.2071349029490928, p = 0.03267792333680298
        let one = Estimate::mean(&[1.0, 2.5, 0.5, 0.5, 1.5]).unwrap();
        let (above, below) = one.beside(0.0).unwrap();
        assert!((2.0 * above - 0.032_677_923_336_802_98).abs() < 1e-9, "{above}");
        assert!((above + below - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_interval_is_scipys() {
        // scipy.stats.ttest_1samp([1, 2.5, .5, .5, 1.5], 0).confidence_interval(): 0.16114936631643229, 2.2388506336835676
        let one = Estimate::mean(&[1.0, 2.5, 0.5, 0.5, 1.5]).unwrap();
        let (low, high) = one.interval(0.05).unwrap();
        assert!((low - 0.161_149_366_316_432_29).abs() < 1e-6, "{low}");
        assert!((high - 2.238_850_633_683_567_6).abs() < 1e-6, "{high}");
        assert_eq!(Estimate::mean(&[1.0, 1.0]).unwrap().interval(0.05), None);
    }

    #[test]
    fn the_test_of_two_groups_is_scipys() {
        // scipy.stats.ttest_ind([3, 4, 5, 8], [1, 2, 2.5], equal_var=False): t = 19 / 7, p = 0.05447461979125869
        let mean = |values: &[f64]| Estimate::mean(values).unwrap();
        let one = Estimate::sum(&[(1.0, mean(&[3.0, 4.0, 5.0, 8.0])), (-1.0, mean(&[1.0, 2.0, 2.5]))]);
        let t = one.value / one.error;
        let (above, _) = one.beside(0.0).unwrap();
        assert!((t - 19.0 / 7.0).abs() < 1e-9, "{t}");
        assert!((2.0 * above - 0.054_474_619_791_258_69).abs() < 1e-9, "{}", 2.0 * above);
    }

    #[test]
    fn values_that_are_all_the_same_have_no_test() {
        assert_eq!(Estimate::mean(&[1.0, 1.0, 1.0]).unwrap().beside(0.0), None);
        assert_eq!(Estimate::mean(&[1.0]), None);
    }

    #[test]
    fn holm_never_falls_and_never_passes_one() {
        assert_eq!(holm(&[0.04, 0.01, 0.9]), [0.08, 0.03, 0.9]);
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
