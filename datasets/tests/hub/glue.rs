//! GLUE from the hub's parquet files, which are written here.

use std::io::Cursor;

use datasets::hub::{GLUE, HubError};
use datasets::{DataError, Example, Label, LabelledSplit, TASKS, find, glue_parquet};
use polars::prelude::*;
use polars_io::parquet::write::ParquetWriter;

use crate::stand_in::Host;
use crate::{Bench, FIRST, SECOND};

const REPO: &str = "datasets/nyu-mll/glue";

fn write(columns: Vec<Column>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut frame = DataFrame::new(columns).unwrap();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    bytes.into_inner()
}

fn texts(name: &str, values: &[&str]) -> Column {
    Column::new(name.into(), values)
}

fn labels(values: &[i64]) -> Column {
    Column::new("label".into(), values)
}

fn idx(rows: usize) -> Column {
    let rows: Vec<i32> = (0..rows as i32).collect();
    Column::new("idx".into(), rows)
}

/// Two rows, in the columns that the hub has for the task.
fn sound(first: &str, second: Option<&str>) -> Vec<u8> {
    let mut columns = vec![texts(first, &["A \"quoted\"\ttab", "B"])];
    columns.extend(second.map(|name| texts(name, &["C", "Đ\n"])));
    columns.extend([labels(&[0, 1]), idx(2)]);
    write(columns)
}

fn sound_rte() -> Vec<u8> {
    sound("sentence1", Some("sentence2"))
}

fn pair(first: &str, second: &str, class: usize) -> Example {
    Example {
        first: first.into(),
        second: Some(second.into()),
        label: Label::Class(class),
    }
}

/// The error of RTE with this as its validation file.
fn rte_error(validation: &[u8]) -> String {
    let bench = Bench::new();
    let files: [(&str, &[u8]); 2] = [
        ("rte/train-00000-of-00001.parquet", &sound_rte()),
        ("rte/validation-00000-of-00001.parquet", validation),
    ];
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    let error = bench.hub.glue(find("rte").unwrap(), None).unwrap_err();
    assert!(matches!(error, HubError::Data(_)), "{error}");
    let message = error.to_string();
    let (path, problem) = message.split_once(".parquet: ").unwrap();
    assert!(path.ends_with("rte/validation-00000-of-00001"), "{message}");
    problem.to_owned()
}

#[test]
fn every_task_is_read_by_its_own_columns() {
    let bench = Bench::new();
    let layouts = [
        ("cola", "sentence", None),
        ("sst2", "sentence", None),
        ("mrpc", "sentence1", Some("sentence2")),
        ("qqp", "question1", Some("question2")),
        ("qnli", "question", Some("sentence")),
        ("rte", "sentence1", Some("sentence2")),
        ("wnli", "sentence1", Some("sentence2")),
        ("mnli", "premise", Some("hypothesis")),
    ];
    let mut files: Vec<(String, Vec<u8>)> = vec![("README.md".to_owned(), b"#".to_vec())];
    for (config, first, second) in layouts {
        let splits: &[&str] = match config {
            "mnli" => &["train", "validation_matched", "validation_mismatched", "test_matched"],
            _ => &["train", "validation", "test"],
        };
        for split in splits {
            files.push((format!("{config}/{split}-00000-of-00001.parquet"), sound(first, second)));
        }
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(f, b)| (f.as_str(), b.as_slice())).collect();
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    for task in TASKS.iter().filter(|t| t.id != "sts-b") {
        let (data, snapshot) = bench.hub.glue(task, None).unwrap();
        assert_eq!((snapshot.id.as_str(), snapshot.commit.as_str()), (GLUE, FIRST));
        let names: Vec<&str> = data.evals.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(
            (data.train.name.as_str(), names.as_slice()),
            ("train", task.eval_splits),
            "{}",
            task.id
        );
        for split in std::iter::once(&data.train).chain(&data.evals) {
            let second = |text: &str| task.paired().then(|| text.to_owned());
            let first = ["A \"quoted\"\ttab", "B"];
            let wanted =
                [(first[0], second("C"), 0), (first[1], second("Đ\n"), 1)].map(|(first, second, class)| Example {
                    first: first.to_owned(),
                    second,
                    label: Label::Class(class),
                });
            assert_eq!(split.examples, wanted, "{}", task.id);
        }
    }
    assert_eq!(bench.stand_in.count(Host::Hub, "HEAD", "test"), 0);
}

