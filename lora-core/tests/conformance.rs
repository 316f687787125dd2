//! Properties of every method on every model. The tests iterate over the registries, so new entries are covered.

mod common;

use common::{build, build_as, fit_config, model_types, rows, try_build};
use lora_core::batch::{Batch, Row, Target, UNSCORED};
use lora_core::generate::{GenerationSettings, Generator, Strategy};
use lora_core::method::{self, METHODS};
use lora_core::model::{Dropout, Model, arch};
use lora_core::nn::{ActivationCheckpointing, AttachPoint, Build, BuiltParams, Method, Owner, ParamKind};
use lora_core::train::{Schedule, Stepper, loss, predict};
use lora_core::weights::{self, Weights};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

fn each(mut check: impl FnMut(&str, &str, &dyn Method)) {
    for model in model_types() {
        for entry in METHODS {
            let method = method::from_yaml(&format!("{{kind: {}}}", entry.kind)).unwrap();
            check(model, entry.kind, method.as_ref());
        }
    }
}

fn logits(model: &dyn Model, rows: &[Row]) -> Tensor {
    let _guard = tch::no_grad_guard();
    model.forward(
        &Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap(),
        false,
    )
}

fn values(built: &BuiltParams, keep: impl Fn(&lora_core::nn::NamedParam) -> bool) -> Vec<(String, Tensor)> {
    built
        .params
        .iter()
        .filter(|e| keep(e))
        .map(|e| (e.param.name.clone(), e.tensor.detach().copy()))
        .collect()
}

fn step(model_type: &str, model: &dyn Model, built: &BuiltParams, steps: usize) {
    if built.params.trainable().count() == 0 {
        return; // nothing is trained: `head` on a model without a head
    }
    let config = fit_config(model_type);
    let mut stepper = Stepper::new(model, &built.params, &config, Schedule::constant(1e-2)).unwrap();
    let rows = rows(model_type, 8);
    for _ in 0..steps {
        let _loss = stepper.step(&rows.iter().collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn counts_equal_the_closed_form() {
    each(|model, kind, method| {
        let (_, built) = build(model, method, 1);
        let config = common::config(model);
        let shape = (arch(&config).unwrap().shape)(&config).unwrap();
        assert_eq!(
            (built.counts.base, built.counts.method),
            method.expected_params(&shape),
            "{kind} on {model}"
        );
        assert_eq!(built.counts.head, shape.head(3), "{kind} on {model}: head");
        let added = built.params.iter().filter(|e| e.param.owner == Owner::Method);
        let added: usize = added.map(|e| e.tensor.numel()).sum(); // also VeRA's random matrices, which are not trained
        assert_eq!(
            built.counts.total,
            shape.total() + shape.head(3) + added as i64,
            "{kind} on {model}: total"
        );
    });
}

fn overwrite<'a>(built: &BuiltParams, values: impl Iterator<Item = (&'a String, Tensor)>) {
    let _guard = tch::no_grad_guard();
    for (name, value) in values {
        let entry = built.params.get(name).unwrap();
        entry.tensor.shallow_clone().copy_(&value);
    }
}

/// The largest absolute difference.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    f64::try_from((a - b).abs().max()).unwrap()
}

#[test]
fn every_method_starts_from_the_pretrained_model_or_states_why_not() {
    for model in model_types() {
        let full = method::from_yaml("{kind: full}").unwrap();
        let (reference, built) = build(model, full.as_ref(), 7);
        let (start, expected) = (values(&built, |_| true), logits(reference.as_ref(), &rows(model, 5)));
        each(|other, kind, method| {
            if other != model {
                return;
            }
            let (network, built) = build(model, method, 7);
            for (name, value) in &start {
                assert!(
                    built.params.get(name).unwrap().tensor.equal(value),
                    "{kind} on {model}: {name}"
                );
            }
            let same = logits(network.as_ref(), &rows(model, 5)).equal(&expected);
            match method.changes_start() {
                None => assert!(same, "{kind} on {model}: not the identity at step 0"),
                Some(why) => assert!(!same && !why.is_empty(), "{kind} on {model} changes nothing at step 0"),
            }
        });
        let (_, other) = build(model, full.as_ref(), 8);
        let matrices = |a: &BuiltParams| values(a, |e| e.param.kind == ParamKind::Weight);
        for ((name, one), (_, two)) in matrices(&other).iter().zip(matrices(&built)) {
            assert!(!one.equal(&two), "another seed draws another {name}");
        }
    }
}

