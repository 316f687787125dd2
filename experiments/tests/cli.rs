//! The programs end to end: a small experiment, and every kind of bad input.

mod world;

use experiments::experiment::registry;
use std::path::PathBuf;
use world::{World, config, refused, run, text};

#[test]
fn an_experiment_runs_once() {
    let world = World::new();
    let args = ["--methods", "lora,head,bitfit", "--seeds", "1..2"];
    let first = world.glue(&args);
    assert!(first.status.success(), "{}", text(&first));
    assert!(
        text(&first).contains("6 runs, 0 in the store, 6 to compute"),
        "{}",
        text(&first)
    );
    for method in ["lora", "head", "bitfit"] {
        assert!(
            String::from_utf8_lossy(&first.stdout).contains(method),
            "{method} has a row"
        );
    }
    let records = world.records("runs");
    assert_eq!(records.len(), 6);
    let bytes = |paths: &[PathBuf]| paths.iter().map(|p| std::fs::read(p).unwrap()).collect::<Vec<_>>();
    let before = bytes(&records);
    assert_eq!(
        world
            .records("checkpoints")
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
            .count(),
        0
    );
    let second = world.glue(&args);
    assert!(
        text(&second).contains("6 in the store, 0 to compute"),
        "{}",
        text(&second)
    );
    assert_eq!(first.stdout, second.stdout, "the same table");
    assert_eq!(bytes(&world.records("runs")), before, "records are not touched");
    for kind in ["md", "tex", "csv"] {
        let found = world
            .records("tables")
            .iter()
            .any(|p| p.extension().is_some_and(|e| e == kind));
        assert!(found, "a table as {kind}");
    }
    std::fs::remove_file(&records[2]).unwrap();
    let third = world.glue(&args);
    assert!(
        text(&third).contains("5 in the store, 1 to compute"),
        "{}",
        text(&third)
    );
    assert_eq!(first.stdout, third.stdout, "a run done again gives the same numbers");
}

#[test]
fn a_failing_run_is_recorded_and_the_others_go_on() {
    let world = World::new();
    let args = [
        "--methods",
        "lora,head",
        "--set",
        "methods.lora.kind=lora",
        "--set",
        "methods.lora.train.lr=1e30",
        "--set",
        "train.clip=null",
        "--set",
        "train.batch_size=4",
        "--set",
        "train.epochs=3",
    ];
    let output = world.glue(&args);
    refused(
        &output,
        &[
            "rte · lora · seed 1 failed",
            "the loss became",
            "lower the learning rate",
        ],
    );
    assert_eq!((world.records("runs").len(), world.records("failed").len()), (1, 1));
    assert!(
        std::fs::read_to_string(&world.records("failed")[0])
            .unwrap()
            .contains("the loss became")
    );
}

#[test]
fn a_run_that_diverges_in_its_last_step_fails_too() {
    let world = World::new();
    let mut args = vec!["--methods", "full,head", "--set", "methods.full.train.lr=1e30"];
    args.extend([
        "--set",
        "train.clip=null",
        "--set",
        "train.batch_size=40",
        "--set",
        "train.warmup_ratio=0",
    ]);
    for computed in ["2 to compute", "1 to compute"] {
        let output = world.glue(&args);
        refused(
            &output,
            &[
                computed,
                "rte · full · seed 1 failed: evaluating",
                "lower the learning rate",
            ],
        );
        assert_eq!((world.records("runs").len(), world.records("failed").len()), (1, 1));
    }
}

/// How many runs [`runs`] are.
fn planned(args: &[&str]) -> anyhow::Result<usize> {
    Ok(runs(args)?.len())
}

/// As `glue` reads its command line, in this process: a program of libtorch's size takes a second to start.
fn runs(args: &[&str]) -> anyhow::Result<Vec<experiments::config::run_config::RunConfig>> {
    use clap::FromArgMatches;
    let all = [&["glue", "--model", "model", "--data", "data", "--tasks", "rte"], args].concat();
    let glue = registry::find("glue")?;
    let matches = experiments::app::command(glue).try_get_matches_from(all)?;
    let args = experiments::experiment::flags::ExperimentArgs::from_arg_matches(&matches)?;
    args.config(glue)?.runs(glue)
}

