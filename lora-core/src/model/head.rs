//! An encoder and what stands on it.

use super::Model;
use crate::Result;
use crate::batch::Batch;
use crate::nn::{ActivationCheckpointing, Init, Linear, Norm, ParamKind, Scope};
use std::fmt::Debug;
use tch::{Kind, Tensor};

/// The network below the head.
pub(super) trait Body: Debug + Send {
    /// Packed rows to every token, `[T, d]`, or with `first_only` to the first token of each row, `[B, d]`.
    ///
    /// With `first_only` the last block computes keys and values for all tokens, and everything else for the first tokens
    /// alone: no other output of it is read.
    fn tokens<'m>(
        &'m self,
        batch: &Batch,
        first_only: bool,
        train: bool,
        checkpointing: &ActivationCheckpointing<'m>,
    ) -> Tensor;

    /// How well each token of the vocabulary agrees with `x` `[S, d]`: `[S, vocab]`.
    fn word_scores(&self, x: &Tensor, bias: &Tensor) -> Tensor;

    /// Every linear layer.
    fn linears_mut(&mut self) -> Vec<&mut Linear>;

    /// The longest row that fits beside the method's prompt tokens.
    fn max_len(&self) -> i64;

    /// How many token ids there are.
    fn vocab(&self) -> i64;

    /// How many tokens the method puts into each row.
    fn prompt_tokens(&self) -> i64;
}

/// What stands on the body.
pub(super) trait Head: Debug + Send {
    /// What the head needs of the body: by default the first token of each row, `[B, d]` in fp32.
    fn features<'m>(
        &self,
        body: &'m dyn Body,
        batch: &Batch,
        train: bool,
        checkpointing: &ActivationCheckpointing<'m>,
    ) -> Tensor {
        body.tokens(batch, true, train, checkpointing).to_kind(Kind::Float)
    }

    /// The answers, in fp32, about what [`Head::read`] gave: `[B, labels]`, or `[S, vocab]` for the scored tokens.
    fn logits(&self, features: &Tensor, body: &dyn Body, train: bool) -> Tensor;
}

/// A body and its head.
#[derive(Debug)]
pub(super) struct WithHead<B, H> {
    pub(super) body: B,
    pub(super) head: H,
}

impl<B: Body, H: Head> Model for WithHead<B, H> {
    fn features<'m>(&'m self, batch: &Batch, train: bool, checkpointing: &ActivationCheckpointing<'m>) -> Tensor {
        self.head.features(&self.body, batch, train, checkpointing)
    }

    fn logits(&self, features: &Tensor, train: bool) -> Tensor {
        self.head.logits(features, &self.body, train)
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.body.linears_mut()
    }

    fn max_len(&self) -> i64 {
        self.body.max_len()
    }

    fn vocab(&self) -> i64 {
        self.body.vocab()
    }

    fn prompt_tokens(&self) -> i64 {
        self.body.prompt_tokens()
    }
}

/// The head of masked language modelling: dense, GELU, LayerNorm, and the table of the tokens as output layer.
#[derive(Debug)]
pub(super) struct MaskedLmHead {
    dense: Linear,
    norm: Norm,
    /// `[vocab]`.
    bias: Tensor,
}

impl MaskedLmHead {
    /// In the scope `s`, whose dense layer and LayerNorm have these `names`, over `vocab` tokens and `d` features.
    pub(super) fn new(
        s: &Scope,
        names: [&str; 2],
        (vocab, d): (i64, i64),
        eps: f64,
        init: Init,
    ) -> Result<MaskedLmHead> {
        Ok(MaskedLmHead {
            dense: s.linear(names[0], &[], d, d, init)?,
            norm: s.norm(names[1], d, eps)?,
            bias: s.var("bias", ParamKind::Bias, &[vocab], Init::Const(0.0))?,
        })
    }
}

impl Head for MaskedLmHead {
    fn features<'m>(
        &self,
        body: &'m dyn Body,
        batch: &Batch,
        train: bool,
        checkpointing: &ActivationCheckpointing<'m>,
    ) -> Tensor {
        let x = body.tokens(batch, false, train, checkpointing);
        match &batch.scored {
            Some(scored) => x.index_select(0, scored),
            None => x,
        }
    }

    fn logits(&self, features: &Tensor, body: &dyn Body, train: bool) -> Tensor {
        let x = self.norm.forward(&self.dense.forward(features, train).gelu("none"));
        body.word_scores(&x, &self.bias).to_kind(Kind::Float)
    }
}
