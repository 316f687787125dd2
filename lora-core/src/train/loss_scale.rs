//! Scaling of the loss for activations in fp16, whose small gradients would otherwise round to zero.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Updates with finite gradients until the factor doubles.
const INTERVAL: u32 = 2000;

/// Below this factor the gradients themselves are at fault.
const LEAST: f64 = 1e-3;

/// The factor of the loss. It doubles after 2000 updates with finite gradients and halves after one without, which is left
/// out: the rule and the numbers of `torch.amp.GradScaler`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScale {
    /// The factor.
    pub factor: f64,
    /// Updates since it last changed.
    pub sound: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        LossScale {
            factor: 65536.0,
            sound: 0,
        }
    }
}

impl LossScale {
    /// The scale after gradients that were finite or not.
    ///
    /// # Errors
    /// [`Error::Config`] if the gradients are not finite at any scale.
    pub(super) fn after(self, finite: bool) -> Result<LossScale> {
        let (factor, sound) = match finite {
            false if self.factor < LEAST => {
                let what = "the gradients in fp16 are not finite at any scale of the loss; use bf16, fp32 or a lower learning rate";
                return Err(Error::Config(what.into()));
            }
            false => (self.factor / 2.0, 0),
            true if self.sound + 1 == INTERVAL => (self.factor * 2.0, 0),
            true => (self.factor, self.sound + 1),
        };
        Ok(LossScale { factor, sound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_follows_the_gradients() {
        let halved = LossScale::default().after(true).unwrap().after(false).unwrap();
        assert_eq!((halved.factor, halved.sound), (32768.0, 0));
        let almost = (1..INTERVAL).try_fold(halved, |scale, _| scale.after(true)).unwrap();
        assert_eq!((almost.factor, almost.sound), (32768.0, 1999));
        assert_eq!(almost.after(true).unwrap(), LossScale::default());
        let never = (0..40).try_fold(halved, |scale, _| scale.after(false));
        assert!(never.unwrap_err().to_string().contains("fp16"));
    }
}
