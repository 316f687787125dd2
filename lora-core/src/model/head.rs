//! Encoders with task heads.

use super::{Model, Sizes};
use crate::Result;
use crate::batch::Batch;
use crate::nn::{ActivationCheckpointing, Init, Linear, Norm, ParamKind, Scope};
use std::fmt::Debug;
use tch::{Kind, Tensor};

/// An encoder without its head.
pub(super) trait Body: Debug + Send {
    /// The outputs of all tokens of packed rows, `[T, d]`, or with `first_only` of the first token of each row, `[B,
    /// d]`.
    ///
    /// With `first_only` the last block computes keys and values for all tokens, and everything else only for the first
    /// tokens.
    fn tokens<'m>(
        &'m self,
        batch: &Batch,
        first_only: bool,
        train: bool,
        checkpointing: &ActivationCheckpointing<'m>,
    ) -> Tensor;

    /// The products of `x` `[S, d]` with the token embedding, `[S, vocab]`.
    fn word_scores(&self, x: &Tensor, bias: &Tensor) -> Tensor;

    /// All linear layers.
    fn linears_mut(&mut self) -> Vec<&mut Linear>;

    /// What rows must keep to.
    fn sizes(&self) -> Sizes;
}

/// A task head.
pub(super) trait Head: Debug + Send {
    /// The head's input: by default the first token of each row, `[B, d]` in fp32.
    fn features<'m>(
        &self,
        body: &'m dyn Body,
        batch: &Batch,
        train: bool,
        checkpointing: &ActivationCheckpointing<'m>,
    ) -> Tensor {
        body.tokens(batch, true, train, checkpointing).to_kind(Kind::Float)
    }

    /// The logits of [`Head::features`] in fp32: `[B, labels]`, or `[S, vocab]` for the scored tokens.
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

    fn sizes(&self) -> Sizes {
        self.body.sizes()
    }
}

/// The head of masked language modelling: dense, GELU, LayerNorm, and an output layer tied to the token embedding.
#[derive(Debug)]
pub(super) struct MaskedLmHead {
    dense: Linear,
    norm: Norm,
    /// `[vocab]`.
    bias: Tensor,
}

impl MaskedLmHead {
    /// In the scope `s`, for `vocab` tokens and `d` features; `names` are those of the dense layer and the LayerNorm.
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
