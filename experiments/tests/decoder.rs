//! A model folder of the Qwen2 kind, as the hub has them: shards with an index, a tokenizer.json, end tokens in two files; and
//! the experiments of text on it.

use lora_core::nn::{BaseInit, Build};
use lora_core::weights::{published, save};
use results::Store;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// Qwen2's way to cut text.
const PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn run(program: &str, dir: &Path, args: &[&str]) -> (String, bool) {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("LORA_CACHE", dir.join("cache"));
    let Output { stdout, stderr, status } = command.output().unwrap();
    let all = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (
        all.join(" ").split_whitespace().collect::<Vec<_>>().join(" "),
        status.success(),
    )
}

/// The embedded GPT-2's vocabulary under Qwen2's normaliser and pattern.
fn tokenizer() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded/gpt2/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    let split = json!({"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": false});
    tokenizer["normalizer"] = json!({"type": "NFC"});
    tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [split, bytes.clone()]});
    tokenizer["post_processor"] = bytes;
    tokenizer.to_string()
}

/// A tiny random Qwen2 in `dir`, its weights in two shards.
fn qwen2(dir: &Path) {
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let config = json!({
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 1110, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 256,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.1, "eos_token_id": 0,
    });
    write("config.json", config.to_string());
    write("generation_config.json", json!({"eos_token_id": [7, 0]}).to_string());
    write("tokenizer.json", tokenizer());
    let method = lora_core::method::from_yaml("{kind: full}").unwrap();
    let build = Build::new(method.as_ref(), 1).base_init(BaseInit::Random);
    let (_model, arch) = lora_core::model::lm_from_dir(dir, &build).unwrap();
    let tensors = published(&build.finish().unwrap().params, arch);
    let mut map = serde_json::Map::new();
    for (number, part) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", number + 1);
        save(&dir.join(&name), part, Default::default()).unwrap();
        map.extend(
            part.iter()
                .map(|(tensor, _)| (tensor.clone(), Value::from(name.as_str()))),
        );
    }
    write("model.safetensors.index.json", json!({"weight_map": map}).to_string());
}

#[test]
fn a_qwen2_folder_trains_writes_and_scores() {
    let world = tempfile::tempdir().unwrap();
    let dir = world.path();
    std::fs::create_dir(dir.join("model")).unwrap();
    qwen2(&dir.join("model"));
    let small = [
        "--set",
        "limit={train: 48, dev: 16, test: 6}",
        "--set",
        "decode.max_new_tokens=12",
        "--set",
        "decode.beams=2",
    ];
    let where_to = [
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--out",
        "out",
        "--model",
        "model",
        "--data",
        "embedded",
    ];
    let gated = "methods.gated={kind: lora, r: 2, alpha: 4, targets: [q, v, gate, up, down]}";
    let args = [
        &small[..],
        &where_to,
        &["--methods", "lora,gated,adapter_h", "--set", gated],
    ]
    .concat();
    let (said, fine) = run(env!("CARGO_BIN_EXE_e2e"), dir, &args);
    assert!(fine, "{said}");
    assert!(said.contains("model on generated data"), "{said}");
    let records = Store::open(dir.join("out")).unwrap().records().unwrap();
    assert_eq!(records.len(), 3);
    for record in &records {
        let eval = record.best_eval().unwrap();
        assert!(eval.metrics["test/BLEU"].is_some() && eval.metrics["dev/loss"].is_some());
        let texts = std::fs::read_to_string(dir.join(format!("out/texts/{}.jsonl", record.id))).unwrap();
        assert_eq!(texts.lines().count(), 6);
    }
    let gated = records.iter().find(|r| r.method == "gated").unwrap();
    // r (in + out) of q, v, gate, up and down in two blocks.
    assert_eq!(gated.params.method, 2 * 2 * (64 + 48 + 80 + 80 + 80));
    let (again, _) = run(env!("CARGO_BIN_EXE_e2e"), dir, &args);
    assert!(again.contains("3 in the store, 0 to compute"), "{again}");

    // Other end tokens are another question.
    std::fs::write(dir.join("model/generation_config.json"), r#"{"eos_token_id": [0, 9]}"#).unwrap();
    let (other, _) = run(env!("CARGO_BIN_EXE_e2e"), dir, &[&args[..], &["--dry-run"]].concat());
    assert!(other.contains("3 runs, 3 to compute"), "{other}");

    // A shard that is missing is named, before anything is computed.
    std::fs::remove_file(dir.join("model/model-00002-of-00002.safetensors")).unwrap();
    let (said, fine) = run(env!("CARGO_BIN_EXE_e2e"), dir, &args);
    assert!(!fine && said.contains("model-00002-of-00002.safetensors"), "{said}");
}

#[test]
fn parameters_are_counted_in_a_folder() {
    let world = tempfile::tempdir().unwrap();
    qwen2(world.path());
    let folder = world.path().to_str().unwrap();
    let (said, fine) = run(
        env!("CARGO_BIN_EXE_lora"),
        world.path(),
        &[
            "params",
            "--model",
            folder,
            "--method",
            "lora",
            "--set",
            "targets=[gate]",
        ],
    );
    assert!(fine && said.contains("lora 0 1280"), "{said}"); // 8 (32 + 48) in two blocks
}