#[test]
fn a_method_runs_with_the_seeds_that_it_names() {
    let both = ["--methods", "head,lora", "--set", "methods.lora.seeds=[2]"];
    let with = |more: &[&str]| planned(&[&both[..], more].concat());
    let all = ["--set", "seeds=[1,2,3]"];
    assert_eq!(planned(&[&all[..], &both[..]].concat()).unwrap(), 3 + 1);
    let text = format!("{:#}", with(&["--seeds", "1..3"]).unwrap_err());
    let overridden = "--set methods.lora.seeds=[2] has no effect: --seeds 1..3 overrides it";
    assert!(text.contains(overridden), "{text}");
    let text = format!("{:#}", with(&["--set", "methods.lora.seeds=two"]).unwrap_err());
    assert!(text.contains("`methods.lora.seeds` must be a list"), "{text}");
}

#[test]
fn a_method_may_have_a_number_type_of_its_own() {
    let both = ["--methods", "head,lora", "--set", "methods.lora.dtype=bf16"];
    let names = |more: &[&str]| -> Vec<&str> {
        let runs = runs(&[&both[..], more].concat()).unwrap();
        runs.iter().map(|run| run.dtype.name()).collect()
    };
    assert_eq!(names(&[]), ["fp32", "bf16"]);
    let text = format!(
        "{:#}",
        planned(&[&both[..], &["--dtype", "fp32"]].concat()).unwrap_err()
    );
    assert!(
        text.contains("--set methods.lora.dtype=bf16 has no effect: --dtype fp32 overrides it"),
        "{text}"
    );
    let text = format!(
        "{:#}",
        planned(&["--methods", "lora", "--set", "methods.lora.dtype=fp8"]).unwrap_err()
    );
    assert!(text.contains("`methods.lora.dtype` must be fp32 or bf16"), "{text}");
}

#[test]
fn combinations_take_each_ones_settings() {
    let lora = "methods.lora+pre_layer.lora.r";
    let run = |value: &str| planned(&["--methods", "lora+pre_layer", "--set", &format!("{lora}={value}")]);
    assert_eq!(run("4").unwrap(), 1);
    assert!(format!("{:#}", run("0").unwrap_err()).contains("r must be at least 1"));
    let text = format!("{:#}", planned(&["--methods", "adapter_h+adapter_p"]).unwrap_err());
    assert!(
        text.contains("`adapter_h` and `adapter_p` both attach to the place after_ffn"),
        "{text}"
    );
}

