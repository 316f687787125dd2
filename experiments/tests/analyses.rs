//! `subspace`, `latency` and `ablations` end to end in a small world, and what they refuse.

mod world;

use results::analysis::{Comparison, CostSource, Design, Findings, Module};
use results::{Analysis, Store};
use std::process::Output;
use world::{World, refused, run, text};

const SUBSPACE: &str = env!("CARGO_BIN_EXE_subspace");
const LATENCY: &str = env!("CARGO_BIN_EXE_latency");
const ABLATIONS: &str = env!("CARGO_BIN_EXE_ablations");

fn here(world: &World, program: &str, args: &[&str]) -> Output {
    run(program, args, world.dir.path())
}

fn done(output: &Output) -> String {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    text
}

/// The only analysis in the world's store, which is then emptied.
fn analysis(world: &World) -> Analysis {
    let store = Store::open(world.path("out")).unwrap();
    let found = store.analyses().unwrap();
    assert_eq!(found.len(), 1);
    std::fs::remove_dir_all(world.path("out/analyses")).unwrap();
    found.into_iter().next().unwrap()
}

/// Runs of LoRA that were kept, with these ranks and seeds; each as the command line names it.
fn trained(world: &World, runs: &[(u32, u32)]) -> Vec<String> {
    let mut ids = Vec::new();
    for (rank, seed) in runs {
        let (rank, seed) = (format!("methods.lora.r={rank}"), seed.to_string());
        let targets = "methods.lora.targets=[query, value]";
        done(&world.glue(&[
            "--methods",
            "lora",
            "--seeds",
            &seed,
            "--keep",
            "--quiet",
            "--set",
            &rank,
            "--set",
            targets,
        ]));
        let new = world
            .records("runs")
            .into_iter()
            .filter_map(|p| Some(p.file_stem()?.to_str()?.to_string()));
        let new: Vec<String> = new
            .map(|id| format!("out/{id}"))
            .filter(|id| !ids.contains(id))
            .collect();
        ids.extend(new);
    }
    ids
}

#[test]
fn adapters_are_compared_with_each_other_and_with_the_weights() {
    let world = World::new();
    let runs = trained(&world, &[(2, 1), (4, 2), (8, 3), (8, 4)]);
    let [r4, r8, r64, other] = &runs[..] else {
        panic!("{runs:?}")
    };
    let roles = ["--r4", r4, "--r8", r8, "--r64", r64, "--r64-other", other];
    let all = [&roles[..], &["--base", "model", "--out", "out", "--threads", "2"]].concat();
    let said = done(&here(&world, SUBSPACE, &all));
    for part in [
        "across ranks",
        "across seeds",
        "control with W",
        "|dW|/in",
        "in layer 1",
        "Kept in out/analyses",
    ] {
        assert!(said.contains(part), "{part} in: {said}");
    }
    assert!(done(&here(&world, SUBSPACE, &all)).contains("in the store already"));
    let record = analysis(&world);
    let Findings::Subspace(found) = &record.findings else {
        panic!()
    };
    assert_eq!((found.layers, found.probe, found.width), (2, 1, 16));
    assert!(record.provenance.weights_sha256.is_some());
    let seeds: Vec<Option<u64>> = found.adapters.iter().map(|a| a.seed).collect();
    assert_eq!(seeds, [Some(1), Some(2), Some(3), Some(4)]);
    let count = |about| found.grids.iter().filter(|g| g.about == about).count();
    // Two layers and two modules; of the weight the query of the probed layer.
    assert_eq!(
        [
            Comparison::Ranks,
            Comparison::Seeds,
            Comparison::Random,
            Comparison::Weight,
            Comparison::WeightRandom
        ]
        .map(count),
        [4, 4, 1, 3, 1]
    );
    let ranks = found.grids.iter().find(|g| g.about == Comparison::Ranks).unwrap();
    assert_eq!((ranks.i.len, ranks.j.len, ranks.module), (4, 8, Some(Module::Query)));
    assert!(
        found
            .grids
            .iter()
            .flat_map(|g| &g.values)
            .all(|phi| (0.0..=1.0).contains(phi))
    );
    for p in &found.projections {
        let (ba, delta) = (p.ba, p.delta.unwrap());
        let scale = found.adapters[p.adapter].scale().unwrap();
        assert!((delta - scale * ba).abs() < 1e-9 && p.amplification.unwrap() > 0.0);
        assert!(p.onto_weight.unwrap() >= p.onto_delta.unwrap() && p.onto_weight.unwrap() <= p.weight.unwrap());
    }
    for remark in ["ranks", "seeds", "weight", "amplification"] {
        assert!(found.remarks.contains_key(remark), "{remark}");
    }
}

