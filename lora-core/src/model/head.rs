//! An encoder and what stands on it.

use super::Model;
use super::encoder::Encoder;
use crate::batch::Batch;
use crate::nn::Linear;
use std::fmt::Debug;
use tch::Tensor;

/// What stands on the encoder.
pub(super) trait Head: Debug + Send {
    /// What the head needs of the encoder: by default the first token of each row, `[B, d]` in fp32.
    fn read(&self, encoder: &Encoder, batch: &Batch, train: bool) -> Tensor {
        encoder.first_tokens(batch, train)
    }

    /// The answers, in fp32, about what [`Head::read`] gave: `[B, labels]`, or `[S, vocab]` for the scored tokens.
    fn answer(&self, read: &Tensor, encoder: &Encoder, train: bool) -> Tensor;
}

/// An encoder and its head.
#[derive(Debug)]
pub(super) struct WithHead<H> {
    pub(super) encoder: Encoder,
    pub(super) head: H,
}

impl<H: Head> Model for WithHead<H> {
    fn read(&self, batch: &Batch, train: bool) -> Tensor {
        self.head.read(&self.encoder, batch, train)
    }

    fn answer(&self, read: &Tensor, train: bool) -> Tensor {
        self.head.answer(read, &self.encoder, train)
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
