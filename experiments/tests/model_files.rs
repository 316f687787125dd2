//! Files of models and adapters: names of outputs, heads of other tasks, tensors that are missing or not finite, updates of zero.

mod world;

use lora_core::weights::{Weights, save};
use results::analysis::{Findings, Subspace};
use results::{RunRecord, Store};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use tch::Tensor;
use world::{World, refused, run, text};

const LORA: &str = env!("CARGO_BIN_EXE_lora");

fn done(output: &Output) -> String {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    text
}

fn lora(world: &World, args: &[&str]) -> Output {
    run(LORA, args, world.dir.path())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Changes a JSON file.
fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value = json(path);
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn copy(world: &World, from: &str, to: &str) {
    std::fs::create_dir_all(world.path(to)).unwrap();
    for entry in std::fs::read_dir(world.path(from)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, world.path(to).join(path.file_name().unwrap())).unwrap();
    }
}

/// Rewrites a file of tensors, each as `change` makes it of its name and itself.
fn rewrite(path: &Path, change: impl Fn(&str, Tensor) -> Option<Tensor>) {
    let weights = Weights::open(path).unwrap();
    let tensors: Vec<(String, Tensor)> = weights
        .names()
        .filter_map(|n| Some((n.to_string(), change(n, weights.tensor(n).unwrap().copy())?)))
        .collect();
    drop(weights);
    save(path, &tensors, Default::default()).unwrap();
}

/// A run's record in `out`, the folder of the store.
fn record(world: &World, out: &str) -> RunRecord {
    let store = Store::open(world.path(out)).unwrap();
    let mut all = store.records().unwrap();
    assert_eq!(all.len(), 1, "{out}");
    all.remove(0)
}

/// The head alone, at a rate that changes nothing, on `model` into the store `out`.
fn as_it_is(world: &World, model: &str, out: &str, more: &[&str]) -> Output {
    let rate = "methods.head.train.lr=0.000000000001";
    let args = [
        "--methods",
        "head",
        "--model",
        model,
        "--out",
        out,
        "--quiet",
        "--set",
        rate,
    ];
    run(
        env!("CARGO_BIN_EXE_glue"),
        &[
            &args[..],
            &[
                "--data",
                "data",
                "--tasks",
                "rte",
                "--device",
                "cpu",
                "--threads",
                "1",
                "--epochs",
                "1",
            ],
            more,
        ]
        .concat(),
        world.dir.path(),
    )
}

/// A world with a model that was fine-tuned on RTE, in `tuned`.
fn fine_tuned() -> World {
    let world = World::new();
    // Three rows of one class for each of the other, so that a model and its contrary do not score alike.
    let dev = std::fs::read_to_string(world.path("data/RTE/dev.tsv")).unwrap();
    let rows = dev.lines().enumerate().map(|(i, line)| match line.rsplit_once('\t') {
        Some((rest, _)) if i > 0 && i % 4 != 0 => format!("{rest}\tentailment\n"),
        Some((rest, _)) if i > 0 => format!("{rest}\tnot_entailment\n"),
        _ => format!("{line}\n"),
    });
    world.write("data/RTE/dev.tsv", rows.collect::<String>());
    done(&world.glue(&["--methods", "full", "--seeds", "1", "--keep", "--quiet"]));
    let path = world.records("runs").remove(0);
    let run = path.to_string_lossy().into_owned();
    done(&lora(
        &world,
        &["adapter", "merge", &run, "--base", "model", "--out", "tuned"],
    ));
    let labels = json!({"0": "entailment", "1": "not_entailment"});
    assert_eq!(json(&world.path("tuned/config.json"))["id2label"], labels);
    world
}

