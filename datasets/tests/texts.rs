//! The data sets of texts: on small files made here, bad ones above all, and on the genuine files where `LORA_DATA` has them.

use std::io::Write;
use std::path::Path;

use datasets::DataError;
use datasets::text::e2e;
use datasets::text::{self, DATASETS, TextData, TextSplit};
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

fn load_dev(id: &str, files: &[(&str, &[u8])]) -> Result<TextData, DataError> {
    text::find(id).unwrap().load(folder(files).path(), &["dev"], None)
}

fn dev(id: &str, files: &[(&str, &[u8])]) -> TextSplit {
    load_dev(id, files).unwrap().splits.remove(0)
}

/// The message, with the folder's own name left out.
fn problem(id: &str, files: &[(&str, &[u8])]) -> String {
    let dir = folder(files);
    let error = text::find(id).unwrap().load(dir.path(), &["dev"], None);
    let text = error.expect_err("this should not load").to_string();
    text.replace(&format!("{}/", dir.path().display()), "")
}

fn rows(split: &TextSplit) -> Vec<(&str, &str)> {
    split
        .pairs
        .iter()
        .map(|p| (p.context.as_str(), p.completion.as_str()))
        .collect()
}

fn read_genuine(id: &str, dir: &Path, splits: &[&str]) -> TextData {
    text::find(id).unwrap().load(dir, splits, None).unwrap()
}

#[test]
fn names_are_found_and_unknown_ones_refused() {
    for dataset in DATASETS {
        assert!(std::ptr::eq(text::find(&dataset.id.to_uppercase()).unwrap(), *dataset));
    }
    let unknown = text::find("xsumm").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "unknown data set \"xsumm\"; known data sets: e2e, wikisql, samsum, webnlg, dart, xsum"
    );
    let split = text::find("dart")
        .unwrap()
        .load(Path::new("."), &["valid"], None)
        .unwrap_err();
    assert_eq!(
        split.to_string(),
        "data set dart has no split \"valid\"; its splits: train, dev, test"
    );
}

#[test]
fn e2e_from_csv_and_from_lines_is_the_same() {
    let csv = "mr,ref\r\n\"name[The Mill], eatType[pub]\",\"The Mill, a pub.\"\r\n\"name[The Mill], eatType[pub]\",It's a pub!\r\n";
    let lines = "name : The Mill | Type : pub||The Mill , a pub . \nname : The Mill | Type : pub||It 's a pub ! \n";
    let (from_csv, from_lines) = (
        dev("e2e", &[("e2e/devset.csv", csv.as_bytes())]),
        dev("e2e", &[("valid.txt", lines.as_bytes())]),
    );
    assert_eq!(from_csv, from_lines);
    assert_eq!(
        rows(&from_csv),
        [
            ("name : The Mill | Type : pub", "The Mill , a pub ."),
            ("name : The Mill | Type : pub", "It 's a pub !")
        ]
    );
    assert_eq!(from_csv.prompts.len(), 1);
    assert_eq!(from_csv.prompts[0].references, ["The Mill , a pub .", "It 's a pub !"]);
}

#[test]
fn e2e_says_what_is_wrong_and_where() {
    let csv = |text: &str| problem("e2e", &[("devset.csv", text.as_bytes())]);
    assert_eq!(
        csv("mr,text\na,b\n"),
        "devset.csv:1: no column \"ref\"; the header has: mr, text"
    );
    assert_eq!(
        csv("mr,ref\nname[A],ok\nname A,b\n"),
        "devset.csv:3: \"name A\" is not of the form name[value], name[value]"
    );
    assert_eq!(
        csv("mr,ref\nname[A],b, c\n"),
        "devset.csv:2: 3 columns, wanted 2 (CSV: texts with commas stand in double quotes)"
    );
    assert_eq!(csv("mr,ref\n"), "devset.csv: no examples in it");
    assert_eq!(
        problem("e2e", &[("valid.txt", b"a||b\nc d\n")]),
        "valid.txt:2: no \"||\" between slots and text"
    );
    assert_eq!(
        problem("e2e", &[("valid.txt", b"a||b\nc||\xff\n")]),
        "valid.txt:2: not UTF-8 (byte 8 of the file); save the file as UTF-8"
    );
    assert_eq!(
        problem("e2e", &[("x", b"")]),
        "task e2e: the file of split \"dev\" is missing; wanted e2e/devset.csv or e2e/valid.txt or e2e/lora_valid.txt or devset.csv or valid.txt or lora_valid.txt"
    );
    assert_eq!(
        problem("e2e", &[("valid.txt", b"a|| \n")]),
        "valid.txt: no examples in it (1 rows skipped as incomplete or unlabelled)"
    );
}

