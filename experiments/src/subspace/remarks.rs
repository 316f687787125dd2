//! Whether the numbers show what the paper found, in plain sentences.

use results::analysis::{Comparison, Grid, Module, Projection, Spectrum, Subspace};
use std::collections::BTreeMap;

/// A sentence for each thing that can be said of the probed layer.
pub fn remarks(found: &Subspace) -> BTreeMap<String, String> {
    let said = [
        (Comparison::Ranks.name(), ranks(found)),
        (Comparison::Seeds.name(), seeds(found)),
        (Comparison::Weight.name(), weight(found)),
        ("amplification", amplification(found)),
        ("spectrum", spectrum(found)),
    ];
    let some = said
        .into_iter()
        .filter_map(|(about, text)| Some((about.to_string(), text?)));
    some.collect()
}

/// The probed layer's first grid about this, of a module if one is named.
fn probed(found: &Subspace, about: Comparison, module: Option<Module>) -> Option<&Grid> {
    let fits = |g: &&Grid| {
        g.about == about
            && (g.layer.is_none() || g.layer == Some(found.probe))
            && (module.is_none() || g.module == module)
    };
    found.grids.iter().find(fits)
}

/// Figure 3: the top directions overlap with phi above 0.5.
fn ranks(found: &Subspace) -> Option<String> {
    let tops: Vec<(Module, f32)> = Module::ALL
        .into_iter()
        .filter_map(|m| Some((m, probed(found, Comparison::Ranks, Some(m))?.at(1, 1))))
        .collect();
    let grid = probed(found, Comparison::Ranks, None)?;
    let words: Vec<String> = tops
        .iter()
        .map(|(m, phi)| format!("{phi:.2} for W_{}", m.letter()))
        .collect();
    let above = tops.iter().filter(|(_, phi)| *phi > 0.5).count();
    let verdict = match above {
        n if n == tops.len() => "above 0.5, as the paper found",
        0 => "not above 0.5, unlike in the paper",
        _ => "above 0.5, as the paper found, for some alone",
    };
    Some(format!(
        "In layer {} the strongest directions of ranks {} and {} share phi = {} ({verdict}; two random ones share {:.3}).",
        found.probe,
        grid.i.len,
        grid.j.len,
        words.join(" and "),
        1.0 / f64::from(found.width.max(1))
    ))
}

/// Figure 4: more is shared across seeds for q than for v, and nothing by chance.
fn seeds(found: &Subspace) -> Option<String> {
    let mean = |g: &Grid| g.values.iter().sum::<f32>() / g.values.len().max(1) as f32;
    let of = |module| probed(found, Comparison::Seeds, Some(module)).map(mean);
    let chance = mean(probed(found, Comparison::Random, None)?);
    let (q, v) = (of(Module::Query)?, of(Module::Value)?);
    let verdict = if q > v && v > chance {
        "as the paper found, W_q shares more than W_v and both more than chance"
    } else if q > v {
        "as the paper found, W_q shares more than W_v, but W_v no more than chance"
    } else if q > chance && v > chance {
        "unlike in the paper, W_q does not share more than W_v; both share more than chance"
    } else {
        "unlike in the paper, W_q does not share more than W_v, and not both share more than chance"
    };
    Some(format!(
        "In layer {} two seeds share on average phi = {q:.3} for W_q and {v:.3} for W_v, and Gaussian matrices {chance:.3}: {verdict}.",
        found.probe
    ))
}

/// Figure 8: the update's directions are hardly among the weight's strongest.
fn weight(found: &Subspace) -> Option<String> {
    let grid = probed(found, Comparison::Weight, None)?;
    let (tenth, rank) = (grid.i.len, grid.j.len);
    // The share of the update's directions: the sum of squares over r, whichever of the two is fewer.
    let share = f64::from(grid.at(tenth, rank)) * tenth.min(rank) as f64 / rank as f64;
    let chance = tenth as f64 / f64::from(found.width.max(1));
    let verdict = if share < 0.2 {
        "little, as the paper found"
    } else {
        "more than the paper found, where it barely passes 0.2"
    };
    Some(format!(
        "Of the {rank} directions of the update of W_{} in layer {}, {share:.2} lies in the strongest tenth of the weight's own ({verdict}; {chance:.2} by chance).",
        grid.module.map_or("?", Module::letter),
        found.probe
    ))
}

/// Table 7: the update amplifies what the weight hardly has, and a small rank more so.
fn amplification(found: &Subspace) -> Option<String> {
    let module = found.projections.first()?.module;
    let cells = found
        .projections
        .iter()
        .filter(|p| p.layer == found.probe && p.module == module);
    let mut known: Vec<(u32, f64, &Projection)> = cells
        .filter_map(|p| Some((found.adapters.get(p.adapter)?.rank, p.amplification?, p)))
        .collect();
    known.sort_by_key(|(rank, ..)| *rank);
    // Of several adapters of the largest rank the first, which the figures show.
    let (first, widest) = (known.first()?, known.last()?.0);
    let last = known.iter().find(|(rank, ..)| *rank == widest)?;
    let one = |(rank, factor, _): &(u32, f64, &Projection)| format!("{factor:.1} at r = {rank}");
    let head = format!(
        "In layer {} the update amplifies its directions in W_{} by",
        found.probe,
        module.letter()
    );
    if first.0 == last.0 {
        let more = first.2.onto_delta > first.2.onto_random;
        let verdict = if more { "more" } else { "no more" };
        return Some(format!(
            "{head} {}; W has {verdict} in them than in random ones (in the paper more, and factors of 21.5 at r = 4 and about 2 at r = 64).",
            one(first)
        ));
    }
    let verdict = if first.1 > last.1 {
        "a smaller rank amplifies more, as the paper found"
    } else {
        "unlike in the paper, a smaller rank does not amplify more"
    };
    Some(format!(
        "{head} {} and {}: {verdict} (there 21.5 and about 2).",
        one(first),
        one(last)
    ))
}

