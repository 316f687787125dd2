use crate::model::ModelShape;
use crate::nn::{AttachPoint, Method, Param};
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

    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::Base].into()
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        (shape.total(), 0)
    }
}
