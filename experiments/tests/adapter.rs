//! `lora adapter` end to end: a run that kept its weights, to PEFT and back, merged, and to the hub.

mod world;

#[path = "../../datasets/tests/stand_in/mod.rs"]
mod stand_in;

use lora_core::weights::Weights;
use serde_json::{Value, json};
use stand_in::{Host, StandIn};
use std::path::Path;
use std::process::{Command, Output};
use world::{World, refused, run, text};

const TOKEN: &str = "hf_sesame";

fn lora(world: &World, args: &[&str]) -> Output {
    run(
        env!("CARGO_BIN_EXE_lora"),
        &[&["adapter"], args].concat(),
        world.dir.path(),
    )
}

fn done(output: &Output) -> String {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    text
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A world in which LoRA was trained on RTE; the run as the command line names it.
fn trained() -> (World, String) {
    let world = World::new();
    done(&world.glue(&["--methods", "lora,head", "--seeds", "1", "--keep", "--quiet"]));
    let records = world.records("runs");
    let lora = records.iter().find(|r| json(r)["method"] == "lora").unwrap();
    let id = lora.file_stem().unwrap().to_string_lossy().into_owned();
    (world, format!("out/{id}"))
}

fn tensors(path: &Path) -> Vec<(String, Vec<f32>)> {
    let weights = Weights::open(path).unwrap();
    let values = |n: &str| Vec::<f32>::try_from(weights.tensor(n).unwrap().reshape([-1])).unwrap();
    weights.names().map(|n| (n.to_string(), values(n))).collect()
}

#[test]
fn a_run_goes_to_peft_and_back() {
    let (world, run) = trained();
    done(&lora(&world, &["export", &run, "--base", "model", "--out", "peft"]));
    let config = json(&world.path("peft/adapter_config.json"));
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(8), &json!(16)));
    assert_eq!(config["target_modules"], json!(["query", "value"]));
    assert_eq!(config["modules_to_save"], json!(["classifier", "pooler"]));
    assert_eq!(config["base_model_name_or_path"], "model");
    let card = std::fs::read_to_string(world.path("peft/README.md")).unwrap();
    for part in [
        "library_name: peft",
        "for rte",
        "dev/accuracy",
        "glue --model DIR --data DIR --tasks rte --methods lora --seeds 1 --set ",
        "--set train.epochs=",
        " --keep",
        "lora adapter export",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    done(&lora(
        &world,
        &["import", "peft", "--base", "model", "--task", "rte", "--out", "back"],
    ));
    let id = run.trim_start_matches("out/");
    let kept = world.path(&format!("out/weights/{id}.safetensors"));
    assert_eq!(tensors(&kept), tensors(&world.path("back/adapter.safetensors")));
    assert_eq!(
        json(&world.path("back/adapter.json"))["labels"],
        json!(["entailment", "not_entailment"])
    );
    for form in [
        &run,
        &format!("out/weights/{id}.safetensors"),
        &format!("out/runs/{id}.json"),
        "peft",
        "back",
    ] {
        let text = done(&lora(&world, &["info", form]));
        assert!(
            text.contains("each update is 2 x BA") && text.contains("attention.self.value"),
            "{form}: {text}"
        );
    }
    // What is there is not written over.
    refused(
        &lora(&world, &["export", &run, "--base", "model", "--out", "peft"]),
        &["peft is there already"],
    );
}

