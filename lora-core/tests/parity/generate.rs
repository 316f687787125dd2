//! Generation, token by token against transformers and against a direct implementation of the paper's beam search.
//! `make_gpt2_golden.py` writes the reference.

use super::golden::{Golden, close, ints, read, test_device};
use super::gpt2::build;
use lora_core::Error;
use lora_core::batch::Batch;
use lora_core::generate::{Flavour, Generation, GenerationSettings, Generator, Strategy};
use lora_core::model::Model;
use serde_json::Value;
use std::sync::atomic::AtomicBool;
use tch::{Device, Kind};

const FULL: &str = "{kind: full}";
const LORA: &str = "{kind: lora, r: 3, alpha: 7, targets: [query, value]}";
const STEPS: usize = 18;

pub fn generate(
    model: &dyn Model,
    prompts: &[Vec<i64>],
    settings: &GenerationSettings,
    batch_size: usize,
) -> Vec<Generation> {
    let generator = Generator {
        model,
        settings,
        batch_size,
        device: test_device(),
        stop: None,
    };
    let mut told = vec![None; prompts.len()];
    let texts = generator.generate(prompts, &mut |d| told[d.index] = Some(d.generation.clone()));
    let texts = texts.unwrap();
    assert!(texts.iter().map(Some).eq(told.iter().map(Option::as_ref)));
    texts
}

pub fn settings(strategy: Strategy, no_repeat_ngram: usize, end: &[i64]) -> GenerationSettings {
    GenerationSettings {
        strategy,
        max_new_tokens: STEPS,
        end: end.to_vec(),
        no_repeat_ngram,
        bad_words: Vec::new(),
    }
}

pub fn lists(value: &Value) -> Vec<Vec<i64>> {
    value.as_array().unwrap().iter().map(ints).collect()
}

/// The strategy of a case of generate.json.
fn strategy(case: &Value) -> Strategy {
    match case.get("beams") {
        None => Strategy::Greedy,
        Some(beams) => Strategy::Beam {
            beams: beams.as_u64().unwrap() as usize,
            length_penalty: case["length_penalty"].as_f64().unwrap(),
            flavour: match case["early_stopping"].as_bool().unwrap() {
                true => Flavour::TransformersEarly,
                false => Flavour::Transformers,
            },
        },
    }
}

#[test]
fn greedy_and_beam_search_match_transformers() {
    let golden = Golden::open("gpt2");
    let file = read(&golden.path("generate.json"));
    let (prompts, end) = (lists(&file["prompts"]), ints(&file["end"]));
    let (model, _) = build(&golden, FULL, Kind::Float, None);
    for (i, case) in file["cases"].as_array().unwrap().iter().enumerate() {
        let settings = settings(strategy(case), case["no_repeat_ngram"].as_u64().unwrap() as usize, &end);
        let texts = generate(model.as_ref(), &prompts, &settings, [3, 8, 1][i % 3]);
        for (p, (text, expected)) in texts.iter().zip(lists(&case["tokens"])).enumerate() {
            assert_eq!(text.tokens, expected, "{settings:?}, prompt {p}");
            assert_eq!(text.ended, end.contains(text.tokens.last().unwrap()));
            if let Some(scores) = case.get("scores") {
                let difference = (text.score - scores[p].as_f64().unwrap()).abs();
                assert!(
                    difference < 1e-3,
                    "{settings:?}, prompt {p}: score differs by {difference:e}"
                );
            }
        }
    }
}

/// `make_settings_golden.py` writes the reference.
#[test]
fn bad_words_match_transformers() {
    let golden = Golden::open("gpt2");
    let asked = read(&golden.path("generate.json"));
    let (prompts, end) = (lists(&asked["prompts"]), ints(&asked["end"]));
    let cases = read(&golden.path("../settings/bad_words.json"));
    let (model, _) = build(&golden, FULL, Kind::Float, None);
    for case in cases.as_array().unwrap() {
        let strategy = match case["beams"].as_u64().unwrap() {
            1 => Strategy::Greedy,
            beams => Strategy::Beam {
                beams: beams as usize,
                length_penalty: 1.0,
                flavour: Flavour::Transformers,
            },
        };
        let words = lists(&case["bad_words"]);
        let settings = GenerationSettings {
            bad_words: words.clone(),
            ..settings(strategy, case["no_repeat_ngram"].as_u64().unwrap() as usize, &end)
        };
        let texts = generate(model.as_ref(), &prompts, &settings, 3);
        for (p, (text, expected)) in texts.iter().zip(lists(&case["tokens"])).enumerate() {
            assert_eq!(text.tokens, expected, "{settings:?}, prompt {p}");
            for word in words.iter().filter(|word| word.len() == 1) {
                assert!(!text.tokens.contains(&word[0]), "{settings:?}, prompt {p}");
            }
        }
        // The paper's beam search and that of transformers 3 avoid them too.
        for flavour in [Flavour::Paper, Flavour::Transformers3] {
            let strategy = Strategy::Beam {
                beams: 3,
                length_penalty: 1.0,
                flavour,
            };
            let settings = GenerationSettings {
                strategy,
                ..settings.clone()
            };
            for text in generate(model.as_ref(), &prompts, &settings, 3) {
                let banned = |word: &Vec<i64>| text.tokens.windows(word.len()).any(|part| part == word);
                assert!(!words.iter().any(banned), "{settings:?}: {:?}", text.tokens);
            }
        }
    }
}

