//! RoBERTa (Liu et al., 2019) for sequence classification and for masked language modelling, as transformers'
//! `RobertaForSequenceClassification` and `RobertaForMaskedLM`.

use super::encoder::{Config, Encoder};
use super::head::{Classifier, Head};
use super::{Arch, Model};
use crate::Result;
use crate::batch::Batch;
use crate::nn::{Init, Linear, Norm, Owner, ParamKind, Scope, dropout};
use serde_json::Value;
use tch::{Kind, Tensor};

pub(super) const ARCH: Arch = Arch {
    model_type: "roberta",
    build: |config, labels, scope| {
        let config = Config::read(config)?;
        Ok(Box::new(Classifier {
            encoder: body(&config, scope)?,
            head: RobertaHead::new(&config, labels, scope)?,
        }))
    },
    build_lm: Some(|config, scope| {
        let config = Config::read(config)?;
        Ok(Box::new(MaskedLm::new(&config, scope)?))
    }),
    shape: |config: &Value| Ok(Config::read(config)?.shape()),
    prefix: "roberta.",
    ignored: &["embeddings.position_ids", "pooler.dense.", "lm_head."],
};

fn body(c: &Config, s: &Scope) -> Result<Encoder> {
    // Positions count from the padding id + 1: fairseq's convention, which leaves the first rows of the table unused.
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
    fn forward(&self, first: &Tensor, train: bool) -> Tensor {
        let x = dropout(first, self.dropout, train);
        let x = self.dense.forward(&x, train).tanh();
        self.out_proj.forward(&dropout(&x, self.dropout, train), train)
    }
}

/// Dense, GELU, LayerNorm, and the table of the tokens as output layer.
#[derive(Debug)]
struct MaskedLm {
    encoder: Encoder,
    dense: Linear,
    norm: Norm,
    /// `[vocab]`.
    bias: Tensor,
}

impl MaskedLm {
    fn new(c: &Config, s: &Scope) -> Result<MaskedLm> {
        let (d, head) = (c.hidden_size, s.owned(Owner::Head).sub("lm_head"));
        Ok(MaskedLm {
            encoder: body(c, s)?,
            dense: head.linear("dense", &[], d, d, c.init())?,
            norm: head.norm("layer_norm", d, c.layer_norm_eps)?,
            bias: head.var("bias", ParamKind::Bias, &[c.vocab_size], Init::Const(0.0))?,
        })
    }
}

impl Model for MaskedLm {
    fn forward(&self, batch: &Batch, train: bool) -> Tensor {
        let x = self.encoder.all_tokens(batch, train);
        let x = match &batch.scored {
            Some(scored) => x.index_select(0, scored),
            None => x,
        };
        let x = self.norm.forward(&self.dense.forward(&x, train).gelu("none"));
        self.encoder.word_scores(&x, &self.bias).to_kind(Kind::Float)
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.encoder.linears_mut()
    }

    fn max_len(&self) -> i64 {
        self.encoder.max_len()
    }

    fn vocab(&self) -> i64 {
        self.encoder.vocab()
    }
}