#[test]
fn scores_are_the_decimals_that_were_meant() {
    let bench = Bench::new();
    let scores = |name: &str, values: &[f32]| {
        let column = Column::new("label".into(), values);
        write(vec![
            texts("sentence1", &[name; 3]),
            texts("sentence2", &["b"; 3]),
            column,
        ])
    };
    let files: [(&str, &[u8]); 2] = [
        ("stsb/train-00000-of-00001.parquet", &scores("a", &[0.0, 3.2, 5.0])),
        (
            "stsb/validation-00000-of-00001.parquet",
            &scores("c", &[1.333, 0.2, 4.0]),
        ),
    ];
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    let (data, _) = bench.hub.glue(find("sts-b").unwrap(), None).unwrap();
    let of = |split: &LabelledSplit| split.examples.iter().map(|e| e.label).collect::<Vec<_>>();
    assert_eq!(of(&data.train), [0.0, 3.2, 5.0].map(Label::Score));
    assert_eq!(of(&data.evals[0]), [1.333, 0.2, 4.0].map(Label::Score));

    let files: [(&str, &[u8]); 2] = [
        files[0],
        ("stsb/validation-00000-of-00001.parquet", &scores("c", &[1.0, 5.1, 0.0])),
    ];
    bench.stand_in.commit(REPO, "main", SECOND, &files);
    let error = bench.hub.glue(find("sts-b").unwrap(), None).unwrap_err().to_string();
    assert!(
        error.ends_with("row 1 (from 0): 5.1 in column \"label\", wanted a number from 0 to 5"),
        "{error}"
    );
}

#[test]
fn shards_of_a_split_are_read_in_order() {
    let bench = Bench::new();
    let shard = |text: &str, class| {
        write(vec![
            texts("sentence1", &[text]),
            texts("sentence2", &["x"]),
            labels(&[class]),
        ])
    };
    let mut files: Vec<(String, Vec<u8>)> = (0..12)
        .map(|i| {
            (
                format!("rte/train-{i:05}-of-00012.parquet"),
                shard(&format!("row {i}"), i % 2),
            )
        })
        .collect();
    files.push(("rte/validation-00000-of-00001.parquet".to_owned(), sound_rte()));
    files.push(("rte/train-old.parquet".to_owned(), b"no shard".to_vec()));
    let commit = |commit: &str, files: &[(String, Vec<u8>)]| {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(f, b)| (f.as_str(), b.as_slice())).collect();
        bench.stand_in.commit(REPO, "main", commit, &files);
    };
    commit(FIRST, &files);
    let rte = find("rte").unwrap();
    let (data, snapshot) = bench.hub.glue(rte, None).unwrap();
    let wanted: Vec<Example> = (0..12).map(|i| pair(&format!("row {i}"), "x", i % 2)).collect();
    assert_eq!(data.train.examples, wanted);

    // Offline the same, unless a shard is missing.
    let offline = bench.hub.clone().offline(true);
    let (again, _) = offline.glue(rte, None).unwrap();
    assert_eq!((again.sha256, again.train), (data.sha256.clone(), data.train));
    let lost = "rte/train-00007-of-00012.parquet";
    std::fs::remove_file(snapshot.dir.join(lost)).unwrap();
    let error = offline.glue(rte, None).unwrap_err();
    assert!(
        matches!(&error, HubError::NotCached { file, .. } if file == lost),
        "{error}"
    );
    let error = glue_parquet::load(rte, &snapshot.dir).unwrap_err();
    assert!(matches!(error, DataError::NoFile { split: "train", .. }), "{error}");
    // The hub brings it back; other bytes have another hash.
    assert_eq!(bench.hub.glue(rte, None).unwrap().0.sha256, data.sha256);
    files[3].1 = shard("other", 1);
    commit(SECOND, &files);
    assert_ne!(bench.hub.glue(rte, None).unwrap().0.sha256, data.sha256);

    files.remove(7);
    commit("3333333333333333333333333333333333333333", &files);
    let error = bench.hub.glue(rte, None).unwrap_err();
    assert!(
        matches!(&error, HubError::NoFile { file, .. } if file == lost),
        "{error}"
    );
}

#[test]
fn a_task_that_is_not_there_names_its_file() {
    let bench = Bench::new();
    bench.stand_in.commit(
        REPO,
        "main",
        FIRST,
        &[("rte/train-00000-of-00001.parquet", &sound_rte())],
    );
    let file = |task: &str| bench.hub.glue(find(task).unwrap(), None).unwrap_err().to_string();
    assert!(file("rte").contains("rte/validation-00000-of-00001.parquet"));
    assert!(file("sst-2").contains("sst2/train-00000-of-00001.parquet"));
}

#[test]
fn bad_labels_are_named_with_their_row() {
    let with = |label: Column| {
        let rows = label.len();
        let text = |name| texts(name, &vec!["x"; rows]);
        rte_error(&write(vec![text("sentence1"), text("sentence2"), label]))
    };
    let wanted = "in column \"label\", wanted 0 (entailment), 1 (not_entailment)";
    assert_eq!(with(labels(&[0, -1])), format!("row 1 (from 0): -1 {wanted}"));
    assert_eq!(with(labels(&[2])), format!("row 0 (from 0): 2 {wanted}"));
    assert_eq!(
        with(Column::new("label".into(), [Some(1_i64), None])),
        format!("row 1 (from 0): nothing {wanted}")
    );
    assert_eq!(
        with(texts("label", &["entailment"])),
        "column \"label\" is of type str, wanted int64"
    );
    assert_eq!(
        with(Column::new("label".into(), [1.0_f64])),
        "column \"label\" is of type f64, wanted int64"
    );
}

