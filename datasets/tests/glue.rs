//! The GLUE loader on small files made here, bad ones above all, and on the genuine files where `LORA_DATA` has them.

use datasets::{DataError, Example, GlueData, Label, TASKS, TaskKind, find, load};
use tempfile::TempDir;

/// A data folder with these files, given by their paths in it.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

fn load_from(task: &str, dir: &TempDir) -> Result<GlueData, DataError> {
    load(find(task).unwrap(), dir.path())
}

/// RTE with a sound train file and this dev file.
fn rte(dev: &[u8]) -> Result<GlueData, DataError> {
    let dir = folder(&[("RTE/train.tsv", RTE), ("RTE/dev.tsv", dev)]);
    load_from("rte", &dir)
}

/// The message, with the folder's own name left out.
fn message(result: Result<GlueData, DataError>) -> String {
    let text = result.expect_err("this should not load").to_string();
    let words = text
        .split(' ')
        .map(|w| w.rsplit_once("/RTE/").map_or(w.to_owned(), |(_, end)| end.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

fn pair(first: &str, second: &str, class: usize) -> Example {
    Example {
        first: first.into(),
        second: Some(second.into()),
        label: Label::Class(class),
    }
}

const RTE: &[u8] = b"index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt is wet.\tentailment\n";

#[test]
fn names_are_found_however_they_are_written() {
    for name in ["STS-B", "sts-b", "stsb", "STS_B"] {
        assert_eq!(find(name).unwrap().id, "sts-b");
    }
    for task in TASKS {
        assert!(std::ptr::eq(find(task.id).unwrap(), task));
        assert!(std::ptr::eq(find(task.folder).unwrap(), task));
    }
    let unknown = find("mprc").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "unknown task `mprc`; did you mean `mrpc`? known: mnli, sst-2, mrpc, cola, qnli, qqp, rte, sts-b, wnli"
    );
}

#[test]
fn every_layout_is_read() {
    let dir = folder(&[
        ("SST-2/train.tsv", b"sentence\tlabel\na \"fine\" film \t1\n"),
        ("SST-2/dev.tsv", b"sentence\tlabel\ndull\t0\n"),
        (
            "MRPC/train.tsv",
            "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\t\"A b\tC d\n".as_bytes(),
        ),
        (
            "MRPC/dev.tsv",
            b"Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n0\t7\t8\tE\tF\r\n",
        ),
        ("CoLA/train.tsv", b"x01\t1\t\tBirds sing.\nx01\t0\t*\tSing birds the.\n"),
        ("CoLA/dev.tsv", b"x02\t0\t*\tThe the."),
        (
            "QNLI/train.tsv",
            b"index\tquestion\tsentence\tlabel\n0\tWho?\tShe.\tnot_entailment\n",
        ),
        (
            "QNLI/dev.tsv",
            b"index\tquestion\tsentence\tlabel\n0\tWho?\tShe.\tentailment\n\n",
        ),
        ("WNLI/train.tsv", b"index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t1\n"),
        ("WNLI/dev.tsv", b"label\tsentence2\tsentence1\tindex\n0\tB.\tA.\t0\n"),
        (
            "STS-B/train.tsv",
            b"index\tsentence1\tsentence2\tscore\n0\tA.\tB.\t0.000\n1\tA.\tC.\t5.000\n",
        ),
        ("STS-B/dev.tsv", b"index\tsentence1\tsentence2\tscore\n0\tA.\tB.\t3.2\n"),
    ]);
    let first = |task: &str| {
        let data = load_from(task, &dir).unwrap();
        (data.train.examples[0].clone(), data.evals[0].examples[0].clone())
    };
    let single = |text: &str, class| Example {
        first: text.into(),
        second: None,
        label: Label::Class(class),
    };
    assert_eq!(first("sst-2"), (single("a \"fine\" film ", 1), single("dull", 0)));
    assert_eq!(first("mrpc"), (pair("\"A b", "C d", 1), pair("E", "F", 0)));
    assert_eq!(first("cola"), (single("Birds sing.", 1), single("The the.", 0)));
    assert_eq!(load_from("cola", &dir).unwrap().train.examples.len(), 2);
    assert_eq!(first("qnli"), (pair("Who?", "She.", 1), pair("Who?", "She.", 0)));
    // By name: the dev file has its columns the other way round.
    assert_eq!(first("wnli"), (pair("A.", "B.", 1), pair("A.", "B.", 0)));
    let stsb = load_from("sts-b", &dir).unwrap();
    let scores: Vec<Label> = stsb.train.examples.iter().map(|e| e.label).collect();
    assert_eq!(scores, [Label::Score(0.0), Label::Score(5.0)]);
}

#[test]
fn glue_data_may_be_the_folder_or_in_it() {
    let dir = folder(&[("glue_data/RTE/train.tsv", RTE), ("glue_data/RTE/dev.tsv", RTE)]);
    let outer = load_from("rte", &dir).unwrap();
    let inner = load(find("rte").unwrap(), &dir.path().join("glue_data")).unwrap();
    assert_eq!(outer.sha256, inner.sha256);
    assert_eq!(outer.sha256.len(), 64);
    let other = folder(&[
        ("RTE/train.tsv", RTE),
        ("RTE/dev.tsv", &[RTE, b"1\ta\tb\tentailment\n"].concat()),
    ]);
    assert_ne!(load_from("rte", &other).unwrap().sha256, outer.sha256);
}

/// What a file holds is quoted in a line, not printed whole.
#[test]
fn messages_are_short_and_show_no_control_characters() {
    let said = |train: &[u8]| {
        let dir = folder(&[("RTE/train.tsv", train), ("RTE/dev.tsv", RTE)]);
        let error = load_from("rte", &dir).unwrap_err().to_string();
        error.rsplit_once("train.tsv:").unwrap().1.to_owned()
    };
    let lines = "index\tsentence1\tsentence2\tlabels\r1\ta\tb\tentailment\r".repeat(300);
    assert_eq!(
        said(lines.as_bytes()),
        "1: no column \"label\"; the header has: index, sentence1, sentence2, labels; then a carriage return alone: save \
         the file with line feeds at its line ends"
    );
    let wide = format!("index\t{}\n", "\u{1b}[31mx".repeat(3_000));
    assert!(
        said(wide.as_bytes()).ends_with("... (17707 more characters)"),
        "{}",
        said(wide.as_bytes())
    );
    let label = format!(
        "index\tsentence1\tsentence2\tlabel\n1\ta\tb\t\u{7}{}\n",
        "x".repeat(9_000)
    );
    let label = said(label.as_bytes());
    assert!(
        label.starts_with("2: label \"\\u{7}xxx") && label.len() < 300,
        "{label}"
    );
}

const QQP: &[u8] = b"id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";

#[test]
fn short_rows_of_qqp_are_left_out_and_doubles_kept() {
    let rows = b"1\t2\t3\tWhy?\tWhy not?\t0\n4\t5\t6\tcut off\n1\t2\t3\tWhy?\tWhy not?\t0\n";
    let dir = folder(&[
        ("QQP/train.tsv", &[QQP, rows].concat()),
        ("QQP/dev.tsv", &[QQP, rows].concat()),
    ]);
    let data = load_from("qqp", &dir).unwrap();
    assert_eq!(
        data.train.examples,
        [pair("Why?", "Why not?", 0), pair("Why?", "Why not?", 0)]
    );

    let long = [QQP, b"1\t2\t3\tWhy?\tWhy\tnot?\t0\n"].concat();
    let dir = folder(&[("QQP/train.tsv", &long), ("QQP/dev.tsv", &long)]);
    assert!(
        load_from("qqp", &dir)
            .unwrap_err()
            .to_string()
            .ends_with("train.tsv:2: 7 columns, wanted 6 (split on TAB)")
    );

    let short = [QQP, b"cut off\n"].concat();
    let dir = folder(&[("QQP/train.tsv", &short), ("QQP/dev.tsv", &short)]);
    let text = load_from("qqp", &dir).unwrap_err().to_string();
    assert!(
        text.ends_with("train.tsv: no examples in it (1 rows skipped as incomplete or unlabelled)"),
        "{text}"
    );
}

#[test]
fn mnli_as_tsv_and_as_json_lines() {
    let tsv =
        b"index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tA\tB\tneutral\tcontradiction\n1\tC\tD\tneutral\t-\n";
    let hub = b"{\"premise\": \"A\", \"hypothesis\": \"B\", \"label\": 2}\n{\"premise\": \"C\", \"hypothesis\": \"\", \"label\": -1}\n\n";
    let multinli =
        b"{\"sentence1\": \"A\", \"sentence2\": \"B\", \"gold_label\": \"contradiction\", \"genre\": \"x\"}\r\n";
    let dir = folder(&[
        ("MNLI/train.tsv", tsv),
        ("MNLI/dev_matched.jsonl", hub),
        ("MNLI/multinli_1.0_dev_mismatched.jsonl", multinli),
    ]);
    let data = load_from("mnli", &dir).unwrap();
    let names: Vec<&str> = data.evals.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["dev_matched", "dev_mismatched"]);
    assert_eq!(data.task.primary_split(), "dev_matched");
    for split in std::iter::once(&data.train).chain(&data.evals) {
        assert_eq!(split.examples, [pair("A", "B", 2)], "{}", split.name);
    }
}

#[test]
fn bad_json_lines_are_said() {
    let said = |line: &str| {
        let good = "{\"premise\": \"A\", \"hypothesis\": \"B\", \"label\": \"neutral\"}\n";
        let dir = folder(&[("MNLI/train.jsonl", format!("{good}{line}\n").as_bytes())]);
        let text = load_from("mnli", &dir).unwrap_err().to_string();
        text.rsplit_once("/train.jsonl")
            .unwrap_or_else(|| panic!("{text}"))
            .1
            .to_owned()
    };
    assert!(said("{\"premise\": \"A\"").starts_with(":2: not JSON: EOF"));
    assert!(said("[1]").starts_with(":2: wanted a JSON object"));
    assert!(said("\nx").starts_with(":2: not JSON"));
    assert_eq!(
        said("{\"premise\": \"A\", \"label\": 0}"),
        ":2: no key \"hypothesis\" (or \"sentence2\"); the object has: premise, label"
    );
    assert_eq!(
        said("{\"premise\": 3, \"hypothesis\": \"B\", \"label\": 0}"),
        ":2: \"premise\" is 3, wanted a string"
    );
    let known = "known labels: entailment, neutral, contradiction";
    for (label, shown) in [
        ("3", "3"),
        ("1.5", "1.5"),
        ("-2", "-2"),
        ("\"maybe\"", "maybe"),
        ("null", "null"),
        ("\"0\"", "0"),
    ] {
        let line = format!("{{\"premise\": \"A\", \"hypothesis\": \"B\", \"label\": {label}}}");
        assert_eq!(
            said(&line),
            format!(":2: label \"{shown}\" in column \"label\"; {known}")
        );
    }
}

#[test]
fn missing_folders_and_files_name_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    let text = load_from("mnli", &dir).unwrap_err().to_string();
    assert!(
        text.contains("/MNLI or ") && text.contains("/glue_data/MNLI;"),
        "{text}"
    );
    assert!(
        text.contains("--data names the folder that holds MNLI/ with train.tsv, dev_matched.tsv, dev_mismatched.tsv")
    );

    let dir = folder(&[("RTE/train.tsv", RTE)]);
    let text = load_from("rte", &dir).unwrap_err().to_string();
    assert!(
        text.contains("the file of split \"dev\" is missing; wanted ") && text.ends_with("/RTE/dev.tsv"),
        "{text}"
    );

    let dir = folder(&[("RTE/train.tsv/x", b"")]);
    assert!(matches!(load_from("rte", &dir).unwrap_err(), DataError::Read { .. }));
}

