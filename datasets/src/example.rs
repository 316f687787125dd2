//! What every data set of sentences becomes: examples with a class or a score.

/// What an example is to be answered with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Label {
    /// Index into the task's labels.
    Class(usize),
    /// A real number, in the task's own range.
    Score(f64),
}

/// One sentence or pair of sentences and its label, as the file has them (nothing trimmed or lower-cased).
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The sentence, or the first of the pair (premise, question).
    pub first: String,
    /// The second of the pair, in tasks on pairs.
    pub second: Option<String>,
    /// The right answer.
    pub label: Label,
}

/// The examples of one file, in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSplit {
    /// `train`, `dev`, `dev_matched`, ...
    pub name: String,
    /// Never empty when it comes from a loader.
    pub examples: Vec<Example>,
}