/// Documents in one line have no line to name, so the entry is named.
#[test]
fn the_entry_is_named_in_documents_of_one_line() {
    let said = |id: &str, file: &str, text: &str| problem(id, &[(file, text.as_bytes())]);
    let good = r#"{"dialogue": "A: hi", "summary": "They greet."}"#;
    assert_eq!(
        said(
            "samsum",
            "val.json",
            &format!(r#"[{good}, {good}, {{"dialogue": "A", "summary": 7}}]"#)
        ),
        "val.json:1: [2].summary: invalid type: integer `7`, expected a string"
    );
    assert_eq!(
        said("samsum", "val.json", &format!("[{good}, {good}, 7]")),
        "val.json:1: [2]: invalid type: integer `7`, expected an object with dialogue and summary"
    );
    let entry = r#"{"category": "Food", "lexicalisations": [{"comment": "good"}], "modifiedtripleset": []}"#;
    assert_eq!(
        said("webnlg", "dev.json", &format!(r#"{{"entries": [{{"1": {entry}}}]}}"#)),
        "dev.json:1: entries[0].1.lexicalisations[0]: missing field `lex`"
    );
    let long = format!(r#"[{{"dialogue": "A", "summary": ["{}"]}}]"#, "x".repeat(9_000));
    assert!(said("samsum", "val.json", &long).len() < 400);
}

#[test]
fn xsum_is_read_from_json_lines() {
    let lines = "{\"document\": \"It rained.\\r\\nAll day.\", \"summary\": \" Rain. \", \"id\": \"1\"}\n{\"document\": \"\", \"summary\": \"x\"}\n";
    let split = dev("xsum", &[("xsum/validation.jsonl", lines.as_bytes())]);
    assert_eq!(rows(&split), [("It rained.\nAll day.\n\n", "Rain.")]);
    assert_eq!(split.left_out, 1);
}

#[test]
fn samsum_leaves_empty_chats_out_and_takes_any_prompt() {
    let json = r#"[{"id": "1", "dialogue": "A: hi\r\nB: ho", "summary": "They greet. "},
        {"id": "2", "dialogue": "", "summary": "Nothing."}, {"id": "3", "dialogue": null, "summary": "Nothing."}]"#;
    let files: &[(&str, &[u8])] = &[("val.json", json.as_bytes())];
    let split = dev("samsum", files);
    assert_eq!(rows(&split), [("A: hi\nB: ho\n\n", "They greet.")]);
    assert_eq!(split.left_out, 2);
    let dir = folder(files);
    let own = |template| text::find("samsum").unwrap().load(dir.path(), &["dev"], Some(template));
    let prompt = own("Sum up:\n{dialogue}\nTL;DR:").unwrap().splits[0].prompts[0]
        .context
        .clone();
    assert_eq!(prompt, "Sum up:\nA: hi\nB: ho\nTL;DR:");
    assert!(
        own("{text}")
            .unwrap_err()
            .to_string()
            .contains("no placeholder {text}; known: {dialogue}")
    );
    assert_eq!(
        problem("samsum", &[("val.json", b"[{\"dialogue\": \"A\",\n \"summary\": 3}]")]),
        "val.json:2: [0].summary: invalid type: integer `3`, expected a string"
    );
    assert_eq!(
        problem("samsum", &[("val.json", b"[{\"dialogue\": \"A\",\n \"summary\"")]),
        "val.json:2: [0]: not JSON: EOF while parsing an object"
    );
}

const TABLES: &str = r#"{"id": "1-1", "header": ["Pick #", "Name"], "types": ["real", "text"], "rows": [[1, "Ann"], [2, "Bo"]], "page_title": "Draft"}"#;

fn wikisql(question: &str, tables: Option<&str>) -> Vec<(&'static str, Vec<u8>)> {
    let mut files = vec![("wikisql/dev.jsonl", question.as_bytes().to_vec())];
    files.extend(tables.map(|t| ("wikisql/dev.tables.jsonl", t.as_bytes().to_vec())));
    files
}

fn borrowed<'a>(files: &'a [(&'static str, Vec<u8>)]) -> Vec<(&'a str, &'a [u8])> {
    files.iter().map(|(n, b)| (*n, b.as_slice())).collect()
}

const QUESTION: &str = r#"{"phase": 1, "table_id": "1-1", "question": "Who was first?", "sql": {"sel": 1, "agg": 0, "conds": [[0, 0, 1]]}}"#;

#[test]
fn wikisql_with_and_without_tables() {
    let files = wikisql(QUESTION, Some(TABLES));
    let split = dev("wikisql", &borrowed(&files));
    assert_eq!(
        rows(&split),
        [(
            "Table: Draft\nColumns: Pick # | Name\nQuestion: Who was first?",
            "SELECT Name FROM table WHERE \"Pick #\" = 1"
        )]
    );
    let question = split.prompts[0].question.as_ref().unwrap();
    assert!(question.table.columns[0].number && question.table.rows.len() == 2);
    let files = wikisql(QUESTION, None);
    let split = dev("wikisql", &borrowed(&files));
    assert_eq!(
        rows(&split),
        [("Question: Who was first?", "SELECT col1 FROM table WHERE col0 = 1")]
    );
}

#[test]
fn wikisql_says_what_is_wrong_and_where() {
    let said = |question: &str, tables: &str| problem("wikisql", &borrowed(&wikisql(question, Some(tables))));
    let headless = TABLES.replace("[\"Pick #\", \"Name\"]", "[]");
    assert_eq!(
        said(QUESTION, &headless),
        "wikisql/dev.tables.jsonl:1: table \"1-1\" has no header"
    );
    assert_eq!(
        said(QUESTION, r#"{"id": "1-1"}"#),
        "wikisql/dev.tables.jsonl:1: missing field `header`"
    );
    let two = format!("{QUESTION}\n\n{}", QUESTION.replace("\"sel\": 1", "\"sel\": 2"));
    assert_eq!(
        said(&two, TABLES),
        "wikisql/dev.jsonl:3: no column 2 in table \"1-1\", which has 2"
    );
    assert_eq!(
        said(&QUESTION.replace("1-1", "2-2"), TABLES),
        "wikisql/dev.jsonl:1: no table \"2-2\" in dev.tables.jsonl"
    );
    assert_eq!(
        said(&QUESTION.replace("\"agg\": 0", "\"agg\": 9"), TABLES),
        "wikisql/dev.jsonl:1: no aggregate has number 9"
    );
    let ragged = TABLES.replace("[2, \"Bo\"]", "[2]");
    assert_eq!(
        said(QUESTION, &ragged),
        "wikisql/dev.tables.jsonl:1: table \"1-1\": row 1 (from 0) has 1 cells, the header has 2"
    );
}

const WEBNLG: &str = r#"{"entries": [{"1": {"category": "Airport", "modifiedtripleset": [
    {"subject": "A_B", "property": "leaderName", "object": "C"}, {"subject": "C", "property": "age", "object": "7"}],
    "lexicalisations": [{"comment": "good", "lex": "C leads."}, {"comment": "toFix", "lex": "No."}, {"comment": "good", "lex": "C."}]}},
    {"2": {"category": "Artist", "modifiedtripleset": [{"subject": "A", "property": "b", "object": "C"}],
    "lexicalisations": [{"comment": "toFix", "lex": "No."}]}}]}"#;