/// `make_beams_3_golden.py` writes the reference, with the beam search of transformers 3.2.0.
#[test]
fn beam_search_matches_transformers_3() {
    let golden = Golden::open("gpt2");
    let prompts = lists(&read(&golden.path("generate.json"))["prompts"]);
    let (model, _) = build(&golden, FULL, Kind::Float, None);
    for case in read(&golden.path("../settings/beams_3.json")).as_array().unwrap() {
        let strategy = Strategy::Beam {
            beams: case["beams"].as_u64().unwrap() as usize,
            length_penalty: case["length_penalty"].as_f64().unwrap(),
            flavour: Flavour::Transformers3,
        };
        let ngram = case["no_repeat_ngram"].as_u64().unwrap() as usize;
        let settings = GenerationSettings {
            bad_words: lists(&case["bad_words"]),
            ..settings(strategy, ngram, &ints(&case["end"]))
        };
        let texts = generate(model.as_ref(), &prompts, &settings, 3);
        for (p, (text, expected)) in texts.iter().zip(lists(&case["tokens"])).enumerate() {
            assert_eq!(text.tokens, expected, "{settings:?}, prompt {p}");
        }
    }
}

/// The logits of the token after `text`, without a cache.
fn next(model: &dyn Model, text: &[i64]) -> Vec<f32> {
    let batch = Batch::of_prompts(&[text], test_device()).unwrap();
    let scores = model.forward(&batch, false);
    Vec::try_from(scores.get(text.len() as i64 - 1).to_device(Device::Cpu)).unwrap()
}