#[test]
fn training_changes_only_trained_variables() {
    each(|model, kind, method| {
        let (network, built) = build(model, method, 1);
        for entry in built.params.iter().filter(|e| e.param.owner == Owner::Base) {
            let trained = method.claims().contains(&AttachPoint::Base) && method.trains_base(&entry.param);
            assert_eq!(
                entry.tensor.requires_grad(),
                trained,
                "{kind} on {model}: {}",
                entry.param.name
            );
        }
        let frozen = values(&built, |e| !e.tensor.requires_grad());
        let trained = values(&built, |e| e.tensor.requires_grad());
        step(model, network.as_ref(), &built, 3);
        for (name, before) in &frozen {
            let entry = built.params.get(name).unwrap();
            assert!(
                entry.tensor.equal(before),
                "{kind} on {model}: {name} is frozen and moved"
            );
            assert!(
                !entry.tensor.grad().defined(),
                "{kind} on {model}: {name} is frozen and has a gradient"
            );
        }
        if trained.is_empty() {
            return;
        }
        // Weight decay also changes a matrix without a gradient, so the gradients of one more batch are checked too.
        let rows = rows(model, 8);
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
        loss(&network.forward(&batch, true), &batch, fit_config(model).objective).backward();
        for (name, before) in &trained {
            let tensor = &built.params.get(name).unwrap().tensor;
            // The bias of keys shifts all scores of a query by the same value, so its gradient is 0 up to rounding.
            if !name.ends_with("key.bias") {
                assert!(!tensor.equal(before), "{kind} on {model}: {name} did not move");
                let largest = f64::try_from(tensor.grad().abs().max()).unwrap();
                assert!(largest > 0.0, "{kind} on {model}: {name} has no gradient");
            }
        }
    });
}

#[test]
fn packed_rows_equal_single_rows() {
    each(|model, kind, method| {
        let (network, built) = build(model, method, 1);
        step(model, network.as_ref(), &built, 2);
        let rows = rows(model, 9);
        let together = logits(network.as_ref(), &rows);
        let mut start = 0;
        for (i, row) in rows.iter().enumerate() {
            let alone = logits(network.as_ref(), std::slice::from_ref(row));
            let answers = alone.size()[0];
            let difference = apart(&alone, &together.narrow(0, start, answers));
            assert!(
                difference < 1e-5,
                "{kind} on {model}: row {i} differs by {difference:e}"
            );
            start += answers;
        }
    });
}

#[test]
fn merging_keeps_the_function_and_unmerging_restores_it() {
    each(|model, kind, method| {
        let (mut network, built) = build(model, method, 1);
        step(model, network.as_ref(), &built, 3);
        let before = logits(network.as_ref(), &rows(model, 6));
        network.merge().unwrap();
        let merged = logits(network.as_ref(), &rows(model, 6));
        let difference = apart(&merged, &before);
        assert!(difference < 2e-5, "{kind} on {model}: merged differs by {difference:e}");
        let branches = method
            .claims()
            .iter()
            .any(|place| matches!(place, AttachPoint::Linear(_)));
        assert_eq!(
            !merged.equal(&before),
            branches,
            "{kind} on {model}: merging takes another path"
        );
        // After merging, a mergeable method's variables have no effect; those of any other method still have one.
        let added = values(&built, |e| e.param.owner == Owner::Method);
        overwrite(&built, added.iter().map(|(name, value)| (name, value.zeros_like())));
        let same = logits(network.as_ref(), &rows(model, 6)).equal(&merged);
        assert_eq!(
            same,
            method.mergeable(),
            "{kind} on {model}: merged and without its variables"
        );
        overwrite(&built, added.iter().map(|(name, value)| (name, value.copy())));
        network.unmerge();
        assert!(
            logits(network.as_ref(), &rows(model, 6)).equal(&before),
            "{kind} on {model}: unmerged"
        );
    });
}

#[test]
fn saved_variables_load_again() {
    let dir = tempfile::tempdir().unwrap();
    each(|model, kind, method| {
        let (network, built) = build(model, method, 1);
        step(model, network.as_ref(), &built, 2);
        let path = dir.path().join(format!("{kind}-{model}.safetensors"));
        let trained: Vec<(String, Tensor)> = values(&built, |e| e.tensor.requires_grad());
        if trained.is_empty() {
            return;
        }
        weights::save(&path, &trained, HashMap::new()).unwrap();
        let (fresh, again) = build(model, method, 1);
        let file = Weights::open(&path).unwrap();
        assert_eq!(file.load_trained(&again.params).unwrap(), trained.len());
        let (before, after) = (
            logits(network.as_ref(), &rows(model, 6)),
            logits(fresh.as_ref(), &rows(model, 6)),
        );
        assert!(
            after.equal(&before),
            "{kind} on {model}: another function after the round trip"
        );
    });
}

