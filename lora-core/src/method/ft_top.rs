use super::factors::is_false;
use crate::model::ModelShape;
use crate::nn::{AttachPoint, Method, Param, ParamKind, Params};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Fine-tuning of the last blocks only (FT-Top2 of Tables 3 and 14 has `layers: 2`).
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FtTop {
    #[serde(deserialize_with = "at_least_one")]
    layers: usize,
    /// Whether the LayerNorm after the last block is trained too.
    #[serde(default, skip_serializing_if = "is_false")]
    final_norm: bool,
    /// Whether the token embedding that is tied to the output layer is trained too.
    #[serde(default, skip_serializing_if = "is_false")]
    tied_embedding: bool,
}

impl Method for FtTop {
    fn trains_base(&self, param: &Param) -> bool {
        let outside = match param.kind {
            ParamKind::NormWeight | ParamKind::NormBias => self.final_norm,
            ParamKind::Embedding => self.tied_embedding,
            ParamKind::Weight | ParamKind::Bias => false,
        };
        match param.depth {
            Some(d) => d.index + self.layers >= d.of,
            None => param.output && outside,
        }
    }

    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::Base].into()
    }

    fn check(&self, params: &Params) -> Result<()> {
        let blocks = params.iter().filter_map(|e| e.param.depth).map(|d| d.of).max();
        let blocks = blocks.unwrap_or(0);
        if self.layers > blocks {
            return Err(Error::Config(format!(
                "layers = {} of ft_top is more than the model's {blocks} blocks",
                self.layers
            )));
        }
        let has = |kind| params.iter().any(|e| e.param.output && e.param.kind == kind);
        for (key, asked, kind, what) in [
            (
                "final_norm",
                self.final_norm,
                ParamKind::NormWeight,
                "normalisation after its last block",
            ),
            (
                "tied_embedding",
                self.tied_embedding,
                ParamKind::Embedding,
                "token embedding tied to its output layer",
            ),
        ] {
            if asked && !has(kind) {
                return Err(Error::Config(format!("{key} of ft_top: this model has no {what}")));
            }
        }
        Ok(())
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let norm = if self.final_norm { shape.norm() } else { 0 };
        let table = if self.tied_embedding {
            shape.vocab * shape.hidden
        } else {
            0
        };
        (self.layers as i64 * shape.block() + norm + table, 0)
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