#[test]
fn webnlg_keeps_what_is_marked_good() {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(WEBNLG.as_bytes()).unwrap();
    let split = dev("webnlg", &[("dev.json", WEBNLG.as_bytes())]);
    let packed = gz.finish().unwrap();
    assert_eq!(dev("webnlg", &[("dev.json.gz", &packed)]), split);
    let context = "A_B : leaderName : C | C : age : 7";
    assert_eq!(rows(&split), [(context, "C leads."), (context, "C.")]);
    assert_eq!(split.left_out, 1);
    let category = |split: &TextSplit| split.prompts[0].category.as_ref().map(|c| (c.name.clone(), c.seen));
    assert_eq!(category(&split), Some(("Airport".to_owned(), true)));
    let artist = dev(
        "webnlg",
        &[("dev.json", WEBNLG.replace("Airport", "Artist").as_bytes())],
    );
    assert_eq!(category(&artist), Some(("Artist".to_owned(), false)));
    assert_eq!(
        problem(
            "webnlg",
            &[("dev.json", WEBNLG.replace("\"lex\": \"C.\"", "\"x\": 1").as_bytes())]
        ),
        "dev.json:3: entries[0].1.lexicalisations[2]: missing field `lex`"
    );
    assert!(problem("webnlg", &[("dev.json.gz", &packed[..40])]).contains("dev.json.gz: cannot be read"));
}

const DART_XML: &str = "<?xml version=\"1.0\"?>\n<benchmark><entries>\n<entry category=\"MISC\" eid=\"Id1\" size=\"2\">\n<modifiedtripleset>\n<mtriple>A &amp; B | JOINED | 1973</mtriple>\n<mtriple>A &amp; B | Location | &#201;vry</mtriple>\n</modifiedtripleset>\n<lex comment=\"x\" lid=\"Id1\">A &amp; B joined.</lex>\n<lex comment=\"x\" lid=\"Id2\">It joined.</lex>\n</entry>\n</entries></benchmark>\n";