#[test]
fn kept_variables_need_no_train_only_variables() {
    let dir = tempfile::tempdir().unwrap();
    each(|model, kind, method| {
        let (network, built) = build(model, method, 1);
        step(model, network.as_ref(), &built, 2);
        let kept = built.params.kept();
        let count: usize = kept.iter().map(|(_, tensor)| tensor.numel()).sum();
        let config = common::config(model);
        let (base, own) = method.kept_params(&(arch(&config).unwrap().shape)(&config).unwrap());
        assert_eq!(count as i64, base + own + built.counts.head, "{kind} on {model}");
        if kind != "prefix_tuning" {
            return;
        }
        let path = dir.path().join(model);
        weights::save(&path, &kept, HashMap::new()).unwrap();
        let file = Weights::open(&path).unwrap();
        let text = file.load_trained(&built.params).unwrap_err().to_string();
        assert!(text.contains("train-only variables"), "{text}");
        let plain = method::from_yaml("{kind: prefix_tuning, mlp: null}").unwrap();
        let (plain, again) = build(model, plain.as_ref(), 1);
        file.load_trained(&again.params).unwrap();
        let difference = apart(
            &logits(plain.as_ref(), &rows(model, 6)),
            &logits(network.as_ref(), &rows(model, 6)),
        );
        assert!(difference < 1e-6, "{kind} on {model}: differs by {difference:e}");
    });
}

/// Settings whose validity depends on the model.
#[test]
fn settings_that_do_not_fit_the_model_are_refused() {
    let cases = [
        (
            "{kind: adapter_h, bottleneck: 17}",
            "bottleneck = 17 is larger than the model's width of 16",
        ),
        (
            "{kind: adapter_d, drop: [0, 3]}",
            "drop names block 3; the model's blocks are 0 to 2",
        ),
        (
            "{kind: adapter_l, drop: [0, 1, 2]}",
            "attaches nothing to the place after_block",
        ),
        ("{kind: lora, r: 17}", "r = 17 is larger than the query matrix"),
        (
            "{kind: lora, r: 17, init: pissa}",
            "r = 17 is larger than the query matrix",
        ),
        ("{kind: dora, r: 17}", "r = 17 is larger than the query matrix"),
        ("{kind: pre_embed, prefix: 40, infix: 8}", "positions for text"),
        (
            "{kind: lora+pre_layer, pre_layer: {prefix: 1000}}",
            "positions for text",
        ),
    ];
    for model in model_types() {
        for (yaml, expected) in cases {
            let method = method::from_yaml(yaml).unwrap();
            let text = try_build(model, method.as_ref()).unwrap_err().to_string();
            assert!(text.contains(expected), "{yaml} on {model}: {text}");
        }
        let method = method::from_yaml("{kind: pre_embed, prefix: 27, infix: 0}").unwrap();
        let (network, _) = build(model, method.as_ref(), 1);
        let text = predict(network.as_ref(), &rows(model, 9), 4, Device::Cpu)
            .unwrap_err()
            .to_string();
        assert!(text.contains("tokens but the model takes"), "{model}: {text}");
    }
}

#[test]
fn bf16_stays_close_and_trains_in_fp32() {
    each(|model, kind, method| {
        let (reference, _) = build(model, method, 1);
        let (network, built) = build_as(model, method, 1, Kind::BFloat16);
        for entry in built.params.iter() {
            let kept = if entry.tensor.requires_grad() {
                Kind::Float
            } else {
                Kind::BFloat16
            };
            assert_eq!(entry.tensor.kind(), kept, "{kind} on {model}: {}", entry.param.name);
        }
        let (exact, rounded) = (
            logits(reference.as_ref(), &rows(model, 6)),
            logits(network.as_ref(), &rows(model, 6)),
        );
        let difference = apart(&exact, &rounded.to_kind(Kind::Float)) / f64::try_from(exact.abs().max()).unwrap();
        assert!(
            difference < 0.1,
            "{kind} on {model}: differs by {difference:.3} of the largest answer"
        );
        step(model, network.as_ref(), &built, 2);
        for entry in built.params.trainable() {
            let sum = f64::try_from(entry.tensor.abs().sum(Kind::Double)).unwrap();
            assert!(sum.is_finite(), "{kind} on {model}: {}", entry.param.name);
        }
    });
}