#[test]
fn bad_tables_are_said() {
    let head = "index\tsentence1\tsentence2\tlabel\n";
    let with = |row: &str| {
        message(rte(
            format!("{head}0\ta\tb\tentailment\n{row}\n1\ta\tb\tentailment\n").as_bytes()
        ))
    };
    assert_eq!(
        with("1\ta\tentailment"),
        "dev.tsv:3: 3 columns, wanted 4 (split on TAB)"
    );
    assert_eq!(
        with("1\ta\tb\tentailment\t"),
        "dev.tsv:3: 5 columns, wanted 4 (split on TAB)"
    );
    assert_eq!(with(""), "dev.tsv:3: 1 columns, wanted 4 (split on TAB)");
    let known = "known labels: entailment, not_entailment";
    assert_eq!(
        with("1\ta\tb\tEntailment"),
        format!("dev.tsv:3: label \"Entailment\" in column \"label\"; {known}")
    );
    assert_eq!(
        with("1\ta\tb\t0"),
        format!("dev.tsv:3: label \"0\" in column \"label\"; {known}")
    );
    assert_eq!(
        with("1\ta\tb\t"),
        format!("dev.tsv:3: label \"\" in column \"label\"; {known}")
    );
    for empty in ["", "\n", "\u{feff}", head] {
        assert_eq!(message(rte(empty.as_bytes())), "dev.tsv: no examples in it");
    }
    let csv = message(rte(b"index,sentence1,sentence2,label\n0,a,b,entailment\n"));
    assert_eq!(
        csv,
        "dev.tsv:1: no column \"sentence1\"; the header has: index,sentence1,sentence2,label"
    );
    let test = message(rte(b"index\tsentence1\tsentence2\n0\ta\tb\n"));
    assert_eq!(
        test,
        "dev.tsv:1: no column \"label\"; the header has: index, sentence1, sentence2"
    );
}

