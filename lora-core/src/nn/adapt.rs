//! The interfaces through which methods change models.

use std::fmt::Debug;
use tch::Tensor;

/// A branch beside a linear layer that adds to its output.
pub trait Branch: Debug + Send {
    /// `y` `[T, out]`, the layer's output, plus the branch's output for `x` `[T, in]`.
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor;

    /// The rate of a dropout on `x` with one mask for all branches of a weight; the layer applies it before it calls
    /// them.
    fn shared_dropout(&self) -> Option<f64> {
        None
    }

    /// The equivalent change of the weight, `[out, in]` in fp32, which merging adds; none if there is no equivalent
    /// change.
    fn delta(&self) -> Option<Tensor> {
        None
    }

    /// The equivalent change of the bias, `[out]` in fp32, beside that of the weight; none if the bias stays.
    fn bias_delta(&self) -> Option<Tensor> {
        None
    }

    /// The factors of [`Branch::delta`], if it has low rank.
    fn low_rank(&self) -> Option<LowRank<'_>> {
        None
    }
}

/// A module at an [`super::AdapterSite`].
pub trait Adapter: Debug + Send {
    /// Replaces `h` `[T, d]`, the sub-layer's output after dropout (at [`super::AdapterSite::AfterBlock`] the block's
    /// output).
    ///
    /// `close` is the block's next step: LN(h + x) with the residual x and the block's own LayerNorm in post-LN blocks,
    /// h + x in pre-LN blocks, and the identity at [`super::AdapterSite::AfterBlock`]. Pfeiffer's adapter, which reads
    /// its result, calls it.
    fn forward(&self, h: &Tensor, close: &dyn Fn(&Tensor) -> Tensor, train: bool) -> Tensor;
}

/// Keys and values that precede those of every row in one block's attention.
pub trait PrefixKv: Debug + Send {
    /// Keys and values, `[n, d]` each. Every token of every row sees all n, also under a causal mask.
    fn kv(&self) -> (Tensor, Tensor);
}

/// Trained tokens: `prefix` before the text, `infix` after the prompt. [`super::SoftPrompt`] inserts them into rows.
#[derive(Debug)]
pub struct PromptTokens {
    /// l_p.
    pub prefix: i64,
    /// l_i.
    pub infix: i64,
    /// The vectors that replace word embeddings, `[prefix + infix, d]`. The tokens have positions like any token.
    pub embedding: Tensor,
    /// The vectors that replace the activations at these tokens after each block except the last, `[prefix + infix, d]`
    /// each; empty to keep the activations.
    pub after_block: Vec<Tensor>,
}

/// ΔW = `scale` · B · A.
#[derive(Debug)]
pub struct LowRank<'a> {
    /// A, `[r, in]`.
    pub a: &'a Tensor,
    /// B, `[out, r]`.
    pub b: &'a Tensor,
    /// α / r.
    pub scale: f64,
    /// Rate of the branch's own dropout on the input of A, in training.
    pub dropout: f64,
}
