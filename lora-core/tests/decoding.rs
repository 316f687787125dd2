//! Generation by the loops of `native/` and packed weights against the plain compositions of libtorch's operators: equal
//! tokens, and scores. The switch is the process's, so there is one test function.

mod common;

use common::{VOCAB, config, finish};
use lora_core::generate::{Flavour, Generation, GenerationSettings, Generator, Strategy};
use lora_core::method::{self, METHODS};
use lora_core::model::Model;
use lora_core::nn::{Build, use_fused};
use tch::{Device, Kind};

const LORA: &str = "{kind: lora, r: 3, alpha: 7, targets: [query, value, attn_out, ffn_in]}";

fn strategies() -> Vec<Strategy> {
    let flavours = [
        Flavour::Paper,
        Flavour::Transformers,
        Flavour::TransformersEarly,
        Flavour::Transformers3,
    ];
    let beam = |flavour| Strategy::Beam {
        beams: 4,
        length_penalty: 0.9,
        flavour,
    };
    let sample = Strategy::Sample {
        temperature: 0.8,
        top_k: Some(20),
        top_p: Some(0.9),
        seed: 3,
    };
    let single = [Strategy::Greedy, sample];
    flavours.into_iter().map(beam).chain(single).collect()
}

/// Ragged prompts; texts are longer than the cache's first capacity.
fn written(model: &dyn Model, strategy: Strategy) -> Vec<Generation> {
    let prompt = |i: i64| {
        (0..1 + (i * 4) % 9)
            .map(|t| 1 + (i * 31 + t * 17) % (VOCAB - 1))
            .collect()
    };
    let prompts: Vec<Vec<i64>> = (0..7).map(prompt).collect();
    let settings = GenerationSettings {
        strategy,
        max_new_tokens: 18,
        end: vec![2, 7],
        no_repeat_ngram: 3,
        bad_words: vec![vec![5], vec![9, 11]],
    };
    let generator = Generator {
        model,
        settings: &settings,
        batch_size: 5,
        device: Device::Cpu,
        stop: None,
    };
    generator.generate(&prompts, &mut |_| ()).unwrap()
}

fn agree(model_type: &str, what: &str, kind: Kind) {
    let method = method::from_yaml(what).unwrap();
    let (model, built) = finish(&config(model_type), Build::new(method.as_ref(), 1).base_kind(kind)).unwrap();
    {
        // Away from the start, so that B and adapters are not zero.
        let _guard = tch::no_grad_guard();
        tch::manual_seed(3);
        for entry in built.params.trainable() {
            let noise = entry.tensor.randn_like() * 0.1;
            let _ = entry.tensor.shallow_clone().g_add_(&noise);
        }
    }
    for strategy in strategies() {
        let of = |fused| {
            use_fused(fused);
            written(model.as_ref(), strategy.clone())
        };
        let fused = of(true);
        if kind != Kind::Float {
            // Rounded elsewhere than by the plain way, so that equal candidates part.
            assert_eq!(fused, of(true), "{what} on {model_type}: not repeated");
            continue;
        }
        let plain = of(false);
        for (a, b) in plain.iter().zip(&fused) {
            assert_eq!(a.tokens, b.tokens, "{what} on {model_type}, {strategy:?}");
            let apart = (a.score - b.score).abs();
            assert!(
                apart < 1e-5 * a.score.abs().max(1.0),
                "{what} on {model_type}, {strategy:?}: {apart:e}"
            );
        }
    }
}

#[test]
fn native_decoding_equals_the_plain_compositions() {
    tch::set_num_threads(2);
    for model in ["gpt2", "llama", "qwen2"] {
        agree(model, LORA, Kind::Float);
        agree(model, LORA, Kind::BFloat16);
    }
    for model in ["gpt2", "llama"] {
        for entry in METHODS {
            agree(model, &format!("{{kind: {}}}", entry.kind), Kind::Float);
        }
    }
}
