//! Records through JSON and the store: exact, whole, and clear about what is broken.

mod common;

use std::path::Path;

use common::{failed, run};
use results::record::SCHEMA;
use results::{Error, Filter, RunRecord, Store};
use serde_json::{Value, json};
use testing::mutate::survives;

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text += &format!(": {error}");
        next = error.source();
    }
    text
}

fn edited(change: impl FnOnce(&mut Value)) -> Result<RunRecord, Error> {
    let mut value: Value = serde_json::from_slice(&run(1, "lora", "mrpc", 1, 0.5).to_json().unwrap()).unwrap();
    // Those of earlier schemas need no checksum.
    value.as_object_mut().unwrap().remove("checksum");
    value["schema"] = json!(4);
    change(&mut value);
    RunRecord::from_json(value.to_string().as_bytes(), Path::new("some/run.json"))
}

#[test]
fn floats_come_back_bit_for_bit() {
    let awkward = [
        0.1 + 0.2,
        1.0 / 3.0,
        5e-324,
        f64::MAX,
        123_456_789.123_456_79,
        -0.0,
        8.41e21,
        2.225_073_858_507_201e-308,
    ];
    for value in awkward {
        let mut before = run(1, "lora", "mrpc", u64::MAX, value);
        before.evals[0].train_loss = Some(value);
        before.timing.tokens_per_second = Some(value);
        let after = RunRecord::from_json(&before.to_json().unwrap(), Path::new("x")).unwrap();
        assert_eq!(before, after);
        assert_eq!(
            before.best.unwrap().value.to_bits(),
            after.best.unwrap().value.to_bits()
        );
        assert_eq!(value.to_bits(), after.evals[0].train_loss.unwrap().to_bits());
    }
}

#[test]
fn what_is_not_finite_becomes_null_or_is_refused() {
    let mut record = run(1, "lora", "cola", 1, 0.5);
    record.evals[0].train_loss = Some(f64::NAN);
    record.evals[0]
        .metrics
        .insert("dev/matthews".into(), Some(f64::INFINITY));
    let text = String::from_utf8(record.to_json().unwrap()).unwrap();
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    let back = RunRecord::from_json(text.as_bytes(), Path::new("x")).unwrap();
    assert_eq!(
        (back.evals[0].train_loss, back.evals[0].metrics["dev/matthews"]),
        (None, None)
    );

    record.best.as_mut().unwrap().value = f64::NAN;
    assert!(matches!(record.to_json(), Err(Error::Invalid { .. })));
}

#[test]
fn numbers_leave_out_time_memory_commit_and_host_alone() {
    let a = run(1, "lora", "mrpc", 1, 0.5);
    let mut b = a.clone();
    b.timing.seconds = 99.0;
    b.timing.resumed = 3;
    b.memory.peak_rss_mib = Some(7.0);
    b.provenance.commit = None;
    b.provenance.dirty = true;
    b.provenance.host.cpu = "another".into();
    assert_ne!(a, b);
    assert_eq!(a.numbers(), b.numbers());
    for change in [
        (|r: &mut RunRecord| r.evals[1].train_loss = Some(0.2)) as fn(&mut RunRecord),
        |r| r.provenance.threads = 3,
        |r| r.provenance.weights_sha256 = Some("f".into()),
        |r| r.config["optim"]["lr"] = json!(0.2),
    ] {
        let mut c = a.clone();
        change(&mut c);
        assert_ne!(a.numbers(), c.numbers());
    }
}

#[test]
fn broken_records_are_refused_with_file_and_reason() {
    assert!(edited(|_| {}).is_ok());
    let said = |change: fn(&mut Value)| chain(&edited(change).unwrap_err());
    let unknown = said(|v| v["params"]["heads"] = json!(3));
    assert!(
        unknown.contains("some/run.json") && unknown.contains("heads") && unknown.contains("line"),
        "{unknown}"
    );
    assert!(said(|v| v["colour"] = json!("red")).contains("colour"));
    assert!(said(|v| drop(v.as_object_mut().unwrap().remove("seed"))).contains("seed"));
    assert!(said(|v| drop(v.as_object_mut().unwrap().remove("schema"))).contains("schema"));
    assert!(said(|v| v["status"] = json!("done")).contains("finished"));
    let newer = said(|v| {
        v["schema"] = json!(SCHEMA + 1);
        v["tomorrow"] = json!(true);
    });
    assert!(
        newer.contains(&format!("schema {} is newer", SCHEMA + 1)) && newer.contains("update"),
        "{newer}"
    );
    assert!(said(|v| v["schema"] = json!(0)).contains("schema is 0"));
    assert!(said(|v| v["id"] = json!("../../etc/passwd")).contains("hex"));
    assert!(said(|v| v["best"]["epoch"] = json!(9)).contains("without evaluation"));
    for text in ["", "{", "[]", "\u{0}\u{0}", "null", "{\"schema\": \"one\"}"] {
        let error = RunRecord::from_json(text.as_bytes(), Path::new("r.json")).unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { .. }) && chain(&error).contains("r.json"),
            "{text:?}"
        );
    }
}