#[test]
fn wrong_encodings_are_said_with_their_place() {
    let latin = [RTE, b"1\tcaf\xe9\tb\tentailment\n"].concat();
    let offset = RTE.len() + 5;
    assert_eq!(
        message(rte(&latin)),
        format!("dev.tsv:3: not UTF-8 (byte {offset} of the file); save the file as UTF-8")
    );
    let utf16 = message(rte(b"\xff\xfei\0n\0"));
    assert_eq!(
        utf16,
        "dev.tsv:1: not UTF-8 (byte 0 of the file); save the file as UTF-8"
    );
}

#[test]
fn scores_and_numbered_labels_are_checked() {
    let head = "index\tsentence1\tsentence2\tscore\n0\ta\tb\t";
    for bad in ["5.1", "-0.1", "NaN", "inf", "", "high", "3,5"] {
        let dir = folder(&[("STS-B/train.tsv", format!("{head}{bad}\n").as_bytes())]);
        let text = load_from("sts-b", &dir).unwrap_err().to_string();
        let wanted = format!("train.tsv:2: score \"{bad}\" in column \"score\"; wanted a number from 0 to 5");
        assert!(text.ends_with(&wanted), "{text}");
    }
    let dir = folder(&[("CoLA/train.tsv", b"x\t2\t\tBirds sing.\n")]);
    let text = load_from("cola", &dir).unwrap_err().to_string();
    let wanted = "train.tsv:1: label \"2\" in column \"label\"; known labels: 0 (unacceptable), 1 (acceptable)";
    assert!(text.ends_with(wanted), "{text}");
}