#[test]
fn the_rows_of_a_head_are_those_of_its_names() {
    let world = fine_tuned();
    copy(&world, "tuned", "turned");
    rewrite(&world.path("turned/model.safetensors"), |name, tensor| {
        Some(if name.starts_with("classifier.") {
            tensor.flip([0])
        } else {
            tensor
        })
    });
    edit(&world.path("turned/config.json"), |config| {
        config["id2label"] = json!({"0": "NOT_ENTAILMENT", "1": "ENTAILMENT"});
        config["label2id"] = json!({"NOT_ENTAILMENT": 0, "ENTAILMENT": 1});
    });
    // The same rows under names that say nothing are taken as they stand.
    copy(&world, "turned", "unnamed");
    edit(&world.path("unnamed/config.json"), |config| {
        config["id2label"] = json!({"0": "LABEL_0", "1": "LABEL_1"});
        config["label2id"] = json!({"LABEL_0": 0, "LABEL_1": 1});
    });
    let accuracy = |model: &str| {
        done(&as_it_is(&world, model, &format!("out-{model}"), &[]));
        record(&world, &format!("out-{model}")).best.unwrap().value
    };
    let (tuned, turned, unnamed) = (accuracy("tuned"), accuracy("turned"), accuracy("unnamed"));
    assert!((tuned - 0.5).abs() > 1e-6, "the model tells nothing apart");
    assert_eq!(turned, tuned);
    assert!((unnamed - (1.0 - tuned)).abs() < 1e-9, "{unnamed} and {tuned}");
}

