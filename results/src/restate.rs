//! Rewriting of the conclusions in records of analyses, after the rules in [`crate::claims`] have changed.

use std::collections::BTreeMap;

use crate::analysis::{Comparison, Findings, Subspace};
use crate::claims;
use crate::error::Result;
use crate::store::Store;
use crate::verdict::conclude;

/// Conclusions at the probed layer, by subject.
#[must_use]
pub fn remarks(found: &Subspace) -> BTreeMap<String, String> {
    let probe = [found.probe];
    let all = [
        (Comparison::Ranks.name(), claims::ranks(found, &probe)),
        (Comparison::Seeds.name(), claims::seeds(found, &probe)),
        (Comparison::Weight.name(), claims::weight(found, found.probe)),
        ("amplification", claims::amplification(found)),
    ];
    all.into_iter()
        .filter(|(_, claims)| !claims.is_empty())
        .map(|(about, claims)| (about.to_owned(), conclude(claims)))
        .collect()
}

/// Rewrites the conclusions of every analysis in a store, and returns the ids of the changed ones.
///
/// # Errors
/// As [`Store::analyses`] and [`Store::put_analysis`].
pub fn restate(store: &Store) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for before in store.analyses()? {
        let mut analysis = before.clone();
        match &mut analysis.findings {
            Findings::Subspace(found) => found.remarks = remarks(found),
            Findings::Latency(found) => found.remark = conclude(claims::latency(found)),
            Findings::Efficiency(found) => found.remark = conclude(claims::efficiency(found)),
        }
        if analysis != before {
            store.put_analysis(&analysis)?;
            changed.push(analysis.id);
        }
    }
    Ok(changed)
}
