//! RoBERTa (Liu et al., 2019) for sequence classification, as transformers' `RobertaForSequenceClassification`.

use super::Arch;
use super::encoder::{Config, Encoder};
use super::head::{Classifier, Head};
use crate::Result;
use crate::nn::{Linear, Owner, Scope, dropout};
use serde_json::Value;
use tch::Tensor;

pub(super) const ARCH: Arch = Arch {
    model_type: "roberta",
    build: |config, labels, scope| {
        let config = Config::read(config)?;
        // Positions count from the padding id + 1: fairseq's convention, which leaves the first rows of the table unused.
        let encoder = Encoder::new(&scope.sub("roberta"), &config, config.pad_token_id.unwrap_or(1) + 1)?;
        Ok(Box::new(Classifier {
            encoder,
            head: RobertaHead::new(&config, labels, scope)?,
        }))
    },
    shape: |config: &Value| Ok(Config::read(config)?.shape()),
    prefix: "roberta.",
    ignored: &["embeddings.position_ids", "pooler.dense.", "lm_head."],
};

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
    fn forward(&self, first: &Tensor, train: bool) -> Tensor {
        let x = dropout(first, self.dropout, train);
        let x = self.dense.forward(&x, train).tanh();
        self.out_proj.forward(&dropout(&x, self.dropout, train), train)
    }
}
