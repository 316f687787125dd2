//! What stands in cells and in names of files: undefined is not missing, and free text is no path. The numbers are made up.

mod common;

use common::{run, tables};
use results::table::TERMINAL_WIDTH;
use results::{RunRecord, Selection, Table};

fn selection(runs: Vec<RunRecord>) -> Selection {
    Selection {
        runs,
        ..Selection::default()
    }
}

fn only(tables: Vec<Table>) -> Table {
    assert_eq!(tables.len(), 1);
    tables.into_iter().next().unwrap()
}

#[test]
fn an_undefined_metric_is_left_out_and_said() {
    let mut runs = vec![
        run(1, "lora", "cola", 1, 0.5),
        run(2, "lora", "cola", 2, 0.7),
        run(3, "head", "cola", 1, 0.5),
    ];
    runs[1].best = None;
    runs[2].evals[1].metrics.insert("dev/matthews".into(), None);
    let table = only(tables("table2", &selection(runs)).unwrap());
    let text = table.terminal(TERMINAL_WIDTH);
    assert!(text.contains("50.0") && !text.contains("±0"), "{text}");
    assert!(text.contains("undefined and left out for seeds 2"), "{text}");
    // Run and undefined is not the same as not run: the average alone is missing.
    let line = text.lines().find(|l| l.contains("head")).unwrap();
    assert_eq!(
        (line.matches("undef.").count(), line.matches('–').count()),
        (1, 1),
        "{text}"
    );
    assert!(
        text.contains("undef.: it was run and the metric is undefined"),
        "{text}"
    );
    assert!(
        text.contains("lora (n=2)") && text.contains("head (n=1)"),
        "an undefined run is a seed\n{text}"
    );
    assert!(
        text.replace("\n ", "").contains("Seeds: from 1, 2, not the same"),
        "{text}"
    );
    let csv = table.csv().unwrap();
    assert!(csv.contains("ours,tiny,head,73728,770,NaN,,1,,,"), "{csv}");
}

#[test]
fn a_run_whose_metric_is_never_defined_is_no_missing_run() {
    let mut alone = run(1, "lora", "sts-b", 1, 0.5);
    alone.best = None;
    alone.evals.iter_mut().for_each(|eval| {
        eval.metrics.insert("dev/pearson".into(), None);
    });
    let text = only(tables("table2", &selection(vec![alone])).unwrap()).markdown();
    assert!(text.contains("undef.") && text.contains("Seeds: 1."), "{text}");
    assert!(!text.contains("No seeds yet"), "{text}");
}

#[test]
fn free_text_makes_file_names_that_file_systems_take() {
    let long = "a long label of the runs in this study, ".repeat(7);
    let mut runs = Vec::new();
    for (n, label) in ["../x", "X", "x", &long, &format!("{long}again")]
        .into_iter()
        .enumerate()
    {
        let mut run = run(n as u64, "lora", "mrpc", 1, 0.5);
        (run.preset, run.label) = (None, label.to_owned());
        runs.push(run);
    }
    let dir = tempfile::tempdir().unwrap();
    let tables = tables("table2", &selection(runs)).unwrap();
    for table in &tables {
        table.write(&dir.path().join("tables")).unwrap();
    }
    // No two have one name, on file systems either that know no case.
    let mut names: Vec<String> = tables.iter().map(|table| table.name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(std::fs::read_dir(dir.path().join("tables")).unwrap().count(), 15);
}
