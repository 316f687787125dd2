//! Functions on tensors: casts, checks, copies.

use crate::{Error, Result};
use tch::{Kind, Tensor};

/// `t` in the data type of `x`: casts fp32 variables to bf16 activations, as autocast does.
pub(crate) fn cast_like(t: &Tensor, x: &Tensor) -> Tensor {
    if t.kind() == x.kind() {
        t.shallow_clone()
    } else {
        t.to_kind(x.kind())
    }
}

/// Checks that all values of a tensor are finite.
///
/// # Errors
/// [`Error::Config`] with the tensor's name and the number of NaN and infinite values.
pub fn check_finite(name: &str, tensor: &Tensor) -> Result<()> {
    if tensor.numel() == 0 || !tensor.is_floating_point() {
        return Ok(());
    }
    let _guard = tch::no_grad_guard();
    let doing = || format!("checking `{name}`");
    // A single pass without a copy: NaN and infinity propagate to the minimum or maximum.
    let (min, max) = tensor.f_aminmax(None, false).map_err(Error::torch(doing()))?;
    if min.double_value(&[]).is_finite() && max.double_value(&[]).is_finite() {
        return Ok(());
    }
    let finite = tensor.isfinite().sum(Kind::Int64).int64_value(&[]);
    Err(Error::Config(format!(
        "`{name}` holds NaN or infinity ({} of its {} values): the file is damaged, or training diverged",
        tensor.numel() as i64 - finite,
        tensor.numel()
    )))
}

/// Whether `from` is finite and has the shape of the variable `to`.
pub(crate) fn fits(from: &Tensor, to: &Tensor, name: &str) -> Result<()> {
    if from.size() != to.size() {
        let (a, b) = (from.size(), to.size());
        return Err(Error::Config(format!(
            "`{name}` is {a:?} in the file and {b:?} in the model"
        )));
    }
    check_finite(name, from)
}

/// Copies `from`, which must be finite, into the variable `to` in place, outside autograd.
pub(crate) fn copy(from: &Tensor, to: &Tensor, name: &str) -> Result<()> {
    fits(from, to, name)?;
    assign(from, to, name)
}

/// Copies `from` into the variable `to` of its shape in place, outside autograd.
pub(crate) fn assign(from: &Tensor, to: &Tensor, name: &str) -> Result<()> {
    let _guard = tch::no_grad_guard();
    to.shallow_clone()
        .f_copy_(from)
        .map_err(Error::torch(format!("copying `{name}`")))
}
