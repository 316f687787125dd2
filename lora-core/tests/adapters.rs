//! Adapters of PEFT and loralib, export to PEFT, and several adapters on one base.

mod common;

use lora_core::adapter_bank::AdapterBank;
use lora_core::batch::{Batch, Row, Target};
use lora_core::interop::{AdapterFile, Base, Export, Tensors, open_loralib, open_peft};
use lora_core::method::{Lora, LoraInit, LoraSettings};
use lora_core::model::Model;
use lora_core::nn::{BuiltParams, Method, Role};
use lora_core::train::{Schedule, Stepper};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

const NAMES: [&str; 2] = ["roberta", "bert"];

fn golden(name: &str) -> PathBuf {
    tch::set_num_threads(1);
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity/golden")
        .join(name)
}

/// Ragged rows with one segment, since RoBERTa has no other.
fn rows(count: usize) -> Vec<Row> {
    let one = |row: Row| Row {
        types: Vec::new(),
        ..row
    };
    common::rows("roberta", count).into_iter().map(one).collect()
}

fn loaded(base: &Base, adapter: &AdapterFile) -> (Box<dyn Model>, BuiltParams) {
    let (lora, tensors) = adapter.fit(base).unwrap();
    base.load_trained(&lora, &tensors, Device::Cpu, Kind::Float).unwrap()
}