#[test]
fn adapters_of_other_libraries_are_read_with_and_without_a_base() {
    let world = World::new();
    let run = &trained(&world, &[(2, 1)])[0];
    done(&here(
        &world,
        env!("CARGO_BIN_EXE_lora"),
        &["adapter", "export", run, "--base", "model", "--out", "peft"],
    ));
    // The same adapter in two forms says the same.
    let numbers = |named: &str, base: &[&str]| {
        let args = [&[named, "--out", "out", "--layers", "all", "--threads", "1"], base].concat();
        let said = done(&here(&world, SUBSPACE, &args));
        let Findings::Subspace(found) = analysis(&world).findings else {
            panic!()
        };
        (found, said)
    };
    let (own, _) = numbers(run, &["--base", "model"]);
    let (peft, _) = numbers("peft", &["--base", "model"]);
    assert_eq!(
        (&own.projections, &own.spectra, &own.grids),
        (&peft.projections, &peft.spectra, &peft.grids)
    );
    let (alone, said) = numbers("peft", &[]);
    assert!(
        said.contains("– needs the frozen weights: --base") && said.contains("nothing to compare"),
        "{said}"
    );
    assert_eq!(alone.spectra, own.spectra);
    assert!(
        alone
            .projections
            .iter()
            .all(|p| p.weight.is_none() && p.amplification.is_none() && p.delta.is_some())
    );
}

#[test]
fn what_subspace_cannot_do_is_said() {
    let world = World::new();
    let runs = trained(&world, &[(2, 1), (2, 2), (4, 1)]);
    let [one, two, wider] = &runs[..] else { panic!() };
    let refuse = |args: &[&str], expected: &[&str]| {
        refused(&here(&world, SUBSPACE, &[args, &["--out", "out"]].concat()), expected);
        assert!(!world.path("out/analyses").exists(), "{args:?} left something");
    };
    refuse(&[], &["no adapter is named", "PEFT folder"]);
    refuse(&["nowhere"], &["nowhere: no such adapter"]);
    refuse(&[one, one], &["are the same adapter"]);
    refuse(&[one, "--layers", "3"], &["layer 3: there are 2"]);
    refuse(
        &[one, "--layers", "encoder.layer.7"],
        &["encoder.layer.7", "first, third"],
    );
    refuse(
        &[one, "--modules", "query,values"],
        &["unknown module `values`", "value"],
    );
    refuse(
        &[one, "--modules", "key"],
        &["no update of `key` in layer 1", "query, value"],
    );
    refuse(&[one, "--draws", "0"], &["--draws"]);
    refuse(&[one, "--base", "nowhere"], &["nowhere"]);
    refuse(&[one, "--base", "embedded:roberta"], &["adapter of another base"]);
    refuse(&[one, wider], &["were trained with the same seed", "the same values"]);
    refuse(&["--r4", one, "--r8", two], &["--r4 has rank 2 and --r8 rank 2"]);
    world.write("damaged.bin", "no checkpoint");
    refuse(&["damaged.bin"], &["damaged.bin"]);
    // A model of another width.
    let mut config = world::config();
    config["hidden_size"] = 8.into();
    let other = World::of(&config);
    let theirs = trained(&other, &[(2, 2)]);
    let theirs = other.path(&theirs[0]).to_string_lossy().into_owned();
    refuse(&[one, &theirs], &["adapters of different models", "8 x 8", "16 x 16"]);
}

#[test]
fn passes_and_training_are_measured() {
    let world = World::new();
    let tiny = [
        "--set",
        "model=embedded:gpt2",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--out",
        "out",
    ];
    let grid = [
        "batch=[1,2]",
        "length=[8]",
        "bottleneck=[0,2]",
        "trials=3",
        "warmup=1",
        "designs=[adapter_l,adapter_h,lora_unmerged]",
    ];
    let grid: Vec<&str> = grid.iter().flat_map(|g| ["--set", g]).collect();
    let said = done(&here(&world, LATENCY, &[&tiny[..], &grid].concat()));
    assert!(
        said.contains("lora_unmerged") && said.contains("adapters slow every pass down"),
        "{said}"
    );
    let Findings::Latency(found) = analysis(&world).findings else {
        panic!()
    };
    assert_eq!((found.cells.len(), found.layers, found.hidden), (2 * 4, 4, 128));
    assert!(found.cells.iter().all(|c| c.median_ms > 0.0 && c.trials == 3));
    let added = |d: Design| found.cells.iter().find(|c| c.design == d).unwrap().added_params;
    // L (2 d r + r + d), twice for adapter_h, and a LayerNorm for adapter_l.
    let one = 4 * (2 * 128 * 2 + 2 + 128);
    assert_eq!(
        [Design::Base, Design::AdapterH, Design::AdapterL].map(added),
        [0, 2 * one, one + 4 * 2 * 128]
    );

    let work = [
        "--efficiency",
        "--set",
        "train.batch=2",
        "--set",
        "train.length=8",
        "--set",
        "train.steps=2",
    ];
    let said = done(&here(&world, LATENCY, &[&tiny[..], &work].concat()));
    assert!(said.contains("measured") && said.contains("gpt3-175b"), "{said}");
    let Findings::Efficiency(found) = analysis(&world).findings else {
        panic!()
    };
    let measured: Vec<_> = found.costs.iter().filter(|c| c.how == CostSource::Measured).collect();
    let [full, lora] = &measured[..] else { panic!() };
    assert_eq!(lora.trained_params, 4 * 2 * 4 * (128 + 128));
    assert_eq!(full.trained_params, full.total_params);
    assert!(full.checkpoint_bytes.unwrap() > 4 * full.trained_params as u64);
    assert!(lora.checkpoint_bytes < full.checkpoint_bytes && lora.tokens_per_second.unwrap() > 0.0);
}