#[test]
fn an_edited_record_is_refused_and_one_from_before_checksums_is_read() {
    let record = run(1, "lora", "mrpc", 1, 0.5);
    let text = String::from_utf8(record.to_json().unwrap()).unwrap();
    let read = |text: &str| RunRecord::from_json(text.as_bytes(), Path::new("runs/a.json"));
    assert_eq!(read(&text).unwrap(), record);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[2].starts_with("  \"checksum\": \""), "{text}");
    let without = text.replace(&format!("{}\n", lines[2]), "");
    assert_eq!(without.as_bytes(), record.content().unwrap());
    let edited = [
        text.replace("0.5", "0.6"),
        text.replace("\"checksum\": \"", "\"checksum\": \"0"),
        text.replace("\"made-up numbers\"", "\"made-up  numbers\""),
        text.trim_end().to_string(),
        without.clone(),
    ];
    for text in edited {
        let said = chain(&read(&text).unwrap_err());
        assert!(
            said.contains("runs/a.json") && said.contains("damaged or edited"),
            "{said}"
        );
    }
    let old = without.replace(&format!("\"schema\": {SCHEMA}"), "\"schema\": 3");
    assert_eq!(read(&old).unwrap().schema, 3);
    // A record of an earlier version gets a checksum when it is stored, and then needs it.
    let sealed = String::from_utf8(read(&old).unwrap().to_json().unwrap()).unwrap();
    assert_eq!(read(&sealed).unwrap().schema, 3);
    assert!(read(&sealed.replace("0.5", "0.6")).is_err());
}

#[test]
fn a_sweep_of_the_store_deletes_what_killed_processes_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let path = store.put(&run(1, "lora", "mrpc", 1, 0.5)).unwrap();
    let left = std::cell::RefCell::new(Vec::new());
    for folder in ["runs", "weights"] {
        // What a process that is killed in the middle of a write leaves.
        let path = dir.path().join(folder).join("0000000000000009.json");
        let kill = |temporary: &Path| {
            let copy = temporary.with_file_name(format!("{}x.tmp", temporary.file_name().unwrap().to_string_lossy()));
            left.borrow_mut().push(copy.clone());
            std::fs::copy(temporary, copy).map(drop)
        };
        support::write_atomic_with(&path, kill).unwrap();
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(store.sweep().unwrap(), 2);
    assert!(left.into_inner().iter().all(|path| !path.exists()));
    assert!(path.exists());
    assert_eq!(Store::open(dir.path().join("none")).unwrap().sweep().unwrap(), 0);
}

/// Damages a record many times.
fn is_never_taken_for_whole(record: &[u8]) {
    let outcomes = survives("a.json", record, |bytes| {
        RunRecord::from_json(bytes, Path::new("a.json"))
            .map(drop)
            .map_err(|e| chain(&e))
    });
    assert_eq!(outcomes.taken, 0, "{outcomes:?}");
}

#[test]
fn damaged_records_are_never_taken_for_whole() {
    is_never_taken_for_whole(&run(1, "lora", "mrpc", 1, 0.5).to_json().unwrap());
}

/// Of the committed records too, which are of earlier schemas.
#[test]
fn damaged_committed_records_are_never_taken_for_whole() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs");
    let mut paths: Vec<_> = std::fs::read_dir(runs).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    is_never_taken_for_whole(&std::fs::read(&paths[0]).unwrap());
}

#[test]
fn a_folder_that_is_missing_is_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("not/yet")).unwrap();
    assert!(store.records().unwrap().is_empty());
    assert!(!store.has("0000000000000001").unwrap());
    assert_eq!(store.get("0000000000000001").unwrap(), None);
    let record = run(1, "lora", "mrpc", 1, 0.5);
    store.put(&record).unwrap();
    assert_eq!(store.get(&record.id).unwrap(), Some(record));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(
        Store::open(dir.path().join("file"))
            .unwrap_err()
            .to_string()
            .contains("not a folder")
    );
}

