use crate::model::ModelShape;
use crate::nn::{AttachPoint, Method, Param};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// BitFit (Zaken et al., 2021): all biases are trained, those of LayerNorm included.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BitFit {}

impl Method for BitFit {
    fn trains_base(&self, param: &Param) -> bool {
        param.kind.is_bias()
    }

    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::Base].into()
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        (shape.biases(), 0)
    }
}