#[test]
fn settings_that_cannot_be_used() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--set", "train.lrr=1"],
            &["--set", "unknown field `lrr`", "`lr`", "`warmup_ratio`"],
        ),
        (
            &["--set", "trian.lr=1"],
            &["--set trian.lr=1", "unknown field `trian`", "`train`"],
        ),
        (
            &["--set", "train.lr=fast"],
            &["`lr`: invalid type: string \"fast\", expected a number"],
        ),
        (
            &["--set", "limit.train=-5"],
            &["`limit.train`: invalid value: integer `-5`, expected a whole number from 0"],
        ),
        (&["--methods", "head", "--set", "train.lr=-1"], &["`train.lr` is -1"]),
        (&["--methods", "head", "--epochs", "0"], &["`train.epochs` is 0"]),
        (&["--set", "train"], &["--set train: expected key=value"]),
        (
            &["--methods", "head", "--set", "train.warmup_ratio=2"],
            &["`train.warmup_ratio` is 2"],
        ),
        (&["--tasks", "squad"], &["squad", "mrpc"]),
        (
            &["--methods", "lorra"],
            &["unknown method `lorra`; did you mean `lora`? known: full"],
        ),
        (
            &["--methods", "lora", "--set", "methods.lora.targets=[qurey]"],
            &["qurey", "query", "ffn_out"],
        ),
        (
            &["--methods", "lora", "--set", "methods.lora.r=0"],
            &["r must be at least 1"],
        ),
        (&["--methods", "lora,lora"], &["`lora` is named twice"]),
        (&["--methods", "lora", "--seeds", "1..x"], &["seeds `1..x`"]),
        (&["--methods", "lora", "--seeds", "1,1"], &["requested twice"]),
        (
            &["--methods", "lora", "--preset", "big"],
            &["unknown preset `big`; known: demo, demo-all, quick"],
        ),
        (&["--methods", "lora", "--config", "nothing.yaml"], &["nothing.yaml"]),
        (
            &["--methods", "lora", "--set", "tasks.rte.trian.lr=1"],
            &["`tasks.rte`: unknown key `trian`"],
        ),
        (&[], &["no methods are named"]),
    ];
    for (args, expected) in cases {
        let text = planned(args).map_or_else(|e| format!("{e:#}"), |n| format!("{n} runs"));
        for part in *expected {
            assert!(text.contains(part), "{args:?}: expected `{part}` in: {text}");
        }
    }
    assert_eq!(planned(&["--preset", "minilm"]).unwrap(), 4 * 3 + 12);
    assert_eq!(planned(&["--methods", "lora,full", "--seeds", "1..3,7"]).unwrap(), 8);
}

#[test]
fn settings_that_do_not_fit_the_model() {
    let world = World::new();
    refused(
        &world.glue(&["--methods", "lora", "--set", "methods.lora.r=17"]),
        &["r = 17 is larger than the query matrix"],
    );
    refused(
        &world.glue(&["--methods", "lora", "--device", "tpu"]),
        &["unknown device `tpu`; known: auto, cpu"],
    );
    refused(
        &world.glue(&["--methods", "lora", "--set", "train.max_len=2"]),
        &["max_len"],
    );
    world.write("bad.yaml", "train: {lr: 0.1\n");
    refused(
        &world.glue(&["--config", "bad.yaml"]),
        &["bad.yaml is not valid YAML", "line"],
    );
    world.write("bad.yaml", "tarin: {lr: 0.1}\n");
    refused(
        &world.glue(&["--config", "bad.yaml"]),
        &["in bad.yaml", "unknown field `tarin`"],
    );
    world.write("bad.yaml", "- 1\n");
    refused(&world.glue(&["--config", "bad.yaml"]), &["bad.yaml", "key: value"]);
    assert!(world.records("runs").is_empty());
}

#[test]
fn data_that_cannot_be_read() {
    let cases: [(&str, &[u8], &[&str]); 6] = [
        ("data/RTE/train.tsv", b"", &["train.tsv"]),
        (
            "data/RTE/train.tsv",
            b"index\tsentence1\tlabel\n0\ta\tentailment\n",
            &["train.tsv", "sentence2"],
        ),
        (
            "data/RTE/train.tsv",
            b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tmaybe\n",
            &["train.tsv", "2", "maybe", "not_entailment"],
        ),
        (
            "data/RTE/dev.tsv",
            b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\n",
            &["dev.tsv", "2"],
        ),
        (
            "data/RTE/dev.tsv",
            b"index\tsentence1\tsentence2\tlabel\n0\t\xff\tb\tentailment\n",
            &["dev.tsv", "UTF-8"],
        ),
        (
            "data/RTE/dev.tsv",
            b"index\tsentence1\tsentence2\tlabel\n",
            &["dev.tsv"],
        ),
    ];
    for (file, bytes, expected) in cases {
        let world = World::new();
        world.write(file, bytes);
        refused(&world.glue(&["--methods", "head"]), expected);
    }
    let world = World::new();
    refused(
        &world.glue(&["--methods", "head", "--tasks", "mrpc"]),
        &["MRPC", "train.tsv"],
    );
}

