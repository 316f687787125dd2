//! Checks of settings that several methods have: what is wrong, if anything.

use crate::nn::Role;
use std::collections::BTreeSet;

/// A rate at which nothing is left, or that is none.
pub(super) fn bad_dropout(rate: f64) -> Option<String> {
    (!(0.0..1.0).contains(&rate)).then(|| format!("dropout must be from 0 to below 1, not {rate}"))
}

/// A method that would train nothing.
pub(super) fn no_targets(targets: &BTreeSet<Role>) -> Option<String> {
    let fault = "targets must name at least one role; to train the head alone use the method `head`";
    targets.is_empty().then(|| fault.to_owned())
}
