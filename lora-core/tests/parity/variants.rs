//! rsLoRA, PiSSA, LoRA+, (IA)³, VeRA and schedules against PEFT and transformers: starts, adapters in files, optimiser.
//! `make_variants_golden.py` writes the references.

use super::golden::{Golden, close, logits_tolerance, read, test_device};
use super::gpt2::{batches, packed};
use super::{CLASSES, LORA, build, config, curve, gpt2};
use lora_core::batch::{Batch, Row};
use lora_core::interop::{Base, Export, Tensors, VectorExport, open_peft};
use lora_core::method;
use lora_core::train::{Schedule, ScheduleKind};
use lora_core::weights::Weights;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const KINDS: [&str; 4] = ["rslora", "pissa", "ia3", "vera"];
const MODELS: [&str; 2] = ["roberta", "gpt2"];

fn folder(name: &str, kind: &str) -> PathBuf {
    Golden::open(name).path(&format!("../variants/{name}-{kind}"))
}

fn batch(name: &str) -> Batch {
    let golden = Golden::open(name);
    match name {
        "gpt2" => packed(&batches(&golden)[0]),
        _ => packed(&golden.rows(0, false)),
    }
}

/// The logits of batch 0 with the adapter in `dir`, its method and its tensors.
fn answers(name: &str, dir: &Path) -> (Tensor, serde_yaml::Value, Tensors) {
    let base = Base::open(&Golden::open(name).path("")).unwrap();
    let (settings, tensors) = open_peft(dir).unwrap().method(&base).unwrap();
    let method = method::from_value(&settings).unwrap();
    let loaded = base.load_trained(method.as_ref(), &tensors, test_device(), Kind::Float);
    let (mut model, _built) = loaded.unwrap();
    let logits = model.forward(&batch(name), false).detach();
    model.merge().unwrap();
    close(&model.forward(&batch(name), false), &logits, 1e-5, "merged");
    (logits, settings, tensors)
}

/// Writes the adapter `trained` of a variant as PEFT's into `dir`.
fn export(name: &str, kind: &str, settings: &serde_yaml::Value, trained: &Tensors, dir: &Path) {
    let base = &Base::open(&Golden::open(name).path("")).unwrap();
    let (name, revision) = ("owner/name", None);
    match kind {
        "rslora" | "pissa" => {
            let lora = &method::lora(settings).unwrap();
            let export = Export {
                base,
                name,
                revision,
                lora,
                trained,
            };
            export.save(dir).unwrap();
        }
        _ => {
            let export = VectorExport {
                base,
                name,
                revision,
                method: settings,
                trained,
            };
            export.save(dir).unwrap();
        }
    }
}

#[test]
fn adapters_of_peft_load_and_go_back() {
    for (name, kind) in MODELS.into_iter().flat_map(|name| KINDS.map(|kind| (name, kind))) {
        let what = format!("{name} {kind}");
        let theirs = folder(name, kind);
        let file = |dir: &Path, name: &str| Weights::open(&dir.join(name)).unwrap();
        let expected = file(&theirs, "logits.safetensors").tensor("logits").unwrap();
        let (logits, settings, tensors) = answers(name, &theirs);
        close(
            &logits,
            &expected.to_device(test_device()),
            logits_tolerance(kind),
            &what,
        );

        let dir = tempfile::tempdir().unwrap();
        export(name, kind, &settings, &tensors, dir.path());
        let weights = [dir.path(), &theirs].map(|dir| file(dir, "adapter_model.safetensors"));
        assert!(weights[0].names().eq(weights[1].names()), "{what}");
        for tensor in weights[0].names() {
            let [ours, peft] = weights
                .each_ref()
                .map(|w| w.tensor(tensor).unwrap().to_kind(Kind::Float));
            close(&ours, &peft, 1e-6, &format!("{what} {tensor}"));
        }
        let [ours, peft] = [dir.path(), &theirs].map(|dir| read(&dir.join("adapter_config.json")));
        for key in [
            "peft_type",
            "task_type",
            "r",
            "lora_alpha",
            "use_rslora",
            "init_lora_weights",
            "projection_prng_key",
            "d_initial",
            "fan_in_fan_out",
        ] {
            let number = |config: &Value| config.get(key).map(|v| v.as_f64().map_or(v.clone(), Value::from));
            assert_eq!(number(&ours), number(&peft), "{what}: {key}");
        }
        assert_eq!(answers(name, dir.path()).1, settings, "{what}");
    }
}

