//! Adapter^L (Lin et al., 2020): one adapter per block, with its own LayerNorm.

use super::bottleneck::{AdapterInput, Bottleneck};
use crate::Result;
use crate::model::ModelShape;
use crate::nn::{Adapter, AdapterSite, AttachPoint, Method, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// y + up(relu(down(LN(y)))) on the output y of the block, after the residual add of the feed-forward network; LN is
/// trained. (In a post-LN block, y is the output of the block's own LayerNorm; Lin et al. use GPT-2, which is pre-LN.)
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct AdapterL(Bottleneck);

impl Method for AdapterL {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::AdapterSite(AdapterSite::AfterBlock)].into()
    }

    fn at_tap(&self, tap: AdapterSite, width: i64, scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        match tap {
            AdapterSite::AfterBlock => self.0.adapter(AdapterInput::Output, width, scope),
            _ => Ok(None),
        }
    }

    fn changes_start(&self) -> Option<&'static str> {
        self.0.changes_start()
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        (0, self.0.parameters(1, shape.layers, shape.hidden))
    }
}
