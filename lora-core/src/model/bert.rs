//! BERT (Devlin et al., 2019) for sequence classification, as transformers' `BertForSequenceClassification`.

use super::Arch;
use super::config::config_json;
use super::encoder::{self, Config, Encoder};
use super::head::{Body, Head, WithHead};
use crate::Result;
use crate::nn::{Linear, Owner, Scope, dropout};
use serde_json::Value;
use tch::Tensor;

pub(super) const ARCH: Arch = Arch {
    model_type: "bert",
    build: Some(|config, labels, scope| {
        let config = Config::read(config, encoder::defaults)?;
        Ok(Box::new(WithHead {
            body: Encoder::new(&scope.sub("bert"), &config, 0)?,
            head: BertHead::new(&config, labels, scope)?,
        }))
    }),
    build_lm: None,
    shape: |config: &Value| Ok(Config::read(config, encoder::defaults)?.shape()),
    read: |config: &Value| config_json(&Config::read(config, encoder::defaults)?),
    defaults: encoder::defaults,
    prefix: "bert.",
    ignored: &["embeddings.position_ids", "cls.predictions.", "cls.seq_relationship."],
    transposed: &[],
    dropouts: encoder::DROPOUTS,
    cls_dropout: Some(encoder::CLS_DROPOUT),
    classifier: &["classifier"],
};

/// Pooler (dense, tanh), dropout, linear layer.
#[derive(Debug)]
struct BertHead {
    /// Pretrained. Part of the head, which every method trains, unless it is frozen ([`Scope::pooler`]).
    pooler: Linear,
    classifier: Linear,
    dropout: f64,
}

impl BertHead {
    fn new(c: &Config, labels: i64, s: &Scope) -> Result<BertHead> {
        let (d, head) = (c.hidden_size, s.owned(Owner::Head));
        Ok(BertHead {
            pooler: s
                .pooler()
                .sub("bert")
                .sub("pooler")
                .linear("dense", &[], d, d, c.init())?,
            classifier: head.linear("classifier", &[], d, labels, c.init())?,
            dropout: c.classifier_dropout(),
        })
    }
}

impl Head for BertHead {
    fn logits(&self, first: &Tensor, _: &dyn Body, train: bool) -> Tensor {
        let pooled = self.pooler.forward(first, train).tanh();
        self.classifier.forward(&dropout(&pooled, self.dropout, train), train)
    }
}
