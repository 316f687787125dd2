//! RoBERTa (Liu et al., 2019) for sequence classification and for masked language modelling, as transformers'
//! `RobertaForSequenceClassification` and `RobertaForMaskedLM`.

use super::Arch;
use super::config::{config_json, over};
use super::encoder::{self, Config, Encoder};
use super::head::{Body, Head, MaskedLmHead, WithHead};
use crate::Result;
use crate::nn::{Linear, Owner, Scope, dropout};
use serde_json::{Value, json};
use tch::Tensor;

pub(super) const ARCH: Arch = Arch {
    model_type: "roberta",
    build: Some(|config, labels, scope| {
        let config = Config::read(config, defaults)?;
        Ok(Box::new(WithHead {
            body: body(&config, scope)?,
            head: RobertaHead::new(&config, labels, scope)?,
        }))
    }),
    build_lm: Some(|config, scope| {
        let config = Config::read_lm(config, defaults)?;
        let (head, sizes) = (
            scope.owned(Owner::Head).sub("lm_head"),
            (config.vocab_size, config.hidden_size),
        );
        Ok(Box::new(WithHead {
            body: body(&config, scope)?,
            head: MaskedLmHead::new(
                &head,
                ["dense", "layer_norm"],
                sizes,
                config.layer_norm_eps,
                config.init(),
            )?,
        }))
    }),
    shape: |config: &Value| Ok(Config::read(config, defaults)?.shape()),
    read: |config: &Value| config_json(&Config::read(config, defaults)?),
    defaults,
    prefix: "roberta.",
    ignored: &["embeddings.position_ids", "pooler.dense.", "lm_head."],
    transposed: &[],
    dropouts: encoder::DROPOUTS,
    cls_dropout: Some(encoder::CLS_DROPOUT),
    classifier: &["classifier.dense", "classifier.out_proj"],
};

/// transformers' `RobertaConfig`.
fn defaults() -> Value {
    over(encoder::defaults(), &json!({ "vocab_size": 50265, "pad_token_id": 1 }))
}

fn body(c: &Config, s: &Scope) -> Result<Encoder> {
    // Positions start at the padding id + 1, as in fairseq; the first rows of the embedding are unused.
    Encoder::new(&s.sub("roberta"), c, c.pad_token_id.unwrap_or(1) + 1)
}

/// Dropout, dense, tanh, dropout, linear layer.
#[derive(Debug)]
struct RobertaHead {
    dense: Linear,
    out_proj: Linear,
    dropout: f64,
}

impl RobertaHead {
    fn new(c: &Config, labels: i64, s: &Scope) -> Result<RobertaHead> {
        let (d, head) = (c.hidden_size, s.owned(Owner::Head).sub("classifier"));
        Ok(RobertaHead {
            dense: head.linear("dense", &[], d, d, c.init())?,
            out_proj: head.linear("out_proj", &[], d, labels, c.init())?,
            dropout: c.classifier_dropout(),
        })
    }
}

impl Head for RobertaHead {
    fn logits(&self, first: &Tensor, _: &dyn Body, train: bool) -> Tensor {
        let x = dropout(first, self.dropout, train);
        let x = self.dense.forward(&x, train).tanh();
        self.out_proj.forward(&dropout(&x, self.dropout, train), train)
    }
}
