//! METEOR against the genuine jar (`LORA_GOLDEN/meteor` and `e2e/segments`). Its data is taken from `LORA_METEOR_DATA`, or from the
//! user's cache where `lora score fetch-meteor-data` put it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use datasets::metric::generated::{Segment, read_parallel};
use datasets::metric::meteor::{Match, Meteor, MeteorError, Stats};
use datasets::metric::nltk::Nltk;
use datasets::metric::{e2e, webnlg};
use serde_json::Value;

/// The golden folder and METEOR, if both are at hand.
#[track_caller]
fn golden() -> Option<(PathBuf, Meteor)> {
    let dir = testing::golden()?;
    let data = std::env::var_os("LORA_METEOR_DATA").map(PathBuf::from);
    let meteor = Meteor::open(data.as_deref()).unwrap();
    if meteor.is_none() {
        testing::skipped("LORA_METEOR_DATA is not set, and METEOR's data is not in the cache");
    }
    Some((dir, meteor?))
}

/// NLTK's tokenizer, on whose words WebNLG and DART are scored, if its parameters are at hand.
#[track_caller]
fn nltk() -> Option<Nltk> {
    let data = std::env::var_os("LORA_PUNKT_DATA").map(PathBuf::from);
    let nltk = Nltk::open(data.as_deref()).unwrap();
    if nltk.is_none() {
        testing::skipped("LORA_PUNKT_DATA is not set, and Punkt's parameters are not in the cache");
    }
    nltk
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// The jar prints counts as "3.0".
fn counts(value: &Value, key: &str) -> Vec<usize> {
    text(value, key)
        .split(' ')
        .map(|n| n.parse::<f64>().unwrap() as usize)
        .collect()
}

fn assert_near(got: f64, wanted: f64, tolerance: f64, what: &str) {
    assert!((got - wanted).abs() <= tolerance, "{what} is {got}, wanted {wanted}");
}

#[test]
fn normaliser_and_alignments_equal_the_jars() {
    let Some((dir, meteor)) = golden() else { return };
    let lines = json(&dir.join("meteor/normalize.json"));
    let lines = lines.as_array().unwrap();
    for line in lines {
        assert_eq!(meteor.normalize(text(line, "in")), text(line, "out"));
    }
    assert_eq!(lines.len(), 445);
    let pairs = json(&dir.join("meteor/segments.json"));
    let pairs = pairs.as_array().unwrap();
    for pair in pairs {
        let (hyp, reference) = (text(pair, "hyp"), text(pair, "ref"));
        assert_eq!(meteor.normalize(hyp).to_lowercase(), text(pair, "hyp_norm"));
        for (set, matchers) in ["exact", "exact_stem", "exact_stem_syn", "full"].into_iter().zip(1..) {
            let (stats, alignment) = meteor.align(hyp, reference, matchers);
            let mut wanted: Vec<Match> = pair[set]["matches"]
                .as_array()
                .unwrap()
                .iter()
                .map(golden_match)
                .collect();
            wanted.sort_by_key(|m| m.ref_start);
            assert_eq!(alignment, wanted, "{set}: {hyp} | {reference}");
            if set == "full" {
                let score: f64 = text(&pair[set], "score").parse().unwrap();
                assert_near(stats.score(), score, 1e-12, hyp);
                assert_eq!(stats.numbers(), counts(pair, "stats"), "{hyp} | {reference}");
            }
        }
    }
    assert_eq!(pairs.len(), 272);
}

fn golden_match(value: &Value) -> Match {
    let number = |key: &str| value[key].as_u64().unwrap() as usize;
    Match {
        ref_start: number("ref_start"),
        ref_len: number("ref_len"),
        hyp_start: number("hyp_start"),
        hyp_len: number("hyp_len"),
        module: number("module"),
    }
}

/// The stemmer of today and that of 2010, which the jar has, agree on all of the golden words.
#[test]
fn stems_equal_the_jars() {
    let Some(dir) = testing::golden() else { return };
    let stems = json(&dir.join("meteor/snowball_english_stems.json"));
    let stems = stems.as_object().unwrap();
    let stemmer = rust_stemmers::Stemmer::create(rust_stemmers::Algorithm::English);
    for (word, stem) in stems {
        assert_eq!(stemmer.stem(word), stem.as_str().unwrap(), "{word}");
    }
    assert_eq!(stems.len(), 1366);
}

#[test]
fn e2e_systems_equal_the_jars() {
    let Some((dir, meteor)) = golden() else { return };
    let dir = dir.join("e2e");
    let scores = json(&dir.join("scores.json"));
    let scores = scores.as_object().unwrap();
    for (name, system) in scores {
        let file = |key: &str| dir.join(text(system, key));
        let segments = e2e::tokenized(&e2e::read(&file("hyp"), &file("refs")).unwrap());
        let stats = meteor.stats(&segments);
        let wanted = json(&dir.join(format!("segments/{name}.json")));
        for (i, (got, wanted)) in stats.iter().zip(wanted.as_array().unwrap()).enumerate() {
            assert_eq!(got.numbers(), counts(wanted, "meteor_stats"), "{name}: segment {i}");
            assert_near(
                got.score(),
                wanted["METEOR"].as_f64().unwrap(),
                1e-9,
                &format!("{name}: segment {i}"),
            );
        }
        let wanted = system["scores"]["METEOR"].as_f64().unwrap();
        assert_near(Stats::sum(&stats).score(), wanted, 1e-9, name);
    }
    assert_eq!(scores.len(), 26);
}

#[test]
fn webnlg_systems_equal_the_jars() {
    let Some((dir, meteor)) = golden() else { return };
    let Some(nltk) = nltk() else { return };
    let dir = dir.join("nlg");
    let scores = json(&dir.join("scores.json"));
    let scores = scores.as_object().unwrap();
    for (name, system) in scores {
        let folder = dir.join(name);
        let refs: Vec<PathBuf> = (0..6).map(|i| folder.join(format!("reference{i}"))).collect();
        let segments = read_parallel(&folder.join("hypothesis"), &refs).unwrap();
        let all: HashMap<_, _> = webnlg::score(&segments, Some(&nltk), Some(&meteor))
            .into_iter()
            .collect();
        for key in ["meteor", "ter", "bleu_nltk"] {
            let wanted = system["scores"][key].as_f64().unwrap();
            assert_near(all[key].unwrap(), wanted, 1e-9, &format!("{name} {key}"));
        }
    }
    assert_eq!(scores.len(), 5);
}

#[test]
fn degenerate_texts_have_a_score() {
    let Some((_, meteor)) = golden() else { return };
    let segment = |hyp: &str, reference: &str| Segment {
        hyp: hyp.to_owned(),
        refs: vec![reference.to_owned()],
    };
    let stats = meteor.stats(&[
        segment("", "a pub"),
        segment("a pub", ""),
        segment("", ""),
        segment("a pub", "a pub"),
    ]);
    let scores: Vec<f64> = stats.iter().map(Stats::score).collect();
    assert_eq!(scores, [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(stats[0].numbers()[..4], [0, 2, 0, 1]);
    assert_eq!(Stats::sum(&[]).score(), 0.0);
}

#[test]
fn what_is_no_data_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let said = |path: &Path| match Meteor::open(Some(path)) {
        Err(e) => e,
        Ok(_) => panic!("{} was taken", path.display()),
    };
    let missing = said(&dir.path().join("none"));
    assert!(matches!(missing, MeteorError::NotFound { .. }), "{missing}");
    assert!(
        missing
            .to_string()
            .contains("no METEOR data there; wanted pycocoevalcap-1.2")
    );
}
