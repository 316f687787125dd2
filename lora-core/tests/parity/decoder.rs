//! Llama and Qwen2 against transformers, fully trained and with PEFT's LoRA. `make_decoder_golden.py` writes the
//! reference.

use super::generate::{generate, lists, settings};
use super::golden::{Golden, close, ints, read, test_device};
use super::gpt2::{batches, build, continues, packed, saved_as_theirs};
use super::{close_relative, curve};
use lora_core::generate::{Flavour, Strategy};
use lora_core::interop::{Base, Export, open_peft};
use lora_core::method;
use lora_core::model::{arch, end_tokens};
use lora_core::nn::{Rotary, RotaryScaling};
use lora_core::train::{FitConfig, Objective, loss};
use lora_core::weights::Weights;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const NAMES: [&str; 3] = ["decoder/llama3", "decoder/linear", "decoder/qwen2"];
const LORA: &str = "{kind: lora, r: 3, alpha: 7, targets: [q, k, v, o, gate, up, down]}";
const TOKENS: Objective = Objective::Tokens { label_smoothing: 0.0 };

fn methods() -> [(&'static str, &'static str, Option<&'static str>); 2] {
    [("full", "{kind: full}", None), ("lora", LORA, Some("adapter"))]
}

#[test]
fn logits_losses_and_gradients() {
    for name in NAMES {
        let golden = Golden::open(name);
        let batch = packed(&batches(&golden)[0]);
        for (key, method, adapter) in methods() {
            let (model, built) = build(&golden, method, Kind::Float, adapter);
            let what = format!("{name} {key}");
            let logits = model.forward(&batch, false);
            close(&logits, &golden.tensor(&format!("{key}/logits")), 1e-5, &what);
            let loss = loss(&model.forward(&batch, true), &batch, TOKENS);
            let difference = f64::try_from(&loss).unwrap() - golden.number(&["loss", key]);
            assert!(difference.abs() < 1e-5, "{what}: loss differs by {difference:e}");
            loss.backward();
            let expected = golden.gradients(key);
            assert_eq!(built.params.trainable().count(), expected.len(), "{what}");
            for entry in built.params.trainable() {
                let name = entry.param.name.as_str();
                close_relative(&entry.tensor.grad(), &expected[name], 1e-4, &format!("{what} {name}"));
            }
        }
    }
}

#[test]
fn twenty_step_loss_curves() {
    for name in NAMES {
        let golden = Golden::open(name);
        let groups = batches(&golden);
        for (key, method, adapter) in [("full", "{kind: full}", None), ("lora", LORA, Some("adapter_init"))] {
            let (model, built) = build(&golden, method, Kind::Float, adapter);
            let config = FitConfig {
                epochs: 1,
                batch_size: 4,
                lr: golden.number(&["recipe", "lr", key]),
                weight_decay: golden.number(&["recipe", "weight_decay"]),
                warmup_ratio: golden.number(&["recipe", "warmup"]),
                clip: None,
                eps: golden.number(&["recipe", "eps"]),
                objective: TOKENS,
                device: test_device(),
                ..FitConfig::default()
            };
            let reference = golden.numbers(&["curves", key]);
            let what = format!("{name} {key}");
            curve(model.as_ref(), &built, &config, &groups, &reference, &what);
        }
    }
}

/// Far into a text the last bits of an angle count: cosines and sines are transformers' to 1e-5.
#[test]
fn rotary_positions_are_those_of_transformers() {
    let file = read(&Golden::open(NAMES[0]).path("../rotary.json"));
    let positions = Tensor::from_slice(&ints(&file["positions"])).to_device(test_device());
    let ones = Tensor::ones([positions.size()[0], 32], (Kind::Float, test_device()));
    for case in file["cases"].as_array().unwrap() {
        let (mut scaling, what) = (case["rope"].clone(), case["rope"].to_string());
        let theta = scaling.as_object_mut().unwrap().remove("rope_theta").unwrap();
        let scaling: RotaryScaling = serde_json::from_value(scaling).unwrap();
        let rotary = Rotary::new(64, theta.as_f64().unwrap(), &scaling, test_device());
        // A head of ones and zeros becomes cosines and sines.
        let head = Tensor::cat(&[&ones, &ones.zeros_like()], 1);
        let turned = rotary.at(&positions, Kind::Float).turn(&head);
        for (key, start) in [("cos", 0), ("sin", 32)] {
            let wanted: Vec<Vec<f64>> = serde_json::from_value(case[key].clone()).unwrap();
            let wanted = Tensor::from_slice2(&wanted).to_device(test_device());
            close(&turned.narrow(1, start, 32), &wanted, 1e-5, &what);
        }
    }
}

#[test]
fn bf16_base_stays_close() {
    for name in NAMES {
        let golden = Golden::open(name);
        let batch = packed(&batches(&golden)[0]);
        let (model, _) = build(&golden, LORA, Kind::BFloat16, Some("adapter"));
        let (reference, logits) = (golden.tensor("lora/logits"), model.forward(&batch, false));
        assert_eq!(logits.kind(), Kind::Float);
        let largest = f64::try_from(reference.abs().max()).unwrap();
        close(&logits, &reference, 0.04 * largest, name);
    }
}

#[test]
fn decoding_with_a_cache_matches_a_full_forward_pass() {
    for name in NAMES {
        continues(build(&Golden::open(name), LORA, Kind::Float, Some("adapter")).0);
    }
}

#[test]
fn greedy_and_beam_search_match_transformers() {
    for name in NAMES {
        let golden = Golden::open(name);
        let file = read(&golden.path("generate.json"));
        let (prompts, end) = (lists(&file["prompts"]), ints(&file["end"]));
        let (model, _) = build(&golden, LORA, Kind::Float, Some("adapter"));
        for (i, case) in file["cases"].as_array().unwrap().iter().enumerate() {
            let beams = case.get("beams").and_then(Value::as_u64);
            let strategy = beams.map_or(Strategy::Greedy, |beams| Strategy::Beam {
                beams: beams as usize,
                length_penalty: 1.0,
                flavour: Flavour::Transformers,
            });
            let settings = settings(strategy, 0, &end);
            let texts = generate(model.as_ref(), &prompts, &settings, [6, 4, 1][i]);
            for (p, (text, expected)) in texts.iter().zip(lists(&case["tokens"])).enumerate() {
                assert_eq!(text.tokens, expected, "{name}, {settings:?}, prompt {p}");
            }
        }
    }
}

#[test]
fn checkpoints_for_other_libraries_match_theirs() {
    for name in NAMES {
        saved_as_theirs(&Golden::open(name));
    }
}

/// An adapter of PEFT that is loaded and exported again is unchanged.
#[test]
fn adapters_round_trip_with_peft() {
    for name in NAMES {
        let golden = Golden::open(name);
        let (base, theirs) = (
            Base::open(&golden.path("")).unwrap(),
            open_peft(&golden.path("adapter")).unwrap(),
        );
        let (lora, trained) = theirs.fit(&base).unwrap();
        assert_eq!((lora.r, lora.alpha, lora.targets.len()), (3, 7.0, 7));
        let dir = tempfile::tempdir().unwrap();
        let export = Export {
            base: &base,
            name: "owner/name",
            revision: None,
            lora: &lora,
            trained: &trained,
        };
        export.save(dir.path()).unwrap();
        let file = |dir: &std::path::Path| Weights::open(&dir.join("adapter_model.safetensors")).unwrap();
        let (ours, theirs) = (file(dir.path()), file(&golden.path("adapter")));
        assert!(ours.names().eq(theirs.names()), "{name}");
        for tensor in ours.names() {
            assert!(ours.tensor(tensor).unwrap().equal(&theirs.tensor(tensor).unwrap()));
        }
        let config = |dir: &std::path::Path| read(&dir.join("adapter_config.json"));
        let (ours, theirs) = (config(dir.path()), config(&golden.path("adapter")));
        for key in ["peft_type", "task_type", "r", "lora_alpha", "bias", "fan_in_fan_out"] {
            assert_eq!(ours[key], theirs[key], "{name}: {key}");
        }
        let sorted = |config: &Value| {
            let mut names: Vec<String> = serde_json::from_value(config["target_modules"].clone()).unwrap();
            names.sort();
            names
        };
        assert_eq!(sorted(&ours), sorted(&theirs), "{name}");
    }
}

/// bf16 shards with an index load into a bf16 base bit by bit.
#[test]
fn shards_of_bf16_load_unchanged() {
    let golden = Golden::open(NAMES[0]);
    let dir = tempfile::tempdir().unwrap();
    let theirs = Weights::open(&golden.path("")).unwrap();
    let names: Vec<&str> = theirs.names().collect();
    let mut map = serde_json::Map::new();
    for (number, part) in names.chunks(names.len().div_ceil(3)).enumerate() {
        let file = format!("model-{:05}-of-00003.safetensors", number + 1);
        let half = |name: &&str| (name.to_string(), theirs.tensor(name).unwrap().to_kind(Kind::BFloat16));
        let tensors: Vec<(String, Tensor)> = part.iter().map(half).collect();
        Tensor::write_safetensors(&tensors, dir.path().join(&file)).unwrap();
        map.extend(part.iter().map(|name| (name.to_string(), Value::from(file.as_str()))));
    }
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(index, json!({"weight_map": map}).to_string()).unwrap();
    std::fs::copy(golden.path("config.json"), dir.path().join("config.json")).unwrap();
    let base = Base::open(dir.path()).unwrap();
    let head = method::from_yaml("{kind: head}").unwrap();
    let load = || base.load(head.as_ref(), 1, Device::Cpu, Kind::BFloat16);
    let (_, built) = load().unwrap();
    for entry in built.params.iter() {
        let wanted = theirs.tensor(&entry.param.name).unwrap().to_kind(Kind::BFloat16);
        assert!(entry.tensor.equal(&wanted), "{}", entry.param.name);
    }
    std::fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
    let text = load().unwrap_err().to_string();
    assert!(text.contains("model-00002-of-00003.safetensors"), "{text}");
}

#[test]
fn end_tokens_come_from_the_model_folder() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: Value| std::fs::write(dir.path().join(name), text.to_string()).unwrap();
    let mut config = read(&Golden::open(NAMES[2]).path("config.json"));
    let mut ends = |own: Value| {
        config["eos_token_id"] = own;
        write("config.json", config.clone());
        end_tokens(dir.path())
    };
    assert_eq!(ends(Value::Null).unwrap(), [] as [i64; 0]);
    assert_eq!(ends(json!(5)).unwrap(), [5]);
    write("generation_config.json", json!({"eos_token_id": [7, 5]}));
    assert_eq!(ends(json!([5, 6])).unwrap(), [5, 6, 7]);
    let text = ends(json!("</s>")).unwrap_err().to_string();
    assert!(text.contains("`eos_token_id` must be"), "{text}");
    // GPT-2 ends texts with its tokenizer's end token.
    assert_eq!(end_tokens(&Golden::open("gpt2").path("")).unwrap(), [] as [i64; 0]);
}

