//! Data files and tokenizers with damaged bytes are refused by name or read; never a panic and never a hang.
//! `tools/check-damage` runs more mutations than `cargo test` does.

use std::io::{Cursor, Write};
use std::path::Path;

use datasets::sql::{Cell, Column, Query, Table};
use datasets::{Example, Label, Tokenizer, glue_parquet, rows, text, tokenize};
use polars::prelude::{DataFrame, NamedFrom, Series};
use polars_io::parquet::write::ParquetWriter;
use tempfile::TempDir;
use testing::mutate::{Outcomes, survives};

/// Writes each mutation of the file `name` of `dir`, whose sound content is `original`, for `read` to read.
fn damage(dir: &Path, name: &str, original: &[u8], read: impl Fn() -> Result<(), String>) -> Outcomes {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let plain = path.file_name().unwrap().to_str().unwrap();
    survives(plain, original, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read()
    })
}

fn examples() -> Vec<Example> {
    let texts = [
        ("The Mill is a pub.", Some("It is.")),
        ("naïve ▁ <s> [SEP] \u{1f600}", None),
        ("", None),
    ];
    let example = |(first, second): (&str, Option<&str>)| Example {
        first: first.into(),
        second: second.map(String::from),
        label: Label::Class(0),
    };
    texts.map(example).into()
}

/// Reads the tokenizer of a folder and uses it. Errors of a tokenizer that is read name no file.
fn tokenize_with(dir: &Path) -> Result<(), String> {
    let tokenizer = Tokenizer::from_dir(dir).map_err(|e| e.to_string())?;
    let _ = tokenizer.encode_all(&examples(), 12);
    let _ = tokenizer.ids(&["The Mill"]);
    let _ = tokenizer.decode(&[0, 5, tokenizer.max_id(), u32::MAX]);
    Ok(())
}

fn corpus() -> Vec<String> {
    let words = [
        "the mill is a pub",
        "it is near the river",
        "a cheap naive pub",
        "the river is near",
    ];
    words.iter().cycle().take(80).map(|w| (*w).to_string()).collect()
}

#[test]
fn damaged_tokenizers_are_read_or_refused() {
    for learn in [tokenize::train_bpe, tokenize::train_causal_bpe] {
        let dir = tempfile::tempdir().unwrap();
        let json = learn(&corpus(), 300).unwrap();
        let outcomes = damage(dir.path(), "tokenizer.json", json.as_bytes(), || {
            tokenize_with(dir.path())
        });
        assert!(outcomes.refused > 0, "{outcomes:?}");
    }
}

#[test]
fn damaged_vocabularies_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nmill\nis\n##s\na\npub\n.\n";
    damage(dir.path(), "vocab.txt", vocab.as_bytes(), || tokenize_with(dir.path()));
    std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
    let config = r#"{"do_lower_case": true, "strip_accents": null, "tokenizer_class": "BertTokenizer", "truncation_side": "left"}"#;
    damage(dir.path(), "tokenizer_config.json", config.as_bytes(), || {
        tokenize_with(dir.path())
    });
    let dir = tempfile::tempdir().unwrap();
    let (vocab, merges) = (
        r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "t": 4, "h": 5, "e": 6, "th": 7, "the": 8, "<mask>": 9}"#,
        "#version: 0.2\nt h\nth e\n",
    );
    std::fs::write(dir.path().join("merges.txt"), merges).unwrap();
    damage(dir.path(), "vocab.json", vocab.as_bytes(), || tokenize_with(dir.path()));
    std::fs::write(dir.path().join("vocab.json"), vocab).unwrap();
    damage(dir.path(), "merges.txt", merges.as_bytes(), || {
        tokenize_with(dir.path())
    });
}

/// A field of a protocol buffer: its number and kind, then its content.
fn field(number: u8, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | kind];
    if kind == 2 {
        bytes.push(u8::try_from(content.len()).unwrap());
    }
    bytes.extend(content);
    bytes
}

/// A SentencePiece model of a few pieces, with a character map that makes `ﬁ` `fi`-like replacements.
fn spm() -> Vec<u8> {
    let kinds = [("[PAD]", 3), ("[CLS]", 3), ("[SEP]", 3), ("[UNK]", 2)];
    let words = [
        "▁the", "▁mill", "▁is", "▁a", "▁pub", "t", "h", "e", "m", "i", "l", "▁", ".",
    ]
    .map(|w| (w, 1));
    let mut model = Vec::new();
    for (n, (piece, kind)) in kinds.into_iter().chain(words).enumerate() {
        let score = (-(n as f32)).to_le_bytes();
        let piece = [field(1, 2, piece.as_bytes()), field(2, 5, &score), field(3, 0, &[kind])].concat();
        model.extend(field(1, 2, &piece));
    }
    model.extend(field(2, 2, &field(3, 0, &[1])));
    // A trie of two units, and one string.
    let map = [
        &8u32.to_le_bytes()[..],
        &(1u32 << 10).to_le_bytes(),
        &0x161u32.to_le_bytes(),
        b"b\0",
    ]
    .concat();
    let rules = [field(2, 2, &map), field(3, 0, &[1]), field(4, 0, &[1])].concat();
    model.extend(field(3, 2, &rules));
    model
}