fn logits(model: &dyn Model, rows: &[Row]) -> Tensor {
    let _guard = tch::no_grad_guard();
    let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
    model.forward(&batch, false)
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

fn trained(built: &BuiltParams) -> Tensors {
    let all = built.params.trainable();
    all.map(|e| (e.param.name.clone(), e.tensor.detach().copy())).collect()
}

#[test]
fn the_method_is_found_from_the_file() {
    for name in NAMES {
        let base = Base::open(&golden(name)).unwrap();
        let (lora, _) = open_peft(&golden(name).join("adapter_all"))
            .unwrap()
            .fit(&base)
            .unwrap();
        assert_eq!((lora.r, lora.alpha, lora.dropout), (3, 7.0, 0.0));
        assert_eq!(lora.targets.iter().copied().collect::<Vec<_>>(), Role::BLOCK);
        let adapter = open_peft(&golden(name).join("adapter")).unwrap();
        let (lora, tensors) = adapter.fit(&base).unwrap();
        assert_eq!(
            lora.targets.iter().copied().collect::<Vec<_>>(),
            [Role::Query, Role::Value]
        );
        assert_eq!(base.outputs(&tensors).unwrap(), 3);
    }
}

#[test]
fn exported_adapters_load_again_and_compute_the_same() {
    for name in NAMES {
        let base = Base::open(&golden(name)).unwrap();
        for adapter in ["adapter", "adapter_all"] {
            let (model, built) = loaded(&base, &open_peft(&golden(name).join(adapter)).unwrap());
            let lora = open_peft(&golden(name).join(adapter)).unwrap().fit(&base).unwrap().0;
            let dir = tempfile::tempdir().unwrap();
            let export = Export {
                base: &base,
                name: "owner/name",
                revision: None,
                lora: &lora,
                trained: &trained(&built),
            };
            export.save(dir.path()).unwrap();
            let again = open_peft(dir.path()).unwrap();
            assert_eq!(again.base.as_deref(), Some("owner/name"));
            assert_eq!(again.fit(&base).unwrap().0, lora);
            let (second, _) = loaded(&base, &again);
            assert!(
                logits(second.as_ref(), &rows(5)).equal(&logits(model.as_ref(), &rows(5))),
                "{name} {adapter}"
            );
        }
    }
}

#[test]
fn an_untrained_head_is_taken_from_the_base() {
    let base = Base::open(&golden("bert")).unwrap();
    let mut adapter = open_peft(&golden("bert").join("adapter")).unwrap();
    let whole = logits(loaded(&base, &adapter).0.as_ref(), &rows(4));
    adapter.tensors.retain(|name, _| !name.contains("pooler"));
    // If it is listed as trained, it must be in the file.
    let message = adapter.fit(&base).unwrap_err().to_string();
    assert!(
        message.contains("has no `bert.pooler.dense.bias`") && message.contains("`pooler` under `modules_to_save`"),
        "{message}"
    );
    adapter.saved.retain(|end| end != "pooler");
    let without = logits(loaded(&base, &adapter).0.as_ref(), &rows(4));
    assert!(difference(&whole, &without) > 1e-4, "the base's pooler is another");
}

/// A random adapter of `targets` on the golden GPT-2, and the model with it.
fn random_gpt2(base: &Base, targets: &[Role]) -> (Lora, Tensors, Box<dyn Model>) {
    let lora = lora(3, targets);
    let (_, built) = base.load(&lora, 1, Device::Cpu, Kind::Float).unwrap();
    let tensors = randomised(&built);
    let (model, _) = base.load_trained(&lora, &tensors, Device::Cpu, Kind::Float).unwrap();
    (lora, tensors, model)
}

fn exported(base: &Base, lora: &Lora, trained: &Tensors) -> Result<tempfile::TempDir, lora_core::Error> {
    let dir = tempfile::tempdir().unwrap();
    let export = Export {
        base,
        name: "gpt2",
        revision: None,
        lora,
        trained,
    };
    export.save(dir.path()).map(|()| dir)
}

#[test]
fn query_and_value_of_a_fused_weight_become_one_update_of_blocks() {
    let base = Base::open(&golden("gpt2")).unwrap();
    let rows = common::rows("gpt2", 5);
    for targets in [
        &[Role::Query, Role::Value][..],
        &[Role::Value],
        &[Role::Query, Role::Key, Role::Value],
        &[Role::Qkv],
    ] {
        let (lora, trained, model) = random_gpt2(&base, targets);
        let again = open_peft(exported(&base, &lora, &trained).unwrap().path()).unwrap();
        let fused = again.fit(&base).unwrap().0;
        let parts = if targets == [Role::Qkv] {
            1
        } else {
            targets.len() as i64
        };
        assert_eq!((fused.r, fused.alpha), (3 * parts, 5.0 * parts as f64));
        assert_eq!(fused.targets.iter().copied().collect::<Vec<_>>(), [Role::Qkv]);
        let (second, _) = loaded(&base, &again);
        assert!(
            difference(&logits(second.as_ref(), &rows), &logits(model.as_ref(), &rows)) < 1e-5,
            "{targets:?}"
        );
    }
    let (lora, trained, _) = random_gpt2(&base, &[Role::Qkv, Role::AttnOut, Role::FfnIn]);
    let again = open_peft(exported(&base, &lora, &trained).unwrap().path()).unwrap();
    assert_eq!(again.fit(&base).unwrap().0, lora);
}

#[test]
fn beside_other_targets_a_fused_weight_has_a_rank_of_its_own() {
    let base = Base::open(&golden("gpt2")).unwrap();
    let rows = common::rows("gpt2", 5);
    let (plain, trained, _) = random_gpt2(&base, &[Role::Query, Role::Value, Role::AttnOut, Role::FfnIn]);
    for rslora in [false, true] {
        let settings = LoraSettings {
            rslora,
            ..(*plain).clone()
        };
        let lora = Lora::try_from(settings).unwrap();
        let (model, _) = base.load_trained(&lora, &trained, Device::Cpu, Kind::Float).unwrap();
        let dir = exported(&base, &lora, &trained).unwrap();
        let config = std::fs::read_to_string(dir.path().join("adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let alpha = 5.0 * if rslora { 2_f64.sqrt() } else { 2.0 };
        assert_eq!((&config["r"], &config["lora_alpha"]), (&3.into(), &5.into()));
        assert_eq!(config["rank_pattern"], serde_json::json!({"c_attn": 6}));
        assert_eq!(config["alpha_pattern"]["c_attn"].as_f64(), Some(alpha));
        let again = open_peft(dir.path()).unwrap();
        let (second, _) = loaded(&base, &again);
        let (ours, read) = (logits(model.as_ref(), &rows), logits(second.as_ref(), &rows));
        assert!(difference(&ours, &read) < 1e-5, "rslora: {rslora}");
    }
}

#[test]
fn one_update_of_a_fused_weight_trains_and_merges() {
    let base = Base::open(&golden("gpt2")).unwrap();
    let lora = lora(3, &[Role::Qkv]);
    let (mut model, built) = base.load(&lora, 1, Device::Cpu, Kind::Float).unwrap();
    let shape = (base.arch.shape)(&base.config).unwrap();
    assert_eq!((built.counts.base, built.counts.method), lora.expected_params(&shape));
    let config = common::fit_config("gpt2");
    let rows = common::rows("gpt2", 8);
    let mut stepper = Stepper::new(model.as_ref(), &built.params, &config, Schedule::constant(1e-2)).unwrap();
    let rows: Vec<&Row> = rows.iter().collect();
    let losses: Vec<f64> = (0..6).map(|_| stepper.step(&rows).unwrap().double_value(&[])).collect();
    assert!(losses[5] < losses[0], "{losses:?}");
    drop(stepper);
    let rows = common::rows("gpt2", 4);
    let before = logits(model.as_ref(), &rows);
    model
        .linears_mut()
        .into_iter()
        .try_for_each(lora_core::nn::Linear::merge_and_drop)
        .unwrap();
    let after = logits(model.as_ref(), &rows);
    assert!(!after.equal(&before) && difference(&after, &before) < 1e-4);
    // `qkv` excludes its slots.
    let both = self::lora(3, &[Role::Qkv, Role::Query]);
    let message = base.load(&both, 1, Device::Cpu, Kind::Float).unwrap_err().to_string();
    assert!(message.contains("not both"), "{message}");
    let bert = Base::open(&golden("bert")).unwrap();
    let message = bert.load(&lora, 2, Device::Cpu, Kind::Float).unwrap_err().to_string();
    assert!(message.contains("no layer for the target qkv"), "{message}");
}

#[test]
fn an_adapter_of_another_base_is_refused() {
    let base = Base::open(&golden("roberta")).unwrap();
    let refused = |change: &dyn Fn(&mut AdapterFile), what: &str| {
        let mut adapter = open_peft(&golden("roberta").join("adapter")).unwrap();
        change(&mut adapter);
        let message = adapter.fit(&base).unwrap_err().to_string();
        assert!(message.contains(what), "{what}: {message}");
    };
    let layer = |i: usize| format!("roberta.encoder.layer.{i}.attention.self.query");
    let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
    // Wider, deeper, shallower, of another architecture.
    refused(
        &|a| {
            a.tensors.insert(layer(0) + ".lora_A.weight", random(&[4, 48]));
        },
        "is for a matrix of 32 x 48 but the base's is 32 x 32",
    );
    refused(
        &|a| {
            a.tensors.insert(layer(3) + ".lora_A.weight", random(&[4, 32]));
            a.tensors.insert(layer(3) + ".lora_B.weight", random(&[32, 4]));
        },
        "matches no layer of the base",
    );
    refused(
        &|a| a.tensors.retain(|n, _| !n.contains("layer.2.")),
        "the base has more layers",
    );
    let bert = open_peft(&golden("bert").join("adapter")).unwrap();
    assert!(
        bert.fit(&base)
            .unwrap_err()
            .to_string()
            .contains("(roberta): the adapter belongs to another")
    );
    refused(
        &|a| {
            a.tensors.insert(layer(0) + ".lora_A.weight", random(&[33, 32]));
            a.tensors.insert(layer(0) + ".lora_B.weight", random(&[32, 33]));
        },
        "has rank 33",
    );
    // A missing factor, two ranks, no valid alpha.
    refused(
        &|a| a.tensors.retain(|n, _| *n != layer(0) + ".lora_A.weight"),
        "but no",
    );
    refused(
        &|a| {
            a.tensors.insert(layer(0) + ".lora_A.weight", random(&[2, 32]));
            a.tensors.insert(layer(0) + ".lora_B.weight", random(&[32, 2]));
        },
        "ranks [2, 4]",
    );
    refused(&|a| a.alpha = Some(0.0), "alpha must be a positive number");
    refused(&|a| a.alpha = None, "does not state alpha");
}

#[test]
fn tensors_that_are_not_finite_are_reported_and_refused() {
    let base = Base::open(&golden("roberta")).unwrap();
    let mut adapter = open_peft(&golden("roberta").join("adapter")).unwrap();
    assert!(adapter.damage().is_empty());
    let (lora, mut trained) = adapter.fit(&base).unwrap();
    let layer = "roberta.encoder.layer.0.attention.self.query";
    let name = format!("{layer}.lora_B.weight");
    for bad in [f64::NAN, f64::INFINITY] {
        let damaged = adapter.tensors[&name].copy();
        let _ = damaged.get(1).narrow(0, 2, 1).fill_(bad);
        adapter.tensors.insert(name.clone(), damaged.shallow_clone());
        // The norms are not finite either.
        let norms = adapter.norms().unwrap();
        let of_layer = norms.iter().find(|n| n.layer == layer).unwrap();
        assert!(!of_layer.ba.is_finite() && !of_layer.b.is_finite() && of_layer.a.is_finite());
        let [line] = &adapter.damage()[..] else { panic!() };
        assert!(line.contains(&name) && line.contains("1 of its 128 values"), "{line}");
        // The adapter cannot be used.
        let said = |e: lora_core::Error| e.to_string();
        let refusals = [
            said(adapter.fit(&base).unwrap_err()),
            {
                trained.insert(name.clone(), damaged.shallow_clone());
                let loaded = base.load_trained(&lora, &trained, Device::Cpu, Kind::Float);
                said(loaded.unwrap_err())
            },
            said(exported(&base, &lora, &trained).unwrap_err()),
            said(
                AdapterBank::new(Base::open(&golden("roberta")).unwrap(), Device::Cpu, Kind::Float)
                    .unwrap()
                    .add("damaged", &lora, &trained)
                    .unwrap_err(),
            ),
        ];
        for text in refusals {
            assert!(text.contains(&name) && text.contains("NaN or infinity"), "{text}");
        }
    }
}

#[test]
fn modules_listed_as_trained_must_have_tensors() {
    for (model, listed, wanted) in [
        ("roberta", "classifier", "classifier.dense.bias"),
        ("bert", "pooler", "bert.pooler.dense.bias"),
        ("bert", "word_embeddings", "bert.embeddings.word_embeddings.weight"),
    ] {
        let base = Base::open(&golden(model)).unwrap();
        let mut adapter = open_peft(&golden(model).join("adapter")).unwrap();
        adapter.fit(&base).unwrap();
        adapter.saved.push(listed.into());
        adapter.tensors.retain(|name, _| !name.contains(listed));
        let text = adapter.fit(&base).unwrap_err().to_string();
        assert!(
            text.contains(&format!("has no `{wanted}`")) && text.contains(&format!("lists `{listed}`")),
            "{text}"
        );
        assert!(adapter.unsaved().contains(&listed), "{:?}", adapter.unsaved());
    }
    // PEFT always lists the heads of other models, which are ignored.
    let adapter = open_peft(&golden("bert").join("adapter")).unwrap();
    assert_eq!(adapter.unsaved(), ["score"]);
}

#[test]
fn rank_and_configuration_must_match() {
    let dir = tempfile::tempdir().unwrap();
    let source = golden("roberta").join("adapter");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(source.join(file), dir.path().join(file)).unwrap();
    }
    let path = dir.path().join("adapter_config.json");
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value, what) in [
        ("r", json!(8), "`r` is 8 but the tensors"),
        ("r", json!(0), "`r` is 0"),
        ("colour", json!("red"), "unknown field `colour`"),
    ] {
        let mut config = whole.clone();
        config[key] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        let message = open_peft(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains(what) && message.contains("adapter_config.json"),
            "{message}"
        );
    }
}

/// The adapter released by the paper's authors, against norms computed from the release.
#[test]
fn norms_of_the_released_roberta_adapter() {
    let Some(data) = testing::data() else { return };
    let path = data.join("checkpoints/roberta_base_lora_mnli.bin");
    let adapter = open_loralib(&path, Some(16.0)).unwrap();
    assert_eq!(adapter.tensors.len(), 52);
    assert_eq!(adapter.tensors.values().map(Tensor::numel).sum::<usize>(), 887_811);
    let norms = adapter.norms().unwrap();
    for (layer, expected) in [
        ("0.attention.self.query", [3.519, 2.886, 4.814]),
        ("11.attention.self.value", [2.368, 2.180, 2.719]),
    ] {
        let found = norms
            .iter()
            .find(|n| n.layer == format!("roberta.encoder.layer.{layer}"))
            .unwrap();
        for (ours, wanted) in [found.a, found.b, found.ba].into_iter().zip(expected) {
            assert!((ours - wanted).abs() < 6e-4, "{layer}: {ours} and not {wanted}");
        }
        let (a, b) = (".lora_A.weight", ".lora_B.weight");
        let factor = |end: &str| adapter.tensors[&format!("{}{end}", found.layer)].to_kind(Kind::Double);
        let whole = factor(b).matmul(&factor(a)).norm().double_value(&[]);
        assert!(
            (found.ba - whole).abs() < 1e-9 * whole,
            "{layer}: {} and by forming B A {whole}",
            found.ba
        );
    }
}

fn lora(r: i64, targets: &[Role]) -> Lora {
    let settings = LoraSettings {
        r,
        alpha: 5.0,
        dropout: 0.0,
        shared_mask: false,
        rslora: false,
        b_lr_ratio: 1.0,
        init: LoraInit::Kaiming,
        targets: targets.iter().copied().collect(),
    };
    Lora::try_from(settings).unwrap()
}

/// Random values for all trained variables.
fn randomised(built: &BuiltParams) -> Tensors {
    let random = |t: Tensor| Tensor::randn(t.size(), (Kind::Float, Device::Cpu)) * 0.2;
    trained(built).into_iter().map(|(n, t)| (n, random(t))).collect()
}

/// Adapters with different ranks, α, targets and numbers of outputs.
fn several(base: &Base) -> Vec<(Lora, Tensors)> {
    let targets = [
        vec![Role::Query, Role::Value],
        vec![Role::Query, Role::FfnOut],
        Role::BLOCK.to_vec(),
        vec![Role::AttnOut],
    ];
    let one = |(i, targets): (usize, Vec<Role>)| {
        let lora = lora(i as i64 + 2, &targets);
        let (_, built) = base.load(&lora, i as i64 + 1, Device::Cpu, Kind::Float).unwrap();
        (lora, randomised(&built))
    };
    targets.into_iter().enumerate().map(one).collect()
}

#[test]
fn each_row_of_a_batch_can_use_its_own_adapter() {
    for name in NAMES {
        let base = Base::open(&golden(name)).unwrap();
        let adapters = several(&base);
        let mut bank = AdapterBank::new(Base::open(&golden(name)).unwrap(), Device::Cpu, Kind::Float).unwrap();
        for (i, (lora, tensors)) in adapters.iter().enumerate() {
            assert_eq!(bank.add(&format!("number {i}"), lora, tensors).unwrap(), i);
        }
        let rows = rows(11);
        let requests: Vec<(usize, &Row)> = rows.iter().enumerate().map(|(i, row)| ((i * 5 + 3) % 4, row)).collect();
        let together = bank.predict(&requests).unwrap();
        for (i, (adapter, row)) in requests.iter().enumerate() {
            let (lora, tensors) = &adapters[*adapter];
            let (alone, _) = base.load_trained(lora, tensors, Device::Cpu, Kind::Float).unwrap();
            let expected = logits(alone.as_ref(), std::slice::from_ref(row));
            let found = Tensor::from_slice(&together[i]).view([1, -1]);
            assert!(
                difference(&found, &expected) < 1e-5,
                "{name}, row {i}, adapter {adapter}"
            );
            let switched = logits(bank.model(*adapter).unwrap(), std::slice::from_ref(row));
            assert!(switched.equal(&expected), "the model switched to this adapter");
        }
        // Rows of one token, so that there are as many rows as tokens
        let short: Vec<Row> = rows
            .iter()
            .map(|r| Row {
                ids: vec![r.ids[0]],
                ..r.clone()
            })
            .collect();
        let requests: Vec<(usize, &Row)> = short.iter().enumerate().map(|(i, row)| (i % 4, row)).collect();
        let one = bank.predict(&requests[2..3]).unwrap();
        let found = bank.predict(&requests).unwrap();
        assert!(difference(&Tensor::from_slice(&one[0]), &Tensor::from_slice(&found[2])) < 1e-5);
    }
}

#[test]
fn each_row_of_a_language_model_can_use_its_own_adapter() {
    let base = Base::open(&golden("gpt2")).unwrap();
    let targets = [
        &[Role::Query, Role::Value][..],
        &[Role::Value, Role::FfnOut],
        &[Role::AttnOut],
    ];
    let adapters = targets.map(|targets| random_gpt2(&base, targets));
    let mut bank = AdapterBank::new(Base::open(&golden("gpt2")).unwrap(), Device::Cpu, Kind::Float).unwrap();
    for (i, (lora, tensors, _)) in adapters.iter().enumerate() {
        bank.add(&i.to_string(), lora, tensors).unwrap();
    }
    let scored = common::rows("gpt2", 7);
    let whole = scored.iter().map(|row| Row {
        target: Target::Class(0),
        ..row.clone()
    });
    for rows in [scored.clone(), whole.collect()] {
        let requests: Vec<(usize, &Row)> = rows.iter().enumerate().map(|(i, row)| ((i * 2 + 1) % 3, row)).collect();
        for ((adapter, row), found) in requests.iter().zip(bank.predict(&requests).unwrap()) {
            let alone = logits(adapters[*adapter].2.as_ref(), std::slice::from_ref(*row));
            let found = Tensor::from_slice(&found).view_as(&alone);
            assert!(difference(&found, &alone) < 1e-5, "adapter {adapter}");
        }
    }
}

#[test]
fn several_adapters_share_one_base_and_refuse_what_does_not_fit() {
    let base = Base::open(&golden("roberta")).unwrap();
    let adapters = several(&base);
    let mut bank = AdapterBank::new(Base::open(&golden("roberta")).unwrap(), Device::Cpu, Kind::Float).unwrap();
    assert!(bank.predict(&[]).unwrap().is_empty());
    bank.add("one", &adapters[0].0, &adapters[0].1).unwrap();
    let message = |e: lora_core::Error| e.to_string();
    assert!(message(bank.add("one", &adapters[1].0, &adapters[1].1).unwrap_err()).contains("already"));
    let wrong = message(bank.add("two", &adapters[1].0, &adapters[0].1).unwrap_err());
    assert!(wrong.contains("adapter `two`"), "{wrong}");
    assert_eq!(bank.names().collect::<Vec<_>>(), ["one"]);
    let row = &rows(1)[0];
    assert!(message(bank.predict(&[(1, row)]).unwrap_err()).contains("there is no adapter 1"));
    let long = Row {
        ids: vec![3; 100],
        ..row.clone()
    };
    assert!(message(bank.predict(&[(0, &long)]).unwrap_err()).contains("100 tokens"));
    assert_eq!(bank.predict(&[(0, row)]).unwrap()[0].len(), 1);
}
