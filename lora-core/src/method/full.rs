use crate::model::ModelShape;
use crate::nn::{Method, Param, Place};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Full fine-tuning.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Full {}

impl Method for Full {
    fn trains_base(&self, _: &Param) -> bool {
        true
    }

    fn claims(&self) -> BTreeSet<Place> {
        [Place::Base].into()
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        (shape.total(), 0)
    }
}