/// Rows and classes as counted apart from this code in the genuine files.
#[test]
fn genuine_files_have_their_known_counts() {
    let Some(dir) = testing::data() else { return };
    // Class 0, class 1 in train; the same in dev.
    let counts: [(&str, [usize; 2], [usize; 2]); 3] = [
        ("rte", [1249, 1241], [146, 131]),
        ("mrpc", [1194, 2474], [129, 279]),
        ("cola", [2528, 6023], [322, 721]),
    ];
    let classes =
        |examples: &[Example]| [0, 1].map(|class| examples.iter().filter(|e| e.label == Label::Class(class)).count());
    for (name, train, dev) in counts {
        let data = load(find(name).unwrap(), &dir).unwrap();
        assert_eq!(classes(&data.train.examples), train, "{name}");
        assert_eq!(classes(&data.evals[0].examples), dev, "{name}");
        assert_eq!(data.train.examples.len(), train[0] + train[1], "{name}");
        assert!(
            data.train
                .examples
                .iter()
                .all(|e| e.second.is_some() == data.task.paired()),
            "{name}"
        );
    }
    let stsb = load(find("sts-b").unwrap(), &dir).unwrap();
    assert_eq!((stsb.train.examples.len(), stsb.evals[0].examples.len()), (5749, 1500));
    assert_eq!(stsb.task.kind, TaskKind::Regression { min: 0.0, max: 5.0 });
    // Fields that the rows are cut at nowhere else: no tab or line end is left inside a sentence.
    assert!(
        stsb.train
            .examples
            .iter()
            .all(|e| !e.first.contains(['\t', '\n', '\r']))
    );
}
