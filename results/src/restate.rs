//! What records of analyses say in words, asked of the rules again: sentences of an older program do not outlive its rules.

use std::collections::BTreeMap;

use crate::analysis::{Comparison, Findings, Subspace};
use crate::claims;
use crate::error::Result;
use crate::store::Store;
use crate::verdict::said;

/// What can be said of the probed layer, by what it is about.
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
        .map(|(about, claims)| (about.to_owned(), said(claims)))
        .collect()
}

/// Writes the sentences of every analysis in a store anew; the ids of those that changed.
///
/// # Errors
/// Those of the store.
pub fn restate(store: &Store) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for before in store.analyses()? {
        let mut analysis = before.clone();
        match &mut analysis.findings {
            Findings::Subspace(found) => found.remarks = remarks(found),
            Findings::Latency(found) => found.remark = said(claims::latency(found)),
            Findings::Efficiency(found) => found.remark = said(claims::efficiency(found)),
        }
        if analysis != before {
            store.put_analysis(&analysis)?;
            changed.push(analysis.id);
        }
    }
    Ok(changed)
}