/// The row of a prompt and the generated tokens after it.
fn continued(prompt: &[i64], generated: &[i64]) -> Row {
    let ids = [prompt, generated].concat();
    let mut wanted = vec![UNSCORED; ids.len()];
    wanted[ids.len() - 1] = 0;
    Row {
        ids,
        types: Vec::new(),
        prompt: Some(prompt.len()),
        target: Target::Tokens(wanted),
    }
}

#[test]
fn generation_with_a_cache_equals_a_full_forward_pass() {
    let prompts = [vec![3, 8, 20, 5, 9, 0], vec![7], vec![30, 2, 0]];
    let settings = GenerationSettings {
        strategy: Strategy::Greedy,
        max_new_tokens: 8,
        end: vec![],
        no_repeat_ngram: 2, // a tiny model repeats one token otherwise
        bad_words: Vec::new(),
    };
    each(|model, kind, method| {
        let (mut network, built) = build(model, method, 1);
        if network.causal().is_none() {
            return;
        }
        step(model, network.as_ref(), &built, 2);
        let write = |model: &dyn Model| {
            let (settings, device) = (&settings, Device::Cpu);
            let generator = Generator {
                model,
                settings,
                batch_size: 3,
                device,
                stop: None,
            };
            generator.generate(&prompts, &mut |_| ()).unwrap()
        };
        let texts = write(network.as_ref());
        for (prompt, text) in prompts.iter().zip(&texts) {
            let gained = |n: usize| {
                let row = continued(prompt, &text.tokens[..n]);
                let scores = logits(network.as_ref(), &[row]).log_softmax(-1, Kind::Float);
                scores.double_value(&[0, text.tokens[n]])
            };
            let anew: f64 = (0..text.tokens.len()).map(gained).sum();
            let difference = (text.score - anew).abs();
            assert!(difference < 1e-3, "{kind} on {model}: {difference:e} after {prompt:?}");
        }
        if network.merge().is_ok() {
            let merged = write(network.as_ref());
            assert!(
                merged.iter().zip(&texts).all(|(m, t)| m.tokens == t.tokens),
                "{kind} on {model}: merged"
            );
        }
    });
}

#[test]
fn a_role_without_a_layer_is_refused() {
    use lora_core::nn::{Build, Init, Role};
    let lora = method::from_yaml("{kind: lora, targets: [query, ffn_in]}").unwrap();
    let build = Build::new(lora.as_ref(), 1);
    build
        .scope()
        .linear("only", &[Role::Query], 8, 8, Init::Const(0.0))
        .unwrap();
    let text = build.finish().unwrap_err().to_string();
    assert!(text.contains("ffn_in") && !text.contains("target query"), "{text}");
}

#[test]
fn duplicate_names_are_refused() {
    use lora_core::nn::{Build, Init, ParamKind};
    let head = method::from_yaml("{kind: head}").unwrap();
    let build = Build::new(head.as_ref(), 1);
    let scope = build.scope().sub("a");
    let _first = scope.var("b", ParamKind::Weight, &[1], Init::Const(0.0)).unwrap();
    let text = scope
        .var("b", ParamKind::Weight, &[1], Init::Const(0.0))
        .unwrap_err()
        .to_string();
    assert!(text.contains("`a.b` was created twice"), "{text}");
}

#[test]
fn a_fused_weight_has_a_branch_for_each_role() {
    use lora_core::nn::{BaseInit, Build, Init, Role};
    let lora = method::from_yaml("{kind: lora, r: 2, alpha: 5, targets: [query, value]}").unwrap();
    let build = Build::new(lora.as_ref(), 1).base_init(BaseInit::Random);
    let mut fused = build
        .scope()
        .linear(
            "c_attn",
            &[Role::Query, Role::Key, Role::Value],
            6,
            4,
            Init::Normal(1.0),
        )
        .unwrap();
    let built = build.finish().unwrap();
    assert_eq!(built.counts.method, 2 * 2 * (6 + 4));
    let x = Tensor::randn([3, 6], (tch::Kind::Float, Device::Cpu));
    let plain = fused.forward(&x, false).detach();
    let _guard = tch::no_grad_guard();
    for entry in built.params.iter().filter(|e| e.param.name.contains("lora_B")) {
        let _ = entry.tensor.shallow_clone().fill_(0.3);
    }
    let adapted = fused.forward(&x, false);
    let moved = |slot: i64| {
        f64::try_from(
            (adapted.narrow(1, slot * 4, 4) - plain.narrow(1, slot * 4, 4))
                .abs()
                .max(),
        )
        .unwrap()
    };
    assert!(moved(0) > 1e-3 && moved(2) > 1e-3, "query and value move");
    assert!(moved(1) == 0.0, "key stays");
    fused.merge().unwrap();
    let difference = f64::try_from((fused.forward(&x, false) - adapted).abs().max()).unwrap();
    assert!(difference < 1e-5, "merged differs by {difference:e}");
}

