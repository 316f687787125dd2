//! The generated pair tasks cannot be solved without comparing the two sentences: classifiers that see the words alone, of one
//! sentence or of both, stay near chance.
#![allow(clippy::print_stdout)] // Its output is for a person.

use datasets::{Example, GlueData, Label, TaskKind, synthetic};
use std::collections::{BTreeMap, BTreeSet};

/// Features of an example: words, with a mark of the sentence that they stand in.
type Features = fn(&Example) -> BTreeSet<String>;

fn words(mark: &str, sentence: &str) -> BTreeSet<String> {
    let word = |word: &str| format!("{mark} {}", word.trim_matches(['.', '?', ',']).to_lowercase());
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let pairs = words.windows(2).map(|pair| pair.join("_"));
    let single = words.iter().map(|w| word(w));
    single
        .chain(pairs.map(|pair| word(&pair)))
        .chain([format!("{mark} length {}", words.len())])
        .collect()
}

fn first(example: &Example) -> BTreeSet<String> {
    words("first", &example.first)
}

fn second(example: &Example) -> BTreeSet<String> {
    words("second", example.second.as_deref().unwrap_or_default())
}

fn both(example: &Example) -> BTreeSet<String> {
    first(example).into_iter().chain(second(example)).collect()
}

fn class(example: &Example) -> usize {
    match example.label {
        Label::Class(class) => class,
        // Above or below the middle.
        Label::Score(score) => usize::from(score > 2.5),
    }
}

/// The dev accuracy of naive Bayes over words, pairs of neighbours and lengths, with Laplace's smoothing.
fn naive_bayes(data: &GlueData, features: Features) -> f64 {
    let train: Vec<(BTreeSet<String>, usize)> = data.train.examples.iter().map(|e| (features(e), class(e))).collect();
    let classes = train.iter().map(|(_, class)| class + 1).max().unwrap();
    let mut counts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut totals = vec![0.0; classes];
    for (features, class) in &train {
        totals[*class] += 1.0;
        for feature in features {
            counts.entry(feature).or_insert_with(|| vec![0.0; classes])[*class] += 1.0;
        }
    }
    let score = |features: &BTreeSet<String>, class: usize| -> f64 {
        let known = features.iter().filter_map(|feature| counts.get(feature.as_str()));
        let likely = known.map(|count| ((count[class] + 1.0) / (totals[class] + 2.0)).ln());
        totals[class].ln() + likely.sum::<f64>()
    };
    let dev = &data.evals[0].examples;
    let right = dev.iter().filter(|example| {
        let features = features(example);
        let guess = (0..classes).max_by(|a, b| score(&features, *a).total_cmp(&score(&features, *b)));
        guess == Some(class(example))
    });
    right.count() as f64 / dev.len() as f64
}

/// The share of the most frequent class on dev.
fn majority(data: &GlueData) -> f64 {
    let mut counts = BTreeMap::new();
    data.evals[0]
        .examples
        .iter()
        .for_each(|e| *counts.entry(class(e)).or_insert(0usize) += 1);
    *counts.values().max().unwrap() as f64 / data.evals[0].examples.len() as f64
}

#[test]
fn words_alone_do_not_solve_a_pair_task() {
    for id in ["mnli", "mrpc", "qnli", "qqp", "rte", "sts-b"] {
        let data = synthetic::load(datasets::find(id).unwrap()).unwrap();
        for (name, features) in [("first", first as Features), ("second", second), ("both", both)] {
            let (accuracy, majority) = (naive_bayes(&data, features), majority(&data));
            println!(
                "{id:<6} {name:<7} {:.1} % (majority {:.1} %)",
                100.0 * accuracy,
                100.0 * majority
            );
            assert!(
                accuracy < majority + 0.09,
                "{id} by the words of {name}: {accuracy}, majority {majority}"
            );
        }
    }
}

/// The classifier of the test above is no straw man: it solves a task that words decide.
#[test]
fn words_alone_say_much_about_a_review() {
    let data = synthetic::load(datasets::find("sst-2").unwrap()).unwrap();
    assert!(matches!(data.task.kind, TaskKind::Classification { .. }));
    assert!(naive_bayes(&data, first) > 0.65);
}
