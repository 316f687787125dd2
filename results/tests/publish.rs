//! What is published is a function of the records, byte for byte; bad input loses nothing. The numbers are made up.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{failed, run};
use results::figure::Style;
use results::publish::{Args, Written, publish};
use results::record::SCHEMA;
use results::{Error, Store};

/// The published records: `results/` beside this crate's sources.
fn published() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn args(results: &Path, out: &Path, only: &[&str]) -> Args {
    Args {
        results: Some(results.to_owned()),
        published: false,
        empty: true,
        style: Style::Screen,
        out: Some(out.to_owned()),
        only: only.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Every file below `dir` with what is in it.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_published_records_give_the_same_bytes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    publish(&args(&published(), &one, &[])).unwrap();
    publish(&args(&published(), &two, &[])).unwrap();
    let (first, second) = (contents(&one), contents(&two));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert!(second[name] == *bytes, "{} differs", name.display());
        assert!(!bytes.is_empty());
    }
    let page = String::from_utf8(first[Path::new("README.md")].clone()).unwrap();
    for number in [1, 2, 3, 4, 5, 6, 7, 13, 14, 15, 16, 18] {
        assert!(page.contains(&format!("Table {number}")), "Table {number} is missing");
    }
    for number in 2..=8 {
        assert!(page.contains(&format!("Figure {number}")), "Figure {number} is missing");
    }
    for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let is_there = one.join(link).exists() || published().join(link).exists();
        let page = link.split('#').next().unwrap();
        let elsewhere = published().join(page).exists() || (page.is_empty() && link.len() > 1);
        assert!(is_there || elsewhere, "{link} leads nowhere");
    }
}

#[test]
fn what_has_no_records_is_left_out_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, out) = (dir.path().join("store"), dir.path().join("out"));
    Store::open(&store)
        .unwrap()
        .put(&run(1, "lora", "mrpc", 1, 0.5))
        .unwrap();
    let all = args(&store, &out, &[]);
    let few = Args {
        empty: false,
        ..all.clone()
    };
    publish(&few).unwrap();
    let written = contents(&out);
    let tables = written.keys().filter(|name| name.starts_with("tables")).count();
    assert_eq!(
        tables,
        5,
        "one table in three forms, conclusions, records: {:?}",
        written.keys()
    );
    assert!(written.contains_key(Path::new("README.md")));
    assert!(!written.keys().any(|name| name.starts_with("figures")));
    publish(&all).unwrap();
    assert!(contents(&out).len() > written.len() + 20);
    publish(&few).unwrap();
    assert_eq!(contents(&out), written, "what has no records goes again");
}

#[test]
fn one_figure_alone_leaves_the_rest_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (store, out) = (dir.path().join("store"), dir.path().join("out"));
    Store::open(&store)
        .unwrap()
        .put(&run(1, "lora", "mrpc", 1, 0.5))
        .unwrap();
    for (asked, file) in [
        ("fig3", "figures/figure3.svg"),
        ("Table 5", "tables/table5.md"),
        ("tab16", "tables/table16.csv"),
    ] {
        let Written { changed, removed, .. } = publish(&args(&store, &out, &[asked])).unwrap();
        assert!(
            changed.contains(&out.join(file)) && removed.is_empty(),
            "{asked}: {changed:?}"
        );
        assert!(
            changed
                .iter()
                .all(|path| path.file_stem() == Path::new(file).file_stem()),
            "{changed:?}"
        );
    }
    let error = publish(&args(&store, &out, &["fig3", "fig9"])).unwrap_err();
    assert!(matches!(error, Error::UnknownName(_)));
    let said = error.to_string();
    assert!(
        said.contains("`fig9`") && said.contains("table18, ") && said.contains("figure2, "),
        "{said}"
    );
}

