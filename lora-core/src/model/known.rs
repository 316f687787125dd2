//! The shapes of the paper's models, so that parameters can be counted without files or network.

use crate::{Error, Result};
use serde_json::{Value, json};

/// Names that [`known_config`] knows.
pub static KNOWN: &[&str] = &["roberta-base", "roberta-large", "bert-base-uncased", "minilm-l6"];

/// The config.json of a model of this name, as far as its shape goes.
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
    match name {
        "roberta-base" => Ok(encoder("roberta", 50265, 768, 12, 12, 514, 1, 1e-5)),
        "roberta-large" => Ok(encoder("roberta", 50265, 1024, 24, 16, 514, 1, 1e-5)),
        "bert-base-uncased" => Ok(encoder("bert", 30522, 768, 12, 12, 512, 2, 1e-12)),
        "minilm-l6" => Ok(encoder("bert", 30522, 384, 6, 12, 512, 2, 1e-12)),
        _ => Err(Error::Config(format!(
            "the shape of `{name}` is not known here; known: {}; or give a model folder",
            KNOWN.join(", ")
        ))),
    }
}
