//! The E2E scores against the genuine tool (`LORA_GOLDEN/e2e`), and what is said about files that cannot be scored.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use datasets::metric::bleu_e2e::Tokenized;
use datasets::metric::generated::{self, Segment};
use datasets::metric::{cider, e2e, ptb, rouge_l};
use serde_json::Value;

#[track_caller]
fn golden() -> Option<PathBuf> {
    Some(testing::golden()?.join("e2e"))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every system of the golden set: its name, its segments, its scores, and its segments' scores.
fn systems(dir: &Path) -> Vec<(String, Vec<Segment>, Value, Vec<Value>)> {
    let scores = json(&dir.join("scores.json"));
    let systems = scores.as_object().unwrap().iter();
    let systems: Vec<_> = systems
        .map(|(name, system)| {
            let file = |key: &str| dir.join(system[key].as_str().unwrap());
            let segments = e2e::read(&file("hyp"), &file("refs")).unwrap();
            let wanted = json(&dir.join(format!("segments/{name}.json")));
            let wanted = wanted.as_array().unwrap().clone();
            assert_eq!(segments.len(), wanted.len(), "{name}");
            (name.clone(), segments, system["scores"].clone(), wanted)
        })
        .collect();
    assert_eq!(systems.len(), 26);
    systems
}

/// Null, where the tool raised an error, is `None`.
fn assert_near(got: impl Into<Option<f64>>, wanted: &Value, what: &str) {
    match (got.into(), wanted.as_f64()) {
        (Some(got), Some(wanted)) => assert!((got - wanted).abs() < 1e-9, "{what} is {got}, wanted {wanted}"),
        (got, _) => assert!(got.is_none() && wanted.is_null(), "{what} is {got:?}, wanted {wanted}"),
    }
}

fn assert_all_near<T: Into<Option<f64>>>(got: Vec<T>, wanted: &[Value], key: &str, name: &str) {
    assert_eq!(got.len(), wanted.len());
    for (i, (got, wanted)) in got.into_iter().zip(wanted).enumerate() {
        let wanted = wanted
            .get(key)
            .unwrap_or_else(|| panic!("{key} is not in the golden file"));
        assert_near(got, wanted, &format!("{name}: {key} of segment {i}"));
    }
}

#[test]
fn bleu_and_nist_equal_the_tools() {
    let Some(dir) = golden() else { return };
    for (name, segments, scores, wanted) in systems(&dir) {
        let tokenized = Tokenized::new(&segments);
        assert_near(tokenized.bleu(0.0), &scores["BLEU"], &format!("{name}: BLEU"));
        assert_near(tokenized.nist(), &scores["NIST"], &format!("{name}: NIST"));
        assert_all_near(tokenized.segment_bleu(0.0), &wanted, "BLEU", &name);
        assert_all_near(tokenized.segment_bleu(1.0), &wanted, "sentBLEU", &name);
        assert_all_near(tokenized.segment_nist(), &wanted, "NIST", &name);
    }
}

#[test]
fn tokens_equal_the_tools() {
    let Some(dir) = golden() else { return };
    let cases = json(&dir.with_file_name("ptb_tokenize.json"));
    let cases = cases.as_array().unwrap();
    let mut by_next_line = 0;
    for case in cases {
        let (line, wanted) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
        let tokens = ptb::tokenize(&[line])[0].join(" ");
        // One line ends in "U.S."; the line that was next to it when the golden file was made began a sentence.
        if wanted == format!("{tokens} .") && line.ends_with("U.S.") {
            by_next_line += 1;
        } else {
            assert_eq!(tokens, wanted, "{line}");
        }
    }
    assert_eq!((cases.len(), by_next_line), (445, 1));
    for (name, segments, scores, wanted) in systems(&dir) {
        let tokenized = e2e::tokenized(&segments);
        for (got, wanted) in tokenized.iter().zip(&wanted) {
            assert_eq!(got.hyp, wanted["hyp_tok"].as_str().unwrap(), "{name}");
        }
        let rouge: Vec<f64> = tokenized.iter().map(rouge_l::score).collect();
        assert_all_near(rouge, &wanted, "ROUGE_L", &name);
        assert_all_near(cider::scores(&tokenized), &wanted, "CIDEr", &name);
        let all: HashMap<_, _> = e2e::score(&segments, None).into_iter().collect();
        assert_near(all["ROUGE_L"], &scores["ROUGE_L"], &format!("{name}: ROUGE_L"));
        assert_eq!(all["METEOR"], None);
        assert_near(all["CIDEr"], &scores["CIDEr"], &format!("{name}: CIDEr"));
    }
}

#[test]
fn tokenised_references_equal_the_tools() {
    let Some(dir) = golden() else { return };
    for name in [
        "dev_human_first",
        "lora_rest",
        "stress",
        "test_all",
        "test_human_last",
        "test_single",
    ] {
        let lines = |file: String| generated::read_lines(&dir.join(file), "lines").unwrap();
        let wanted: Vec<String> = lines(format!("{name}.refs.ptb.txt"));
        let references = lines(format!("{name}.refs.txt"));
        let some = |l: &&String| !l.is_empty();
        let got = ptb::words(&references.iter().filter(some).collect::<Vec<_>>());
        // References of which nothing is left stand as empty lines there.
        assert!(got.iter().filter(some).eq(wanted.iter().filter(some)), "{name}");
    }
}

fn said(hyp: &[u8], refs: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (h, r) = (dir.path().join("hyp"), dir.path().join("refs"));
    std::fs::write(&h, hyp).unwrap();
    std::fs::write(&r, refs).unwrap();
    let said = e2e::read(&h, &r).unwrap_err().to_string();
    said.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn what_cannot_be_scored_is_said() {
    assert_eq!(said(b"", b"a\n"), "hyp: the file is empty; wanted an output a line");
    assert!(said(b"a\n", b"").starts_with("refs: the file is empty; wanted a reference a line"));
    assert!(said(b"a\xff\n", b"a\n").starts_with("hyp:1: not UTF-8 (byte 1 of the file)"));
    assert_eq!(
        said(b"a\nb\n", b"a\n\n\nb\n"),
        "refs:3: instance 2 (from 1) has no reference"
    );
    assert_eq!(said(b"a\n", b"\n\n"), "refs:1: instance 1 (from 1) has no reference");
    let count = said(b"a\nb\nc\n", b"a\n\nb\n");
    assert_eq!(
        count,
        "hyp has 3 outputs (one a line), refs has references for 2; they must be as many"
    );
    let missing = e2e::read(Path::new("no/such/file"), Path::new("refs")).unwrap_err();
    let missing = missing.to_string();
    assert!(
        missing.starts_with("no/such/file: cannot be read (looked for in "),
        "{missing}"
    );
}

#[test]
fn blank_lines_part_instances() {
    let dir = tempfile::tempdir().unwrap();
    let (h, r) = (dir.path().join("hyp"), dir.path().join("refs"));
    let read = |hyp: &str, refs: &str| {
        std::fs::write(&h, hyp).unwrap();
        std::fs::write(&r, refs).unwrap();
        let segments = e2e::read(&h, &r).unwrap();
        segments
            .into_iter()
            .map(|s| (s.hyp, s.refs.join("|")))
            .collect::<Vec<_>>()
    };
    let pair = |h: &str, r: &str| (h.to_owned(), r.to_owned());
    assert_eq!(
        read("a\n\n", "b\r\nc\r\n\r\nd\r\n\r\n\r\n"),
        [pair("a", "b|c"), pair("", "d")]
    );
    assert_eq!(read("a\nb\n", "c\nd\n"), [pair("a", "c"), pair("b", "d")]);
    assert_eq!(read("a\n", "c\nd"), [pair("a", "c|d")]);
}
