//! The seam: what a method may do to a model, stated without naming either.

use super::{AdapterSite, AttachPoint, Param, Params, Role, Scope, Site};
use crate::Result;
use crate::model::ModelShape;
use std::collections::BTreeSet;
use std::fmt::Debug;
use tch::Tensor;

/// A way of adapting a pretrained model. Implement only what the method touches.
pub trait Method: Debug + Send + Sync {
    /// Whether this variable of the pretrained model is trained. Asked once, when the variable is created.
    fn trains_base(&self, _param: &Param) -> bool {
        false
    }

    /// The places where it attaches. Each must be met at least once: [`super::Build::finish`] names those that were not;
    /// and no two methods of a combination may claim the same.
    fn claims(&self) -> BTreeSet<AttachPoint>;

    /// A branch beside the linear layer at `site`, its variables created in `scope`.
    ///
    /// # Errors
    /// Whatever creating the variables gives, or a setting that does not fit the site.
    fn at_linear(&self, _role: Role, _site: &Site, _scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        Ok(None)
    }

    /// A module at a tap of a block of width `width`, its variables created in `scope` (whose depth says which block).
    ///
    /// # Errors
    /// As [`Method::at_linear`].
    fn at_tap(&self, _tap: AdapterSite, _width: i64, _scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        Ok(None)
    }

    /// Trained keys and values for one block's attention of width `width`.
    ///
    /// # Errors
    /// As [`Method::at_linear`].
    fn at_attention(&self, _width: i64, _scope: &Scope) -> Result<Option<Box<dyn PrefixKv>>> {
        Ok(None)
    }

    /// Trained tokens in every row of a model with `blocks` blocks of width `width`.
    ///
    /// # Errors
    /// As [`Method::at_linear`].
    fn at_embedding(&self, _width: i64, _blocks: usize, _scope: &Scope) -> Result<Option<PromptTokens>> {
        Ok(None)
    }

    /// By how much the positions of a row's tokens are shifted: keys and values that stand before the row may take its first.
    fn shift(&self) -> i64 {
        0
    }

    /// Refuses a model that the settings do not fit, once it is built.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the setting.
    fn check(&self, _params: &Params) -> Result<()> {
        Ok(())
    }

    /// Why the model is not the pretrained one before the first step; none where it is.
    fn changes_start(&self) -> Option<&'static str> {
        None
    }

    /// Whether all that it adds can be merged into the weights.
    fn mergeable(&self) -> bool {
        let in_weights = |place: &AttachPoint| matches!(place, AttachPoint::Base | AttachPoint::Linear(_));
        self.claims().iter().all(in_weights)
    }

    /// How many parameters are trained beside the head, in closed form from the paper's definitions: (base, method).
    /// A test compares it with the model as built.
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64);

    /// How many of them are left when training is over and its scaffolding ([`Scope::train_only`]) is dropped.
    fn kept_params(&self, shape: &ModelShape) -> (i64, i64) {
        self.expected_params(shape)
    }
}

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
