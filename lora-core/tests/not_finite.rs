//! Weights with NaN or infinity are an error in generation.

mod common;

use common::{build, model_types};
use lora_core::generate::{Flavour, GenerationSettings, Generator, Strategy};
use lora_core::{Error, method};
use tch::Device;

#[test]
fn weights_that_are_not_finite_generate_no_text() {
    let beam = |flavour| Strategy::Beam {
        beams: 2,
        length_penalty: 1.0,
        flavour,
    };
    let sample = Strategy::Sample {
        temperature: 1.0,
        top_k: None,
        top_p: Some(0.9),
        seed: 1,
    };
    let strategies = [
        Strategy::Greedy,
        sample,
        beam(Flavour::Paper),
        beam(Flavour::Transformers),
    ];
    let method = method::from_yaml("{kind: full}").unwrap();
    for model in model_types() {
        let (network, built) = build(model, method.as_ref(), 1);
        if network.causal().is_none() {
            continue;
        }
        tch::no_grad(|| {
            let mut first = built.params.trainable().next().unwrap().tensor.shallow_clone();
            let _ = first.fill_(f64::NAN);
        });
        for strategy in &strategies {
            let settings = GenerationSettings {
                strategy: strategy.clone(),
                max_new_tokens: 4,
                end: vec![0],
                no_repeat_ngram: 0,
                bad_words: Vec::new(),
            };
            let generator = Generator {
                model: network.as_ref(),
                settings: &settings,
                batch_size: 2,
                device: Device::Cpu,
                stop: None,
            };
            let written = generator.generate(&[vec![5, 6], vec![7]], &mut |_| ());
            assert!(
                matches!(written, Err(Error::NonFiniteLogits)),
                "{model}, {strategy:?}: {written:?}"
            );
        }
    }
}
