//! Rows of text data sets: pairs to train on, and prompts with references to score against.

use std::collections::HashMap;

use crate::sql::Question;

/// A training row.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The given text.
    pub context: String,
    /// One of the references.
    pub completion: String,
}

/// A context with its references and the data of its scorer.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The given text.
    pub context: String,
    /// Texts that people wrote for it; at least one.
    pub references: Vec<String>,
    /// WebNLG: the category of its entity.
    pub category: Option<Category>,
    /// WikiSQL: the table and the gold query.
    pub question: Option<Question>,
}

/// A category of entities.
#[derive(Debug, Clone, PartialEq)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// Whether the training split has entries of it: the paper's columns S and U.
    pub seen: bool,
}

/// The texts of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSplit {
    /// `train`, `dev` or `test`.
    pub name: &'static str,
    /// One per reference, in the file's order.
    pub pairs: Vec<Pair>,
    /// One per context, in the order of their first rows; equal contexts are merged, with the references of all.
    pub prompts: Vec<Prompt>,
    /// Entries without a context or reference, which are in neither list.
    pub left_out: usize,
}

/// One entry of a file.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub context: String,
    pub references: Vec<String>,
    pub category: Option<Category>,
    pub question: Option<Question>,
}

/// The pairs and prompts of a split.
pub(crate) fn collect(name: &'static str, records: Vec<Record>) -> TextSplit {
    let mut split = TextSplit {
        name,
        pairs: Vec::new(),
        prompts: Vec::new(),
        left_out: 0,
    };
    let mut places: HashMap<String, usize> = HashMap::new();
    for record in records {
        if record.context.trim().is_empty() || record.references.is_empty() {
            split.left_out += 1;
            continue;
        }
        let pair = |completion: &String| Pair {
            context: record.context.clone(),
            completion: completion.clone(),
        };
        split.pairs.extend(record.references.iter().map(pair));
        // Equal questions about tables of equal columns have answers of their own.
        if record.question.is_none() {
            if let Some(&at) = places.get(&record.context) {
                split.prompts[at].references.extend(record.references);
                continue;
            }
            places.insert(record.context.clone(), split.prompts.len());
        }
        split.prompts.push(Prompt {
            context: record.context,
            references: record.references,
            category: record.category,
            question: record.question,
        });
    }
    split
}
