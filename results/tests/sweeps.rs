//! Tables 5, 6, 15, 16 and 18, Figure 2 and comparisons over a small made-up store.

mod common;

use common::run;
use results::compare::compare;
use results::figure::Content;
use results::{Error, FIGURES, RunRecord, Selection, TABLES, Table};
use serde_json::json;

/// A run of LoRA beside `targets`.
fn lora(n: u64, targets: &[&str], r: u64, seed: u64, value: f64) -> RunRecord {
    let mut run = run(n, "lora", "mrpc", seed, value);
    run.config["method"] = json!({"kind": "lora", "r": r, "alpha": 16, "targets": targets});
    run.params.method = 1000 * (r * targets.len() as u64) as i64;
    run
}

fn small() -> Selection {
    let full = |n, seed, value| {
        let mut run = run(n, "full", "mrpc", seed, value);
        run.config["method"] = json!({"kind": "full"});
        run
    };
    Selection {
        runs: vec![
            lora(1, &["query"], 8, 1, 0.70),
            lora(2, &["query"], 8, 2, 0.72),
            lora(3, &["value", "query"], 4, 1, 0.80),
            lora(4, &["value", "query"], 4, 2, 0.82),
            lora(5, &["query", "value"], 64, 1, 0.81),
            full(6, 1, 0.85),
            full(7, 2, 0.79),
        ],
        ..Selection::default()
    }
}

fn table(name: &str, stored: &Selection) -> Vec<Table> {
    let kind = TABLES.iter().find(|kind| kind.name() == name).unwrap();
    kind.tables(stored).unwrap()
}

fn csv(name: &str, stored: &Selection) -> String {
    let tables = table(name, stored);
    assert_eq!(tables.len(), 1, "{name}");
    tables[0].csv().unwrap()
}

/// The lines of ours, cells that are empty left out.
fn ours(text: &str) -> Vec<String> {
    let short = |line: &str| {
        line.split(',')
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
            .join(",")
    };
    text.lines()
        .filter(|line| line.starts_with("ours,"))
        .map(short)
        .collect()
}

#[test]
fn weights_at_one_budget_stand_in_one_row_above_the_papers() {
    let text = csv("table5", &small());
    assert_eq!(ours(&text), ["ours,tiny,MRPC,8,71.0000,1.4142,2,81.0000,1.4142,2"]);
    assert!(
        text.starts_with("numbers,Model,Task,r x matrices,Wq,Wq ±,Wq n,Wk,"),
        "{text}"
    );
    assert!(
        text.contains("paper,paper: gpt3-175b,WikiSQL,8,70.4000,,,70.0000,"),
        "{text}"
    );
}

#[test]
fn ranks_of_the_same_weights_stand_in_one_row() {
    let text = csv("table6", &small());
    assert_eq!(ours(&text), ["ours,tiny,MRPC,\"Wq,Wv\",81.0000,1.4142,2,81.0000,1"]);
    assert!(
        table(
            "table6",
            &Selection {
                runs: vec![lora(1, &["query"], 8, 1, 0.7)],
                ..Selection::default()
            }
        )
        .is_empty()
    );
}

#[test]
fn settings_that_are_not_swept_are_never_mixed() {
    let mut stored = small();
    stored.runs[1].config["optim"]["lr"] = json!(0.5);
    let text = csv("table5", &stored);
    // The other rate's row would have one cell, which nothing stands beside.
    assert_eq!(
        ours(&text),
        ["ours,tiny,MRPC (optim.lr=0.1),8,70.0000,1,81.0000,1.4142,2"]
    );
    let mut other = small();
    other.runs[1].provenance.weights_sha256 = Some("ab".repeat(32));
    let lines = ours(&csv("table5", &other));
    assert_eq!(lines, ["ours,tiny,MRPC (weights=none),8,70.0000,1,81.0000,1.4142,2"]);

    stored.runs[0].config["optim"]["lr"] = json!(0.5);
    let one = &table("table5", &stored)[0];
    assert!(
        one.markdown()
            .contains("Not the same in all cells of a row: optim.lr (0.1, 0.5)."),
        "{}",
        one.markdown()
    );
}