#[test]
fn bad_columns_are_named() {
    let missing = write(vec![texts("sentence1", &["x"]), labels(&[0]), idx(1)]);
    assert_eq!(
        rte_error(&missing),
        "no column \"sentence2\"; the file has: sentence1, label, idx"
    );
    let number = write(vec![
        texts("sentence1", &["x"]),
        Column::new("sentence2".into(), [1_i64]),
        labels(&[0]),
    ]);
    assert_eq!(
        rte_error(&number),
        "column \"sentence2\" is of type i64, wanted strings"
    );
    let null = Column::new("sentence2".into(), [Some("x"), None]);
    let null = write(vec![texts("sentence1", &["x", "y"]), null, labels(&[0, 1])]);
    assert_eq!(rte_error(&null), "row 1 (from 0): nothing in column \"sentence2\"");
    let none: [&str; 0] = [];
    let empty = write(vec![texts("sentence1", &none), texts("sentence2", &none), labels(&[])]);
    assert!(rte_error(&empty).starts_with("no examples"));
}

/// Cut anywhere, or with any byte of the footer changed: an error or other examples, but no panic.
#[test]
fn a_broken_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let rte = dir.path().join("rte");
    std::fs::create_dir(&rte).unwrap();
    let sound = sound_rte();
    std::fs::write(rte.join("train-00000-of-00001.parquet"), &sound).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(rte.join("validation-00000-of-00001.parquet"), bytes).unwrap();
        glue_parquet::load(find("rte").unwrap(), dir.path())
    };
    load(&sound).unwrap();
    for end in 0..sound.len() {
        let error = load(&sound[..end]).unwrap_err();
        assert!(matches!(error, DataError::Parquet { .. }), "cut at {end}: {error}");
    }
    let ends = sound.len() - 8;
    let footer = u32::from_le_bytes(sound[ends..ends + 4].try_into().unwrap()) as usize;
    for at in ends - footer..sound.len() {
        let mut broken = sound.clone();
        broken[at] ^= 1;
        if let Err(error) = load(&broken) {
            assert!(
                error.to_string().contains("validation-00000-of-00001.parquet"),
                "{at}: {error}"
            );
        }
    }
}

#[test]
fn a_file_that_rotted_in_the_cache_is_noticed_and_brought_anew() {
    let bench = Bench::new();
    let validation = "rte/validation-00000-of-00001.parquet";
    let files: [(&str, &[u8]); 2] = [
        (
            "rte/train-00000-of-00001.parquet",
            &sound("sentence1", Some("sentence2")),
        ),
        (validation, &{
            write(vec![
                texts("sentence1", &["x"]),
                texts("sentence2", &["y"]),
                labels(&[0]),
            ])
        }),
    ];
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    let rte = find("rte").unwrap();
    let (_, snapshot) = bench.hub.glue(rte, None).unwrap();
    let mut bytes = files[1].1.to_vec();
    bytes[57] ^= 1;
    std::fs::write(snapshot.dir.join(validation), bytes).unwrap();
    let error = bench.hub.glue(rte, None).unwrap_err();
    assert!(
        matches!(&error, HubError::Hash { file, .. } if file == validation),
        "{error}"
    );
    let (data, _) = bench.hub.glue(rte, None).unwrap();
    assert_eq!(data.evals[0].examples, [pair("x", "y", 0)]);
}

/// The same examples by way of the hub's format as from GLUE's own files.
#[test]
fn genuine_data_are_the_same_by_parquet() {
    let Some(data) = testing::data() else { return };
    let root = data.join("glue_data");
    for (id, first, second) in [("mrpc", "sentence1", Some("sentence2")), ("cola", "sentence", None)] {
        let task = find(id).unwrap();
        let Ok(own) = datasets::load(task, &root) else {
            testing::skipped(&format!("no {id} in {}", root.display()));
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(id)).unwrap();
        for (split, name) in [(&own.train, "train"), (&own.evals[0], "validation")] {
            let of = |text: fn(&Example) -> &str| split.examples.iter().map(text).collect::<Vec<_>>();
            let mut columns = vec![texts(first, &of(|e| &e.first))];
            columns.extend(second.map(|name| texts(name, &of(|e| e.second.as_deref().unwrap()))));
            let classes = split.examples.iter().map(|e| match e.label {
                Label::Class(class) => class as i64,
                Label::Score(_) => unreachable!("no such task here"),
            });
            columns.push(labels(&classes.collect::<Vec<_>>()));
            let path = dir.path().join(format!("{id}/{name}-00000-of-00001.parquet"));
            std::fs::write(path, write(columns)).unwrap();
        }
        let read = glue_parquet::load(task, dir.path()).unwrap();
        assert_eq!((read.train, read.evals), (own.train, own.evals));
    }
}
