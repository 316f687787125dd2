//! Aggregation of scores over seeds: the same in every table, figure and caption.

use crate::table::Number;

/// GLUE's tasks, and a user's own rows with labels. Scores of all others are of generated texts.
const LABELLED: [&str; 10] = [
    "mnli", "sst-2", "mrpc", "cola", "qnli", "qqp", "rte", "sts-b", "wnli", "own",
];

/// The paper's aggregates: the median on GLUE (Table 2), the mean for generated texts (Table 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Estimator {
    Median,
    Mean,
}

impl Estimator {
    /// The aggregate of a task, given by its name in records or in print.
    pub(crate) fn of(task: &str) -> Self {
        if LABELLED.iter().any(|known| known.eq_ignore_ascii_case(task)) {
            Self::Median
        } else {
            Self::Mean
        }
    }

    /// Description of the aggregates of these tasks, for table notes.
    pub(crate) fn words<'a>(tasks: impl IntoIterator<Item = &'a str>) -> String {
        let mut all: Vec<Self> = tasks.into_iter().map(Self::of).collect();
        all.sort_unstable();
        all.dedup();
        let which = match all[..] {
            [Self::Median] => "median over seeds",
            [Self::Mean] => "mean over seeds",
            _ => "median over seeds, of generated texts their mean,",
        };
        format!("{which} ± sample standard deviation (n - 1)")
    }

    /// Aggregate, sample standard deviation (`None` for one value) and number of the values; NaN without values.
    pub(crate) fn number(self, values: &[f64]) -> Number {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        let value = match self {
            Self::Mean => mean,
            Self::Median => median(values),
        };
        Number {
            value,
            spread: (values.len() > 1).then(|| (squares / (values.len() as f64 - 1.0)).sqrt()),
            n: Some(values.len()),
            decimals: 1,
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (Some(middle), 1) => *middle,
        (Some(upper), _) => (sorted[half - 1] + upper) / 2.0,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glue_has_medians_and_texts_have_means() {
        assert_eq!(Estimator::of("mrpc").number(&[1.0, 5.0, 2.0]).value, 2.0);
        assert_eq!(Estimator::of("own").number(&[1.0, 5.0, 2.0]).value, 2.0);
        assert_eq!(Estimator::of("STS-B").number(&[1.0, 5.0]).value, 3.0);
        assert_eq!(Estimator::of("E2E").number(&[1.0, 5.0, 3.0]).value, 3.0);
        assert!(Estimator::Median.number(&[]).value.is_nan());
        assert!(Estimator::words(["mrpc", "cola"]).starts_with("median over seeds ±"));
        assert!(Estimator::words(["e2e"]).starts_with("mean over seeds ±"));
        assert!(Estimator::words(["e2e", "cola"]).contains("of generated texts their mean"));
    }
}