#[test]
fn every_method_and_size_is_a_row_of_table_15_and_a_point_of_figure_2() {
    let text = csv("table15", &small());
    assert_eq!(ours(&text).len(), 4, "{text}");
    assert!(
        text.contains("ours,tiny,full,,0.001M +0.001M,,,,,,,82.0000,4.2426,2"),
        "{text}"
    );
    assert!(
        text.contains("ours,tiny,lora,\"r=4 alpha=16 Wq,Wv\",0.008M +0.001M"),
        "{text}"
    );
    let kind = FIGURES.iter().find(|kind| kind.name() == "figure2").unwrap();
    let figure = kind.figures(&small()).unwrap().remove(0);
    assert_eq!(figure.name, "figure2-tiny");
    let Content::Series(series) = &figure.panels[0][0].content else {
        panic!("no series")
    };
    let points: Vec<_> = series.iter().map(|s| (s.method.as_str(), s.points.len())).collect();
    // Of LoRA's choices of weights each has a line, and all have one entry in the legend. Full fine-tuning is a level.
    assert_eq!(points, [("lora", 1), ("lora", 2), ("full", 1)]);
    assert_eq!([&series[0].name, &series[1].name], ["LoRA", "LoRA"]);
    assert!(
        series[2].across && series[2].name == "full fine-tuning (1,000)",
        "{}",
        series[2].name
    );
    assert_ne!(series[0].label, series[1].label, "their matrices");
    assert!((series[1].points[1].x - 128_000f64.log10()).abs() < 1e-12);
    let said = "Not shown, the best of many settings is not held against the best of few: LoRA matches or exceeds full fine-tuning, within \
        0.5 (MRPC: 81.0 (best of 3 settings) against 82.0 (1 setting)).";
    let verdicts = results::verdict::text(&figure.verdicts);
    assert!(verdicts.contains(said), "{verdicts}");
    assert!(figure.verdicts.iter().all(|verdict| verdict.model == "tiny"));
    assert_eq!(figure.caption, "tiny: made-up numbers; seeds: 1, 2.");
    assert!(
        figure.foot[0].contains("median over seeds ± sample standard deviation"),
        "{}",
        figure.foot[0]
    );
}

#[test]
fn amounts_of_data_have_their_table_and_stay_out_of_the_others() {
    let mut stored = small();
    let mut little = lora(20, &["value", "query"], 4, 1, 0.60);
    little.config["limit"] = json!({"train": 100});
    little.config["train"] = json!({"epochs": 20});
    stored.runs.push(little);
    let text = csv("table16", &stored);
    let row = "tiny,MRPC,\"lora r=4 alpha=16 Wq,Wv\",60.0000,,1,,,,,,,81.0000,1.4142,2";
    assert!(text.contains(row), "{text}");
    let notes = table("table16", &stored)[0].notes.join("\n");
    assert!(notes.contains("Not the same in all cells of a row: "), "{notes}");
    assert!(notes.contains("train.epochs (20, none)."), "{notes}");

    // Another rate has a row of its own only if it was run at two sizes.
    let mut faster = lora(21, &["value", "query"], 4, 1, 0.90);
    faster.config["train"] = json!({"lr": 0.5});
    stored.runs.push(faster);
    let text = csv("table16", &stored);
    assert_eq!(ours(&text).len(), 1, "{text}");
    assert!(text.contains("81.0000,1.4142,2"), "{text}");
    stored.runs.pop();
    assert_eq!(csv("table5", &stored), csv("table5", &small()));
    assert_eq!(csv("table15", &stored), csv("table15", &small()));
}

#[test]
fn a_seed_that_was_run_under_two_names_counts_once() {
    let mut stored = small();
    let mut again = lora(30, &["query"], 8, 1, 0.72);
    again.method = "lora-q-r8".into();
    stored.runs.push(again);
    // Seed 1 has 70 and 72, seed 2 has 72.
    let lines = ours(&csv("table5", &stored));
    assert_eq!(lines, ["ours,tiny,MRPC,8,71.5000,0.7071,2,81.0000,1.4142,2"]);
}

#[test]
fn budgets_stand_in_the_order_of_their_size() {
    let mut stored = small();
    stored.runs.push(lora(30, &["query"], 128, 1, 0.7));
    stored.runs.push(lora(31, &["query"], 16, 1, 0.7));
    stored.runs.push(lora(32, &["value"], 16, 1, 0.7));
    let budgets = |line: &String| line.split(',').nth(3).map(str::to_owned);
    let budgets: Vec<_> = ours(&csv("table5", &stored)).iter().filter_map(budgets).collect();
    assert_eq!(budgets, ["8", "16", "128"]);
}