/// How much of the update its strongest direction is: the paper argues that few of them matter, and prints no share.
fn spectrum(found: &Subspace) -> Option<String> {
    let here = |s: &&Spectrum| s.layer == found.probe && !s.values.is_empty();
    let widest = found.spectra.iter().filter(here).map(|s| s.values.len()).max()?;
    let mut shares: Vec<(Module, f64)> = Vec::new();
    for s in found.spectra.iter().filter(here).filter(|s| s.values.len() == widest) {
        let squares: Vec<f64> = s.values.iter().map(|v| f64::from(*v).powi(2)).collect();
        let sum: f64 = squares.iter().sum();
        if sum > 0.0 && shares.iter().all(|(module, _)| *module != s.module) {
            shares.push((s.module, 100.0 * squares[0] / sum));
        }
    }
    let one = |(module, share): &(Module, f64)| format!("{share:.0} % for W_{}", module.letter());
    let words: Vec<String> = shares.iter().map(one).collect();
    (!words.is_empty()).then(|| {
        format!(
            "In layer {} the strongest of the {widest} directions holds {} of ||BA||² ({:.0} % if all were alike); the paper argues that few matter, and prints no share.",
            found.probe,
            words.join(" and "),
            100.0 / widest as f64
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::analysis::{Adapter, Axis, Of};

    fn adapter(rank: u32) -> Adapter {
        Adapter {
            role: None,
            origin: "made up".into(),
            sha256: String::new(),
            rank,
            alpha: Some(16.0),
            seed: None,
            task: None,
        }
    }

    fn grid(about: Comparison, module: Option<Module>, value: f32) -> Grid {
        let axis = |n| Axis {
            of: Of::Adapter(n),
            len: 2,
        };
        Grid {
            about,
            layer: module.map(|_| 3),
            module,
            i: axis(0),
            j: axis(1),
            values: vec![value; 4],
        }
    }

    fn cell(adapter: usize, amplification: f64) -> Projection {
        Projection {
            adapter,
            layer: 3,
            module: Module::Query,
            a: 1.0,
            b: 1.0,
            ba: 1.0,
            delta: Some(1.0),
            weight: Some(9.0),
            onto_delta: Some(0.5),
            onto_weight: Some(3.0),
            onto_random: Some(0.1),
            amplification: Some(amplification),
            amplification_unscaled: None,
        }
    }

    fn found() -> Subspace {
        Subspace {
            adapters: vec![adapter(4), adapter(64)],
            layers: 6,
            width: 100,
            probe: 3,
            ..Subspace::default()
        }
    }

    #[test]
    fn what_the_paper_found_is_told_from_what_it_did_not() {
        let mut found = found();
        let both = [Some(Module::Query), Some(Module::Value)];
        found.grids = both.map(|m| grid(Comparison::Ranks, m, 0.6)).into();
        found.grids.push(grid(Comparison::Random, None, 0.02));
        found.grids.push(grid(Comparison::Seeds, Some(Module::Query), 0.3));
        found.grids.push(grid(Comparison::Seeds, Some(Module::Value), 0.1));
        found.grids.push(grid(Comparison::Weight, Some(Module::Query), 0.15));
        found.adapters.push(adapter(64));
        found.projections = vec![cell(0, 20.0), cell(1, 2.0), cell(2, 3.0)];
        let said = remarks(&found);
        for about in ["ranks", "seeds", "amplification"] {
            assert!(said[about].contains("as the paper found"), "{}", said[about]);
        }
        assert!(
            said["amplification"].contains("20.0 at r = 4 and 2.0 at r = 64"),
            "{}",
            said["amplification"]
        );
        assert!(
            said["weight"].contains("little") && said["weight"].contains("0.15"),
            "{}",
            said["weight"]
        );
        assert!(
            said["ranks"].contains("0.60 for W_q and 0.60 for W_v"),
            "{}",
            said["ranks"]
        );

        found.grids.iter_mut().for_each(|g| g.values = vec![0.3; 4]);
        found.projections = vec![cell(0, 2.0), cell(1, 20.0)];
        let said = remarks(&found);
        for about in ["ranks", "seeds", "amplification"] {
            assert!(said[about].contains("unlike in the paper"), "{}", said[about]);
        }
        assert!(said["weight"].contains("more than the paper found"));
    }

    #[test]
    fn nothing_is_said_of_what_is_not_there() {
        assert!(remarks(&found()).is_empty());
        let mut alone = found();
        alone.projections = vec![cell(0, 3.0)];
        alone.spectra = vec![Spectrum {
            adapter: 0,
            layer: 3,
            module: Module::Query,
            values: vec![3.0, 1.0, 1.0, 1.0],
        }];
        let said = remarks(&alone);
        assert_eq!(said.len(), 2);
        assert!(
            said["spectrum"].contains("75 % for W_q of ||BA||² (25 %"),
            "{}",
            said["spectrum"]
        );
        assert!(
            said["amplification"].contains("3.0 at r = 4"),
            "{}",
            said["amplification"]
        );
    }
}