/// Model type, changes of its golden config.json, and what the error says.
const UNSUPPORTED: &[(&str, &str, &str)] = &[
    (
        "llama",
        r#"{"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}"#,
        "unknown variant `yarn`",
    ),
    (
        "llama",
        r#"{"rope_parameters": {"rope_type": "linear"}}"#,
        "missing field `factor`",
    ),
    (
        "llama",
        r#"{"rope_parameters": {"type": "linear", "factor": 0.5}}"#,
        "`factor` is 0.5",
    ),
    (
        "llama",
        r#"{"rope_parameters": {"rope_type": "default", "mrope_section": [1]}}"#,
        "mrope_section",
    ),
    (
        "llama",
        r#"{"rope_parameters": {"rope_theta": 0.0}}"#,
        "`rope_theta` must be",
    ),
    ("llama", r#"{"rope_scaling": "linear"}"#, "\"linear\" is no mapping"),
    (
        "llama",
        r#"{"partial_rotary_factor": 0.5}"#,
        "`partial_rotary_factor` must be 1",
    ),
    (
        "llama",
        r#"{"num_key_value_heads": 3}"#,
        "not divisible by `num_key_value_heads` 3",
    ),
    ("llama", r#"{"head_dim": 5}"#, "`head_dim` is 5"),
    ("llama", r#"{"quantization_config": {"bits": 4}}"#, "quantised"),
    (
        "qwen2",
        r#"{"use_sliding_window": true, "sliding_window": 32, "max_window_layers": 1}"#,
        "`sliding_window` is 32",
    ),
    (
        "qwen2",
        r#"{"layer_types": ["full_attention", "sliding_attention"]}"#,
        "`sliding_window` is null",
    ),
    (
        "qwen2",
        r#"{"layer_types": ["linear_attention"]}"#,
        "`linear_attention`",
    ),
];

/// The golden config.json of a model type. That of Qwen2 lists its layers, which is left out.
fn base(model_type: &str) -> Value {
    let name = if model_type == "llama" { NAMES[1] } else { NAMES[2] };
    let mut config = read(&Golden::open(name).path("config.json"));
    config["layer_types"] = Value::Null;
    config
}

#[test]
fn unsupported_configs_are_refused() {
    for (model_type, changes, expected) in UNSUPPORTED {
        let mut config = base(model_type);
        let changes: serde_json::Map<String, Value> = serde_json::from_str(changes).unwrap();
        if changes.contains_key("rope_parameters") {
            config["rope_scaling"] = Value::Null;
        }
        for (key, value) in changes {
            config[&key] = value;
        }
        let text = (arch(&config).unwrap().shape)(&config).unwrap_err().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Sliding windows that mask no token.
    for (window, first) in [(64, 0), (8, 2)] {
        let mut config = base("qwen2");
        config["use_sliding_window"] = true.into();
        config["sliding_window"] = window.into();
        config["max_window_layers"] = first.into();
        (arch(&config).unwrap().shape)(&config).unwrap();
    }
}