#[test]
fn models_that_cannot_be_used() {
    let world = World::new();
    let output = run(
        env!("CARGO_BIN_EXE_glue"),
        &["--data", "data", "--tasks", "rte", "--methods", "head"],
        world.dir.path(),
    );
    refused(&output, &["no model is named; give --model DIR"]);
    let with_config = |key: &str, value: serde_json::Value| {
        let world = World::new();
        let mut config = config();
        config[key] = value;
        world.write("model/config.json", config.to_string());
        world
    };
    let glue = |world: World| world.glue(&["--methods", "full"]);
    refused(
        &glue(with_config("model_type", "mamba".into())),
        &["model type `mamba` is not supported; known: roberta, bert"],
    );
    refused(
        &glue(with_config("hidden_size", 24.into())),
        &["failed", "another shape"],
    );
    refused(
        &glue(with_config("num_hidden_layers", 3.into())),
        &["failed", "missing", "layer.2"],
    );
    refused(&glue(with_config("max_position_embeddings", 4.into())), &["failed"]);
    let huge = with_config("vocab_size", (1 << 24).into());
    let mut config = config();
    config["vocab_size"] = (1 << 24).into();
    config["hidden_size"] = 65536.into();
    huge.write("model/config.json", config.to_string());
    refused(
        &huge.glue(&["--methods", "full", "--dry-run"]),
        &["out of memory while creating"],
    );
    for bytes in [&b"not json"[..], b"{}", b"[1]"] {
        let world = World::new();
        world.write("model/config.json", bytes);
        refused(&glue(world), &["model"]);
    }
    let world = World::new();
    let whole = std::fs::read(world.path("model/model.safetensors")).unwrap();
    world.write("model/model.safetensors", &whole[..whole.len() / 2]);
    refused(
        &world.glue(&["--methods", "full"]),
        &["model.safetensors", "whole safetensors file"],
    );
    let world = World::new();
    world.write(
        "model/vocab.txt",
        (0..500).map(|i| format!("w{i}\n")).collect::<String>() + "[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n",
    );
    refused(&world.glue(&["--methods", "full"]), &["beyond the model's vocabulary"]);
}

