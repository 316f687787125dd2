//! What the paper concludes of subspaces, asked of the numbers: the rules are in [`results::claims`].

use results::analysis::{Comparison, Subspace};
use results::claims;
use results::verdict::said;
use std::collections::BTreeMap;

/// What can be said of the probed layer, by what it is about.
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

#[cfg(test)]
mod tests {
    use super::*;
    use results::analysis::{Adapter, Module, Projection};

    #[test]
    fn one_adapter_of_a_rank_shows_nothing_and_says_so() {
        assert!(remarks(&Subspace::default()).is_empty());
        let mut found = Subspace {
            probe: 3,
            ..Subspace::default()
        };
        for (adapter, (rank, factor)) in [(4, 21.5), (64, 0.12)].into_iter().enumerate() {
            found.adapters.push(Adapter {
                role: None,
                origin: "made up".into(),
                sha256: String::new(),
                rank,
                alpha: Some(16.0),
                seed: None,
                task: None,
            });
            found.projections.push(Projection {
                adapter,
                layer: 3,
                module: Module::Query,
                a: 1.0,
                b: 1.0,
                ba: 1.0,
                delta: Some(1.0),
                weight: Some(9.0),
                onto_delta: Some(0.37),
                onto_weight: Some(3.0),
                onto_random: Some(0.34),
                amplification: Some(factor),
                amplification_unscaled: Some(factor),
            });
        }
        let said = remarks(&found);
        assert_eq!(said.keys().collect::<Vec<_>>(), ["amplification"]);
        let said = &said["amplification"];
        assert!(said.starts_with("Not shown, n = 1: "), "{said}");
        assert!(
            !said.contains("Shown:") && said.contains("r = 64: 0.12 times"),
            "{said}"
        );
    }
}
