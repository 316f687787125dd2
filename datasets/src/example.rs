//! Labelled examples: one or two sentences with a class or a score.

/// The target of an example.
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
    /// The target.
    pub label: Label,
}

/// The examples of one file, in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSplit {
    /// `train`, `dev`, `dev_matched`, ...
    pub name: String,
    /// The examples; loaders return at least one.
    pub examples: Vec<Example>,
}