#[test]
fn activation_checkpointing_changes_nothing() {
    let gradients = |model: &str, method: &dyn Method, again: bool| {
        let (network, built) = build(model, method, 1);
        if built.params.trainable().next().is_none() {
            return Vec::new(); // nothing is trained: `head` on a language model
        }
        let checkpointing = ActivationCheckpointing::training(1, again);
        let rows = rows(model, 8);
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
        lora_core::seed::seed_step(1, 1); // with dropout
        let answers = network.logits(&network.features(&batch, true, &checkpointing), true);
        loss(&answers, &batch, fit_config(model).objective).backward();
        checkpointing.backward();
        let trained = built.params.trainable();
        trained
            .map(|e| (e.param.name.clone(), e.tensor.grad().copy()))
            .collect::<Vec<_>>()
    };
    each(|model, kind, method| {
        let (plain, again) = (gradients(model, method, false), gradients(model, method, true));
        for ((name, a), (_, b)) in plain.iter().zip(&again) {
            let difference = f64::try_from((a - b).abs().max()).unwrap();
            assert!(difference < 1e-5, "{kind} on {model}: {name} differs by {difference:e}");
        }
    });
}

#[test]
fn accumulation_equals_a_large_batch() {
    for model_type in model_types() {
        let full = method::from_yaml("{kind: full}").unwrap();
        let mut config = common::config(model_type);
        let still = Dropout {
            everywhere: Some(0.0),
            classifier: None,
        };
        arch(&config).unwrap().set_dropout(&mut config, still).unwrap();
        // Seven rows of different lengths, so that passes differ in rows and in scored tokens.
        let trained = |batch_size: usize, accumulate: usize| {
            let (model, built) = common::finish(&config, Build::new(full.as_ref(), 1)).unwrap();
            let fit = lora_core::train::FitConfig {
                batch_size,
                accumulate,
                ..fit_config(model_type)
            };
            let mut stepper = Stepper::new(model.as_ref(), &built.params, &fit, Schedule::constant(1e-2)).unwrap();
            let rows = rows(model_type, 7);
            let loss = |_| f64::try_from(stepper.step(&rows.iter().collect::<Vec<_>>()).unwrap()).unwrap();
            (0..3).map(loss).collect::<Vec<f64>>()
        };
        let whole = trained(7, 1);
        for (batch_size, accumulate) in [(4, 2), (3, 3), (2, 4), (1, 7)] {
            for (step, (a, b)) in whole.iter().zip(trained(batch_size, accumulate)).enumerate() {
                let what = format!("{model_type}, {batch_size} x {accumulate}, step {step}");
                assert!((a - b).abs() < 1e-4, "{what}: {b}, and {a} in one pass");
            }
        }
    }
}

#[test]
fn every_rate_of_dropout_can_be_set() {
    for model_type in model_types() {
        let head = method::from_yaml("{kind: head}").unwrap();
        let rows = rows(model_type, 4);
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
        let config = common::config(model_type);
        let arch = arch(&config).unwrap();
        // Whether the forward pass of training equals that of evaluation.
        let no_dropout = |rates: Dropout| -> bool {
            let mut config = config.clone();
            arch.set_dropout(&mut config, rates).unwrap();
            let (model, _) = common::finish(&config, Build::new(head.as_ref(), 1)).unwrap();
            let _guard = tch::no_grad_guard();
            model
                .forward(&batch, true)
                .allclose(&model.forward(&batch, false), 1e-4, 1e-5, false)
        };
        let rates = |everywhere, classifier| Dropout { everywhere, classifier };
        assert!(!no_dropout(Dropout::default()), "{model_type}: config.json's own");
        assert!(
            no_dropout(rates(Some(0.0), None)),
            "{model_type}: some rate is not named"
        );
        for key in arch.dropouts {
            let mut config = config.clone();
            config[*key] = 1.5.into();
            let text = (arch.shape)(&config).unwrap_err().to_string();
            assert!(text.contains(key), "{model_type}: {text}");
        }
        match arch.cls_dropout {
            Some(key) => {
                assert!(arch.dropouts.contains(&key), "{model_type}");
                assert!(
                    !no_dropout(rates(Some(0.0), Some(0.5))),
                    "{model_type}: before the classifier"
                );
            }
            None => {
                let text = arch
                    .set_dropout(&mut config.clone(), rates(None, Some(0.5)))
                    .unwrap_err();
                assert!(text.to_string().contains("cls_dropout"), "{text}");
            }
        }
    }
}
