//! PreEmbed (Section 5.1): trained embeddings of special tokens.

use crate::model::ModelShape;
use crate::nn::{AttachPoint, Init, Method, ParamKind, PromptTokens, Scope};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::Tensor;

/// The number of special tokens (the paper's `l_p` and `l_i`) and their initialisation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "PreEmbedSettings")]
pub(super) struct PreEmbed {
    /// l_p, tokens before the text: after the class token in an encoder, before the context in GPT-2.
    pub(super) prefix: i64,
    /// l_i, tokens after the prompt: at the end of an encoder's row, after the separator in GPT-2.
    pub(super) infix: i64,
    /// Standard deviation of the vectors at the start: 0.02 in the paper's GPT-2 code.
    pub(super) std: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreEmbedSettings {
    prefix: i64,
    infix: i64,
    std: f64,
}

impl TryFrom<PreEmbedSettings> for PreEmbed {
    type Error = Error;

    fn try_from(s: PreEmbedSettings) -> Result<Self> {
        let (prefix, infix, std) = (s.prefix, s.infix, s.std);
        let fault = if prefix < 0 || infix < 0 || prefix.max(infix) > 1 << 20 {
            Some(format!(
                "prefix and infix must be from 0 to {}, not {prefix} and {infix}",
                1 << 20
            ))
        } else if prefix + infix == 0 {
            Some("prefix and infix must not both be 0; to train no token use the method `head`".into())
        } else if !(std.is_finite() && std > 0.0) {
            Some(format!("std must be a positive number, not {std}"))
        } else {
            None
        };
        fault.map_or(Ok(PreEmbed { prefix, infix, std }), |fault| Err(Error::Config(fault)))
    }
}

impl PreEmbed {
    /// l_p + l_i.
    pub(super) fn count(&self) -> i64 {
        self.prefix + self.infix
    }

    /// One trained vector per special token, `[count, width]`.
    pub(super) fn vectors(&self, name: &str, width: i64, scope: &Scope) -> Result<Tensor> {
        let dims = [self.count(), width];
        scope
            .sub(name)
            .var("weight", ParamKind::Embedding, &dims, Init::Normal(self.std))
    }
}

impl Method for PreEmbed {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::Embedding].into()
    }

    fn at_embedding(&self, width: i64, _blocks: usize, scope: &Scope) -> Result<Option<PromptTokens>> {
        Ok(Some(PromptTokens {
            prefix: self.prefix,
            infix: self.infix,
            embedding: self.vectors("embedding", width, scope)?,
            after_block: Vec::new(),
        }))
    }

    fn changes_start(&self) -> Option<&'static str> {
        Some("attention sees the random special tokens from the start")
    }

    /// d (l_p + l_i).
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        (0, shape.hidden * self.count())
    }
}
