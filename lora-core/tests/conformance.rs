//! What must hold for every method on every model. It walks the registries: a new entry is covered without a line here.

mod common;

use common::{build, fit_config, model_types, rows};
use lora_core::batch::{Batch, Row};
use lora_core::method::{self, METHODS};
use lora_core::model::{Model, arch};
use lora_core::nn::{Adopted, Method, Owner};
use lora_core::train::{Schedule, Stepper};
use tch::{Device, Tensor};

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

fn values(adopted: &Adopted, keep: impl Fn(&lora_core::nn::Entry) -> bool) -> Vec<(String, Tensor)> {
    adopted
        .params
        .iter()
        .filter(|e| keep(e))
        .map(|e| (e.param.name.clone(), e.tensor.detach().copy()))
        .collect()
}

fn step(model: &dyn Model, adopted: &Adopted, steps: usize) {
    let config = fit_config();
    let mut stepper = Stepper::new(model, &adopted.params, &config, Schedule::constant(1e-2)).unwrap();
    let rows = rows(8);
    for _ in 0..steps {
        let _loss = stepper.step(&rows.iter().collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn counts_equal_the_closed_form() {
    each(|model, kind, method| {
        let (_, adopted) = build(model, method, 1);
        let config = common::config(model);
        let shape = (arch(&config).unwrap().shape)(&config).unwrap();
        assert_eq!(
            (adopted.counts.base, adopted.counts.method),
            method.expected_params(&shape),
            "{kind} on {model}"
        );
        assert_eq!(adopted.counts.head, shape.head(3), "{kind} on {model}: head");
        assert_eq!(
            adopted.counts.total,
            shape.total() + shape.head(3) + adopted.counts.method,
            "{kind} on {model}: total"
        );
    });
}

#[test]
fn every_method_starts_from_the_same_model() {
    for model in model_types() {
        let full = method::from_yaml("{kind: full}").unwrap();
        let (reference, adopted) = build(model, full.as_ref(), 7);
        let (start, expected) = (values(&adopted, |_| true), logits(reference.as_ref(), &rows(5)));
        each(|other, kind, method| {
            if other != model {
                return;
            }
            let (built, adopted) = build(model, method, 7);
            for (name, value) in &start {
                assert!(
                    adopted.params.get(name).unwrap().tensor.equal(value),
                    "{kind} on {model}: {name}"
                );
            }
            assert!(
                logits(built.as_ref(), &rows(5)).equal(&expected),
                "{kind} on {model}: not the identity at step 0"
            );
        });
        let (_, other) = build(model, full.as_ref(), 8);
        let head = |a: &Adopted| values(a, |e| e.param.owner == Owner::Head && e.param.name.ends_with("weight"));
        assert!(
            !head(&other)[0].1.equal(&head(&adopted)[0].1),
            "another seed draws another head"
        );
    }
}

#[test]
fn training_moves_what_is_trained_and_nothing_else() {
    each(|model, kind, method| {
        let (built, adopted) = build(model, method, 1);
        let frozen = values(&adopted, |e| !e.tensor.requires_grad());
        let trained = values(&adopted, |e| e.tensor.requires_grad());
        step(built.as_ref(), &adopted, 3);
        for (name, before) in &frozen {
            let entry = adopted.params.get(name).unwrap();
            assert!(
                entry.tensor.equal(before),
                "{kind} on {model}: {name} is frozen and moved"
            );
            assert!(
                !entry.tensor.grad().defined(),
                "{kind} on {model}: {name} is frozen and has a gradient"
            );
        }
        for (name, before) in &trained {
            // A key's bias shifts all scores of a query alike, which softmax ignores: its gradient is 0 but for rounding.
            if !name.ends_with("key.bias") {
                assert!(
                    !adopted.params.get(name).unwrap().tensor.equal(before),
                    "{kind} on {model}: {name} did not move"
                );
            }
        }
    });
}

#[test]
fn packed_rows_equal_single_rows() {
    each(|model, kind, method| {
        let (built, adopted) = build(model, method, 1);
        step(built.as_ref(), &adopted, 2);
        let rows = rows(9);
        let together = logits(built.as_ref(), &rows);
        for (i, row) in rows.iter().enumerate() {
            let alone = logits(built.as_ref(), std::slice::from_ref(row));
            let difference = f64::try_from((alone.get(0) - together.get(i as i64)).abs().max()).unwrap();
            assert!(
                difference < 1e-5,
                "{kind} on {model}: row {i} differs by {difference:e}"
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
    let text = build.adopt().unwrap_err().to_string();
    assert!(text.contains("ffn_in") && !text.contains("target query"), "{text}");
}

#[test]
fn a_name_is_given_once() {
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
    let adopted = build.adopt().unwrap();
    assert_eq!(adopted.counts.method, 2 * 2 * (6 + 4));
    let x = Tensor::randn([3, 6], (tch::Kind::Float, Device::Cpu));
    let plain = fused.forward(&x, false).detach();
    let _guard = tch::no_grad_guard();
    for entry in adopted.params.iter().filter(|e| e.param.name.contains("lora_B")) {
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