#[test]
fn tables_say_what_they_show_of_the_paper() {
    let notes = |name: &str, stored: &Selection| table(name, stored)[0].notes.join("\n");
    let few = notes("table5", &small());
    assert!(
        few.contains("Not shown, n = 2: Wq alone is behind Wq,Wv of half the rank (tiny MRPC 8: 71.0 against 81.0)"),
        "{few}"
    );
    let few = notes("table6", &small());
    assert!(
        few.contains(
            "Not shown, n = 1: rank 4 is within 0.5 of every larger one (tiny MRPC Wq,Wv: r=4 81.0, r=64 81.0)"
        ),
        "{few}"
    );

    let mut stored = small();
    stored.runs.push(lora(8, &["query"], 8, 3, 0.71));
    stored.runs.push(lora(9, &["value", "query"], 4, 3, 0.815));
    let said = notes("table5", &stored);
    assert!(
        said.contains("Shown: Wq alone is behind Wq,Wv of half the rank (tiny MRPC 8: 71.0 against 81.5)"),
        "{said}"
    );
    for (n, seed, value) in [(10, 2, 0.99), (11, 3, 0.98)] {
        stored.runs.push(lora(n, &["value", "query"], 64, seed, value));
    }
    stored.runs[4] = lora(5, &["query", "value"], 64, 1, 0.985);
    let said = notes("table6", &stored);
    assert!(
        said.contains("Contradicted: rank 4 is within 0.5 of every larger one (tiny MRPC Wq,Wv: "),
        "{said}"
    );

    for run in stored
        .runs
        .clone()
        .into_iter()
        .filter(|run| run.method == "full" || run.config["method"]["r"] == 4)
    {
        let mut little = run.clone();
        little.id = format!("f{}", &run.id[1..]);
        little.config["limit"] = json!({"train": 100});
        stored.runs.push(little);
    }
    let said = notes("table16", &stored);
    assert!(
        said.contains("Not shown, n = 2: LoRA is ahead of full fine-tuning on 100 rows (tiny MRPC lora r=4"),
        "{said}"
    );
    assert!(said.contains("LoRA is ahead of full fine-tuning on all rows"), "{said}");
}

#[test]
fn of_settings_that_say_no_size_table_15_shows_those_that_differ() {
    let mut stored = small();
    for (n, std) in [(50, 0.02), (51, 0.02), (52, 0.5)] {
        let mut run = run(n, "adapter_h", "mrpc", 1, 0.8);
        run.config["method"] =
            json!({"kind": "adapter_h", "bottleneck": n, "std": std, "drop": [], "layer_norm": false});
        run.params.method = n as i64;
        stored.runs.push(run);
    }
    let text = csv("table15", &stored);
    assert!(text.contains("ours,tiny,adapter_h,bottleneck=50 std=0.02,"), "{text}");
    stored.runs.pop();
    let text = csv("table15", &stored);
    assert!(text.contains("ours,tiny,adapter_h,bottleneck=50,"), "{text}");
}

