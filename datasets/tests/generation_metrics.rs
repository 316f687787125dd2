//! ROUGE, sacrebleu's metrics and the WebNLG protocol against what the genuine tools gave, where `LORA_GOLDEN` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datasets::metric::generated::{Segment, read_parallel};
use datasets::metric::sacrebleu::{Bleu, BleuSettings, BleuTokenizer, corpus_bleu, sentence_bleu};
use datasets::metric::{chrf, porter, rouge, ter, webnlg};
use datasets::text::wikisql;
use rayon::prelude::*;
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

#[track_caller]
fn close(found: f64, wanted: &Value, what: &str) {
    let wanted = wanted.as_f64().unwrap_or_else(|| panic!("{what}: {wanted}"));
    assert!((found - wanted).abs() < 1e-9, "{what}: {found}, wanted {wanted}");
}

#[test]
fn stems_are_nltks() {
    let Some(dir) = testing::golden() else { return };
    for (word, stem) in json(&dir.join("porter_stems.json")).as_object().unwrap() {
        assert_eq!(porter::stem(word), text(stem), "{word}");
    }
    for (word, stem) in [
        ("skies", "sky"),
        ("dying", "die"),
        ("died", "die"),
        ("Ties", "tie"),
        ("enjoy", "enjoy"),
        ("by", "by"),
    ] {
        assert_eq!(porter::stem(word), stem);
    }
}

#[test]
fn rouge_is_rouge_scores() {
    let Some(dir) = testing::golden() else { return };
    for row in json(&dir.join("rouge.json")).as_array().unwrap() {
        for (key, stemmer) in [("no_stem", false), ("stem", true)] {
            let found = rouge::rouge(&text(&row["prediction"]), &text(&row["target"]), stemmer);
            let measures = [
                ("rouge1", found.rouge1),
                ("rouge2", found.rouge2),
                ("rougeL", found.rouge_l),
                ("rougeLsum", found.rouge_lsum),
            ];
            for (name, score) in measures {
                let wanted = &row[key][name];
                for (side, value) in [("p", score.precision), ("r", score.recall), ("f", score.f)] {
                    close(value, &wanted[side], &format!("{} {key} {name} {side}", row["id"]));
                }
            }
        }
    }
}

#[test]
fn of_several_references_the_best_counts() {
    let segment = Segment {
        hyp: "the cat sat".to_owned(),
        refs: vec!["a dog".to_owned(), "the cat sat down".to_owned()],
    };
    let best = rouge::best(&segment, false);
    assert_eq!(best, rouge::rouge(&segment.hyp, &segment.refs[1], false));
    let scores = rouge::score(&[segment], false);
    assert_eq!(scores[0], ("rouge1", Some(best.rouge1.f)));
    assert_eq!(rouge::score(&[], true)[0], ("rouge1", None));
}

fn same_bleu(found: &Bleu, wanted: &Value, what: &str) {
    if wanted.is_number() {
        return close(found.score, wanted, what);
    }
    close(found.score, &wanted["score"], what);
    let numbers = |key: &str| -> Vec<usize> {
        wanted[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap() as usize)
            .collect()
    };
    assert_eq!(found.counts.to_vec(), numbers("counts"), "{what}");
    assert_eq!(found.totals.to_vec(), numbers("totals"), "{what}");
    close(found.bp, &wanted["bp"], what);
    for (found, wanted) in found.precisions.iter().zip(wanted["precisions"].as_array().unwrap()) {
        close(*found, wanted, what);
    }
}

#[test]
fn bleu_chrf_and_ter_are_sacrebleus() {
    let Some(dir) = testing::golden() else { return };
    for row in json(&dir.join("sacrebleu.json")).as_array().unwrap() {
        let name = text(&row["name"]);
        let refs = row["refs"].as_array().unwrap().iter().map(texts);
        let pairs = texts(&row["hyps"]).into_iter().zip(refs);
        let segments: Vec<Segment> = pairs.map(|(hyp, refs)| Segment { hyp, refs }).collect();
        let default = BleuSettings::default();
        let with = |tokenizer| BleuSettings { tokenizer, ..default };
        let lowercase = BleuSettings {
            lowercase: true,
            ..default
        };
        for (key, settings) in [
            ("bleu", default),
            ("bleu_lc", lowercase),
            ("bleu_tok_none", with(BleuTokenizer::None)),
            ("bleu_tok_intl", with(BleuTokenizer::Intl)),
        ] {
            same_bleu(&corpus_bleu(&segments, settings), &row[key], &format!("{name} {key}"));
        }
        for (i, (segment, wanted)) in segments
            .iter()
            .zip(row["sentence_bleu"].as_array().unwrap())
            .enumerate()
        {
            same_bleu(
                &sentence_bleu(segment, default),
                wanted,
                &format!("{name} sentence {i}"),
            );
        }
        // The package wants as many references of every segment; missing ones repeat the first.
        let most = segments.iter().map(|s| s.refs.len()).max().unwrap();
        let mut padded = segments.clone();
        for segment in &mut padded {
            let first = segment.refs[0].clone();
            segment.refs.resize(most, first);
        }
        close(chrf::corpus(&padded, 0), &row["chrf"], &format!("{name} chrf"));
        close(chrf::corpus(&padded, 2), &row["chrfpp"], &format!("{name} chrf++"));
        close(ter::corpus(&padded), &row["ter"], &format!("{name} ter"));
    }
    assert_eq!(
        BleuSettings::default().to_string(),
        "case:mixed|eff:no|tok:13a|smooth:exp"
    );
}