#[test]
fn a_success_replaces_the_failure_and_a_failure_never_the_success() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (bad, good) = (
        failed(1, "lora", "mrpc", 1, "out of memory"),
        run(1, "lora", "mrpc", 1, 0.5),
    );
    assert_eq!(
        store.put(&bad).unwrap(),
        dir.path().join("failed/0000000000000001.json")
    );
    assert!(!store.has(&bad.id).unwrap());
    assert_eq!(store.failed().unwrap().records, std::slice::from_ref(&bad));
    store.put(&good).unwrap();
    assert!(store.has(&good.id).unwrap() && store.failed().unwrap().records.is_empty());
    store.put(&bad).unwrap();
    assert_eq!(store.records().unwrap(), [good]);
    assert!(store.select(&Filter::default()).unwrap().failed.is_empty());
}

#[test]
fn listing_is_sorted_recursive_and_names_every_broken_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for n in [3, 1, 2] {
        store.put(&run(n, "lora", "mrpc", n, 0.5)).unwrap();
    }
    let runs = dir.path().join("runs");
    std::fs::create_dir(runs.join("older")).unwrap();
    std::fs::rename(
        runs.join("0000000000000002.json"),
        runs.join("older/0000000000000002.json"),
    )
    .unwrap();
    std::fs::write(runs.join(".abandoned.tmp"), "{").unwrap();
    std::fs::write(runs.join("README.md"), "not a record").unwrap();
    let ids = |records: &[RunRecord]| records.iter().map(|r| r.seed).collect::<Vec<_>>();
    assert_eq!(ids(&store.records().unwrap()), [1, 3, 2]);
    assert!(store.has("0000000000000002").unwrap());
    // A record in a subfolder is replaced where it lies.
    assert!(
        store
            .put(&run(2, "lora", "mrpc", 2, 0.6))
            .unwrap()
            .starts_with(runs.join("older"))
    );

    let whole = std::fs::read(runs.join("0000000000000003.json")).unwrap();
    std::fs::write(runs.join("0000000000000003.json"), &whole[..whole.len() / 2]).unwrap();
    std::fs::copy(runs.join("0000000000000001.json"), runs.join("copy.json")).unwrap();
    std::fs::copy(
        runs.join("0000000000000001.json"),
        runs.join("older/0000000000000001.json"),
    )
    .unwrap();
    let strict = chain(&store.records().unwrap_err());
    assert!(
        strict.contains("0000000000000003.json") && strict.contains("delete the file"),
        "{strict}"
    );
    let listing = store.listing().unwrap();
    assert_eq!(ids(&listing.records), [1, 2]);
    let said: Vec<String> = listing.bad.iter().map(|e| chain(e)).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("EOF"), "{said:?}");
    assert!(
        said[1].contains("copy.json: holds run 0000000000000001; rename"),
        "{said:?}"
    );
    assert!(said[2].contains("stored twice"), "{said:?}");
    let (selection, bad) = store.select_readable(&Filter::default()).unwrap();
    assert_eq!((selection.runs.len(), bad.len()), (2, 3));
}

#[test]
fn concurrent_puts_of_one_id_leave_one_whole_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put(&run(7, "lora", "mrpc", 0, 0.5)).unwrap();
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..20 {
                    store.put(&run(7, "lora", "mrpc", seed, 0.5)).unwrap();
                    store.put(&failed(8, "lora", "mrpc", seed, "x")).unwrap();
                    store.put(&run(8, "lora", "mrpc", seed, 0.5)).unwrap();
                }
            });
        }
        for _ in 0..40 {
            assert!(
                store.records().unwrap().len() <= 2,
                "a reader sees whole records all the time"
            );
        }
    });
    assert_eq!(store.records().unwrap().len(), 2);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("runs"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "no temporary file stays: {left:?}");
}

#[test]
fn filters_agree_in_every_field() {
    let a = run(1, "lora", "mrpc", 1, 0.5);
    assert!(Filter::default().admits(&a));
    assert!(Filter::ids([a.id.clone()]).admits(&a) && !Filter::ids(["f".repeat(16)]).admits(&a));
    let with = |preset: &str, model: &str| Filter {
        experiment: Some("glue".into()),
        preset: Some(preset.into()),
        model: Some(model.into()),
        ..Filter::default()
    };
    assert!(with("made-up", "tiny").admits(&a));
    assert!(!with("made-up", "huge").admits(&a) && !with("real", "tiny").admits(&a));
}