/// The paper's beam search for one prompt, without a cache.
fn plain(model: &dyn Model, prompt: &[i64], settings: &GenerationSettings) -> (Vec<i64>, f64) {
    let Strategy::Beam {
        beams: count,
        length_penalty,
        ..
    } = settings.strategy
    else {
        panic!()
    };
    let n = settings.no_repeat_ngram;
    let judged = |tokens: &[i64], sum: f64| sum / (tokens.len() as f64).powf(length_penalty);
    let mut beams: Vec<(Vec<i64>, f64)> = vec![(Vec::new(), 0.0); count];
    let mut best: Option<(Vec<i64>, f64)> = None;
    let mut consider = |tokens: &[i64], score: f64| {
        if best.as_ref().is_none_or(|b| b.1 < score) {
            best = Some((tokens.to_vec(), score));
        }
    };
    for step in 0..settings.max_new_tokens {
        let mut all = Vec::new();
        for (tokens, sum) in beams.iter().take(if step == 0 { 1 } else { count }) {
            let mut scores = next(model, &[prompt, tokens].concat());
            let longer = |token: usize| [tokens.as_slice(), &[token as i64]].concat();
            for (token, score) in scores.iter_mut().enumerate() {
                let with = longer(token);
                if n > 0 && tokens.windows(n).any(|w| with.ends_with(w)) {
                    *score = f32::NEG_INFINITY;
                }
            }
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = scores.iter().map(|s| f64::from(s - largest).exp()).sum();
            let gain = |token: usize| f64::from(scores[token] - largest) - total.ln();
            all.extend((0..scores.len()).map(|token| (longer(token), sum + gain(token))));
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(count);
        for (tokens, sum) in &mut all {
            if settings.end.contains(tokens.last().unwrap()) {
                consider(tokens, judged(tokens, *sum));
                *sum = f64::NEG_INFINITY;
            }
        }
        beams = all;
    }
    beams
        .iter()
        .for_each(|(tokens, sum)| consider(tokens, judged(tokens, *sum)));
    best.unwrap()
}

#[test]
fn beam_search_matches_the_papers_code() {
    let golden = Golden::open("gpt2");
    let prompts = lists(&read(&golden.path("generate.json"))["prompts"]);
    let (mut model, _) = build(&golden, LORA, Kind::Float, Some("adapter"));
    let cases = [
        (1, 1.0, 0, vec![20, 36]),
        (2, 0.8, 2, vec![20, 36, 70]),
        (4, 0.0, 3, vec![20, 36]),
        (5, 2.0, 2, vec![62]),
        (10, 0.9, 4, vec![20, 36, 70]),
        (10, 0.8, 4, vec![95]),
        (3, -1.0, 2, vec![20]),
    ];
    let mut early = 0;
    for (beams, length_penalty, ngram, end) in cases {
        let flavour = Flavour::Paper;
        let settings = settings(
            Strategy::Beam {
                beams,
                length_penalty,
                flavour,
            },
            ngram,
            &end,
        );
        let prompts = &prompts[..5];
        let texts = generate(model.as_ref(), prompts, &settings, 4);
        for (prompt, text) in prompts.iter().zip(&texts) {
            let (tokens, score) = plain(model.as_ref(), prompt, &settings);
            assert_eq!(text.tokens, tokens, "{settings:?} {prompt:?}");
            assert!(
                (text.score - score).abs() < 1e-3,
                "{} where {score} is right",
                text.score
            );
            early += usize::from(tokens.len() < STEPS);
        }
        model.merge().unwrap();
        let merged = generate(model.as_ref(), prompts, &settings, 4);
        assert!(
            merged.iter().zip(&texts).all(|(m, t)| m.tokens == t.tokens),
            "{settings:?}: merged"
        );
        model.unmerge();
    }
    assert!(
        (5..30).contains(&early),
        "{early} of 35 texts end early: the test sees both"
    );
}

#[test]
fn samples_depend_only_on_seed_and_prompt() {
    let golden = Golden::open("gpt2");
    let prompts = lists(&read(&golden.path("generate.json"))["prompts"]);
    let (model, _) = build(&golden, FULL, Kind::Float, None);
    let sample = |top_k, top_p, seed| {
        let temperature = 0.8;
        settings(
            Strategy::Sample {
                temperature,
                top_k,
                top_p,
                seed,
            },
            2,
            &[20, 36],
        )
    };
    let texts = generate(model.as_ref(), &prompts, &sample(Some(40), Some(0.9), 1), 8);
    for batch_size in [1, 3] {
        let again = generate(model.as_ref(), &prompts, &sample(Some(40), Some(0.9), 1), batch_size);
        assert!(again.iter().zip(&texts).all(|(a, t)| a.tokens == t.tokens));
    }
    let other = generate(model.as_ref(), &prompts, &sample(Some(40), Some(0.9), 2), 8);
    assert!(other.iter().zip(&texts).any(|(o, t)| o.tokens != t.tokens));
    let greedy = generate(model.as_ref(), &prompts, &settings(Strategy::Greedy, 2, &[20, 36]), 8);
    for only in [sample(Some(1), None, 5), sample(None, Some(1e-9), 5)] {
        let texts = generate(model.as_ref(), &prompts, &only, 8);
        assert!(texts.iter().zip(&greedy).all(|(a, b)| a.tokens == b.tokens), "{only:?}");
    }
}

#[test]
fn samples_follow_the_distribution() {
    let golden = Golden::open("gpt2");
    let (model, _) = build(&golden, FULL, Kind::Float, None);
    let prompt = vec![11, 5, 7];
    let strategy = Strategy::Sample {
        temperature: 2.0,
        top_k: None,
        top_p: None,
        seed: 3,
    };
    let mut settings = settings(strategy, 0, &[]);
    settings.max_new_tokens = 1;
    let count = 4000;
    let texts = generate(model.as_ref(), &vec![prompt.clone(); count], &settings, 500);
    let scores = next(model.as_ref(), &prompt);
    let weights: Vec<f64> = scores.iter().map(|s| (f64::from(*s) / 2.0).exp()).collect();
    for (token, weight) in weights.iter().enumerate() {
        let p = weight / weights.iter().sum::<f64>();
        let seen = texts.iter().filter(|t| t.tokens == [token as i64]).count() as f64;
        let allowed = 4.5 * (count as f64 * p * (1.0 - p)).sqrt() + 1.0;
        assert!(
            (seen - count as f64 * p).abs() < allowed,
            "{token}: {seen} where {} are likely",
            count as f64 * p
        );
    }
}

#[test]
fn bf16_generates() {
    let golden = Golden::open("gpt2");
    let prompts = lists(&read(&golden.path("generate.json"))["prompts"]);
    let (model, _) = build(&golden, LORA, Kind::BFloat16, Some("adapter"));
    let strategy = Strategy::Beam {
        beams: 4,
        length_penalty: 0.9,
        flavour: Flavour::Paper,
    };
    for strategy in [Strategy::Greedy, strategy] {
        let settings = settings(strategy, 4, &[20, 36]);
        let texts = generate(model.as_ref(), &prompts, &settings, 3);
        assert_eq!(texts, generate(model.as_ref(), &prompts, &settings, 3));
        assert!(texts.iter().all(|t| t.score.is_finite() && !t.tokens.is_empty()));
    }
    // The cache matches a full forward pass, up to the precision of bf16.
    let _guard = tch::no_grad_guard();
    let causal = model.causal().unwrap();
    let (_, mut cache) = causal.prefill(&Batch::of_prompts(&[&[5, 9, 2], &[3]], test_device()).unwrap(), 1);
    let ids = tch::Tensor::from_slice(&[7_i64, 8]).to_device(test_device());
    let scores = causal.decode(&ids, &mut cache);
    let anew = tch::Tensor::from_slice(&next(model.as_ref(), &[5, 9, 2, 7])).to_device(test_device());
    close(
        &scores.get(0),
        &anew,
        0.03 * f64::try_from(anew.abs().max()).unwrap(),
        "bf16",
    );
}

#[test]
fn invalid_prompts_and_settings_are_refused() {
    let golden = Golden::open("gpt2");
    let (model, _) = build(&golden, FULL, Kind::Float, None);
    let refused = |prompts: &[Vec<i64>], settings: &GenerationSettings| {
        let generator = Generator {
            model: model.as_ref(),
            settings,
            batch_size: 4,
            device: test_device(),
            stop: None,
        };
        generator.generate(prompts, &mut |_| ()).unwrap_err().to_string()
    };
    let greedy = settings(Strategy::Greedy, 0, &[95]);
    let prompts = [
        (vec![], "prompt 2 of 2 is empty"),
        (
            vec![1; 60],
            "has 60 tokens and 18 more are to be generated, but the model takes 64: shorten the prompt to 47",
        ),
        (vec![97], "token id 97, beyond the model's vocabulary of 97"),
        (vec![-1], "token id -1"),
    ];
    for (prompt, expected) in prompts {
        let text = refused(&[vec![1], prompt], &greedy);
        assert!(text.contains(expected), "{text}");
    }
    let beam = |beams, length_penalty| Strategy::Beam {
        beams,
        length_penalty,
        flavour: Flavour::Paper,
    };
    let sample = |temperature, top_k, top_p| Strategy::Sample {
        temperature,
        top_k,
        top_p,
        seed: 1,
    };
    let faults = [
        (beam(0, 1.0), "beams must be"),
        (beam(98, 1.0), "98 beams are too many"),
        (beam(2, f64::NAN), "length_penalty must be"),
        (sample(0.0, None, None), "temperature must be"),
        (sample(1.0, Some(0), None), "top_k must be"),
        (sample(1.0, None, Some(1.5)), "top_p must be"),
    ];
    for (strategy, expected) in faults {
        let text = refused(&[vec![1]], &settings(strategy, 0, &[95]));
        assert!(text.contains(expected), "{text}");
    }
    let text = refused(&[vec![1]], &settings(Strategy::Greedy, 0, &[628]));
    assert!(
        text.contains("end token 628 is beyond the model's vocabulary of 97"),
        "{text}"
    );
    // A text without end token is valid, and so is an empty list of prompts.
    let text = generate(model.as_ref(), &[vec![1; 47]], &settings(Strategy::Greedy, 0, &[]), 1);
    assert!(!text[0].ended && text[0].tokens.len() == STEPS);
    assert!(generate(model.as_ref(), &[], &greedy, 4).is_empty());
}

#[test]
fn generation_stops_on_request() {
    let golden = Golden::open("gpt2");
    let (model, _) = build(&golden, FULL, Kind::Float, None);
    let (stop, settings) = (AtomicBool::new(false), settings(Strategy::Greedy, 0, &[]));
    let generator = Generator {
        model: model.as_ref(),
        settings: &settings,
        batch_size: 2,
        device: test_device(),
        stop: Some(&stop),
    };
    let outcome = generator.generate(&vec![vec![1, 2]; 5], &mut |d| {
        stop.store(d.done == 4, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(matches!(outcome, Err(Error::GenerationStopped { done: 4, total: 5 })));
}
