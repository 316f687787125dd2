//! Adapter^P (Pfeiffer et al., 2021): one adapter per block, whose input is normalised by the block's LayerNorm.

use super::bottleneck::{AdapterInput, Bottleneck};
use crate::Result;
use crate::model::ModelShape;
use crate::nn::{Adapter, AdapterSite, AttachPoint, Method, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// With h the output of the feed-forward network, x its input and LN the block's own, frozen LayerNorm: z = LN(h + x),
/// and the block's output is LN(up(relu(down(z))) + h + x), as in the paper's RoBERTa code. In a pre-LN block z = h + x
/// and the output is up(relu(down(z))) + h + x.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct AdapterP(Bottleneck);

impl Method for AdapterP {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::AdapterSite(AdapterSite::AfterFfn)].into()
    }

    fn at_tap(&self, tap: AdapterSite, width: i64, scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        match tap {
            AdapterSite::AfterFfn => self.0.adapter(AdapterInput::Closed, width, scope),
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
