//! The seam: what a method may do to a model, stated without naming either.

use std::fmt::Debug;
use tch::Tensor;

/// Something that runs beside a linear layer and adds to its output.
pub trait Branch: Debug + Send {
    /// Adds the branch's output for `x` `[T, in]` to the layer's own output `y` `[T, out]`.
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor;

    /// The rate of a dropout on `x` that all branches of a weight share: the layer applies it before it calls them.
    fn shared_dropout(&self) -> Option<f64> {
        None
    }

    /// The change of the weight that gives the same function, `[out, in]` in fp32, where there is one: what merging adds.
    fn delta(&self) -> Option<Tensor> {
        None
    }

    /// The factors of [`Branch::delta`], where it has low rank.
    fn low_rank(&self) -> Option<LowRank<'_>> {
        None
    }
}

/// A module at a [`AdapterSite`].
pub trait Adapter: Debug + Send {
    /// What takes the place of `h` `[T, d]`, the sub-layer's output after dropout (at [`AdapterSite::AfterBlock`]: the block's
    /// output).
    ///
    /// `close` is what the block will do with it: the residual add and, in post-LN blocks, the block's own LayerNorm
    /// (LN(h + x)); in pre-LN blocks the add alone (h + x), because the next LayerNorm belongs to the next sub-layer. At
    /// [`AdapterSite::AfterBlock`] it changes nothing. An adapter that reads what comes after the add (Pfeiffer's) calls it.
    fn forward(&self, h: &Tensor, close: &dyn Fn(&Tensor) -> Tensor, train: bool) -> Tensor;
}

/// Keys and values that stand before every row's own in one block's attention.
pub trait PrefixKv: Debug + Send {
    /// Keys and values, `[n, d]` each: every token of every row sees all n, under a causal mask too.
    fn kv(&self) -> (Tensor, Tensor);
}

/// Trained tokens: `prefix` of them before the text, `infix` after the prompt. [`super::SoftPrompt`] puts them into rows.
#[derive(Debug)]
pub struct PromptTokens {
    /// l_p.
    pub prefix: i64,
    /// l_i.
    pub infix: i64,
    /// The vectors in the place of word embeddings, `[prefix + infix, d]`. They take positions like any token.
    pub embedding: Tensor,
    /// What the activations at these tokens are overwritten with after each block but the last (behind which nothing
    /// reads them), `[prefix + infix, d]` each; empty where they may evolve.
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
}