#[test]
fn damaged_sentencepiece_models_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let outcomes = damage(dir.path(), "spm.model", &spm(), || tokenize_with(dir.path()));
    assert!(outcomes.refused > 0, "{outcomes:?}");
}

fn parquet() -> Vec<u8> {
    let texts = |name: &str| {
        let values: Vec<String> = (0..40).map(|n| format!("{name} {}", n % 7)).collect();
        Series::new(name.into(), values)
    };
    let labels: Vec<i64> = (0..40).map(|n| n % 2).collect();
    let columns = vec![
        texts("sentence1").into(),
        texts("sentence2").into(),
        Series::new("label".into(), labels).into(),
    ];
    let mut frame = DataFrame::new(columns).unwrap();
    let mut bytes = Cursor::new(Vec::new());
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    bytes.into_inner()
}

#[test]
fn damaged_parquet_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (train, dev) = (
        "rte/train-00000-of-00001.parquet",
        "rte/validation-00000-of-00001.parquet",
    );
    std::fs::create_dir(dir.path().join("rte")).unwrap();
    std::fs::write(dir.path().join(dev), parquet()).unwrap();
    let task = datasets::find("rte").unwrap();
    let outcomes = damage(dir.path(), train, &parquet(), || {
        rows::read(&dir.path().join(train)).map_err(|e| e.to_string())?;
        glue_parquet::load(task, dir.path())
            .map(drop)
            .map_err(|e| e.to_string())
    });
    assert!(outcomes.refused > 0, "{outcomes:?}");
}

/// Every bit of a file by itself. Signs of the counts of pages are among them: of those the reader once took a negative one for more
/// memory than there is, which ends the process.
#[test]
fn each_flipped_bit_of_parquet_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.parquet");
    let sound = parquet();
    let mut refused = 0;
    for bit in 0..8 * sound.len() {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        refused += usize::from(rows::read(&path).is_err());
    }
    assert!(refused > sound.len(), "{refused} of {} bits", 8 * sound.len());
}

fn packed(plain: &[u8]) -> [Vec<u8>; 2] {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(plain).unwrap();
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    bz2.write_all(plain).unwrap();
    [gz.finish().unwrap(), bz2.finish().unwrap()]
}

#[test]
fn damaged_rows_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lines = |line: fn(usize) -> String| (0..60).map(line).collect::<String>();
    let csv = "text,label\n".to_owned() + &lines(|n| format!("\"a \"\"pub\"\", {n}\",{}\n", n % 3));
    let tsv = "text\tlabel\n".to_owned() + &lines(|n| format!("a pub {n}\t{}\n", n % 3));
    let jsonl = lines(|n| {
        format!(
            "{{\"text\": \"a pub {n}\", \"label\": {}, \"more\": [1, {{\"x\": null}}]}}\n",
            n % 3
        )
    });
    let [gz, bz2] = packed(csv.as_bytes());
    let files = [
        ("a.csv", csv.into_bytes()),
        ("a.tsv", tsv.into_bytes()),
        ("a.jsonl", jsonl.into_bytes()),
    ];
    for (name, bytes) in files.into_iter().chain([("b.csv.gz", gz), ("b.csv.bz2", bz2)]) {
        let read = || rows::read(&dir.path().join(name)).map(drop).map_err(|e| e.to_string());
        damage(dir.path(), name, &bytes, read);
    }
}

#[test]
fn damaged_glue_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let row = |n: usize| format!("{n}\ta pub\tit is\t{}\n", ["entailment", "not_entailment"][n % 2]);
    let tsv = "index\tsentence1\tsentence2\tlabel\n".to_owned() + &(0..30).map(row).collect::<String>();
    std::fs::create_dir(dir.path().join("RTE")).unwrap();
    std::fs::write(dir.path().join("RTE/dev.tsv"), &tsv).unwrap();
    let task = datasets::find("rte").unwrap();
    damage(dir.path(), "RTE/train.tsv", tsv.as_bytes(), || {
        datasets::load(task, dir.path()).map(drop).map_err(|e| e.to_string())
    });
}

