//! Adapter sites of a block.

use super::Adapter;
use tch::Tensor;

/// The method's adapter at a site, if any. A block creates one per site ([`super::Scope::tap`]) and ends each sub-layer
/// with it:
///
/// ```
/// # use lora_core::nn::{Norm, TapPoint};
/// # use tch::Tensor;
/// # fn block(after_attention: TapPoint, after_block: TapPoint, norm: Norm, a: Tensor, x: Tensor, train: bool) -> Tensor {
/// // Post-LN: `a` is the output of attention after dropout.
/// let post = after_attention.close(&a, train, |a| norm.forward(&(a + &x)));
/// // Pre-LN: only the residual add.
/// let pre = after_attention.close(&a, train, |a| a + &x);
/// // At the end of the block.
/// after_block.close(&post, train, Tensor::shallow_clone)
/// # }
/// ```
#[derive(Debug)]
pub struct TapPoint(Option<Box<dyn Adapter>>);

impl TapPoint {
    pub(super) fn new(adapter: Option<Box<dyn Adapter>>) -> Self {
        TapPoint(adapter)
    }

    /// `close` of `h` `[T, d]`, or of the adapter's output for `h`.
    pub fn close(&self, h: &Tensor, train: bool, close: impl Fn(&Tensor) -> Tensor) -> Tensor {
        match &self.0 {
            Some(adapter) => close(&adapter.forward(h, &close, train)),
            None => close(h),
        }
    }
}
