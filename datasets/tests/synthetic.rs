//! The generated tasks: stable, balanced, and with labels that follow from the sentences.

use datasets::sql::Query;
use datasets::synthetic::{Document, Verdict};
use datasets::{DataError, Example, GlueData, Label, TASKS, TaskKind, find, synthetic, text};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

fn load(id: &str) -> GlueData {
    synthetic::load(find(id).unwrap()).unwrap()
}

fn class(example: &Example) -> usize {
    match example.label {
        Label::Class(class) => class,
        Label::Score(_) => panic!("a class was wanted"),
    }
}

#[test]
fn every_task_of_table_2_has_a_generated_form() {
    for task in TASKS.iter().filter(|t| t.id != "wnli") {
        let data = synthetic::load(task).unwrap();
        let splits: Vec<&str> = data.evals.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(splits, task.eval_splits);
        assert_eq!(data.train.examples.len(), synthetic::TRAIN_ROWS);
        for example in data.evals.iter().chain([&data.train]).flat_map(|s| &s.examples) {
            assert_eq!(example.second.is_some(), task.paired(), "{example:?}");
            let known = match (task.kind, example.label) {
                (TaskKind::Classification { labels }, Label::Class(class)) => class < labels.len(),
                (TaskKind::Regression { min, max }, Label::Score(score)) => (min..=max).contains(&score),
                _ => false,
            };
            assert!(known, "{example:?}");
        }
    }
    let refusal = synthetic::load(find("wnli").unwrap());
    assert!(matches!(refusal, Err(DataError::NotGenerated { task: "wnli" })));
}

/// Records name their data by hash, so the generator must not change by accident. A change on purpose changes this too.
#[test]
fn the_text_is_the_same_on_every_machine() {
    let hashes: Vec<String> = TASKS
        .iter()
        .filter_map(|t| Some(synthetic::load(t).ok()?.sha256[..8].to_string()))
        .collect();
    assert_eq!(hashes, HASHES);
}

#[test]
fn classes_are_balanced_and_no_sentence_gives_them_away() {
    for task in TASKS.iter().filter(|t| t.paired() && t.id != "wnli") {
        let TaskKind::Classification { labels } = task.kind else {
            continue;
        };
        let examples = load(task.id).train.examples;
        let mut counts = vec![0_usize; labels.len()];
        examples.iter().for_each(|e| counts[class(e)] += 1);
        let even = examples.len() / labels.len();
        assert!(
            counts.iter().all(|n| n.abs_diff(even) < even / 5),
            "{}: {counts:?}",
            task.id
        );
        // A guesser that knows how long each sentence is, and nothing else, stays near chance on pairs of equal details.
        let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for e in &examples {
            let words = e.first.split(' ').count();
            by_length.entry(words).or_insert_with(|| vec![0; labels.len()])[class(e)] += 1;
        }
        let best: usize = by_length.values().map(|v| v.iter().max().unwrap()).sum();
        let chance = 1.0 / labels.len() as f64;
        let share = best as f64 / examples.len() as f64;
        assert!(share < chance + 0.2, "{}: {share}", task.id);
    }
}

#[test]
fn train_and_dev_share_few_examples() {
    for task in TASKS.iter().filter(|t| t.id != "wnli") {
        let data = load(task.id);
        let key = |e: &Example| (e.first.clone(), e.second.clone());
        let seen: BTreeSet<_> = data.train.examples.iter().map(key).collect();
        for split in &data.evals {
            let again = split.examples.iter().filter(|e| seen.contains(&key(e))).count();
            assert!(
                again * 20 < split.examples.len(),
                "{}: {again} of {}",
                task.id,
                split.name
            );
        }
    }
}

/// A reader's check of one task, written without the generator: who did what to whom in two sentences.
#[test]
fn swapped_persons_are_no_paraphrase() {
    let mut checked = 0;
    for example in load("mrpc").train.examples {
        let second = example.second.clone().unwrap();
        let (Some(a), Some(b)) = (comparison(&example.first), comparison(&second)) else {
            continue;
        };
        assert_eq!(class(&example) == 1, a == b, "{example:?}");
        checked += 1;
    }
    assert!(checked > 50, "{checked}");
}

/// `Anna is taller than Ben.` as (dimension, more, less).
fn comparison(text: &str) -> Option<(usize, &str, &str)> {
    const PAIRS: [(&str, &str); 6] = [
        ("taller", "shorter"),
        ("older", "younger"),
        ("faster", "slower"),
        ("stronger", "weaker"),
        ("richer", "poorer"),
        ("heavier", "lighter"),
    ];
    let (who, rest) = text.trim_end_matches('.').split_once(" is ")?;
    let (word, whom) = rest.split_once(" than ")?;
    PAIRS.iter().enumerate().find_map(|(i, (more, less))| match word {
        w if w == *more => Some((i, who, whom)),
        w if w == *less => Some((i, whom, who)),
        _ => None,
    })
}

const HASHES: [&str; 8] = [
    "74f49108", "abaedbb1", "12326cf9", "0503d00a", "b4b65ab7", "2997815e", "e9f1b577", "2476e693",
];