const DART_XML: &str = "<?xml version=\"1.0\"?>\n<benchmark><entries>\n<entry category=\"MISC\" eid=\"Id1\" size=\"2\">\n<modifiedtripleset>\n<mtriple>A &amp; B | JOINED | 1973</mtriple>\n<mtriple>A &amp; B | Location | &#201;vry</mtriple>\n</modifiedtripleset>\n<lex comment=\"x\" lid=\"Id1\">A &amp; B joined.</lex>\n<lex comment=\"x\" lid=\"Id2\">It joined.</lex>\n</entry>\n</entries></benchmark>\n";
const DART: &str = r#"[{"tripleset": [["A & B", "JOINED", "1973"], ["A & B", "Location", "Évry"]], "subtree_was_extended": false,
    "annotations": [{"source": "x", "text": "A & B joined."}, {"source": "x", "text": "It joined."}]}]"#;
const WEBNLG: &str = r#"{"entries": [{"1": {"category": "Airport", "modifiedtripleset": [
    {"subject": "A_B", "property": "leaderName", "object": "C"}, {"subject": "C", "property": "age", "object": "7"}],
    "lexicalisations": [{"comment": "good", "lex": "C leads."}, {"comment": "toFix", "lex": "No."}]}}]}"#;
const TABLES: &str = r#"{"id": "1-1", "header": ["Pick #", "Name"], "types": ["real", "text"], "rows": [[1, "Ann"], [2, "Bo"]], "page_title": "Draft"}"#;
const QUESTION: &str = r#"{"phase": 1, "table_id": "1-1", "question": "Who was first?", "sql": {"sel": 1, "agg": 0, "conds": [[0, 0, 1]]}}"#;

/// Mutates `file` of the data set `id`, beside the sound `others`.
fn damage_text(id: &str, file: &str, sound: &str, others: &[(&str, &str)]) {
    let dir: TempDir = tempfile::tempdir().unwrap();
    for (name, text) in others {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let dataset = text::find(id).unwrap();
    damage(dir.path(), file, sound.as_bytes(), || {
        let read = dataset
            .load(dir.path(), &["dev"], None)
            .map(drop)
            .map_err(|e| e.to_string());
        // A question about a table that is damaged is at fault by its own file's name.
        let others = others.iter().map(|(name, _)| *name);
        read.or_else(|e| {
            if others.clone().any(|name| e.contains(name)) {
                Ok(())
            } else {
                Err(e)
            }
        })
    });
}

#[test]
fn damaged_texts_are_read_or_refused() {
    let csv: String = (0..40)
        .map(|n| format!("\"name[The Mill {n}], eatType[pub]\",\"The Mill, a pub.\"\r\n"))
        .collect();
    let lines = "name : The Mill | Type : pub||The Mill , a pub . \n".repeat(40);
    damage_text("e2e", "devset.csv", &format!("mr,ref\r\n{csv}"), &[]);
    damage_text("e2e", "valid.txt", &lines, &[]);
    damage_text("dart", "dart-v1.1.1-full-dev.xml", DART_XML, &[]);
    damage_text("dart", "dart-v1.1.1-full-dev.json", DART, &[]);
    damage_text("webnlg", "dev.json", WEBNLG, &[]);
    let samsum = r#"[{"id": "1", "dialogue": "A: hi\r\nB: ho", "summary": "They greet. "}, {"id": "2", "dialogue": "", "summary": "Nothing."}]"#;
    damage_text("samsum", "val.json", samsum, &[]);
    let xsum = "{\"document\": \"It rained.\\r\\nAll day.\", \"summary\": \" Rain. \", \"id\": \"1\"}\n".repeat(9);
    damage_text("xsum", "validation.jsonl", &xsum, &[]);
    damage_text("wikisql", "dev.jsonl", QUESTION, &[("dev.tables.jsonl", TABLES)]);
    damage_text("wikisql", "dev.tables.jsonl", TABLES, &[("dev.jsonl", QUESTION)]);
}

#[test]
fn damaged_queries_are_read_and_executed_or_refused() {
    let column = |name: &str, number| Column {
        name: name.into(),
        number,
    };
    let table = Table {
        columns: vec![column("Pick #", true), column("Name", false)],
        rows: [(1.0, "Ann"), (2.0, "Bo")]
            .map(|(n, name)| vec![Cell::Number(n), Cell::Text(name.into())])
            .into(),
        ..Table::default()
    };
    for sql in [
        "SELECT MAX(\"Pick #\") FROM table WHERE \"Name\" = 'Ann' AND \"Pick #\" > 1 AND Name = Bo",
        "SELECT Name FROM table WHERE \"Pick #\" = 1",
    ] {
        let outcomes = survives("query", sql.as_bytes(), |bytes| {
            let query = Query::parse(&String::from_utf8_lossy(bytes), &table.columns);
            let query = query.map_err(|e| format!("query: {e}"))?;
            datasets::metric::sql::execute(&query, &table)
                .map(drop)
                .map_err(|e| format!("query: {e}"))
        });
        assert!(outcomes.refused > 0, "{outcomes:?}");
    }
}