#[test]
fn what_latency_cannot_do_is_said() {
    let world = World::new();
    let refuse = |sets: &[&str], expected: &[&str]| {
        let mut args = vec!["--device", "cpu", "--out", "out"];
        args.extend(sets.iter().flat_map(|s| ["--set", s]));
        refused(&here(&world, LATENCY, &args), expected);
        assert!(!world.path("out/analyses").exists(), "{sets:?} left something");
    };
    refuse(&["batch=[0]"], &["`batch` holds 0"]);
    refuse(&["batch=[-1]"], &["batch"]);
    refuse(&["model=gpt9"], &["model `gpt9`", "gpt2-medium"]);
    refuse(&["model=bert-base-uncased"], &["no language model is implemented"]);
    refuse(&["model=embedded:gpt2", "length=[100000]"], &["longer than the 256"]);
    refuse(
        &["model=embedded:gpt2", "bottleneck=[1000]"],
        &["adapter_l with 1000", "width of 128"],
    );
    refuse(&["colour=red"], &["unknown field `colour`"]);
    refused(&here(&world, LATENCY, &["--config", "nowhere.yaml"]), &["nowhere.yaml"]);
    refused(
        &here(&world, LATENCY, &["--preset", "papr"]),
        &["known: demo, medium, paper"],
    );
    let long = [
        "--efficiency",
        "--device",
        "cpu",
        "--set",
        "model=embedded:gpt2",
        "--set",
        "train.length=1000",
    ];
    refused(
        &here(&world, LATENCY, &long),
        &["measuring full", "longer than the 256"],
    );
}

#[test]
fn grids_run_as_methods_each_once() {
    let world = World::new();
    let grids = "
tasks: {rte: {}}
grids:
  which:
    - {kind: lora, r: 2, alpha: 4, targets: {each: [[query], [query, value]]}}
  low-data:
    - {kind: lora, r: 2, alpha: 4, targets: [query, value], limit: {train: {each: [10, null]}, sample: 1}}
train: {epochs: 1}
";
    world.write("grids.yaml", grids);
    let all = [
        "--config",
        "grids.yaml",
        "--model",
        "model",
        "--data",
        "data",
        "--out",
        "out",
        "--device",
        "cpu",
        "--threads",
        "1",
    ];
    let ablations = |more: &[&str]| here(&world, ABLATIONS, &[&all[..], more].concat());
    let said = done(&ablations(&["--grid", "which"]));
    assert!(said.contains("2 runs, 0 in the store"), "{said}");
    let said = done(&ablations(&[]));
    assert!(said.contains("3 runs, 2 in the store, 1 to compute"), "{said}");
    let records = Store::open(world.path("out")).unwrap().records().unwrap();
    let mut methods: Vec<&str> = records.iter().map(|r| r.method.as_str()).collect();
    methods.sort_unstable();
    assert_eq!(methods, ["lora-q-r2", "lora-qv-r2", "lora-qv-r2-n10"]);
    assert!(
        records
            .iter()
            .all(|r| r.experiment == "ablations" && r.config["method"]["kind"] == "lora")
    );
    let few = records.iter().find(|r| r.method.ends_with("n10")).unwrap();
    assert_eq!(few.config["limit"], serde_json::json!({"train": 10, "sample": 1}));
    assert!(
        records
            .iter()
            .filter(|r| r.id != few.id)
            .all(|r| r.config.get("limit").is_none())
    );

    refused(
        &ablations(&["--grid", "ranks"]),
        &["unknown grid `ranks`; known: which, low-data"],
    );
    refused(&ablations(&["--grid", "]x: ["]), &["unknown grid `]x: [`"]);
    refused(
        &ablations(&["--set", "grids.which=[{kind: lora, r: {each: []}}]"]),
        &["`r.each` must be a list"],
    );
    refused(
        &ablations(&["--set", "grids.which=[{kind: lora, r: {each: [0]}}]"]),
        &["r must be at least 1"],
    );
}