/// The data sets of texts: every reference follows from its context.
#[test]
fn generated_texts_are_told_in_several_ways_and_none_of_eval_is_in_training() {
    for dataset in text::DATASETS {
        let data = dataset.generate(None).unwrap();
        let sizes: Vec<_> = data
            .splits
            .iter()
            .map(|s| (s.name, s.prompts.len(), s.left_out))
            .collect();
        let (train, eval) = (text::TRAIN_CONTEXTS, text::EVAL_CONTEXTS);
        assert_eq!(
            sizes,
            [("train", train, 0), ("dev", eval, 0), ("test", eval, 0)],
            "{}",
            dataset.id
        );
        let contexts: BTreeSet<&str> = data.splits[0].prompts.iter().map(|p| p.context.as_str()).collect();
        for prompt in data.splits[1..].iter().flat_map(|s| &s.prompts) {
            assert!(!contexts.contains(prompt.context.as_str()), "{prompt:?}");
        }
        let told = data.splits[0].pairs.len() as f64 / train as f64;
        let several = ["e2e", "webnlg", "dart"].contains(&dataset.id);
        assert_eq!(told > 2.0, several, "{}: {told} references a context", dataset.id);
    }
}

/// A reader's check, written without the generator: all that the slots and triples name is told.
#[test]
fn generated_texts_say_what_their_contexts_say() {
    let data = text::find("e2e").unwrap().generate(None).unwrap();
    for pair in data.splits.iter().flat_map(|s| &s.pairs) {
        for slot in pair.context.split(" | ") {
            let (name, value) = slot.split_once(" : ").unwrap();
            if name != "event" {
                let told = pair.completion.to_lowercase();
                assert!(told.contains(&value.to_lowercase()), "{pair:?}");
            }
        }
    }
    let data = text::find("webnlg").unwrap().generate(None).unwrap();
    for prompt in data.splits.iter().flat_map(|s| &s.prompts) {
        for (triple, text) in prompt
            .context
            .split(" | ")
            .flat_map(|t| prompt.references.iter().map(move |r| (t, r)))
        {
            let object = triple.rsplit(" : ").next().unwrap().replace('_', " ");
            assert!(text.to_lowercase().contains(&object.to_lowercase()), "{prompt:?}");
        }
    }
    let unseen = |split: &text::TextSplit| {
        split
            .prompts
            .iter()
            .filter(|p| !p.category.as_ref().unwrap().seen)
            .count()
    };
    assert_eq!(unseen(&data.splits[0]), 0);
    assert!(unseen(&data.splits[2]) > 5);
}

#[test]
fn generated_queries_are_read_back() {
    let data = text::find("wikisql").unwrap().generate(None).unwrap();
    for prompt in data.splits.iter().flat_map(|s| &s.prompts) {
        let question = prompt.question.as_ref().unwrap();
        let read = Query::parse(&prompt.references[0], &question.table.columns);
        assert_eq!(read.as_ref(), Ok(&question.query));
    }
}

#[test]
fn the_generated_texts_are_the_same_on_every_machine() {
    let hash = |d: &&'static text::Dataset| d.generate(None).unwrap().sha256[..8].to_string();
    assert_eq!(text::DATASETS.iter().map(hash).collect::<Vec<_>>(), TEXT_HASHES);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let prose: Vec<String> = (0..1000).map(|_| synthetic::prose(&mut rng)).collect();
    assert!(prose.iter().all(|text| !text.trim().is_empty()));
    let hash = format!("{:x}", Sha256::digest(prose.join("\n\n")));
    assert_eq!(hash[..8], *PROSE_HASH);
}

const TEXT_HASHES: [&str; 6] = ["58dd15f3", "e82148e2", "7430b84d", "91d2f2a2", "a487531f", "c9e31c2c"];
const PROSE_HASH: &str = "ff23447a";

/// The verdict on a second part, and those on its words.
#[test]
fn what_a_verdict_sums_up_the_words_bear_out() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut seen: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for _ in 0..4000 {
        let document = synthetic::document(&mut rng);
        let (Some(second), Some(verdict)) = (&document.second, document.verdict) else {
            continue;
        };
        assert_eq!(second.split(' ').count(), document.verdicts.len(), "{document:?}");
        let has = |verdict| document.verdicts.contains(&Some(verdict));
        let is_question = document.first.ends_with('?');
        let word = match verdict {
            Verdict::Agrees => "Yes",
            Verdict::Differs => "No",
            Verdict::Open => "Perhaps",
        };
        match verdict {
            Verdict::Agrees => assert!(!has(Verdict::Differs), "{document:?}"),
            Verdict::Differs => assert!(has(Verdict::Differs) || is_question, "{document:?}"),
            Verdict::Open => assert!(
                is_question || has(Verdict::Open) || has(Verdict::Differs),
                "{document:?}"
            ),
        }
        let replied = second.starts_with(&format!("{word}, "));
        assert_eq!(replied, second.contains(", "), "{document:?}");
        *seen.entry((word, replied)).or_default() += 1;
    }
    assert!(seen.len() == 6 && seen.values().all(|n| *n > 50), "{seen:?}");
}

/// A reader's check, written without the generator: what is told of days.
#[test]
fn a_day_that_the_first_part_does_not_name_is_open_or_differs() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut checked = 0;
    for _ in 0..4000 {
        let Document {
            first,
            second,
            verdicts,
            ..
        } = synthetic::document(&mut rng);
        let asks_for_a_day = first.starts_with("When") || first.contains("n which day");
        for (word, verdict) in second.unwrap_or_default().split(' ').zip(verdicts) {
            let day = word.trim_end_matches(['.', '?']);
            // Of two facts, one may name the day of the other.
            if day.ends_with("day") && !asks_for_a_day && first.matches('.').count() == 1 {
                assert_eq!(first.contains(day), verdict == Some(Verdict::Agrees), "{first} {word}");
                checked += 1;
            }
        }
    }
    assert!(checked > 200, "{checked}");
}
