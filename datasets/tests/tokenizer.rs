//! Tokenising against Hugging Face transformers (`golden/tokenizer_*.json`, written by `tokenizer_golden.py`), bad
//! tokenizer files, and the cache.

use std::path::Path;

use datasets::cache::Cache;
use datasets::{Encoded, Example, Label, TokenizeError, Tokenizer};
use serde_json::Value;
use tempfile::TempDir;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("tokenizer_{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A folder with the golden file's tokenizer in the files it was made from.
fn folder(golden: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in golden["files"].as_object().unwrap() {
        std::fs::write(dir.path().join(name), text.as_str().unwrap()).unwrap();
    }
    dir
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as u32)
        .collect()
}

fn example(first: &str, second: Option<&str>) -> Example {
    Example {
        first: first.into(),
        second: second.map(str::to_owned),
        label: Label::Class(0),
    }
}

/// All cases, singles and pairs and all lengths; returns how many there were.
fn compare(golden: &Value, tokenizer: &Tokenizer) -> usize {
    let cases = golden["cases"].as_array().unwrap();
    for cases in cases.chunk_by(|a, b| a["max_len"] == b["max_len"]) {
        let examples: Vec<Example> = cases
            .iter()
            .map(|c| example(c["first"].as_str().unwrap(), c["second"].as_str()))
            .collect();
        let max_len = cases[0]["max_len"].as_u64().unwrap() as usize;
        let encoded = tokenizer.encode_all(&examples, max_len).unwrap();
        assert_eq!(encoded.len(), cases.len());
        for (got, case) in encoded.iter().zip(cases) {
            assert_eq!(got.ids, ids(&case["ids"]), "{case}");
            assert_eq!(got.type_ids, ids(&case["type_ids"]), "{case}");
            assert!(got.ids.iter().all(|&id| id <= tokenizer.max_id()));
        }
    }
    cases.len()
}

#[test]
fn equals_transformers_from_the_vocabulary_files() {
    for name in ["wordpiece", "wordpiece_cased_left", "bpe"] {
        let golden = golden(name);
        let dir = folder(&golden);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(compare(&golden, &tokenizer), 240, "{name}");
        assert_eq!(tokenizer.max_id() as usize + 1, tokenizer.vocab_size());
    }
}

/// tokenizer.json comes first, and its stored truncation (to 7) and padding (to 64) have no effect.
#[test]
fn equals_transformers_from_tokenizer_json() {
    for name in ["wordpiece", "wordpiece_cased_left", "bpe", "qwen2"] {
        let golden = golden(name);
        let dir = folder(&golden);
        let json = golden["tokenizer_json"].as_str().unwrap();
        assert!(
            json.contains("\"max_length\":7") && json.contains("\"Fixed\":64"),
            "{name} stores both"
        );
        std::fs::write(dir.path().join("tokenizer.json"), json).unwrap();
        // Read, these would fail.
        for other in ["vocab.txt", "vocab.json", "merges.txt"] {
            std::fs::write(dir.path().join(other), b"\xff").unwrap();
        }
        assert_eq!(
            compare(&golden, &Tokenizer::from_dir(dir.path()).unwrap()),
            240,
            "{name}"
        );
    }
}

#[test]
fn qwen2_needs_its_tokenizer_json() {
    let dir = folder(&golden("qwen2"));
    let refused = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(
        refused.contains("vocab.json") && refused.contains("in tokenizer.json alone"),
        "{refused}"
    );
}

#[test]
fn order_and_labels_are_kept() {
    let dir = folder(&golden("bpe"));
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let examples: Vec<Example> = (0..60)
        .map(|i| Example {
            label: Label::Score(f64::from(i)),
            ..example(&format!("number {i}"), None)
        })
        .collect();
    let together = tokenizer.encode_all(&examples, 32).unwrap();
    assert_eq!(together.len(), 60);
    for (one, example) in together.iter().zip(&examples) {
        assert_eq!(one.label, example.label);
        assert_eq!(
            *one,
            tokenizer.encode_all(std::slice::from_ref(example), 32).unwrap()[0]
        );
    }
    assert_eq!(tokenizer.encode_all(&[], 32).unwrap(), []);
}

#[test]
fn lengths_without_room_for_text_are_refused() {
    let dir = folder(&golden("bpe"));
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let pair = [example("one", Some("two"))];
    for max_len in 0..=4 {
        let refused = tokenizer.encode_all(&pair, max_len).unwrap_err().to_string();
        let wanted =
            format!("max_len {max_len} is too small: the special tokens alone take 4, so at least 5 is needed");
        assert_eq!(refused, wanted);
    }
    assert_eq!(tokenizer.encode_all(&pair, 5).unwrap()[0].ids.len(), 5);
    let single = [example("one", None)];
    assert!(matches!(
        tokenizer.encode_all(&single, 2),
        Err(TokenizeError::MaxLen { specials: 2, .. })
    ));
}