fn systems(dir: &Path) -> Vec<(String, Value, Vec<Segment>)> {
    let scores = json(&dir.join("nlg/scores.json"));
    let system = |(name, scores): (&String, &Value)| {
        let folder = dir.join("nlg").join(name);
        let refs: Vec<PathBuf> = (0..6).map(|i| folder.join(format!("reference{i}"))).collect();
        let read = read_parallel(&folder.join("hypothesis"), &refs).unwrap();
        (name.clone(), scores.clone(), read)
    };
    scores.as_object().unwrap().iter().map(system).collect()
}

/// What needs no data of other tools; the rest is in nltk.rs and meteor.rs.
#[test]
fn bleu_and_chrf_are_those_of_generation_eval() {
    let Some(dir) = testing::golden() else { return };
    systems(&dir).par_iter().for_each(|(name, wanted, read)| {
        let scores: BTreeMap<&str, Option<f64>> = webnlg::score(read, None, None).into_iter().collect();
        // The script prints two decimals.
        let bleu = (100.0 * scores["bleu"].unwrap()).round() / 100.0;
        close(bleu, &wanted["scores"]["bleu"], &format!("{name} bleu"));
        close(
            scores["chrf++"].unwrap(),
            &wanted["scores"]["chrf++"],
            &format!("{name} chrf++"),
        );
        let left_out = ["bleu_nltk", "meteor", "ter"].map(|key| scores[key]);
        assert_eq!(left_out, [None; 3], "{name}");
    });
}

#[test]
fn files_are_read_side_by_side_and_misfits_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (hyp, one) = (file("hyp", b"a\n\nc\n"), file("one", b"x\ny\nz"));
    let segments = read_parallel(&hyp, &[one.clone(), hyp.clone()]).unwrap();
    assert_eq!(
        (segments[1].hyp.as_str(), &segments[1].refs),
        ("", &vec!["y".to_owned(), String::new()])
    );
    let said = |refs: &Path| {
        let text = read_parallel(&hyp, &[refs.to_path_buf()]).unwrap_err().to_string();
        text.replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(
        said(&file("two", b"x\ny\n")),
        "hyp has 3 outputs (one a line), two has references for 2; they must be as many"
    );
    assert_eq!(
        said(&file("none", b"")),
        "none: the file is empty; wanted a reference a line"
    );
    assert!(said(&file("bytes", b"a\n\xff\n")).starts_with("bytes:2: not UTF-8"));
}

/// With the data set's own questions beside their tables, queries are executed too.
#[test]
fn queries_are_scored_against_questions_with_tables() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let question =
        r#"{"table_id": "1", "question": "Who?", "sql": {"sel": 1, "agg": 0, "conds": [[0, 0, "x"], [2, 1, 3]]}}"#;
    let questions = file(
        "dev.jsonl",
        &format!("{question}\n{question}\n{question}\n{question}\n"),
    );
    let outputs = "select Name from t where n > 3 and kind = 'X'\nSELECT Name FROM t WHERE n > 4\nSELECT SELECT\n\n";
    let hyp = file("hyp.sql", outputs);
    assert_eq!(
        wikisql::score_files(&hyp, &file("gold.sql", "a\nb\nc\nd\n")).unwrap(),
        [("lf_accuracy", Some(0.0))]
    );
    let tables = r#"{"id": "1", "header": ["Kind", "Name", "N"], "types": ["text", "text", "real"], "rows": [["X", "Ann", 5], ["y", "Bo", 1]]}"#;
    file("dev.tables.jsonl", tables);
    let scores = wikisql::score_files(&hyp, &questions).unwrap();
    assert_eq!(scores, [("ex_accuracy", Some(0.5)), ("lf_accuracy", Some(0.25))]);
    std::fs::remove_file(dir.path().join("dev.tables.jsonl")).unwrap();
    assert_eq!(
        wikisql::score_files(&hyp, &questions).unwrap()[0],
        ("ex_accuracy", None)
    );
}

/// Two of the golden systems have the same references, raw and as the paper's code hands them on.
#[test]
fn texts_are_prepared_as_by_the_papers_code() {
    let Some(dir) = testing::golden() else { return };
    let systems = systems(&dir);
    let of = |wanted: &str| &systems.iter().find(|(name, ..)| name == wanted).unwrap().2;
    let raw = webnlg::prepared(of("dart_mixed_empty"));
    for (raw, wanted) in raw.iter().zip(of("dart_template_tok")) {
        assert_eq!(raw.refs, wanted.refs);
    }
    let few = webnlg::prepared(&[Segment {
        hyp: "It's A_B!".to_owned(),
        refs: vec!["One.".to_owned(), "Two".to_owned()],
    }]);
    assert_eq!(few[0].hyp, "it ' s a_b !");
    assert_eq!(few[0].refs, ["one .", "two", "one .", "one .", "one .", "one ."]);
}