#[test]
fn the_head_of_another_task_is_refused_until_a_fresh_one_is_asked_for() {
    let world = fine_tuned();
    copy(&world, "tuned", "other");
    rewrite(&world.path("other/model.safetensors"), |name, tensor| {
        let wider = |t: &Tensor| Tensor::cat(&[t, &t.narrow(0, 0, 1)], 0);
        Some(if name.starts_with("classifier.") {
            wider(&tensor)
        } else {
            tensor
        })
    });
    edit(&world.path("other/config.json"), |config| {
        config["id2label"] = json!({"0": "contradiction", "1": "neutral", "2": "entailment"});
        config["label2id"] = json!({"contradiction": 0, "neutral": 1, "entailment": 2});
    });
    // As many outputs, and other names.
    copy(&world, "tuned", "renamed");
    edit(&world.path("renamed/config.json"), |config| {
        config["id2label"] = json!({"0": "negative", "1": "positive"});
        config["label2id"] = json!({"negative": 0, "positive": 1});
    });
    let said = text(&as_it_is(&world, "other", "out-other", &[]));
    for part in [
        "has 3 outputs (contradiction, neutral, entailment) and the task 2",
        "train.fresh_head=true",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = text(&as_it_is(&world, "renamed", "out-renamed", &[]));
    for part in [
        "negative, positive and the task's classes are entailment, not_entailment",
        "train.fresh_head=true",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let fresh = ["--set", "train.fresh_head=true"];
    for model in ["other", "renamed"] {
        let out = format!("fresh-{model}");
        done(&as_it_is(&world, model, &out, &fresh));
        assert_eq!(record(&world, &out).config["train"]["fresh_head"], true);
    }
    // It is part of what is asked, and means nothing where there is no head.
    done(&as_it_is(&world, "tuned", "out-tuned", &[]));
    done(&as_it_is(&world, "tuned", "fresh-tuned", &fresh));
    let (with, without) = (record(&world, "fresh-tuned"), record(&world, "out-tuned"));
    assert!(with.id != without.id && without.config["train"].get("fresh_head").is_none());
    let said = text(&as_it_is(&world, "model", "out-model", &fresh));
    assert!(
        said.contains("model has no classifier that it could leave out"),
        "{said}"
    );
}

/// A PEFT folder of a run of LoRA on RTE, in `peft`.
fn exported() -> (World, String) {
    let world = World::new();
    let targets = "methods.lora.targets=[query, value]";
    done(&world.glue(&[
        "--methods",
        "lora",
        "--seeds",
        "1",
        "--keep",
        "--quiet",
        "--set",
        targets,
    ]));
    let run = format!(
        "out/{}",
        world.records("runs")[0].file_stem().unwrap().to_string_lossy()
    );
    done(&lora(
        &world,
        &["adapter", "export", &run, "--base", "model", "--out", "peft"],
    ));
    (world, run)
}

#[test]
fn an_adapter_beside_the_head_of_another_task_says_that_its_own_is_fresh() {
    let (world, run) = exported();
    let card = std::fs::read_to_string(world.path("peft/README.md")).unwrap();
    assert!(
        card.contains(r#"id2label = {0: "entailment", 1: "not_entailment"}"#),
        "{card}"
    );
    // The base gets a head of three.
    copy(&world, "model", "other");
    let weights = Weights::open(&world.path("model")).unwrap();
    let mut tensors: Vec<(String, Tensor)> = weights
        .names()
        .map(|n| (n.to_string(), weights.tensor(n).unwrap()))
        .collect();
    let zeros = |size: &[i64]| Tensor::zeros(size, (tch::Kind::Float, tch::Device::Cpu));
    tensors.push(("classifier.weight".into(), zeros(&[3, 16])));
    tensors.push(("classifier.bias".into(), zeros(&[3])));
    save(&world.path("other/model.safetensors"), &tensors, Default::default()).unwrap();
    let merge = |base: &str, out: &str, more: &[&str]| {
        let args = ["adapter", "merge", "peft", "--base", base, "--out", out];
        lora(&world, &[&args[..], more].concat())
    };
    let parts = ["has 3 outputs and the adapter's 2", "--fresh-head"];
    refused(&merge("other", "no", &[]), &parts);
    let import = ["adapter", "import", "peft", "--base", "other", "--task", "rte", "--out"];
    refused(&lora(&world, &[&import[..], &["no"]].concat()), &parts);
    assert!(!world.path("no").exists());
    done(&merge("other", "merged", &["--fresh-head"]));
    assert_eq!(
        json(&world.path("merged/config.json"))["id2label"],
        json!({"0": "entailment", "1": "not_entailment"}),
        "the export names the classes"
    );
    // Said once, an imported adapter knows it.
    done(&lora(&world, &[&import[..], &["imported", "--fresh-head"]].concat()));
    assert_eq!(json(&world.path("imported/adapter.json"))["fresh_head"], true);
    done(&lora(
        &world,
        &["adapter", "merge", "imported", "--base", "other", "--out", "again"],
    ));
    assert_eq!(
        json(&world.path("again/config.json"))["id2label"]["1"],
        "not_entailment"
    );
    // Nothing is to be said beside a base without a head.
    done(&lora(
        &world,
        &["adapter", "merge", &run, "--base", "model", "--out", "own"],
    ));
}

#[test]
fn adapters_that_lack_what_they_list_or_hold_no_numbers_are_shown_and_refused() {
    let (world, _) = exported();
    copy(&world, "peft", "headless");
    rewrite(&world.path("headless/adapter_model.safetensors"), |name, tensor| {
        (!name.contains("classifier")).then_some(tensor)
    });
    let merge = |adapter: &str| lora(&world, &["adapter", "merge", adapter, "--base", "model", "--out", "no"]);
    refused(
        &merge("headless"),
        &["has no `classifier.bias`", "`classifier` under `modules_to_save`"],
    );
    // The last number of the file.
    copy(&world, "peft", "damaged");
    let file = world.path("damaged/adapter_model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let shown = done(&lora(&world, &["adapter", "info", "damaged"]));
    let line = shown.lines().last().unwrap();
    let name = line.split('`').nth(1).unwrap().to_string();
    assert!(line.contains("holds NaN or infinity (1 of its"), "{shown}");
    if name.contains("lora_") {
        assert!(shown.matches("NaN").count() > 1, "a norm is not a number: {shown}");
    }
    refused(
        &merge("damaged"),
        &["damaged/adapter_model.safetensors", &name, "NaN or infinity"],
    );
    let import = ["adapter", "import", "damaged", "--base", "model", "--out", "no"];
    refused(&lora(&world, &import), &[&name, "NaN or infinity"]);
    assert!(!world.path("no").exists());
}

fn subspace(world: &World, adapters: &[&str], out: &str) -> Subspace {
    let args = ["--base", "model", "--layers", "all", "--threads", "1", "--out", out];
    done(&run(
        env!("CARGO_BIN_EXE_subspace"),
        &[adapters, &args].concat(),
        world.dir.path(),
    ));
    let found = Store::open(world.path(out))
        .unwrap()
        .analyses()
        .unwrap()
        .remove(0)
        .findings;
    let Findings::Subspace(found) = found else { panic!() };
    found
}

#[test]
fn the_rank_of_an_update_is_that_of_the_update() {
    let (world, run) = exported();
    // The same function with factors of twice the rank, of which half pass nothing on.
    copy(&world, "peft", "wide");
    let rank = json(&world.path("peft/adapter_config.json"))["r"].as_i64().unwrap();
    rewrite(&world.path("wide/adapter_model.safetensors"), |name, t| {
        Some(if name.ends_with("lora_A.weight") {
            Tensor::cat(&[&t, &t.flip([1])], 0)
        } else if name.ends_with("lora_B.weight") {
            Tensor::cat(&[&t, &t.zeros_like()], 1)
        } else {
            t
        })
    });
    edit(&world.path("wide/adapter_config.json"), |config| {
        for key in ["r", "lora_alpha"] {
            config[key] = (2 * config[key].as_i64().unwrap()).into();
        }
    });
    let (own, wide) = (
        subspace(&world, &[&run], "out-own"),
        subspace(&world, &["wide"], "out-wide"),
    );
    let about = &wide.adapters[0];
    assert_eq!(
        (i64::from(about.rank), about.directions.map(i64::from)),
        (2 * rank, Some(rank))
    );
    assert_eq!(own.adapters[0].directions, None);
    assert_eq!((&own.grids, own.spectra.len()), (&wide.grids, wide.spectra.len()));
    for (one, other) in own.projections.iter().zip(&wide.projections) {
        let numbers = |p: &results::analysis::Projection| {
            [p.delta, p.onto_delta, p.onto_weight, p.onto_random, p.amplification].map(Option::unwrap)
        };
        for (one, other) in numbers(one).into_iter().zip(numbers(other)) {
            assert!((one - other).abs() < 1e-6 * one.abs(), "{one} and {other}");
        }
    }
    let both = subspace(&world, &[&run, "wide"], "out-both");
    let diagonal = both.grids.iter().filter(|g| g.about.name() == "seeds");
    for grid in diagonal {
        assert_eq!(
            ((grid.i.len, grid.j.len), grid.at(1, 1)),
            ((rank as usize, rank as usize), 1.0)
        );
    }
    assert!(!both.grids.iter().any(|g| g.about.name() == "ranks"));
}

#[test]
fn an_update_of_zero_lies_nowhere() {
    let (world, _) = exported();
    for zero in ["lora_A", "lora_B"] {
        copy(&world, "peft", zero);
        rewrite(&world.path(&format!("{zero}/adapter_model.safetensors")), |name, t| {
            Some(if name.contains(zero) { t.zeros_like() } else { t })
        });
        let found = subspace(&world, &[zero], &format!("out-{zero}"));
        assert_eq!((found.adapters[0].directions, found.grids.len()), (Some(0), 0));
        assert!(found.spectra.iter().all(|s| s.values.is_empty()));
        for p in &found.projections {
            assert_eq!(
                (p.delta, p.onto_delta, p.onto_weight, p.onto_random),
                (Some(0.0), None, None, None)
            );
            assert_eq!((p.amplification, p.amplification_unscaled), (None, None));
            assert!(p.weight.unwrap() > 0.0);
        }
        assert!(found.remarks.is_empty(), "{:?}", found.remarks);
    }
}

#[test]
fn a_language_models_answers_are_compared_row_by_row() {
    let world = World::new();
    for (rows, tokens) in [("2", "2"), ("5", "8")] {
        let args = [
            "bench",
            "adapters",
            "--model",
            "embedded:gpt2",
            "--threads",
            "1",
            "--repeats",
            "1",
            "--adapters",
            "2",
        ];
        let said = done(&lora(
            &world,
            &[&args[..], &["--rows", rows, "--tokens", tokens, "--json"]].concat(),
        ));
        let measured: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        let difference = measured["largest_difference"].as_f64().unwrap();
        assert!(difference < 1e-4, "{rows} rows of {tokens} tokens: {difference}");
    }
}
