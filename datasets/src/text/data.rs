//! What the texts of any data set become: rows to train on, and contexts to answer with what scoring needs.

use std::collections::HashMap;

use crate::sql::Question;

/// One row to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// What is given.
    pub context: String,
    /// What is to follow: one of the references.
    pub completion: String,
}

/// A context to be answered, with what scoring needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// What is given.
    pub context: String,
    /// What people wrote; at least one.
    pub references: Vec<String>,
    /// WebNLG: the category of its entity.
    pub category: Option<Category>,
    /// WikiSQL: the table and the query that is right.
    pub question: Option<Question>,
}

/// What kind of thing a text is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// Whether training has texts about such things: the paper's columns S and U.
    pub seen: bool,
}

/// The texts of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSplit {
    /// `train`, `dev` or `test`.
    pub name: &'static str,
    /// One row a reference, in the file's order.
    pub pairs: Vec<Pair>,
    /// One entry a context, in the order of their first rows; equal contexts are one, with the references of all.
    pub prompts: Vec<Prompt>,
    /// Entries of the file that cannot be used (no context, no reference), which are in neither list.
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

/// Rows to train on, and contexts to answer.
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
        // Of two questions in the same words about equal tables, each has its own answer.
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
