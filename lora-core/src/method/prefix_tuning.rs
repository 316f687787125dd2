//! Prefix tuning (Li and Liang, 2021): trained keys and values in every block. The paper's starred PreLayer rows quote
//! it.

use super::factors::is_false;
use crate::model::ModelShape;
use crate::nn::{AttachPoint, Init, Method, ParamKind, PrefixKv, Scope};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::Tensor;

/// `prefix` trained keys and values in every block, visible to every token.
///
/// They are reparametrised by a small network, as in Li and Liang's code: an embedding of each prefix position, a
/// hidden layer of `mlp` features (512 there) with tanh, and an output layer with the keys and values of all blocks,
/// which replace the network after training. `mlp: null` trains them directly. There is no infix.
///
/// The network is initialised as in PyTorch (embedding normal(0, 1), linear layers uniform within ±1 / sqrt(fan in)).
/// Keys and values that are trained directly start at normal(0, 0.02), as the paper's embeddings.
#[derive(Debug, Deserialize, Serialize)]
#[serde(try_from = "PrefixSettings")]
pub(super) struct PrefixTuning(PrefixSettings);

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PrefixSettings {
    prefix: i64,
    mlp: Option<i64>,
    /// Whether the positions of a row's tokens start after the prefix, as in Li and Liang's code and in PEFT.
    #[serde(default, skip_serializing_if = "is_false")]
    shift: bool,
}

impl TryFrom<PrefixSettings> for PrefixTuning {
    type Error = Error;

    fn try_from(s: PrefixSettings) -> Result<Self> {
        const MAX: i64 = 1 << 20;
        for (name, value) in [("prefix", Some(s.prefix)), ("mlp", s.mlp)] {
            if let Some(value) = value.filter(|v| !(1..=MAX).contains(v)) {
                return Err(Error::Config(format!("{name} must be from 1 to {MAX}, not {value}")));
            }
        }
        Ok(PrefixTuning(s))
    }
}

impl Method for PrefixTuning {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::Attention].into()
    }

    fn at_attention(&self, width: i64, scope: &Scope) -> Result<Option<Box<dyn PrefixKv>>> {
        let n = self.0.prefix;
        let Some(k) = self.0.mlp else {
            let part = |name: &str| scope.var(name, ParamKind::Embedding, &[n, width], Init::Normal(0.02));
            return Ok(Some(Box::new(Direct {
                key: part("key")?,
                value: part("value")?,
            })));
        };
        let train_only = scope.train_only(); // the network is dropped after training
        let bound = |fan_in: i64| Init::Uniform(1.0 / (fan_in as f64).sqrt());
        let shared =
            |name: &str, kind, dims: &[i64], init| train_only.shared(&format!("prefix.{name}"), kind, dims, init);
        let network = Network {
            embedding: shared("embedding.weight", ParamKind::Embedding, &[n, width], Init::Normal(1.0))?,
            hidden: [
                shared("hidden.weight", ParamKind::Weight, &[k, width], bound(width))?,
                shared("hidden.bias", ParamKind::Bias, &[k], bound(width))?,
            ],
            out: [
                train_only.var("out.weight", ParamKind::Weight, &[2 * width, k], bound(k))?,
                train_only.var("out.bias", ParamKind::Bias, &[2 * width], bound(k))?,
            ],
        };
        let kept = network.shallow_clone();
        scope.keeps(move || {
            let (key, value) = kept.kv();
            vec![("key", key), ("value", value)]
        });
        Ok(Some(Box::new(network)))
    }

    fn shift(&self) -> i64 {
        if self.0.shift { self.0.prefix } else { 0 }
    }

    fn changes_start(&self) -> Option<&'static str> {
        Some("attention sees the random keys and values from the start")
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let (l, d, n) = (shape.layers, shape.kv_width(), self.0.prefix);
        match self.0.mlp {
            Some(k) => (0, n * d + k * d + k + l * (2 * d * k + 2 * d)),
            None => self.kept_params(shape),
        }
    }

    /// 2 L d l_p, with d features of keys.
    fn kept_params(&self, shape: &ModelShape) -> (i64, i64) {
        (0, 2 * shape.layers * shape.kv_width() * self.0.prefix)
    }
}

/// Keys and values that are trained directly, `[n, d]` each.
#[derive(Debug)]
struct Direct {
    key: Tensor,
    value: Tensor,
}

impl PrefixKv for Direct {
    fn kv(&self) -> (Tensor, Tensor) {
        (self.key.shallow_clone(), self.value.shallow_clone())
    }
}

/// The network of one block; all blocks share the embedding and the hidden layer.
#[derive(Debug)]
struct Network {
    /// `[n, d]`.
    embedding: Tensor,
    /// Weight `[k, d]` and bias.
    hidden: [Tensor; 2],
    /// Weight `[2 d, k]` and bias; the first d outputs are the keys.
    out: [Tensor; 2],
}

impl Network {
    fn shallow_clone(&self) -> Network {
        Network {
            embedding: self.embedding.shallow_clone(),
            hidden: self.hidden.each_ref().map(Tensor::shallow_clone),
            out: self.out.each_ref().map(Tensor::shallow_clone),
        }
    }
}

impl PrefixKv for Network {
    fn kv(&self) -> (Tensor, Tensor) {
        let [weight, bias] = &self.hidden;
        let hidden = self.embedding.linear(weight, Some(bias)).tanh(); // [n, k]
        let [weight, bias] = &self.out;
        let both = hidden.linear(weight, Some(bias)); // [n, 2 d]
        let width = self.embedding.size()[1];
        (both.narrow(1, 0, width), both.narrow(1, width, width))
    }
}
