//! The metrics of classes and scores, equal to scikit-learn's and scipy's.

use super::{classification, correlation};
use crate::example::Label;

/// A metric of the GLUE tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Share of correct predictions.
    Accuracy,
    /// F1 of class 1.
    F1,
    /// Matthews correlation, over any number of classes.
    Matthews,
    /// Linear correlation.
    Pearson,
    /// Correlation of the ranks.
    Spearman,
}

impl Metric {
    /// Its name in records and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::F1 => "f1",
            Self::Matthews => "matthews",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
        }
    }

    /// Whether a higher value is the better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::Accuracy | Self::F1 | Self::Matthews | Self::Pearson | Self::Spearman => true,
        }
    }

    /// The value on the scale of the paper's tables, times 100.
    pub fn percent(self, value: f64) -> f64 {
        match self {
            Self::Accuracy | Self::F1 | Self::Matthews | Self::Pearson | Self::Spearman => 100.0 * value,
        }
    }

    /// The value as it stands in a table: in percent with one decimal, "–" where it is undefined.
    pub fn show(self, value: Option<f64>) -> String {
        value.map_or_else(|| "–".to_owned(), |v| format!("{:.1}", self.percent(v)))
    }
}

/// Predictions that do not fit the task or its labels.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum MetricError {
    /// The number of logits is not a multiple of the task's outputs.
    #[error("{values} logits are no whole number of rows of {width} (task {task})")]
    Width {
        /// Number of logits.
        values: usize,
        /// Outputs of the task.
        width: usize,
        /// The task's id.
        task: &'static str,
    },
    /// A NaN or infinite logit.
    #[error("the output for example {row} (from 0) is {value}: the model has diverged or its weights are broken")]
    NotFinite {
        /// The example's position.
        row: usize,
        /// The value.
        value: f32,
    },
    /// Different numbers of predictions and labels.
    #[error("{predictions} predictions for {labels} labels")]
    Length {
        /// Number of predictions.
        predictions: usize,
        /// Number of labels.
        labels: usize,
    },
    /// Classes where the metric wants scores, or the other way round.
    #[error("metric {metric} wants {wanted}, example {row} (from 0) has the other kind of label or prediction")]
    Kind {
        /// The metric's name.
        metric: &'static str,
        /// `classes` or `scores`.
        wanted: &'static str,
        /// The example's position.
        row: usize,
    },
}

/// Predictions of a model, one per example.
#[derive(Debug, Clone, PartialEq)]
pub enum Predictions {
    /// Classes.
    Classes(Vec<usize>),
    /// Scores.
    Scores(Vec<f64>),
}

impl Predictions {
    /// Number of predictions.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(p) => p.len(),
            Self::Scores(p) => p.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One metric; `None` where it is undefined.
pub fn compute(metric: Metric, predictions: &Predictions, labels: &[Label]) -> Result<Option<f64>, MetricError> {
    if predictions.len() != labels.len() {
        return Err(MetricError::Length {
            predictions: predictions.len(),
            labels: labels.len(),
        });
    }
    Ok(match metric {
        Metric::Accuracy => classification::accuracy(&class_pairs(metric, predictions, labels)?),
        Metric::F1 => classification::f1(&class_pairs(metric, predictions, labels)?),
        Metric::Matthews => classification::matthews(&class_pairs(metric, predictions, labels)?),
        Metric::Pearson => correlation::pearson(&score_pairs(metric, predictions, labels)?),
        Metric::Spearman => correlation::spearman(&score_pairs(metric, predictions, labels)?),
    })
}

fn class_pairs(
    metric: Metric,
    predictions: &Predictions,
    labels: &[Label],
) -> Result<Vec<(usize, usize)>, MetricError> {
    let wrong = |row| MetricError::Kind {
        metric: metric.name(),
        wanted: "classes",
        row,
    };
    let Predictions::Classes(classes) = predictions else {
        return Err(wrong(0));
    };
    let pair = |(row, (&p, label)): (usize, (&usize, &Label))| match *label {
        Label::Class(class) => Ok((p, class)),
        Label::Score(_) => Err(wrong(row)),
    };
    classes.iter().zip(labels).enumerate().map(pair).collect()
}

fn score_pairs(metric: Metric, predictions: &Predictions, labels: &[Label]) -> Result<Vec<(f64, f64)>, MetricError> {
    let wrong = |row| MetricError::Kind {
        metric: metric.name(),
        wanted: "scores",
        row,
    };
    let Predictions::Scores(scores) = predictions else {
        return Err(wrong(0));
    };
    let pair = |(row, (&p, label)): (usize, (&f64, &Label))| match *label {
        Label::Score(score) => Ok((p, score)),
        Label::Class(_) => Err(wrong(row)),
    };
    scores.iter().zip(labels).enumerate().map(pair).collect()
}
