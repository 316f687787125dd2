//! PreLayer (Section 5.1): the inputs of every block at special tokens are trained.

use super::pre_embed::PreEmbed;
use crate::Result;
use crate::model::ModelShape;
use crate::nn::{AttachPoint, Method, PromptTokens, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Special tokens as in [`PreEmbed`], whose activations are replaced by trained vectors at the input of every block.
///
/// The paper counts L d (l_p + l_i) parameters, one set of vectors per block. Here set i is the *input* of block i: the
/// first set replaces the embeddings, the others the outputs of the block below. A set after the last block would be
/// unused and get no gradient. The paper does not state the initialisation; here it is that of the embeddings.
///
/// The paper's starred rows quote Li and Liang (2021), who train keys and values instead: see `prefix_tuning`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct PreLayer(PreEmbed);

impl Method for PreLayer {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        self.0.claims()
    }

    fn at_embedding(&self, width: i64, blocks: usize, scope: &Scope) -> Result<Option<PromptTokens>> {
        let Some(tokens) = self.0.at_embedding(width, blocks, scope)? else {
            return Ok(None);
        };
        let after = |block: usize| {
            self.0
                .vectors("activations", width, &scope.sub("after").at(block, blocks))
        };
        Ok(Some(PromptTokens {
            after_block: (0..blocks.saturating_sub(1)).map(after).collect::<Result<_>>()?,
            ..tokens
        }))
    }

    fn changes_start(&self) -> Option<&'static str> {
        self.0.changes_start()
    }

    /// L d (l_p + l_i).
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        (0, shape.layers * self.0.expected_params(shape).1)
    }
}
