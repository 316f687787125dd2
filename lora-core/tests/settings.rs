//! Settings of methods that a model must apply or refuse by name.

mod common;

use common::{build, config, model_types, rows, try_build};
use lora_core::batch::Batch;
use lora_core::method;
use lora_core::model::{Model, arch};
use lora_core::nn::{Build, BuiltParams};
use tch::{Device, Tensor};

fn logits(model: &dyn Model, model_type: &str) -> Tensor {
    let _guard = tch::no_grad_guard();
    let rows = rows(model_type, 5);
    model.forward(
        &Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap(),
        false,
    )
}

fn refused(model_type: &str, method: &str) -> String {
    let method = method::from_yaml(method).unwrap();
    let built = try_build(model_type, method.as_ref());
    built.map(|_| String::new()).unwrap_or_else(|e| e.to_string())
}

/// A shift of 3 equals a position embedding without its first 3 rows. (Rotary positions have no embedding.)
#[test]
fn a_prefix_shifts_the_positions() {
    let table = |built: &BuiltParams| {
        let is_table = |name: &str| name.ends_with("position_embeddings.weight") || name.ends_with("wpe.weight");
        let entry = built.params.iter().find(|e| is_table(&e.param.name));
        entry.map(|e| e.tensor.shallow_clone())
    };
    for model_type in model_types() {
        let shifted = "{kind: prefix_tuning, prefix: 3, shift: true}";
        if model_type == "deberta-v2" {
            let text = refused(model_type, shifted);
            assert!(
                text.contains("shifts positions") && text.contains("leave `shift` out"),
                "{text}"
            );
            continue;
        }
        let plain = method::from_yaml("{kind: prefix_tuning, prefix: 3}").unwrap();
        let shifted = method::from_yaml(shifted).unwrap();
        let (plain, of_plain) = build(model_type, plain.as_ref(), 1);
        let (shifted, of_shifted) = build(model_type, shifted.as_ref(), 1);
        assert_eq!(shifted.max_len(), plain.max_len() - 3, "{model_type}");
        assert!(!logits(plain.as_ref(), model_type).equal(&logits(shifted.as_ref(), model_type)));
        let _guard = tch::no_grad_guard();
        let (Some(from), Some(to)) = (table(&of_plain), table(&of_shifted)) else {
            continue;
        };
        let rows = from.size()[0] - 3;
        to.narrow(0, 3, rows).copy_(&from.narrow(0, 0, rows));
        let difference = logits(plain.as_ref(), model_type) - logits(shifted.as_ref(), model_type);
        assert!(f64::try_from(difference.abs().max()).unwrap() < 1e-6, "{model_type}");
    }
}

#[test]
fn ft_top_trains_the_named_parts_or_fails() {
    let text = refused("bert", "{kind: ft_top, layers: 4}");
    assert!(text.contains("layers = 4") && text.contains("3 blocks"), "{text}");
    for key in ["final_norm", "tied_embedding"] {
        let text = refused("roberta", &format!("{{kind: ft_top, layers: 1, {key}: true}}"));
        assert!(text.contains(key) && text.contains("this model has no"), "{text}");
    }
    let trained = |method: &str| {
        let method = method::from_yaml(method).unwrap();
        let (_, built) = build("gpt2", method.as_ref(), 1);
        let config = config("gpt2");
        let shape = (arch(&config).unwrap().shape)(&config).unwrap();
        assert_eq!((built.counts.base, 0), method.expected_params(&shape));
        let outside = built.params.trainable().filter(|e| e.param.depth.is_none());
        outside.map(|e| e.param.name.clone()).collect::<Vec<_>>()
    };
    assert!(trained("{kind: ft_top, layers: 2}").is_empty());
    let both = trained("{kind: ft_top, layers: 2, final_norm: true, tied_embedding: true}");
    assert_eq!(both.len(), 3, "{both:?}");
    assert!(
        both.iter().all(|name| name.contains("ln_f") || name.contains("wte")),
        "{both:?}"
    );
}

#[test]
fn a_pooler_can_stay_frozen() {
    let of = |model_type: &str, kind: &str, frozen: bool| {
        let method = method::from_yaml(&format!("{{kind: {kind}}}")).unwrap();
        let build = Build::new(method.as_ref(), 1).freeze_pooler(frozen);
        common::finish(&config(model_type), build).map(|(_, built)| built)
    };
    let (d, labels) = (16, 3);
    let built = of("bert", "lora", false).unwrap();
    assert_eq!(built.counts.head, d * d + d + labels * d + labels);
    let built = of("bert", "lora", true).unwrap();
    assert_eq!(built.counts.head, labels * d + labels);
    let pooler = |built: &BuiltParams| {
        built
            .params
            .get("bert.pooler.dense.weight")
            .unwrap()
            .tensor
            .requires_grad()
    };
    assert!(!pooler(&built));
    assert!(
        pooler(&of("bert", "full", true).unwrap()),
        "full fine-tuning trains everything"
    );
    for model_type in ["roberta", "deberta-v2"] {
        let text = of(model_type, "lora", true)
            .map(|_| String::new())
            .unwrap_or_else(|e| e.to_string());
        assert!(text.contains("no pooler"), "{model_type}: {text}");
    }
}
