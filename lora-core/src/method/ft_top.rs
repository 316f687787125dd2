use crate::model::ModelShape;
use crate::nn::{Method, Param, Place};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Fine-tuning of the last blocks alone (FT-Top2 in Tables 3 and 14, with `layers: 2`).
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FtTop {
    #[serde(deserialize_with = "at_least_one")]
    layers: usize,
}

impl Method for FtTop {
    fn trains_base(&self, param: &Param) -> bool {
        param.depth.is_some_and(|d| d.index + self.layers >= d.of)
    }

    fn claims(&self) -> BTreeSet<Place> {
        [Place::Base].into()
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        ((self.layers as i64).min(shape.layers) * shape.block(), 0)
    }
}

fn at_least_one<'de, D: serde::Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    match usize::deserialize(d)? {
        0 => Err(serde::de::Error::custom(
            "layers must be at least 1; to train no block use the method `head`",
        )),
        n => Ok(n),
    }
}
