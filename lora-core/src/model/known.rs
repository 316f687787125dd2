//! The shapes of the paper's models, to count parameters without files or network access.

use crate::{Error, Result};
use serde_json::{Value, json};

/// Names that [`known_config`] knows.
pub static KNOWN: &[&str] = &[
    "roberta-base",
    "roberta-large",
    "bert-base-uncased",
    "minilm-l6",
    "gpt2",
    "gpt2-medium",
    "gpt2-large",
    "gpt2-xl",
    "gpt3-175b",
    "deberta-v2-xxlarge",
    "deberta-v3-base",
    "llama-3.2-1b",
    "qwen2.5-0.5b",
];

/// The config.json of a known model, restricted to its shape.
///
/// # Errors
/// [`Error::Config`] listing the known names.
pub fn known_config(name: &str) -> Result<Value> {
    let encoder = |kind: &str, vocab: i64, d: i64, layers: i64, heads: i64, positions: i64, types: i64, eps: f64| {
        json!({
            "model_type": kind, "vocab_size": vocab, "hidden_size": d, "num_hidden_layers": layers, "num_attention_heads": heads,
            "intermediate_size": 4 * d, "max_position_embeddings": positions, "type_vocab_size": types, "layer_norm_eps": eps,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        })
    };
    let gpt2 = |d: i64, layers: i64, heads: i64, positions: i64| {
        json!({
            "model_type": "gpt2", "vocab_size": 50257, "n_positions": positions, "n_embd": d, "n_layer": layers, "n_head": heads,
            "activation_function": "gelu_new", "attn_pdrop": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "layer_norm_epsilon": 1e-5,
        })
    };
    let deberta = |d: i64, layers: i64, heads: i64, convolution: bool| {
        json!({
            "model_type": "deberta-v2", "vocab_size": 128100, "hidden_size": d, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": 4 * d, "max_position_embeddings": 512, "type_vocab_size": 0,
            "layer_norm_eps": 1e-7, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
            "relative_attention": true, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": true,
            "pos_att_type": "p2c|c2p", "position_biased_input": false, "conv_kernel_size": if convolution { 3 } else { 0 },
            "conv_act": "gelu",
        })
    };
    match name {
        "roberta-base" => Ok(encoder("roberta", 50265, 768, 12, 12, 514, 1, 1e-5)),
        "roberta-large" => Ok(encoder("roberta", 50265, 1024, 24, 16, 514, 1, 1e-5)),
        "bert-base-uncased" => Ok(encoder("bert", 30522, 768, 12, 12, 512, 2, 1e-12)),
        "minilm-l6" => Ok(encoder("bert", 30522, 384, 6, 12, 512, 2, 1e-12)),
        "gpt2" => Ok(gpt2(768, 12, 12, 1024)),
        "gpt2-medium" => Ok(gpt2(1024, 24, 16, 1024)),
        "gpt2-large" => Ok(gpt2(1280, 36, 20, 1024)),
        "gpt2-xl" => Ok(gpt2(1600, 48, 25, 1024)),
        // GPT-3's published dimensions in GPT-2's architecture. (Its attention is sparse in every other block, which
        // adds no parameters.)
        "gpt3-175b" => Ok(gpt2(12288, 96, 96, 2048)),
        "deberta-v2-xxlarge" => Ok(deberta(1536, 48, 24, true)),
        "deberta-v3-base" => Ok(deberta(768, 12, 12, false)),
        "llama-3.2-1b" => Ok(json!({
            "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192, "max_position_embeddings": 131072,
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": true,
            "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192},
        })),
        "qwen2.5-0.5b" => Ok(json!({
            "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "intermediate_size": 4864, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "tie_word_embeddings": true,
        })),
        _ => Err(Error::Config(format!(
            "the shape of `{name}` is not known here; known: {}; or give a model folder",
            KNOWN.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method;
    use crate::model::arch;
    use crate::nn::Build;

    /// The number of parameters of the model, and of LoRA with r = 4 on query and value.
    fn counts(config: &Value) -> (i64, i64) {
        let lora = method::from_yaml("{kind: lora, r: 4, alpha: 32, targets: [query, value]}").unwrap();
        let build = Build::new(lora.as_ref(), 1);
        arch(config).unwrap().language_model(config, &build.scope()).unwrap();
        let counts = build.finish().unwrap().counts;
        (counts.total - counts.method, counts.method)
    }

    #[test]
    fn gpt2_is_as_large_as_published() {
        let sizes = [
            ("gpt2", 124_439_808, 147_456),
            ("gpt2-medium", 354_823_168, 393_216),
            ("gpt2-large", 774_030_080, 737_280),
            ("gpt2-xl", 1_557_611_200, 1_228_800),
        ];
        for (name, whole, lora) in sizes {
            assert_eq!(counts(&known_config(name).unwrap()), (whole, lora), "{name}");
        }
    }

    /// LoRA has r (in + out) parameters per query and value matrix.
    #[test]
    fn llama_and_qwen2_are_as_large_as_published() {
        let sizes = [
            ("llama-3.2-1b", 1_235_814_400, 16 * 4 * (4096 + 2560)),
            ("qwen2.5-0.5b", 494_032_768, 24 * 4 * (1792 + 1024)),
        ];
        for (name, whole, lora) in sizes {
            assert_eq!(counts(&known_config(name).unwrap()), (whole, lora), "{name}");
        }
    }

    #[test]
    fn a_published_config_is_read() {
        let Some(data) = testing::data() else { return };
        let dir = data.join("tokenizers/gpt2");
        let config = crate::model::read_config(&dir).unwrap();
        assert_eq!(counts(&config), (354_823_168, 393_216));
    }

    #[test]
    fn gpt2_sizes_are_read_under_other_names() {
        let mut config = known_config("gpt2").unwrap();
        let names = [
            ("n_positions", "max_position_embeddings"),
            ("n_embd", "hidden_size"),
            ("n_layer", "num_hidden_layers"),
            ("n_head", "num_attention_heads"),
        ];
        for (own, other) in names {
            config[other] = config.as_object_mut().unwrap().remove(own).unwrap();
        }
        assert_eq!(counts(&config).0, 124_439_808);
        config["n_layer"] = json!(1);
        assert_eq!(counts(&config).1, 12_288, "its own name is the stronger word");
    }

    #[test]
    fn gpt2_configs_that_cannot_be_built_are_refused() {
        let changes = [
            ("n_embd", json!(1025), "`n_embd` 1025 is not divisible by `n_head` 16"),
            ("n_head", json!(0), "`n_head` is 0"),
            ("attn_pdrop", json!(1.0), "`attn_pdrop` is 1"),
            ("activation_function", json!("mish"), "unknown variant `mish`"),
            ("scale_attn_by_inverse_layer_idx", json!(true), "must be false"),
            ("tie_word_embeddings", json!(false), "must be true"),
        ];
        let gpt2 = known_config("gpt2-medium").unwrap();
        let arch = arch(&gpt2).unwrap();
        for (key, value, expected) in changes {
            let mut config = gpt2.clone();
            config[key] = value;
            let text = (arch.shape)(&config).unwrap_err().to_string();
            assert!(text.contains(expected), "{key}: {text}");
        }
        let text = arch.build.is_none().then(|| {
            let method = method::from_yaml("{kind: head}").unwrap();
            let build = Build::new(method.as_ref(), 1);
            arch.classifier(&gpt2, 2, &build.scope()).unwrap_err().to_string()
        });
        assert!(text.unwrap().contains("no classification head"));
    }
}
