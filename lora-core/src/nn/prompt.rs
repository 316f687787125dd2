//! Trained tokens in rows of text.

use super::PromptTokens;
use super::tensors::cast_like;
use crate::batch::Batch;
use tch::Tensor;

/// The method's trained tokens, if it has any. A model makes one ([`super::Scope::prompt`]) and calls it three times:
///
/// ```
/// # use lora_core::{batch::Batch, nn::SoftPrompt};
/// # use tch::Tensor;
/// # struct Block;
/// # impl Block { fn forward(&self, x: Tensor, _: &Batch) -> Tensor { x } }
/// # fn model(prompt: SoftPrompt, words: Tensor, batch: &Batch, blocks: Vec<Block>) -> Tensor {
/// // Rows grow: positions, segments and layout are those of the longer batch from here on.
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

    /// How many tokens a row grows by: so much shorter is the longest text that fits.
    pub fn count(&self) -> i64 {
        self.0.as_ref().map_or(0, |p| p.prefix + p.infix)
    }

    /// `words` `[T, d]`, the embeddings of the tokens before anything is added to them, with the trained vectors put in;
    /// and the batch that goes with them. The prefix stands behind the first `lead` tokens of each row (1 where a class
    /// token opens it and must stay the token that the head reads, otherwise 0), the infix behind the row's prompt.
    pub fn insert(&self, words: &Tensor, batch: &Batch, lead: i64) -> (Tensor, Batch) {
        let Some(tokens) = &self.0 else {
            return (words.shallow_clone(), batch.shallow_clone());
        };
        let (longer, from) = batch.lengthened(tokens.prefix, tokens.infix, lead);
        let all = Tensor::cat(&[words, &cast_like(&tokens.embedding, words)], 0);
        (all.index_select(0, &from), longer)
    }

    /// The output `x` `[T, d]` of block `index`, overwritten at the trained tokens where the method says so. Nothing
    /// happens after the last block.
    pub fn after_block(&self, index: usize, x: Tensor, longer: &Batch) -> Tensor {
        match (self.0.as_ref().and_then(|p| p.after_block.get(index)), &longer.inserted) {
            (Some(vectors), Some(inserted)) => {
                let rows = cast_like(vectors, &x).repeat([longer.layout.rows, 1]);
                x.index_copy(0, &inserted.prompt, &rows)
            }
            _ => x,
        }
    }

    /// As [`SoftPrompt::remove`], for a model that foretells at each token the one after it: what follows the prompt's last token
    /// is foretold from the infix behind it.
    pub fn remove_causal(&self, x: &Tensor, longer: &Batch) -> Tensor {
        match &longer.inserted {
            Some(inserted) => x.index_select(0, &inserted.asked),
            None => x.shallow_clone(),
        }
    }

    /// The rows of `x` that belong to the tokens of the batch before [`SoftPrompt::insert`], in their order.
    pub fn remove(&self, x: &Tensor, longer: &Batch) -> Tensor {
        match &longer.inserted {
            Some(inserted) => x.index_select(0, &inserted.own),
            None => x.shallow_clone(),
        }
    }
}
