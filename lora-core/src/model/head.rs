//! An encoder and what stands on it.

use super::Model;
use super::encoder::Encoder;
use crate::batch::Batch;
use crate::nn::Linear;
use std::fmt::Debug;
use tch::Tensor;

/// What stands on the encoder.
pub(super) trait Head: Debug + Send {
    /// Reads of `encoder` what it needs, and answers in fp32: `[B, labels]`, or `[S, vocab]` for the scored tokens.
    fn forward(&self, encoder: &Encoder, batch: &Batch, train: bool) -> Tensor;
}

/// An encoder and its head.
#[derive(Debug)]
pub(super) struct WithHead<H> {
    pub(super) encoder: Encoder,
    pub(super) head: H,
}

impl<H: Head> Model for WithHead<H> {
    fn forward(&self, batch: &Batch, train: bool) -> Tensor {
        self.head.forward(&self.encoder, batch, train)
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
