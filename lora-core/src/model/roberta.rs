//! RoBERTa (Liu et al., 2019) for sequence classification, as transformers' `RobertaForSequenceClassification`.

use super::encoder::{Config, Encoder};
use super::{Arch, Model};
use crate::batch::Batch;
use crate::nn::{Linear, Owner, Scope, dropout};
use crate::{Error, Result};
use serde_json::Value;
use tch::{Kind, Tensor};

pub(super) const ARCH: Arch = Arch {
    model_type: "roberta",
    build: |config, labels, scope| Ok(Box::new(Roberta::new(&Config::read(config)?, labels, scope)?)),
    shape: |config: &Value| Ok(Config::read(config)?.shape()),
    prefix: "roberta.",
    ignored: &["embeddings.position_ids", "pooler.dense.", "lm_head."],
};

#[derive(Debug)]
struct Roberta {
    encoder: Encoder,
    dense: Linear,
    out_proj: Linear,
    dropout: f64,
    max_len: i64,
    vocab: i64,
}

impl Roberta {
    fn new(c: &Config, labels: i64, s: &Scope) -> Result<Roberta> {
        // Positions count from the padding id + 1: fairseq's convention, which leaves the first rows of the table unused.
        let offset = c.pad_token_id.unwrap_or(1) + 1;
        let max_len = c.max_position_embeddings - offset;
        if offset < 0 || max_len < 1 {
            return Err(Error::Config(format!(
                "`pad_token_id` leaves {max_len} positions of `max_position_embeddings`"
            )));
        }
        let (d, head) = (c.hidden_size, s.owned(Owner::Head).sub("classifier"));
        Ok(Roberta {
            encoder: Encoder::new(&s.sub("roberta"), c, offset)?,
            dense: head.linear("dense", &[], d, d, c.init())?,
            out_proj: head.linear("out_proj", &[], d, labels, c.init())?,
            dropout: c.classifier_dropout(),
            max_len,
            vocab: c.vocab_size,
        })
    }
}

impl Model for Roberta {
    fn forward(&self, batch: &Batch, train: bool) -> Tensor {
        let first = self.encoder.first_tokens(batch, train).to_kind(Kind::Float);
        let x = dropout(&first, self.dropout, train);
        let x = dropout(&self.dense.forward(&x, train).tanh(), self.dropout, train);
        self.out_proj.forward(&x, train) // [B, labels]
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.encoder.linears_mut()
    }

    fn max_len(&self) -> i64 {
        self.max_len
    }

    fn vocab(&self) -> i64 {
        self.vocab
    }
}
