//! The data sets of texts from the hub's converted parquet files, whose shapes `make_parquet.py` has written here.

use datasets::hub::HubError;
use datasets::sql::Cell;
use datasets::text::{self, CONVERTED, Dataset, TextData};

use crate::{Bench, FIRST};

fn file(id: &str) -> Vec<u8> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hub/parquet");
    std::fs::read(format!("{dir}/{id}.parquet")).unwrap()
}

/// All splits of the data set, each of the same rows.
fn committed(bench: &Bench, dataset: &Dataset, bytes: &[u8]) {
    let paths: Vec<String> = dataset
        .splits
        .iter()
        .map(|s| format!("{}/{}/0000.parquet", dataset.hub.config, s.hub))
        .collect();
    let mut files: Vec<(&str, &[u8])> = paths.iter().map(|p| (p.as_str(), bytes)).collect();
    files.push(("other/train/0000.parquet", b"not asked for"));
    let repo = format!("datasets/{}", dataset.hub.id);
    bench.stand_in.commit(&repo, CONVERTED, FIRST, &files);
}

fn loaded(id: &str) -> TextData {
    let (bench, dataset) = (Bench::new(), text::find(id).unwrap());
    committed(&bench, dataset, &file(id));
    let (data, snapshot) = bench.hub.texts(dataset, &["dev", "test"], None, None).unwrap();
    assert_eq!(
        (snapshot.id.as_str(), snapshot.commit.as_str()),
        (dataset.hub.id, FIRST)
    );
    assert_eq!(data.splits.iter().map(|s| s.name).collect::<Vec<_>>(), ["dev", "test"]);
    // A second time from the cache alone.
    let offline = bench
        .hub
        .clone()
        .offline(true)
        .texts(dataset, &["dev", "test"], None, None);
    let (again, _) = offline.unwrap();
    assert_eq!((&again.splits, &again.sha256), (&data.splits, &data.sha256));
    data
}

fn pairs(data: &TextData) -> Vec<(String, String)> {
    let dev = data.split("dev").unwrap();
    dev.pairs
        .iter()
        .map(|p| (p.context.clone(), p.completion.clone()))
        .collect()
}

fn pair(context: &str, completion: &str) -> (String, String) {
    (context.to_owned(), completion.to_owned())
}

#[test]
fn e2e_and_samsum() {
    let data = loaded("e2e");
    let context = "name : The Oak | Type : pub";
    let wanted = [
        pair(context, "The Oak isn 't a café , it 's a pub ."),
        pair(context, "A pub : The Oak ."),
    ];
    assert_eq!(pairs(&data), wanted);
    assert_eq!(
        data.splits[1].pairs[0].completion,
        "The Oak is n't a café , it 's a pub ."
    );
    let data = loaded("samsum");
    assert_eq!(pairs(&data), [pair("Ann: Hi\nBo: Hello\n\n", "Ann and Bo greet.")]);
    assert_eq!(data.splits[0].left_out, 1);
}

#[test]
fn webnlg_and_dart() {
    let data = loaded("webnlg");
    let context = "A_B : leaderName : C | C : age : 7";
    assert_eq!(pairs(&data), [pair(context, "C leads."), pair(context, "C.")]);
    assert!(
        data.splits[0].prompts[0]
            .category
            .as_ref()
            .is_some_and(|c| c.name == "Airport" && c.seen)
    );
    let context = "A & B : joined : 1973";
    assert_eq!(
        pairs(&loaded("dart")),
        [pair(context, "A & B joined."), pair(context, "It joined.")]
    );
}

#[test]
fn wikisql_with_its_tables() {
    let data = loaded("wikisql");
    let context = "Table: Draft\nColumns: Pick # | Name\nQuestion: Who was first?";
    assert_eq!(
        pairs(&data),
        [pair(context, "SELECT Name FROM table WHERE \"Pick #\" = 1")]
    );
    let question = data.splits[0].prompts[0].question.as_ref().unwrap();
    let first: Vec<&Cell> = question.table.rows.iter().map(|r| &r[0]).collect();
    assert_eq!(first, [&Cell::Number(1.0), &Cell::Number(2.5)]);
}

#[test]
fn what_is_missing_or_broken_is_said() {
    let (bench, dataset) = (Bench::new(), text::find("dart").unwrap());
    let repo = format!("datasets/{}", dataset.hub.id);
    bench
        .stand_in
        .commit(&repo, CONVERTED, FIRST, &[("default/train/0000.parquet", b"x")]);
    let error = bench.hub.texts(dataset, &["dev"], None, None).unwrap_err();
    assert!(matches!(error, HubError::NoFile { .. }), "{error}");
    assert!(error.to_string().contains("default/validation/0000.parquet"), "{error}");
    let error = bench
        .hub
        .texts(dataset, &["train"], None, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a sound parquet file"), "{error}");
    committed(&bench, dataset, &file("samsum"));
    let error = bench.hub.texts(dataset, &["dev"], None, None).unwrap_err().to_string();
    assert!(error.contains("row 0 (from 0): missing field `tripleset`"), "{error}");
}

/// Whatever bytes are changed: an answer or an error, and no panic.
#[test]
fn changed_bytes_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = text::find("webnlg").unwrap();
    let folder = dir.path().join("webnlg_challenge_2017/dev");
    std::fs::create_dir_all(&folder).unwrap();
    let sound = file("webnlg");
    for at in (0..sound.len()).step_by(7) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x55;
        std::fs::write(folder.join("0000.parquet"), bytes).unwrap();
        let _ = dataset.load(dir.path(), &["dev"], None);
    }
}
