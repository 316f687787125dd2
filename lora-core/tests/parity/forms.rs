//! Adapters of PEFT whose layers differ, or that train more than A and B: DoRA, `all-linear`, `layers_to_transform`, biases, ranks
//! and α of single layers. `make_forms_golden.py` writes the references.

use super::golden::{Golden, close, read, test_device};
use super::gpt2::{batches, packed};
use lora_core::batch::Batch;
use lora_core::interop::{Base, Export, Tensors, open_peft};
use lora_core::method;
use lora_core::weights::Weights;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Model, case, and the method that computes it.
const CASES: [(&str, &str, &str); 15] = [
    (
        "roberta",
        "dora",
        "{kind: dora, r: 3, alpha: 5, targets: [query, value, ffn_in]}",
    ),
    (
        "gpt2",
        "dora",
        "{kind: dora, r: 3, alpha: 5, rslora: true, targets: [qkv, ffn_in]}",
    ),
    (
        "bert",
        "all-linear",
        "{kind: lora, r: 3, alpha: 5, targets: [query, key, value, attn_out, ffn_in, ffn_out]}",
    ),
    (
        "bert",
        "all-linear-dora",
        "{kind: dora, r: 3, alpha: 5, targets: [query, key, value, attn_out, ffn_in, ffn_out]}",
    ),
    (
        "gpt2",
        "all-linear",
        "{kind: lora, r: 3, alpha: 5, targets: [qkv, attn_out, ffn_in, ffn_out]}",
    ),
    (
        "roberta",
        "layers",
        "{kind: lora, r: 3, alpha: 5, targets: [query, value]}",
    ),
    ("gpt2", "layers", "{kind: lora, r: 3, alpha: 5, targets: [qkv]}"),
    ("bert", "layers-dora", "{kind: dora, r: 3, alpha: 5, targets: [key]}"),
    (
        "roberta",
        "layers-regex",
        "{kind: lora, r: 3, alpha: 5, targets: [query]}",
    ),
    (
        "bert",
        "bias-all",
        "{kind: bitfit+lora, lora: {r: 3, alpha: 5, targets: [query, value]}}",
    ),
    (
        "gpt2",
        "bias-all",
        "{kind: bitfit+lora, lora: {r: 3, alpha: 5, targets: [qkv]}}",
    ),
    (
        "roberta",
        "bias-only",
        "{kind: bitfit+lora, lora: {r: 3, alpha: 5, targets: [query, value]}}",
    ),
    (
        "roberta",
        "bias-dora",
        "{kind: bitfit+dora, dora: {r: 3, alpha: 5, targets: [query, value]}}",
    ),
    // The scale is that of the first layer in the order of names, a query of rank 3.
    (
        "roberta",
        "patterns",
        "{kind: lora, r: 6, alpha: 10, targets: [query, value, ffn_in]}",
    ),
    (
        "roberta",
        "patterns-rslora",
        "{kind: lora, r: 5, alpha: 5, targets: [query, value]}",
    ),
];

/// The references are computed in double precision; logits are as large as 4, after updates of all matrices.
const ALLOWED: f64 = 3e-5;

fn folder(name: &str, case: &str) -> PathBuf {
    Golden::open(name).path(&format!("../forms/{name}-{case}"))
}

fn base(name: &str) -> Base {
    Base::open(&Golden::open(name).path("")).unwrap()
}

fn batch(name: &str) -> Batch {
    let golden = Golden::open(name);
    match name {
        "gpt2" => packed(&batches(&golden)[0]),
        _ => packed(&golden.rows(0, false)),
    }
}

/// The logits of batch 0 with the adapter in `dir`, merged too, its method and its tensors.
fn answers(name: &str, dir: &Path) -> (Tensor, serde_yaml::Value, Tensors) {
    let base = base(name);
    let (settings, tensors) = open_peft(dir).unwrap().method(&base).unwrap();
    let method = method::from_value(&settings).unwrap();
    let loaded = base.load_trained(method.as_ref(), &tensors, test_device(), Kind::Float);
    let (mut model, _built) = loaded.unwrap();
    let logits = model.forward(&batch(name), false).detach();
    model.merge().unwrap();
    close(&model.forward(&batch(name), false), &logits, ALLOWED, "merged");
    (logits, settings, tensors)
}

fn file(dir: &Path, name: &str) -> Weights {
    Weights::open(&dir.join(name)).unwrap()
}

#[test]
fn adapters_compute_what_they_compute_in_peft() {
    for (name, case, wanted) in CASES {
        let what = format!("{name} {case}");
        let theirs = folder(name, case);
        let expected = file(&theirs, "logits.safetensors").tensor("logits").unwrap();
        let (logits, settings, _) = answers(name, &theirs);
        close(&logits, &expected.to_device(test_device()), ALLOWED, &what);
        let wanted = method::resolved(&serde_yaml::from_str(wanted).unwrap()).unwrap();
        if !case.starts_with("patterns") {
            assert_eq!(settings, wanted, "{what}");
        }
        assert_eq!(
            (&settings["kind"], &settings["r"]),
            (&wanted["kind"], &wanted["r"]),
            "{what}"
        );
    }
}

