//! Rows of a task as text, for people and for other programs.

use datasets::Example;
use datasets::text::{Pair, TextSplit};
use results::listing::beside;
use serde_json::{Map, Value, json};

/// A split of a task as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The split's name, such as `train`.
    pub split: String,
    /// Its rows, in order.
    pub rows: Vec<ShownRow>,
}

/// A row as text.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownRow {
    /// The text that the model reads.
    pub text: String,
    /// The second of a pair.
    pub pair: Option<String>,
    /// The class's name, the score, or the text to write.
    pub answer: Answer,
}

/// What a row's text is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The name of a class.
    Class(String),
    /// A score.
    Score(f64),
    /// A text.
    Completion(String),
}

impl Shown {
    /// Contexts with their completions.
    pub fn of_texts(split: TextSplit) -> Shown {
        let row = |pair: Pair| ShownRow {
            text: pair.context,
            pair: None,
            answer: Answer::Completion(pair.completion),
        };
        Shown {
            split: split.name.to_owned(),
            rows: split.pairs.into_iter().map(row).collect(),
        }
    }
}

impl ShownRow {
    /// A sentence or a pair, with its answer.
    pub fn of(example: &Example, answer: Answer) -> ShownRow {
        ShownRow {
            text: example.first.clone(),
            pair: example.second.clone(),
            answer,
        }
    }

    /// For a person: the label and its sentences, or a text and what follows it, in lines of at most `width` characters.
    pub fn lines(&self, width: Option<usize>) -> String {
        let label = match &self.answer {
            Answer::Class(name) => name.clone(),
            Answer::Score(score) => format!("{score:.2}"),
            Answer::Completion(text) => {
                return format!("{}\n{}\n", beside("", &self.text, width), beside("    ", text, width));
            }
        };
        let sentences = std::iter::once((label.as_str(), &self.text)).chain(self.pair.iter().map(|pair| ("", pair)));
        sentences
            .map(|(label, text)| beside(&format!("{label:<16} "), text, width) + "\n")
            .collect()
    }

    /// For a program: `text`, `text_pair` and `label`, or `prompt` and `completion`.
    pub fn json(&self) -> Value {
        let mut row = Map::new();
        let is_text = matches!(self.answer, Answer::Completion(_));
        let (text, answer) = if is_text {
            ("prompt", "completion")
        } else {
            ("text", "label")
        };
        row.insert(text.to_owned(), json!(self.text));
        if let Some(pair) = &self.pair {
            row.insert("text_pair".to_owned(), json!(pair));
        }
        let value = match &self.answer {
            Answer::Class(text) | Answer::Completion(text) => json!(text),
            Answer::Score(score) => json!(score),
        };
        row.insert(answer.to_owned(), value);
        Value::Object(row)
    }
}
