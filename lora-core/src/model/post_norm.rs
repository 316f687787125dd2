//! The part of a post-LN block (BERT, RoBERTa, DeBERTa) after attention: the output projection, the feed-forward
//! network, and the three adapter sites.

use crate::Result;
use crate::nn::{Activation, AdapterSite, Init, Linear, Norm, Role, Scope, TapPoint, dropout};
use tch::Tensor;

/// The sizes and rates of a [`PostNorm`].
#[derive(Clone, Copy, Debug)]
pub(super) struct PostNormConfig {
    /// Model width, d.
    pub(super) hidden: i64,
    /// Width of the feed-forward network.
    pub(super) ffn: i64,
    /// Epsilon of the LayerNorms.
    pub(super) eps: f64,
    /// Initialisation of the matrices.
    pub(super) init: Init,
    /// Activation between the two matrices of the feed-forward network.
    pub(super) activation: Activation,
    /// Dropout rate on the output of each sub-layer.
    pub(super) dropout: f64,
}

/// A block from the output of attention to its end.
#[derive(Debug)]
pub(super) struct PostNorm {
    attn_out: Linear,
    attn_norm: Norm,
    ffn_in: Linear,
    ffn_out: Linear,
    ffn_norm: Norm,
    after_attention: TapPoint,
    after_ffn: TapPoint,
    after_block: TapPoint,
    activation: Activation,
    dropout: f64,
}

impl PostNorm {
    /// Creates the variables in the block's scope `s`, with transformers' names.
    pub(super) fn new(s: &Scope, c: &PostNormConfig) -> Result<PostNorm> {
        let (d, f) = (c.hidden, c.ffn);
        let (attention, output) = (s.sub("attention").sub("output"), s.sub("output"));
        Ok(PostNorm {
            attn_out: attention.linear("dense", &[Role::AttnOut], d, d, c.init)?,
            attn_norm: attention.norm("LayerNorm", d, c.eps)?,
            ffn_in: s.sub("intermediate").linear("dense", &[Role::FfnIn], d, f, c.init)?,
            ffn_out: output.linear("dense", &[Role::FfnOut], f, d, c.init)?,
            ffn_norm: output.norm("LayerNorm", d, c.eps)?,
            after_attention: s.tap(AdapterSite::AfterAttention, d)?,
            after_ffn: s.tap(AdapterSite::AfterFfn, d)?,
            after_block: s.tap(AdapterSite::AfterBlock, d)?,
            activation: c.activation,
            dropout: c.dropout,
        })
    }

    /// The block's output `[T, d]`, from the output `attended` of attention and its residual input `asking`, `[T, d]`
    /// both.
    pub(super) fn forward(&self, attended: &Tensor, asking: &Tensor, train: bool) -> Tensor {
        let a = dropout(&self.attn_out.forward(attended, train), self.dropout, train);
        let normed = |a: &Tensor| self.attn_norm.of_sum(a, asking);
        let x = self.after_attention.close(&a, train, normed);
        let f = self.activation.apply(&self.ffn_in.forward(&x, train));
        let f = dropout(&self.ffn_out.forward(&f, train), self.dropout, train);
        let normed = |f: &Tensor| self.ffn_norm.of_sum(f, &x);
        let x = self.after_ffn.close(&f, train, normed);
        self.after_block.close(&x, train, Tensor::shallow_clone)
    }

    pub(super) fn linears_mut(&mut self) -> [&mut Linear; 3] {
        [&mut self.attn_out, &mut self.ffn_in, &mut self.ffn_out]
    }
}