#[test]
fn a_merged_model_is_a_folder_that_a_run_can_start_from() {
    let (world, run) = trained();
    let text = done(&lora(&world, &["merge", &run, "--base", "model", "--out", "merged"]));
    assert!(text.contains("a whole model"), "{text}");
    let config = json(&world.path("merged/config.json"));
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    assert_eq!(config["id2label"], json!({"0": "entailment", "1": "not_entailment"}));
    assert_eq!(config["label2id"]["not_entailment"], 1);
    assert!(world.path("merged/vocab.txt").is_file() && world.path("merged/README.md").is_file());
    let names: Vec<String> = tensors(&world.path("merged")).into_iter().map(|(n, _)| n).collect();
    assert!(names.iter().all(|n| !n.contains("lora")) && names.contains(&"classifier.weight".to_string()));
    // The head alone was trained: its merged model is the base with another head.
    let records = world.records("runs");
    let head = records.iter().find(|r| json(r)["method"] == "head").unwrap();
    let head = head.to_string_lossy().into_owned();
    done(&lora(&world, &["merge", &head, "--base", "model", "--out", "headed"]));
    let same = |name: &str, folder: &str| {
        let of = |dir: &Path| tensors(dir).into_iter().find(|(n, _)| n == name).unwrap().1;
        of(&world.path(folder)) == of(&world.path("model"))
    };
    let query = "bert.encoder.layer.0.attention.self.query.weight";
    assert!(same(query, "headed") && !same(query, "merged"));
    refused(
        &lora(&world, &["export", &head, "--base", "model", "--out", "no"]),
        &["the method is `head`"],
    );
    assert!(!world.path("no").exists());
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let (world, run) = trained();
    // The folder's name is all that the run knows of its base.
    std::fs::rename(world.path("model"), world.path("moved")).unwrap();
    refused(
        &lora(&world, &["export", &run, "--out", "no"]),
        &["the adapter is for the base `model`; name it with --base"],
    );
    done(&lora(&world, &["export", &run, "--base", "moved", "--out", "peft"]));
    std::fs::rename(world.path("moved"), world.path("model")).unwrap();
    // Another base of the same shapes is told by its hash.
    std::fs::create_dir(world.path("other")).unwrap();
    for file in ["config.json", "vocab.txt", "model.safetensors"] {
        std::fs::copy(world.path("model").join(file), world.path("other").join(file)).unwrap();
    }
    let mut bytes = std::fs::read(world.path("other/model.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(world.path("other/model.safetensors"), bytes).unwrap();
    refused(
        &lora(&world, &["merge", &run, "--base", "other", "--out", "no"]),
        &["an adapter of another base"],
    );
    for (args, parts) in [
        (&["info", "nowhere"][..], &["no such adapter", "glue --keep"][..]),
        (&["info", "model"], &["no adapter in this folder"]),
        (&["info", "model/vocab.txt"], &["unknown form of an adapter"]),
        (
            &["import", "model", "--base", "model", "--out", "no"],
            &["no adapter in this folder"],
        ),
        (
            &["merge", "out/0123456789abcdef", "--base", "model", "--out", "no"],
            &["no such adapter"],
        ),
    ] {
        refused(&lora(&world, args), parts);
    }
    world.write("evil.bin", b"\x80\x02cposix\nsystem\nX\x01\0\0\0x\x85R.");
    refused(
        &lora(&world, &["info", "evil.bin"]),
        &["evil.bin", "is not a file of torch.save"],
    );
    assert!(!world.path("no").exists());
    // A run without --keep says how to get its weights.
    let id = run.trim_start_matches("out/");
    std::fs::remove_file(world.path(&format!("out/weights/{id}.safetensors"))).unwrap();
    refused(&lora(&world, &["info", &run]), &["were not kept", "glue --keep"]);
}

#[test]
fn an_export_goes_to_the_hub() {
    let (world, run) = trained();
    let hub = StandIn::start();
    let push = |out: &str, token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lora"));
        command.args([
            "adapter", "export", &run, "--base", "model", "--out", out, "--push", "me/rte",
        ]);
        command
            .current_dir(world.dir.path())
            .env("LORA_CACHE", world.path("cache"));
        command
            .env("HF_ENDPOINT", hub.endpoint())
            .env("HF_HOME", world.path("hf"))
            .env("HF_TOKEN", token);
        command.env("NO_PROXY", "127.0.0.1").env_remove("HF_HUB_OFFLINE");
        command.output().unwrap()
    };
    let text = done(&push("peft", TOKEN));
    assert!(text.contains("/me/rte/commit/") && !text.contains("sesame"), "{text}");
    let sent: Vec<_> = hub
        .seen()
        .into_iter()
        .filter(|s| s.path.ends_with("/commit/main"))
        .collect();
    let body = String::from_utf8_lossy(&sent[0].body).into_owned();
    assert_eq!(sent.len(), 1);
    for file in ["README.md", "adapter_config.json", "adapter_model.safetensors"] {
        assert!(body.contains(file), "{file}");
    }
    assert_eq!(hub.count(Host::Cdn, "PUT", "/upload/"), 1);
    let without = push("again", "");
    refused(&without, &["again is written; uploading it", "no token is set"]);
    assert!(world.path("again/README.md").is_file());
}