#[test]
fn figures_for_print_stand_apart_and_leave_the_rest_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let printed = Args {
        style: Style::Paper,
        empty: false,
        ..args(&published(), dir.path(), &["fig2", "fig3"])
    };
    let written = publish(&printed).unwrap();
    let files = contents(dir.path());
    assert_eq!(files.len(), written.changed.len());
    assert!(
        files.keys().all(|path| path.starts_with("figures/paper")),
        "{:?}",
        files.keys()
    );
    let of = |extension: &'static str| {
        let is = move |path: &Path| path.extension().is_some_and(|found| found == extension);
        files.iter().filter(move |(path, _)| is(path))
    };
    assert!(of("pdf").count() >= 2 && of("pdf").all(|(_, bytes)| bytes.starts_with(b"%PDF-")));
    // Two columns are 6.75 inches, which are 486 points.
    let wide = of("pdf").filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains("/MediaBox [0 0 48"));
    assert!(wide.count() > 0);
    for (path, bytes) in of("svg") {
        let text = String::from_utf8_lossy(bytes);
        let drawn: String = text.split("</desc>").skip(1).collect();
        assert!(
            !drawn.contains("SHA-256") && !drawn.contains("against trained parameters:"),
            "{}",
            path.display()
        );
        assert!(
            text.contains("width=\"6.752in\"") || text.contains("width=\"3.248in\""),
            "{}",
            path.display()
        );
    }
    assert!(publish(&printed).unwrap().changed.is_empty(), "the same bytes again");
}

#[test]
fn a_broken_record_is_named_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put(&run(1, "lora", "mrpc", 1, 0.5)).unwrap();
    let all = Args {
        out: None,
        ..args(dir.path(), dir.path(), &[])
    };
    publish(&all).unwrap();
    let before = contents(dir.path());
    let newer = format!("{{\"schema\": {}, \"tomorrow\": true}}", SCHEMA + 1);
    let broken = [
        ("runs/0000000000000002.json", newer.as_str(), "is newer than schema"),
        ("runs/0000000000000002.json", "{", "delete the file"),
        (
            "analyses/0000000000000003.json",
            "{\"schema\": 1",
            "0000000000000003.json",
        ),
    ];
    for (file, text, said) in broken {
        support::write_atomic(dir.path().join(file), text.as_bytes()).unwrap();
        let written = publish(&all).unwrap();
        assert_eq!(written.skipped.len(), 1, "{written}");
        assert!(
            written.skipped[0].contains(file) && written.skipped[0].contains(said),
            "{written}"
        );
        assert!(written.to_string().contains("skipped: "), "{written}");
        let tables = results::tables(&store, &results::Filter::default(), |kind| kind == "table2").unwrap();
        assert!(
            tables[0]
                .notes
                .iter()
                .any(|note| note.starts_with("Left out: ") && note.contains(file))
        );
        std::fs::remove_file(dir.path().join(file)).unwrap();
        assert!(contents(dir.path()) == before);
    }
}

#[test]
fn a_folder_that_is_no_store_is_an_error_and_nothing_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for (name, said) in [
        ("resluts", "no such folder"),
        ("", "it contains neither runs/ nor analyses/"),
    ] {
        let error = publish(&args(&dir.path().join(name), &out, &[]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
        assert!(!out.exists());
    }
}

#[test]
fn what_is_no_longer_made_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for mine in [
        "tables/notes.md",
        "figures/photo.png",
        "figures/figure3-gone.svg",
        "tables/table5-gone.csv",
    ] {
        support::write_atomic(dir.path().join(mine), b"x").unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    store.put(&failed(1, "lora", "mrpc", 1, "out of memory")).unwrap();
    let written = publish(&args(dir.path(), dir.path(), &[])).unwrap();
    let removed = ["figures/figure3-gone.svg", "tables/table5-gone.csv"].map(|name| dir.path().join(name));
    assert_eq!(written.removed, removed);
    assert!(dir.path().join("tables/notes.md").exists() && dir.path().join("figures/photo.png").exists());
    let again = publish(&args(dir.path(), dir.path(), &[])).unwrap();
    assert!(again.changed.is_empty() && again.removed.is_empty() && again.unchanged == written.changed.len());
}