#[test]
fn places_that_cannot_be_written() {
    let world = World::new();
    world.write("out", "a file");
    refused(&world.glue(&["--methods", "head"]), &["out"]);
    let world = World::new();
    world.write("out/checkpoints", "a file where a folder should be");
    refused(&world.glue(&["--methods", "head"]), &["checkpoints"]);
    let world = World::new();
    world.write("out/runs/0123456789abcdef.json", "{\"schema\": 1, ");
    let output = world.glue(&["--methods", "head"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("0123456789abcdef.json"), "{}", text(&output));
    assert_eq!(
        world.records("runs").len(),
        2,
        "the finished run is kept and the other file left alone"
    );
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let world = World::new();
    refused(&world.glue(&["--methods", "rslora"]), &["`lora: {rslora: true}`"]);
    refused(
        &world.glue(&["--methods", "lora", "--set", "methods.lora.targets=[]"]),
        &["targets"],
    );
    assert!(!world.path("out").exists());
    world.write("out/mine.txt", "a file of the user's own");
    refused(
        &world.glue(&["--methods", "lora", "--set", "methods.lora.r=0"]),
        &["r must be"],
    );
    let left: Vec<_> = std::fs::read_dir(world.path("out")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_setting_in_the_wrong_place_is_named_with_its_place() {
    let world = World::new();
    for (set, said) in [
        ("r=8", "it is a setting of a method: `methods.lora.r`"),
        ("lr=0.1", "it is a setting of training: `train.lr`"),
        ("decode.beams=3", "no text is generated here"),
        ("decode=3", "in --set decode=3"),
        ("bogus=8", "unknown field `bogus`"),
    ] {
        refused(&world.glue(&["--methods", "lora,head", "--set", set]), &[said]);
    }
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    for args in [
        &["--list"][..],
        &["--print-config"],
        &["config", "fair"],
        &["--dry-run"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_glue"))
            .args(args)
            .current_dir(dir.path())
            .env("LORA_CACHE", dir.path().join("cache"))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }
}

#[test]
fn help_begins_with_what_the_experiment_is() {
    for experiment in ["glue", "ablations"].map(|name| registry::find(name).unwrap()) {
        let help = experiments::app::command(experiment).render_long_help().to_string();
        // Lines are broken to the terminal's width.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&help).starts_with(&words(&experiment.about)), "{help}");
    }
}

#[test]
fn a_configuration_is_printed_with_the_layer_of_each_value() {
    let world = World::new();
    world.write(
        "mine.yaml",
        "extends: fair\ntasks: [rte]\nmethods: [head, full]\nseeds: [4]\n",
    );
    let output = world.glue(&["--config", "mine.yaml", "--set", "train.lr=0.5", "--print-config"]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for line in [
        "seeds: [4]  # mine.yaml",
        "  batch_size: 32  # the preset `fair`",
        "  clip: 1.0  # the defaults",
        "  lr: 0.5  # --set train.lr=0.5",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let plan = world.glue(&["--config", "mine.yaml", "--set", "rates=null", "--dry-run"]);
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(
        plan.contains("2 runs") && plan.contains("head") && plan.contains("full"),
        "{plan}"
    );

    let preset = run(env!("CARGO_BIN_EXE_glue"), &["config", "fair"], world.dir.path());
    assert_eq!(
        String::from_utf8_lossy(&preset.stdout),
        include_str!("../configs/fair.yaml")
    );
    let unknown = run(env!("CARGO_BIN_EXE_glue"), &["config", "none"], world.dir.path());
    refused(&unknown, &["unknown preset `none`", "fair"]);
    world.write("mine.yaml", "extends: nothing\n");
    refused(
        &world.glue(&["--config", "mine.yaml", "--methods", "head"]),
        &["mine.yaml: `extends`", "unknown preset"],
    );
}

#[test]
fn a_list_chooses_and_changes_nothing() {
    let world = World::new();
    world.write("mine.yaml", "extends: quick\nmethods: [lora]\n");
    let printed = world.glue(&["--config", "mine.yaml", "--print-config"]);
    let printed = text(&printed);
    assert!(printed.contains("      lr: 0.003  # the preset `quick`"), "{printed}");
    assert!(!printed.contains("\n  head:"), "{printed}");

    // An empty entry could mean to drop the method, or to leave it.
    world.write("mine.yaml", "extends: quick\nmethods: {head: }\n");
    refused(
        &world.glue(&["--config", "mine.yaml"]),
        &["mine.yaml", "`methods.head` is empty", "--methods"],
    );
}

#[test]
fn a_file_that_extends_a_preset_is_not_called_the_preset() {
    let world = World::new();
    let short = "extends: quick\nmethods: [head]\nlimit: {train: 40, dev: 20}\ntrain: {epochs: 1}\n";
    world.write("mine.yaml", short);
    let args = ["--config", "mine.yaml", "--out", "out", "--device", "cpu"];
    let output = run(env!("CARGO_BIN_EXE_glue"), &args, world.dir.path());
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("the first 40 training rows, the first 20 dev rows, 1 epoch"),
        "{said}"
    );
    assert!(!words.contains("a first look"), "{said}");
}

#[test]
fn the_command_to_ask_an_adapter_names_the_folder_of_its_model() {
    let world = World::new();
    let said = text(&world.glue(&["--methods", "head", "--seeds", "1", "--keep"]));
    let command = said
        .lines()
        .find(|line| line.contains(" predict --adapter "))
        .unwrap_or_else(|| panic!("{said}"));
    let words = shlex::split(command).unwrap();
    let from = words.iter().position(|word| word == "predict").unwrap();
    assert!(words.windows(2).any(|two| two == ["--base", "model"]), "{command}");
    let args: Vec<&str> = words[from..].iter().map(String::as_str).collect();
    let answer = run(env!("CARGO_BIN_EXE_lora"), &args, world.dir.path());
    assert!(answer.status.success(), "{command}: {}", text(&answer));
}
