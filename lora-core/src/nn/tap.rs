//! The places in a block where a method may put a module.

use super::Adapter;
use tch::Tensor;

/// What the method put at a tap, if anything. A block makes one a tap ([`super::Scope::tap`]) and ends each sub-layer with it:
///
/// ```
/// # use lora_core::nn::{Norm, TapPoint};
/// # use tch::Tensor;
/// # fn block(after_attention: TapPoint, after_block: TapPoint, norm: Norm, a: Tensor, x: Tensor, train: bool) -> Tensor {
/// // Post-LN: `a` is what attention gives, after dropout.
/// let post = after_attention.close(&a, train, |a| norm.forward(&(a + &x)));
/// // Pre-LN: the add alone.
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

    /// `close` of `h` `[T, d]`, or of what the adapter makes of `h`.
    pub fn close(&self, h: &Tensor, train: bool, close: impl Fn(&Tensor) -> Tensor) -> Tensor {
        match &self.0 {
            Some(adapter) => close(&adapter.forward(h, &close, train)),
            None => close(h),
        }
    }
}