#[test]
fn ranks_on_e2e_have_a_column_a_metric() {
    let e2e = |n, r, bleu| {
        let mut run = lora(n, &["query", "value"], r, 1, 1.2);
        (run.task, run.experiment, run.metric) = ("e2e".into(), "e2e".into(), "dev/loss".into());
        run.evals[1].metrics = [
            ("dev/loss", Some(1.21)),
            ("test/BLEU", Some(bleu)),
            ("test/METEOR", None),
            ("test/ROUGE_L", Some(0.7052)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        run
    };
    let stored = Selection {
        runs: vec![e2e(1, 4, 0.625), e2e(2, 16, 0.65)],
        ..Selection::default()
    };
    let markdown = table("table18", &stored)[0].markdown();
    assert!(
        markdown
            .contains("| tiny | Wq,Wv | 4 | 1.21 | 62.50 | – | – | 0.7052 | – |\n| tiny | Wq,Wv | 16 | 1.21 | 65.00 |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| paper: gpt2-medium | Wq,Wv | 1 | 1.23 | 68.72 | 8.7215 |"),
        "{markdown}"
    );
}

#[test]
fn a_table_without_runs_has_the_papers_numbers_below_dashes() {
    for kind in TABLES {
        let Some(table) = kind.paper_only().unwrap() else {
            assert!(["texts", "fair"].contains(&kind.name()), "{}", kind.name());
            continue;
        };
        assert_eq!(table.name, kind.name());
        assert!(
            table.rows.len() > 2 && table.rows.iter().all(|row| row.cells.len() == table.header.len()),
            "{}",
            kind.name()
        );
        let markdown = table.markdown();
        assert!(markdown.contains("| not run yet | – | –"), "{markdown}");
        assert!(!markdown.contains("NaN"));
    }
}

#[test]
fn methods_are_compared_over_the_seeds_that_both_have() {
    let mut stored = small();
    stored
        .runs
        .retain(|run| run.method == "full" || run.config["method"]["r"] == 4);
    let found = compare(&stored, "lora", &[]).unwrap();
    assert_eq!(found.len(), 1);
    let one = &found[0];
    assert_eq!((one.method.as_str(), one.seeds.as_slice()), ("full", [1, 2].as_slice()));
    assert!((one.difference - 1.0).abs() < 1e-9 && (one.sd.unwrap() - 32f64.sqrt()).abs() < 1e-9);
    // t = 1 / (sqrt(32) / sqrt(2)) = 0.25 with one degree of freedom: p = 1 - 2 atan(0.25) / pi.
    let p = 1.0 - 2.0 * 0.25f64.atan() / std::f64::consts::PI;
    assert!((one.p.unwrap() - p).abs() < 1e-9, "{:?}", one.p);
    assert_eq!(one.verdict, "too few seeds");
    let shown = results::compare::table(&found).terminal(140);
    assert!(
        shown.contains("Differences from lora") && shown.lines().all(|line| line.chars().count() <= 140),
        "{shown}"
    );
}

#[test]
fn runs_that_two_experiments_have_in_common_are_one() {
    let mut stored = small();
    stored
        .runs
        .retain(|run| run.method == "full" || run.config["method"]["r"] == 4);
    let alone = compare(&stored, "lora", &[]).unwrap();
    for mut again in stored.runs.clone() {
        again.id = format!("f{}", &again.id[1..]);
        again.experiment = "ablations".into();
        again.config["experiment"] = json!("ablations");
        again.config["method_name"] = json!("another name");
        stored.runs.push(again);
    }
    assert_eq!(compare(&stored, "lora", &[]).unwrap(), alone);
    // Another rate is another question.
    stored.runs[0].config["optim"]["lr"] = json!(0.5);
    let error = compare(&stored, "lora", &[]).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
}

#[test]
fn an_undefined_score_in_a_sweep_is_no_missing_run() {
    let mut stored = small();
    for run in stored.runs.iter_mut().filter(|run| run.config["method"]["r"] == 64) {
        run.best = None;
    }
    let markdown = table("table6", &stored)[0].markdown();
    assert!(markdown.contains("| undef. (n=1) |"), "{markdown}");
    assert!(
        markdown.contains("undef.: it was run and the metric is undefined"),
        "{markdown}"
    );
    assert!(
        markdown.contains("tiny MRPC r=64: undefined and left out for seeds 1, which count as seeds."),
        "{markdown}"
    );
}

#[test]
fn a_comparison_that_makes_no_sense_is_refused() {
    let error = compare(&small(), "lroa", &[]).unwrap_err().to_string();
    assert!(
        error.contains("`lroa`; did you mean `lora`?") && error.contains("full, lora"),
        "{error}"
    );
    let error = compare(&small(), "full", &["lora".into()]).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }), "two ranks under one name");
    assert!(error.to_string().contains("--preset"), "{error}");
}

#[test]
fn a_record_with_absurd_numbers_breaks_nothing() {
    let mut stored = small();
    stored.runs[0].config["method"]["r"] = json!(u64::MAX);
    stored.runs[2].config["method"]["r"] = json!(u64::MAX);
    stored.runs[5].params.base = i64::MAX;
    for kind in TABLES {
        kind.tables(&stored).unwrap();
    }
    assert!(csv("table5", &stored).contains(&u64::MAX.to_string()));
    assert!(csv("table15", &stored).contains("full"));
}
