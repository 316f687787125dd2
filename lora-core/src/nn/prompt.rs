//! Inserts a method's trained tokens into rows.

use super::PromptTokens;
use super::tensors::cast_like;
use crate::batch::Batch;
use tch::Tensor;

/// The method's trained tokens, if it has any. A model creates it with [`super::Scope::prompt`] and calls it three
/// times:
///
/// ```
/// # use lora_core::{batch::Batch, nn::SoftPrompt};
/// # use tch::Tensor;
/// # struct Block;
/// # impl Block { fn forward(&self, x: Tensor, _: &Batch) -> Tensor { x } }
/// # fn model(prompt: SoftPrompt, words: Tensor, batch: &Batch, blocks: Vec<Block>) -> Tensor {
/// // Rows become longer: from here on positions, segments and layout are those of the longer batch.
/// let (mut x, longer) = prompt.insert(&words, batch, 1);
/// for (i, block) in blocks.iter().enumerate() {
///     x = prompt.after_block(i, block.forward(x, &longer), &longer);
/// }
/// // Back to the tokens of `batch`, in their order.
/// prompt.remove(&x, &longer)
/// # }
/// ```
#[derive(Debug)]
pub struct SoftPrompt(Option<PromptTokens>);

impl SoftPrompt {
    pub(super) fn new(tokens: Option<PromptTokens>) -> Self {
        SoftPrompt(tokens)
    }

    /// Number of tokens inserted into each row; the longest text that fits is shorter by it.
    pub fn count(&self) -> i64 {
        self.0.as_ref().map_or(0, |p| p.prefix + p.infix)
    }

    /// Inserts the trained vectors into `words` `[T, d]`, the token embeddings before positions are added, and returns
    /// them with the longer batch. The prefix follows the first `lead` tokens of each row (1 for models whose head
    /// reads the class token, otherwise 0), the infix follows the row's prompt.
    pub fn insert(&self, words: &Tensor, batch: &Batch, lead: i64) -> (Tensor, Batch) {
        let Some(tokens) = &self.0 else {
            return (words.shallow_clone(), batch.shallow_clone());
        };
        let (longer, from) = batch.lengthened(tokens.prefix, tokens.infix, lead);
        let all = Tensor::cat(&[words, &cast_like(&tokens.embedding, words)], 0);
        (all.index_select(0, &from), longer)
    }

    /// The output `x` `[T, d]` of block `index`, with the method's vectors at the trained tokens if it has any for this
    /// block.
    pub fn after_block(&self, index: usize, x: Tensor, longer: &Batch) -> Tensor {
        match (self.0.as_ref().and_then(|p| p.after_block.get(index)), &longer.inserted) {
            (Some(vectors), Some(inserted)) => {
                let rows = cast_like(vectors, &x).repeat([longer.layout.rows, 1]);
                x.index_copy(0, &inserted.prompt, &rows)
            }
            _ => x,
        }
    }

    /// [`SoftPrompt::remove`] for a causal model: the row of a prompt's last token is that of the last infix token
    /// after it, from which the next token is predicted.
    pub fn remove_causal(&self, x: &Tensor, longer: &Batch) -> Tensor {
        match &longer.inserted {
            Some(inserted) => x.index_select(0, &inserted.asked),
            None => x.shallow_clone(),
        }
    }

    /// The rows of `x` of the original tokens (those before [`SoftPrompt::insert`]), in their order.
    pub fn remove(&self, x: &Tensor, longer: &Batch) -> Tensor {
        match &longer.inserted {
            Some(inserted) => x.index_select(0, &inserted.own),
            None => x.shallow_clone(),
        }
    }
}