#[test]
fn dart_from_json_and_from_xml_is_the_same() {
    let json = r#"[{"tripleset": [["A & B", "JOINED", "1973"], ["A & B", "Location", "Évry"]], "subtree_was_extended": false,
        "annotations": [{"source": "x", "text": "A & B joined."}, {"source": "x", "text": "It joined."}]}]"#;
    let split = dev("dart", &[("dart-v1.1.1-full-dev.json", json.as_bytes())]);
    assert_eq!(split, dev("dart", &[("dart-v1.1.1-full-dev.xml", DART_XML.as_bytes())]));
    let context = "A & B : joined : 1973 | A & B : location : Évry";
    assert_eq!(rows(&split), [(context, "A & B joined."), (context, "It joined.")]);
    let xml = |text: String| problem("dart", &[("dart-v1.1.1-full-dev.xml", text.as_bytes())]);
    assert_eq!(
        xml(DART_XML.replace("B | JOINED |", "B JOINED |")),
        "dart-v1.1.1-full-dev.xml:5: \"A & B JOINED | 1973\" is no triple of the form subject | relation | object"
    );
    let unclosed = xml(DART_XML.replace("</lex>\n</entry>", "\n</entry>"));
    assert!(
        unclosed.starts_with("dart-v1.1.1-full-dev.xml:10: not XML: "),
        "{unclosed}"
    );
    assert!(xml(DART_XML.replace("&#201;", "&eacute;")).ends_with("xml:6: unknown entity &eacute;"));
    assert!(xml(DART_XML[..200].to_owned()).contains(".xml:"));
    assert_eq!(
        problem(
            "dart",
            &[(
                "dart-v1.1.1-full-dev.json",
                b"[{\"tripleset\": [[\"a\", \"b\"]],\n\"annotations\": []}]"
            )]
        ),
        "dart-v1.1.1-full-dev.json:1: [0].tripleset[0]: invalid length 2, expected an array of length 3"
    );
}

#[test]
fn genuine_e2e_equals_the_line_form_line_for_line() {
    let Some(dir) = testing::data() else { return };
    let data = read_genuine("e2e", &dir, &["dev", "test", "train"]);
    for (split, file) in data.splits.iter().zip(["lora_valid.txt", "lora_test.txt"]) {
        let wanted = std::fs::read_to_string(dir.join("e2e").join(file)).unwrap();
        let wanted: Vec<&str> = wanted.lines().collect();
        assert_eq!(split.pairs.len(), wanted.len());
        let wrong = |(pair, wanted): &(&text::Pair, &&str)| e2e::line(pair) != **wanted;
        let wrong: Vec<_> = split.pairs.iter().zip(&wanted).filter(wrong).collect();
        assert!(
            wrong.is_empty(),
            "{} lines differ, the first: {:#?}",
            wrong.len(),
            wrong[0]
        );
    }
    let sizes: Vec<_> = data.splits.iter().map(|s| (s.pairs.len(), s.prompts.len())).collect();
    assert_eq!(sizes, [(4672, 547), (4693, 630), (42_061, 4862)]);
}

#[test]
fn genuine_samsum_webnlg_and_dart_have_their_known_sizes() {
    let Some(dir) = testing::data() else {
        return;
    };
    let sizes = |id: &str, splits: &[&str]| -> Vec<_> {
        let data = read_genuine(id, &dir, splits);
        data.splits
            .iter()
            .map(|s| (s.pairs.len(), s.prompts.len(), s.left_out))
            .collect()
    };
    let samsum = sizes("samsum", &["train", "dev", "test"]);
    assert_eq!(
        samsum.iter().map(|s| (s.0, s.2)).collect::<Vec<_>>(),
        [(14_731, 1), (818, 0), (819, 0)]
    );
    assert_eq!(sizes("webnlg", &["train", "dev"]), [(18_025, 6888, 5), (2258, 870, 1)]);
    assert_eq!(sizes("dart", &["dev"]), [(6980, 2721, 0)]);
}

#[test]
fn genuine_wikisql_is_read_from_both_forms() {
    let Some(dir) = testing::data() else { return };
    let lines = read_genuine("wikisql", &dir, &["dev"]);
    assert_eq!(lines.splits[0].prompts.len(), 8421);
    let only = tempfile::tempdir().unwrap();
    let name = "text2sql-data_wikisql.json.bz2";
    std::fs::copy(dir.join("wikisql").join(name), only.path().join(name)).unwrap();
    let data = read_genuine("wikisql", only.path(), &["train", "dev", "test"]);
    let sizes: Vec<_> = data.splits.iter().map(|s| (s.prompts.len(), s.left_out)).collect();
    assert_eq!(sizes, [(56_333, 22), (8417, 4), (15_873, 5)]);
    // Both forms of the questions of dev ask for the same, by number or by name.
    for prompt in data.splits.iter().flat_map(|s| &s.prompts) {
        let question = prompt.question.as_ref().unwrap();
        let read = datasets::sql::Query::parse(&prompt.references[0], &question.table.columns);
        assert_eq!(read.as_ref(), Ok(&question.query), "{}", prompt.references[0]);
    }
}
