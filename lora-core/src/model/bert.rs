//! BERT (Devlin et al., 2019) for sequence classification, as transformers' `BertForSequenceClassification`.

use super::encoder::{Config, Encoder};
use super::{Arch, Model};
use crate::Result;
use crate::batch::Batch;
use crate::nn::{Linear, Owner, Scope, dropout};
use serde_json::Value;
use tch::{Kind, Tensor};

pub(super) const ARCH: Arch = Arch {
    model_type: "bert",
    build: |config, labels, scope| Ok(Box::new(Bert::new(&Config::read(config)?, labels, scope)?)),
    shape: |config: &Value| Ok(Config::read(config)?.shape()),
    prefix: "bert.",
    ignored: &["embeddings.position_ids", "cls.predictions.", "cls.seq_relationship."],
};

#[derive(Debug)]
struct Bert {
    encoder: Encoder,
    /// Pretrained, but part of the head: every method trains it.
    pooler: Linear,
    classifier: Linear,
    dropout: f64,
    max_len: i64,
    vocab: i64,
}

impl Bert {
    fn new(c: &Config, labels: i64, s: &Scope) -> Result<Bert> {
        let (d, body, head) = (c.hidden_size, s.sub("bert"), s.owned(Owner::Head));
        Ok(Bert {
            encoder: Encoder::new(&body, c, 0)?,
            pooler: head.sub("bert").sub("pooler").linear("dense", &[], d, d, c.init())?,
            classifier: head.linear("classifier", &[], d, labels, c.init())?,
            dropout: c.classifier_dropout(),
            max_len: c.max_position_embeddings,
            vocab: c.vocab_size,
        })
    }
}

impl Model for Bert {
    fn forward(&self, batch: &Batch, train: bool) -> Tensor {
        let first = self.encoder.first_tokens(batch, train).to_kind(Kind::Float);
        let pooled = dropout(&self.pooler.forward(&first, train).tanh(), self.dropout, train);
        self.classifier.forward(&pooled, train) // [B, labels]
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
