//! `--sweep`, the default of `--out`, the end of the output, and early stopping.

mod world;

use results::Store;
use std::collections::BTreeMap;
use world::{World, refused, run, text};

#[test]
fn a_sweep_runs_each_method_that_has_the_setting() {
    let world = World::new();
    let sweep = [
        "--methods",
        "head,lora,dora",
        "--sweep",
        "r=1,2",
        "--set",
        "methods.lora.alpha=4",
    ];
    let output = world.glue(&sweep);
    assert!(output.status.success(), "{}", text(&output));
    let records = Store::existing(world.path("out")).unwrap().records().unwrap();
    let found: BTreeMap<String, (i64, i64)> = records
        .iter()
        .map(|record| {
            let setting = |key: &str| record.config["method"][key].as_i64().unwrap();
            (record.method.clone(), (setting("r"), setting("alpha")))
        })
        .collect();
    let expected = [
        ("dora-r1", (1, 16)),
        ("dora-r2", (2, 16)),
        ("lora-r1", (1, 4)),
        ("lora-r2", (2, 4)),
    ];
    assert_eq!(found, expected.map(|(name, settings)| (name.into(), settings)).into());
    let shown = text(&output);
    for said in ["Score by r", "r=1  ", "setting `r`: head", "out/figures/sweep-r.png"] {
        assert!(shown.contains(said), "{said} is missing in {shown}");
    }
    for file in [
        "tables/sweep-r.csv",
        "tables/sweep-r.md",
        "figures/sweep-r.svg",
        "figures/sweep-r.png",
    ] {
        assert!(world.path("out").join(file).is_file(), "{file}");
    }
    let again = world.glue(&sweep);
    assert!(
        text(&again).contains("4 runs, 4 in the store, 0 to compute"),
        "{}",
        text(&again)
    );
}

#[test]
fn each_of_two_sweeps_has_a_row_for_every_value_of_the_other() {
    let world = World::new();
    let output = world.glue(&[
        "--methods",
        "lora",
        "--sweep",
        "methods.lora.r=1,2",
        "--sweep",
        "train.lr=0.001,0.002",
    ]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(world.records("runs").len(), 4);
    for name in ["lora-r1-lr0.001", "lora-r2-lr0.002"] {
        assert!(text(&output).contains(name), "{}", text(&output));
    }
    for (table, methods) in [
        ("sweep-r", ["lora-lr0.001", "lora-lr0.002"]),
        ("sweep-train-lr", ["lora-r1", "lora-r2"]),
    ] {
        let path = world.path(&format!("out/tables/{table}.csv"));
        let rows = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for method in methods {
            let row = rows.lines().find(|line| line.contains(&format!(",{method},")));
            let row = row.unwrap_or_else(|| panic!("{table} has no {method}: {rows}"));
            assert!(!row.ends_with(','), "a value is missing: {row}");
        }
    }
}

#[test]
fn sweeps_without_effect_are_refused() {
    let world = World::new();
    let glue = |sweep: &str| world.glue(&["--methods", "head,lora", "--sweep", sweep]);
    refused(
        &glue("rank=1,2"),
        &[
            "none of the methods head, lora has the setting `rank`",
            "expected one of `r`",
        ],
    );
    refused(&glue("train.rate=1,2"), &["unknown field `rate`"]);
    refused(&glue("r=0,1"), &["--sweep r=0", "r must be at least 1"]);
    refused(&glue("r"), &["expected a setting and its values"]);
    refused(&glue("r=2,2"), &["named twice"]);
    refused(&glue("seeds=1,2"), &["`seeds` cannot be swept"]);
    refused(&glue("methods.dora.r=1,2"), &["none of the methods"]);
    refused(&glue("lr=1,2"), &["did you mean `train.lr`?"]);
}

#[test]
fn records_go_to_a_folder_of_one_s_own_and_the_end_says_what_comes_next() {
    let world = World::new();
    let flags = "--model model --data data --tasks rte --methods head,lora --seeds 1..3 --epochs 1 --device cpu --threads 1 --keep";
    let flags: Vec<&str> = flags.split(' ').collect();
    let output = run(env!("CARGO_BIN_EXE_glue"), &flags, world.dir.path());
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    let own = world.path("results/own");
    assert_eq!(std::fs::read_dir(own.join("runs")).unwrap().count(), 6, "{shown}");
    assert_eq!(
        std::fs::read_dir(world.path("results")).unwrap().count(),
        1,
        "nothing beside own/"
    );
    for next in [
        "Written: results/own/runs (6 records), results/own/tables",
        "debug/figures\n",
        "compare --baseline lora --results results/own",
        "export --results results/own --out runs.csv",
        "predict --adapter results/own/",
    ] {
        assert!(shown.contains(next), "{next}: {shown}");
    }
    let drawn = run(env!("CARGO_BIN_EXE_figures"), &[], world.dir.path());
    assert!(drawn.status.success(), "{}", text(&drawn));
    assert!(
        own.join("tables/table2-runs.csv").is_file() || text(&drawn).contains("results/own/tables"),
        "{}",
        text(&drawn)
    );
    assert!(!own.join("figures").exists(), "no figure has data: {}", text(&drawn));
}

#[test]
fn early_stopping_ends_a_run_and_is_part_of_its_settings() {
    let world = World::new();
    // So low a rate that no epoch is better than the first.
    let settings = "--methods lora --set train.epochs=9 --set train.lr=0.000000001 --set train.schedule=cosine";
    let mut flags: Vec<&str> = settings.split(' ').collect();
    flags.extend(["--set", "train.early_stopping={patience: 2}"]);
    let output = world.glue(&flags);
    assert!(output.status.success(), "{}", text(&output));
    let records = Store::existing(world.path("out")).unwrap().records().unwrap();
    assert_eq!(records[0].evals.len(), 3);
    assert_eq!(records[0].config["train"]["early_stopping"]["patience"], 2);
    assert_eq!(records[0].config["train"]["schedule"], "cosine");
    let wrong = ["--methods", "lora", "--set", "train.early_stopping={patience: 0}"];
    refused(&world.glue(&wrong), &["`train.early_stopping.patience` is 0"]);
    refused(
        &world.glue(&["--set", "train.schedule=cosin"]),
        &["unknown variant `cosin`"],
    );
}