/// DoRA goes back as PEFT wrote it, magnitudes and all.
#[test]
fn dora_goes_back_to_peft() {
    for name in ["roberta", "gpt2"] {
        let theirs = folder(name, "dora");
        let base = base(name);
        let (settings, trained) = open_peft(&theirs).unwrap().method(&base).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let export = Export {
            base: &base,
            name: "owner/name",
            revision: None,
            lora: &method::lora_or_dora(&settings).unwrap(),
            trained: &trained,
        };
        export.save(dir.path()).unwrap();
        let weights = [dir.path(), &theirs].map(|dir| file(dir, "adapter_model.safetensors"));
        assert!(weights[0].names().eq(weights[1].names()), "{name}");
        for tensor in weights[0].names() {
            let [ours, peft] = weights
                .each_ref()
                .map(|w| w.tensor(tensor).unwrap().to_kind(Kind::Float));
            close(&ours, &peft, 1e-6, &format!("{name} {tensor}"));
        }
        let [ours, peft] = [dir.path(), &theirs].map(|dir| read(&dir.join("adapter_config.json")));
        for key in [
            "peft_type",
            "task_type",
            "r",
            "use_rslora",
            "use_dora",
            "fan_in_fan_out",
        ] {
            assert_eq!(ours.get(key), peft.get(key), "{name}: {key}");
        }
    }
}

/// Slots of a fused weight become one update of the whole, whose other rows keep the base's lengths.
#[test]
fn dora_of_slots_is_dora_of_the_whole_weight() {
    let base = base("gpt2");
    let settings = serde_yaml::from_str("{kind: dora, r: 3, alpha: 5, targets: [query, value]}").unwrap();
    let method = method::from_value(&settings).unwrap();
    let (_, built) = base.load(method.as_ref(), 1, test_device(), Kind::Float).unwrap();
    let changed = |name: &str, t: Tensor| match name.ends_with(".lora_gain") {
        true => t * 1.3,
        false => Tensor::randn(t.size(), (Kind::Float, test_device())) * 0.2,
    };
    let trained = built.params.trainable();
    let trained: Tensors = trained
        .map(|e| (e.param.name.clone(), changed(&e.param.name, e.tensor.detach())))
        .collect();
    let (model, _built) = base
        .load_trained(method.as_ref(), &trained, test_device(), Kind::Float)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let export = Export {
        base: &base,
        name: "owner/name",
        revision: None,
        lora: &method::lora_or_dora(&settings).unwrap(),
        trained: &trained,
    };
    export.save(dir.path()).unwrap();
    let (logits, settings, _) = answers("gpt2", dir.path());
    assert_eq!((&settings["kind"], &settings["r"]), (&"dora".into(), &6.into()));
    close(&logits, &model.forward(&batch("gpt2"), false), 1e-5, "slots");
}

#[test]
fn what_cannot_be_represented_is_refused_with_the_reason() {
    let refused = |name: &str, case: &str, change: &dyn Fn(&mut lora_core::interop::AdapterFile)| {
        let mut adapter = open_peft(&folder(name, case)).unwrap();
        change(&mut adapter);
        adapter.method(&base(name)).unwrap_err().to_string()
    };
    let gone = |end: &'static str| {
        move |a: &mut lora_core::interop::AdapterFile| a.tensors.retain(|name, _| !name.ends_with(end))
    };
    let layer = "layer.2.attention.self.query.lora_A.weight";
    assert!(refused("roberta", "layers", &gone(layer)).contains("but no"));
    let block = |a: &mut lora_core::interop::AdapterFile| a.tensors.retain(|name, _| !name.contains("layer.2."));
    assert!(refused("roberta", "layers", &block).contains("which its configuration does not leave out"));
    assert!(refused("roberta", "dora", &gone("1.intermediate.dense.lora_magnitude_vector")).contains("has no `"));
    assert!(refused("roberta", "dora", &gone(".lora_B.weight")).contains("but no"));
    let adapter = open_peft(&folder("roberta", "dora")).unwrap();
    assert!(
        adapter
            .fit(&base("roberta"))
            .unwrap_err()
            .to_string()
            .contains("magnitudes (DoRA)")
    );
    let adapter = open_peft(&folder("bert", "bias-all")).unwrap();
    assert!(
        adapter
            .fit(&base("bert"))
            .unwrap_err()
            .to_string()
            .contains("trains biases")
    );
    let text = open_peft(&folder("bert", "all-linear"))
        .unwrap()
        .method(&base("roberta"))
        .unwrap_err();
    assert!(text.to_string().contains("belongs to another"), "{text}");
}
