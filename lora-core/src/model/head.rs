//! An encoder with a task head on each row's first token.

use super::Model;
use super::encoder::Encoder;
use crate::batch::Batch;
use crate::nn::Linear;
use std::fmt::Debug;
use tch::{Kind, Tensor};

/// What stands on the encoder.
pub(super) trait Head: Debug + Send {
    /// The first tokens `[B, d]` in fp32 to the answers `[B, labels]`.
    fn forward(&self, first: &Tensor, train: bool) -> Tensor;
}

/// An encoder and its head.
#[derive(Debug)]
pub(super) struct Classifier<H> {
    pub(super) encoder: Encoder,
    pub(super) head: H,
}

impl<H: Head> Model for Classifier<H> {
    fn forward(&self, batch: &Batch, train: bool) -> Tensor {
        let first = self.encoder.first_tokens(batch, train);
        self.head.forward(&first.to_kind(Kind::Float), train)
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.encoder.linears_mut()
    }

    fn max_len(&self) -> i64 {
        self.encoder.max_len()
    }

    fn vocab(&self) -> i64 {
        self.encoder.vocab()
    }
}