/// PiSSA's start: the function of the pretrained model, and PEFT's A, B (up to the signs of singular vectors) and base.
#[test]
fn pissa_starts_as_in_peft() {
    for name in MODELS {
        let golden = Golden::open(name);
        let file = Weights::open(&golden.path(&format!("../variants/{name}.safetensors"))).unwrap();
        let settings = read(&golden.path(&format!("../variants/{name}.json")))["pissa"]
            .as_str()
            .unwrap()
            .to_string();
        let start = |settings: &str| match name {
            "gpt2" => gpt2::build(&golden, settings, Kind::Float, None),
            _ => build(&golden, "", settings, 3, None),
        };
        let (plain, _) = start("{kind: head}");
        let (model, built) = start(&settings);
        let logits = model.forward(&batch(name), false);
        close(&logits, &plain.forward(&batch(name), false), 1e-5, name);
        let value = |name: String| {
            built
                .params
                .get(&name)
                .unwrap_or_else(|| panic!("{name}"))
                .tensor
                .detach()
        };
        let mut layers = 0;
        for layer in file.names().filter_map(|n| n.strip_prefix("pissa/base/")) {
            let expected = |part: &str| {
                file.tensor(&format!("pissa/{part}/{layer}"))
                    .unwrap()
                    .to_device(test_device())
            };
            close(&value(format!("{layer}.weight")), &expected("base"), 1e-5, layer);
            let (a, b) = (
                value(format!("{layer}.lora_A.weight")),
                value(format!("{layer}.lora_B.weight")),
            );
            close(&b.matmul(&a), &expected("start"), 1e-5, layer);
            layers += 1;
        }
        assert_eq!(layers, 9);
    }
}

#[test]
fn loraplus_learns_as_with_peft_s_optimiser() {
    let golden = Golden::open("roberta");
    let reference = read(&golden.path("../variants/loraplus.json"));
    let losses: Vec<f64> = serde_json::from_value(reference["losses"].clone()).unwrap();
    let groups: Vec<Vec<Row>> = (0..20).map(|i| golden.rows(i, false)).collect();
    let settings = LORA.replace('}', &format!(", b_lr_ratio: {}}}", reference["ratio"]));
    let (model, built) = build(&golden, "", &settings, 3, Some("adapter_init"));
    let config = config(&golden, "lora", CLASSES, 5, 1);
    curve(model.as_ref(), &built, &config, &groups, &losses, "LoRA+");
    let (model, built) = build(&golden, "", LORA, 3, Some("adapter_init"));
    let other = golden.numbers(&["curves", "lora"]);
    curve(model.as_ref(), &built, &config, &groups, &other, "LoRA");
    assert!((losses[19] - other[19]).abs() > 1e-2, "the rate of B matters");
}

#[test]
fn schedules_are_those_of_transformers() {
    let all = read(&Golden::open("roberta").path("../variants/schedules.json"));
    for case in all.as_array().unwrap() {
        let kind: ScheduleKind = serde_json::from_value(case["kind"].clone()).unwrap();
        let number = |key: &str| case[key].as_u64().unwrap();
        let schedule = Schedule::linear(3.0, number("warmup"), number("total")).kind(kind);
        for (step, factor) in case["factors"].as_array().unwrap().iter().enumerate() {
            let difference = schedule.rate(step as u64) - 3.0 * factor.as_f64().unwrap();
            assert!(difference.abs() < 1e-12, "{kind:?}, step {step}: {difference:e}");
        }
    }
}

/// What cannot be represented in PEFT's format, or here, is refused before anything is written.
#[test]
fn what_does_not_fit_is_refused_in_words() {
    let base = Base::open(&Golden::open("gpt2").path("")).unwrap();
    let refused = |text: &str| {
        let settings = method::resolved(&serde_yaml::from_str(text).unwrap()).unwrap();
        let method = method::from_value(&settings).unwrap();
        let (_, built) = base.load(method.as_ref(), 1, test_device(), Kind::Float).unwrap();
        let trained: Tensors = built.params.kept().into_iter().collect();
        let dir = tempfile::tempdir().unwrap();
        let saved = match method::lora(&settings) {
            Ok(lora) => Export {
                base: &base,
                name: "b",
                revision: None,
                lora: &lora,
                trained: &trained,
            }
            .save(dir.path()),
            Err(_) => VectorExport {
                base: &base,
                name: "b",
                revision: None,
                method: &settings,
                trained: &trained,
            }
            .save(dir.path()),
        };
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            usize::from(saved.is_ok()) * 2
        );
        saved.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refused("{kind: lora, init: pissa}").contains("train `qkv`"));
    assert!(refused("{kind: vera, r: 4}").contains("train `qkv`"));
    assert!(refused("{kind: ia3, targets: [key], feedforward: [key]}").contains("factors of the input"));
    assert!(refused("{kind: bitfit}").contains("LoRA, DoRA, (IA)³ and VeRA only"));
    assert_eq!(refused("{kind: ia3}"), "", "factors of slots are factors of the whole");

    let mut vera = open_peft(&folder("gpt2", "vera")).unwrap();
    vera.tensors
        .insert("vera_A".into(), Tensor::zeros([3, 40], (Kind::Float, tch::Device::Cpu)));
    let text = vera.method(&base).unwrap_err().to_string();
    assert!(
        text.contains("`vera_A` is not the matrix that PEFT draws with the key 11"),
        "{text}"
    );
    let text = open_peft(&folder("roberta", "ia3"))
        .unwrap()
        .method(&base)
        .unwrap_err()
        .to_string();
    assert!(text.contains("belongs to another"), "{text}");
}
