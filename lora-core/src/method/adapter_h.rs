//! Adapter^H (Houlsby et al., 2019): two adapters per block.

use super::bottleneck::{AdapterInput, Bottleneck};
use crate::Result;
use crate::model::ModelShape;
use crate::nn::{Adapter, AdapterSite, AttachPoint, Method, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// h + up(f(down(h))) after attention and after the feed-forward network, each before the residual add.
///
/// The paper does not name f; its RoBERTa code uses swish, the default here. The adapters have no LayerNorm.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct AdapterH(Bottleneck);

impl Method for AdapterH {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        [
            AttachPoint::AdapterSite(AdapterSite::AfterAttention),
            AttachPoint::AdapterSite(AdapterSite::AfterFfn),
        ]
        .into()
    }

    fn at_tap(&self, tap: AdapterSite, width: i64, scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        match tap {
            AdapterSite::AfterAttention | AdapterSite::AfterFfn => self.0.adapter(AdapterInput::Output, width, scope),
            _ => Ok(None),
        }
    }

    fn changes_start(&self) -> Option<&'static str> {
        self.0.changes_start()
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        (0, self.0.parameters(2, shape.layers, shape.hidden))
    }
}
