//! SentencePiece models: the ids of transformers' DebertaV2 tokenizer, from spm.model itself.
//!
//! `spm_golden.py` beside this file made golden/spm.json. The model and the real text come from LORA_DATA.

use datasets::{Example, Label, Tokenizer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/spm.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().unwrap().iter();
    list.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn example(first: &str, second: Option<&str>) -> Example {
    Example {
        first: first.into(),
        second: second.map(String::from),
        label: Label::Class(0),
    }
}

fn tokenizer(data: &Path) -> Tokenizer {
    Tokenizer::from_dir(&data.join("tokenizers/deberta-v3")).unwrap()
}

#[test]
fn unusual_texts() {
    let Some(data) = testing::data() else { return };
    let (tokenizer, golden) = (tokenizer(&data), golden());
    assert_eq!(tokenizer.vocab_size(), 128_001);
    for pair in golden["texts"].as_array().unwrap() {
        let (text, expected) = (pair[0].as_str().unwrap(), ids(&pair[1]));
        let ours = tokenizer.encode_all(&[example(text, None)], 1 << 20).unwrap();
        assert_eq!(ours[0].ids, expected, "{text:?}");
    }
    let pair = &golden["pair"];
    let both = example(pair[0].as_str().unwrap(), pair[1].as_str());
    let ours = tokenizer.encode_all(&[both], 1 << 20).unwrap();
    assert_eq!(
        (ours[0].ids.clone(), ours[0].type_ids.clone()),
        (ids(&pair[2]), ids(&pair[3]))
    );
}

#[test]
fn real_texts() {
    let Some(data) = testing::data() else { return };
    let (tokenizer, golden) = (tokenizer(&data), golden());
    for source in golden["sources"].as_array().unwrap() {
        let file = source["file"].as_str().unwrap();
        let content = std::fs::read_to_string(data.join(file)).unwrap();
        let texts: Vec<Example> = if file.ends_with(".json") {
            let rows: Vec<Value> = serde_json::from_str(&content).unwrap();
            let dialogues = rows.iter().take(4000).map(|r| r["dialogue"].as_str().unwrap());
            dialogues.map(|t| example(t, None)).collect()
        } else {
            let fields = content.split('\n').flat_map(|line| line.split('\t'));
            fields.filter(|f| !f.is_empty()).map(|t| example(t, None)).collect()
        };
        assert_eq!(texts.len() as u64, source["texts"].as_u64().unwrap(), "{file}");
        let (apart, mut digest) = (ids(&source["apart"]), Sha256::new());
        let rows = tokenizer.encode_all(&texts, 1 << 20).unwrap();
        for (_, row) in (0..).zip(rows).filter(|(i, _)| !apart.contains(i)) {
            row.ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
            digest.update([0xff; 4]);
        }
        assert_eq!(
            format!("{:x}", digest.finalize()),
            source["sha256"].as_str().unwrap(),
            "{file}"
        );
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spm.model");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Tokenizer::from_dir(dir.path()).unwrap_err().to_string()
    };
    assert!(refused(b"not a model").contains("spm.model"));
    assert!(refused(b"").contains("no piece for unknown text"), "{}", refused(b""));
    let Some(data) = testing::data() else { return };
    let whole = std::fs::read(data.join("tokenizers/deberta-v3/spm.model")).unwrap();
    assert!(refused(&whole[..whole.len() / 2]).contains("SentencePiece"));
}
