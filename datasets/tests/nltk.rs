//! Sentences and words against NLTK's own. `nltk_golden.py` beside this file made golden/nltk.json. Punkt's parameters come from
//! `LORA_PUNKT_DATA`, or from the user's cache where `lora score fetch-punkt-data` put them; real text from `LORA_DATA`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use datasets::metric::generated::read_parallel;
use datasets::metric::nltk::{Nltk, PunktError};
use rayon::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[track_caller]
fn nltk() -> Option<Nltk> {
    let data = std::env::var_os("LORA_PUNKT_DATA").map(PathBuf::from);
    let nltk = Nltk::open(data.as_deref()).unwrap();
    if nltk.is_none() {
        testing::skipped("LORA_PUNKT_DATA is not set, and Punkt's parameters are not in the cache");
    }
    nltk
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/nltk.json")).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Initials, abbreviations, numbers, quotation marks, ellipses, and every kind of white space.
#[test]
fn unusual_texts() {
    let Some(nltk) = nltk() else { return };
    for text in golden()["texts"].as_array().unwrap() {
        let (text, wanted) = (text["text"].as_str().unwrap(), text["sentences"].as_array().unwrap());
        let sentences: Vec<&str> = wanted.iter().map(|s| s[0].as_str().unwrap()).collect();
        assert_eq!(nltk.sentences(text), sentences, "{text:?}");
        let words: Vec<String> = wanted.iter().flat_map(|s| texts(&s[1])).collect();
        assert_eq!(nltk.word_tokenize(text), words, "{text:?}");
    }
}

/// All strings in a value, keys too.
fn strings<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => {
            found.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            found.insert(key);
            strings(value, found);
        }),
        _ => {}
    }
}

/// More than 100,000 texts, most of them never seen when the rules were written: chats, news, and what WebNLG and DART hold.
#[test]
fn real_texts() {
    let (Some(nltk), Some(data)) = (nltk(), testing::data()) else {
        return;
    };
    for (name, wanted) in golden()["real"].as_object().unwrap() {
        let text = std::fs::read_to_string(data.join(name)).unwrap();
        let value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let mut texts = BTreeSet::new();
        match &value {
            Value::Null => texts.extend(text.split(['\n', '\t'])),
            value => strings(value, &mut texts),
        }
        assert_eq!(texts.len() as u64, wanted["texts"], "{name}");
        let texts: Vec<&str> = texts.into_iter().collect();
        let cut = |text: &&str| -> String {
            let sentences = nltk.sentences(text).into_iter();
            let shown = sentences.map(|s| format!("{s}\n{}\n\n", nltk.words(s).join("\n")));
            shown.chain(["\0".to_owned()]).collect()
        };
        let all: Vec<String> = texts.par_iter().map(cut).collect();
        let digest = all.iter().fold(Sha256::new(), |digest, text| digest.chain_update(text));
        let found: String = digest.finalize().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, wanted["sha256"], "{name}");
    }
}

/// What the genuine scorer of WebNLG tokenised.
#[test]
fn words_are_those_of_generation_eval() {
    let (Some(nltk), Some(dir)) = (nltk(), testing::golden()) else {
        return;
    };
    let systems = [
        "dart_drop30_tok",
        "dart_human_first",
        "dart_mixed_empty",
        "dart_template_tok",
        "webnlg_human_first_tok",
    ];
    for name in systems {
        let folder = dir.join("nlg").join(name);
        let refs: Vec<PathBuf> = (0..6).map(|i| folder.join(format!("reference{i}"))).collect();
        let read = read_parallel(&folder.join("hypothesis"), &refs).unwrap();
        let wanted: Value =
            serde_json::from_slice(&std::fs::read(folder.join("nltk_tokenized.json")).unwrap()).unwrap();
        let words = |text: &String| nltk.word_tokenize(text).join(" ");
        let hyps: Vec<String> = read.iter().map(|s| words(&s.hyp)).collect();
        assert_eq!(hyps, texts(&wanted["hypothesis_tok"]), "{name}");
        for (segment, wanted) in read.iter().zip(wanted["references_tok"].as_array().unwrap()) {
            let refs: Vec<String> = segment.refs.iter().map(words).collect();
            assert_eq!(refs, texts(wanted), "{name}");
        }
    }
}

/// Only NLTK's own parameters are taken.
#[test]
fn other_parameters_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let said = |path: &Path| match Nltk::open(Some(path)) {
        Err(e) => e,
        Ok(_) => panic!("{} was taken", path.display()),
    };
    for path in [dir.path().join("none"), dir.path().to_path_buf()] {
        let missing = said(&path);
        assert!(matches!(missing, PunktError::NotFound { .. }), "{missing}");
        assert!(
            missing.to_string().contains("wanted NLTK's folder punkt_tab"),
            "{missing}"
        );
    }
    let folder = dir.path().join("tokenizers/punkt_tab/english");
    std::fs::create_dir_all(&folder).unwrap();
    for file in [
        "abbrev_types.txt",
        "collocations.tab",
        "ortho_context.tab",
        "sent_starters.txt",
    ] {
        std::fs::write(folder.join(file), "dr\n").unwrap();
    }
    let other = said(dir.path()).to_string();
    assert!(
        other.contains("abbrev_types.txt is not that of NLTK's punkt_tab (SHA-256 "),
        "{other}"
    );
    assert!(
        other.ends_with("`lora score fetch-punkt-data` brings the right one"),
        "{other}"
    );
    let no_archive = dir.path().join("punkt_tab.zip");
    std::fs::write(&no_archive, "no zip").unwrap();
    assert!(matches!(said(&no_archive), PunktError::Archive { .. }));
    assert_eq!(Nltk::data_sha256().len(), 64);
}