/// What is said of a folder with these files.
fn refused(files: &[(&str, &[u8])]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let text = Tokenizer::from_dir(dir.path())
        .expect_err("this should not load")
        .to_string();
    text.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn bad_folders_and_files_are_said() {
    let wanted = "wanted tokenizer.json, or vocab.json and merges.txt (RoBERTa, GPT-2), or spm.model (DeBERTa), or vocab.txt (BERT)";
    assert!(refused(&[]).ends_with(wanted));
    assert!(refused(&[("vocab.json", b"{}")]).ends_with(wanted));
    let nowhere = Tokenizer::from_dir(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(nowhere, TokenizeError::NoFiles { .. }));

    assert!(
        refused(&[("tokenizer.json", b"{\"version\": ")]).starts_with("tokenizer.json: not a valid tokenizer file: ")
    );
    assert!(refused(&[("tokenizer.json", b"[]")]).starts_with("tokenizer.json: not a valid tokenizer file: "));
    let config: [(&str, &[u8]); 2] = [
        ("vocab.txt", b"[CLS]\n"),
        ("tokenizer_config.json", b"{\"do_lower_case\": \"no\"}"),
    ];
    assert!(refused(&config).starts_with("tokenizer_config.json: not a valid tokenizer file: invalid type"));

    let bpe = |vocab: &[u8], merges: &[u8]| refused(&[("vocab.json", vocab), ("merges.txt", merges)]);
    assert!(bpe(b"{\"a\": 0", b"").starts_with("vocab.json: not a valid tokenizer file: (with merges.txt) "));
    assert!(bpe(b"[\"a\"]", b"").starts_with("vocab.json: not a valid tokenizer file: "));
    assert!(bpe(b"{\"a\": \"b\"}", b"").starts_with("vocab.json: "));
    assert!(bpe(b"{\"a\": 0, \"b\": 1}", b"a b\n").contains("`ab`"));
    assert!(bpe(b"{\"a\": 0, \"b\": 1}", b"a b c\n").contains("line 1"));
    assert!(bpe(b"{\"a\": 0}", b"\xff\n").starts_with("vocab.json: not a valid tokenizer file: (with merges.txt) "));
    let no_sep = bpe(b"{\"<s>\": 0}", b"#version: 0.2\n");
    assert_eq!(
        no_sep,
        "vocab.json: the vocabulary has no token </s>; a RoBERTa vocabulary is wanted"
    );

    for (vocab, token) in [("", "[CLS]"), ("[CLS]\n", "[SEP]"), ("[CLS]\n[SEP]\na\n", "[UNK]")] {
        let text = refused(&[("vocab.txt", vocab.as_bytes())]);
        assert_eq!(
            text,
            format!("vocab.txt: the vocabulary has no token {token}; a BERT vocabulary is wanted")
        );
    }
    assert!(refused(&[("vocab.txt", b"\xff\xfe")]).starts_with("vocab.txt: not a valid tokenizer file: "));
}

#[test]
fn the_cache_gives_back_what_was_encoded_and_ignores_what_is_broken() {
    let golden = golden("wordpiece");
    let dir = folder(&golden);
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let examples = [example("The ferry leaves.", Some("A boat.")), example("Rivers", None)];
    let cache_dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(cache_dir.path().join("not/made/yet"));
    let encode = |max_len| tokenizer.encode_cached(&examples, max_len, Some(&cache)).unwrap();
    let files = || {
        std::fs::read_dir(cache.dir())
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect::<Vec<_>>()
    };

    let fresh = tokenizer.encode_all(&examples, 32).unwrap();
    assert_eq!(encode(32), fresh);
    assert_eq!(encode(32), fresh);
    let [file] = &files()[..] else {
        panic!("one file: {:?}", files())
    };

    let whole = std::fs::read(file).unwrap();
    let touched = std::fs::metadata(file).unwrap().modified().unwrap();
    assert_eq!(encode(32), fresh);
    assert_eq!(
        std::fs::metadata(file).unwrap().modified().unwrap(),
        touched,
        "a whole file is not written again"
    );

    for broken in [&b""[..], b"something else", &whole[..whole.len() - 1]] {
        std::fs::write(file, broken).unwrap();
        assert_eq!(encode(32), fresh);
        assert_eq!(std::fs::read(file).unwrap(), whole, "rewritten");
    }
    // Labels are not the cache's business.
    let relabelled = examples.clone().map(|e| Example {
        label: Label::Class(1),
        ..e
    });
    let got = tokenizer.encode_cached(&relabelled, 32, Some(&cache)).unwrap();
    assert!(got.iter().all(|e| e.label == Label::Class(1)));
    assert_eq!(files().len(), 1);

    let short: Vec<Encoded> = encode(6);
    assert!(short.iter().all(|e| e.ids.len() <= 6) && files().len() == 2);
}

#[test]
fn a_cache_that_cannot_be_written_does_no_harm() {
    let dir = folder(&golden("wordpiece"));
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let examples = [example("Rivers", None)];
    // A file stands where the folder should be.
    let cache = Cache::at(dir.path().join("vocab.txt"));
    let got = tokenizer.encode_cached(&examples, 8, Some(&cache)).unwrap();
    assert_eq!(got, tokenizer.encode_all(&examples, 8).unwrap());
}

/// Ids from the RoBERTa paper's own code (fairseq), where its vocabulary is at hand.
#[test]
fn roberta_hello_world() {
    let Some(dir) = testing::data() else { return };
    let tokenizer = Tokenizer::from_dir(&dir.join("tokenizers/roberta")).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.max_id()), (50265, 50264));
    let got = tokenizer.encode_all(
        &[
            example("Hello world", None),
            example("Hello world", Some("Hello world")),
        ],
        16,
    );
    let got = got.unwrap();
    assert_eq!(got[0].ids, [0, 31414, 232, 2]);
    assert_eq!(got[1].ids, [0, 31414, 232, 2, 2, 31414, 232, 2]);
    assert_eq!(got[1].type_ids, [0; 8]);
}
