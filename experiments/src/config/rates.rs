//! The learning rates to choose from.

use anyhow::{Result, ensure};
use serde::Deserialize;

/// The keys of `rates:`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// The rates to try, as multiples of the method's own `train.lr`.
    pub factors: Vec<f64>,
    /// One training row of so many is held out.
    pub held_out: u64,
    /// The seeds of the runs that try them; their mean decides.
    pub seeds: Vec<u64>,
}

impl Rates {
    /// Refuses values that cannot be used.
    ///
    /// # Errors
    /// The setting, its value, and what it must be.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            self.factors.len() > 1 && self.factors.iter().all(|f| f.is_finite() && *f > 0.0),
            "`rates.factors` is {:?}; it must be two or more numbers above 0",
            self.factors
        );
        ensure!(
            self.held_out > 1,
            "`rates.held_out` is {}; it must be 2 or more: one row of so many is held out",
            self.held_out
        );
        ensure!(!self.seeds.is_empty(), "`rates.seeds` is empty; name one, such as [1]");
        Ok(())
    }
}
