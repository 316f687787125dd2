//! The seam: what a method may do to a model, stated without naming either.

use super::{Param, Role, Scope, Site};
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

    /// The roles that must each meet at least one layer; [`super::Build::adopt`] names those that did not.
    fn wants(&self) -> BTreeSet<Role> {
        BTreeSet::new()
    }

    /// A branch beside the linear layer at `site`, its variables created in `scope`.
    ///
    /// # Errors
    /// Whatever creating the variables gives, or a setting that does not fit the site.
    fn at_linear(&self, _role: Role, _site: &Site, _scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        Ok(None)
    }

    /// How many parameters are trained beside the head, in closed form from the paper's definitions: (base, method).
    /// A test compares it with the model as built.
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64);
}

/// Something that runs beside a linear layer and adds to its output.
pub trait Branch: Debug + Send {
    /// Adds the branch's output for `x` `[T, in]` to the layer's own output `y` `[T, out]`.
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor;

    /// The change of the weight that gives the same function, `[out, in]` in fp32, where there is one: what merging adds.
    fn delta(&self) -> Option<Tensor> {
        None
    }

    /// The factors of [`Branch::delta`], where it has low rank.
    fn low_rank(&self) -> Option<LowRank<'_>> {
        None
    }
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
