//! The paper's conclusions as claims to test on stored results: the source of all sentences below tables and figures.
//! [`crate::verdict`] tests them.
//!
//! Methods are compared over common seeds (Student's paired t), groups of adapters and of forward passes by Welch's test; claims
//! of one table or figure are corrected for their number (Holm).

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::{Comparison, Directions, Module, PhiGrid, Projection, Subspace};
use crate::methods;
use crate::verdict::{Claim, Scores, Tested, above, all, any, below, groups, mean, middle, paired};

mod costs;

pub use costs::{efficiency, latency};

/// Percentage points by which a setting may be behind and still count as equally good: the spread over seeds that the paper
/// prints for WikiSQL (Tables 4, 5 and 6).
pub const MARGIN: f64 = 0.5;
/// The same for Table 16, whose text calls such differences comparable.
pub const MARGIN_LITTLE_DATA: f64 = 0.3;

fn level(scores: &Scores) -> String {
    format!("{:.1}", scores.level())
}

/// A method and full fine-tuning, by averages over the same tasks, seed by seed: it matches or exceeds full fine-tuning.
#[must_use]
pub fn beside_full(method: &str, own: &Scores, full: &Scores) -> Claim {
    Claim {
        statement: format!("{} {}", methods::name(method), as_good()),
        about: String::new(),
        numbers: format!("{} against {}", level(own), level(full)),
        tested: above(paired(own, full), -MARGIN),
    }
}

fn as_good() -> String {
    format!("matches or exceeds full fine-tuning, within {MARGIN}")
}

/// A method in one setting: a point of Figure 2.
#[derive(Clone, Debug, Default)]
pub struct TriedSetting {
    /// The kind of method: `lora`, `full`.
    pub method: String,
    /// Settings of the method: sizes, weights, rates.
    pub setting: String,
    /// Trained parameters without the head.
    pub trained: i64,
    /// Its scores.
    pub scores: Scores,
}

/// Figure 2 on one task: LoRA matches or exceeds full fine-tuning and is ahead of the other methods; prefixes fall off at the
/// largest size.
#[must_use]
pub fn figure2(task: &str, tried: &[TriedSetting]) -> Vec<Claim> {
    let of = |method: &str| tried.iter().filter(|t| t.method == method).collect::<Vec<_>>();
    let lora = of("lora");
    let mut claims = Vec::new();
    let statement = format!("LoRA {}", as_good());
    claims.extend(like_with_like(statement, &lora, &of("full"), -MARGIN));
    for other in ["adapter_h", "pre_embed", "pre_layer"] {
        let statement = format!("LoRA is ahead of {}", methods::name(other));
        claims.extend(like_with_like(statement, &lora, &of(other), 0.0));
    }
    for method in ["pre_embed", "pre_layer"] {
        let mut sizes = of(method);
        sizes.sort_by_key(|t| t.trained);
        let Some((largest, smaller)) = sizes.split_last().filter(|(_, rest)| !rest.is_empty()) else {
            continue;
        };
        let behind: Vec<Tested> = smaller
            .iter()
            .map(|t| above(paired(&t.scores, &largest.scores), 0.0))
            .collect();
        claims.push(Claim {
            statement: format!("{} falls off at the largest size", methods::name(method)),
            about: String::new(),
            numbers: format!("{} of {}", level(&largest.scores), largest.setting),
            tested: any(&behind),
        });
    }
    about(task, claims)
}

fn about(what: &str, mut claims: Vec<Claim>) -> Vec<Claim> {
    for claim in &mut claims {
        claim.about = what.to_owned();
    }
    claims
}

/// LoRA against another method, each in its best setting. There is no test unless both were run in equally many settings: the
/// best of many is not comparable with the best of few.
fn like_with_like(statement: String, lora: &[&TriedSetting], other: &[&TriedSetting], margin: f64) -> Option<Claim> {
    let best = |side: &[&TriedSetting]| {
        let level = |t: &TriedSetting| t.scores.level();
        side.iter()
            .copied()
            .max_by(|a, b| level(a).total_cmp(&level(b)))
            .cloned()
    };
    let (a, b) = (best(lora)?, best(other)?);
    let alike = lora.len() == other.len();
    let tested = if alike {
        above(paired(&a.scores, &b.scores), margin)
    } else {
        Err("the best of many settings is not held against the best of few".to_owned())
    };
    let of = |n: usize| match n {
        1 => " (1 setting)".to_owned(),
        n => format!(" (best of {n} settings)"),
    };
    let shown = |tried: &TriedSetting, n: usize| {
        level(&tried.scores) + &Some(n).filter(|_| !alike || n > 1).map(of).unwrap_or_default()
    };
    Some(Claim {
        statement,
        about: String::new(),
        numbers: format!("{} against {}", shown(&a, lora.len()), shown(&b, other.len())),
        tested,
    })
}

/// Table 5 at one number of parameters, by adapted weights (`Wq,Wv`): Wq or Wk alone is behind, and Wq with Wv is as good as any
/// other choice.
#[must_use]
pub fn table5(row: &str, cells: &BTreeMap<String, Scores>) -> Vec<Claim> {
    let Some(both) = cells.get("Wq,Wv") else {
        return Vec::new();
    };
    let mut claims = Vec::new();
    let singles: Vec<&String> = cells.keys().filter(|weights| !weights.contains(',')).collect();
    for alone in ["Wq", "Wk"] {
        if let Some(scores) = cells.get(alone) {
            claims.push(Claim {
                statement: format!("{alone} alone is behind Wq,Wv of half the rank"),
                about: row.to_owned(),
                numbers: format!("{} against {}", level(scores), level(both)),
                tested: above(paired(both, scores), 0.0),
            });
        }
    }
    if !singles.is_empty() {
        let ahead: Vec<Tested> = singles.iter().map(|s| above(paired(both, &cells[*s]), 0.0)).collect();
        claims.push(Claim {
            statement: "Wq,Wv is ahead of every single matrix of a higher rank".to_owned(),
            about: row.to_owned(),
            numbers: String::new(),
            tested: all(&ahead),
        });
    }
    let others: Vec<Tested> = cells
        .iter()
        .filter(|(weights, _)| *weights != "Wq,Wv")
        .map(|(_, scores)| above(paired(both, scores), -MARGIN))
        .collect();
    if !others.is_empty() {
        claims.push(Claim {
            statement: format!("no other choice is ahead of Wq,Wv by more than {MARGIN}"),
            about: row.to_owned(),
            numbers: String::new(),
            tested: all(&others),
        });
    }
    claims
}

/// Table 6 for one choice of weights, by rank: the smallest rank suffices for several matrices, Wq alone needs a larger one.
#[must_use]
pub fn table6(row: &str, weights: &str, cells: &BTreeMap<u64, Scores>) -> Vec<Claim> {
    let mut ranks = cells.iter();
    let Some((smallest, first)) = ranks.next() else {
        return Vec::new();
    };
    let larger: Vec<(&u64, &Scores)> = ranks.collect();
    if larger.is_empty() {
        return Vec::new();
    }
    let numbers = std::iter::once((smallest, first))
        .chain(larger.iter().copied())
        .map(|(rank, scores)| format!("r={rank} {}", level(scores)));
    let numbers = numbers.collect::<Vec<_>>().join(", ");
    let (statement, tested) = if weights == "Wq" {
        let better: Vec<Tested> = larger.iter().map(|(_, s)| above(paired(s, first), 0.0)).collect();
        (format!("Wq alone needs a rank above {smallest}"), any(&better))
    } else {
        let close: Vec<Tested> = larger.iter().map(|(_, s)| above(paired(first, s), -MARGIN)).collect();
        (
            format!("rank {smallest} is within {MARGIN} of every larger one"),
            all(&close),
        )
    };
    let about = row.to_owned();
    vec![Claim {
        statement,
        about,
        numbers,
        tested,
    }]
}

/// Table 16, by rows of training data (`u64::MAX` for all): LoRA against full fine-tuning, and prefixes against both.
#[must_use]
pub fn table16(
    row: &str,
    lora: &BTreeMap<u64, Scores>,
    full: &BTreeMap<u64, Scores>,
    prefixes: &[(String, BTreeMap<u64, Scores>)],
) -> Vec<Claim> {
    let shared: Vec<u64> = lora.keys().filter(|rows| full.contains_key(rows)).copied().collect();
    let (Some(&least), Some(&most)) = (shared.first(), shared.last()) else {
        return Vec::new();
    };
    let amount = |rows: u64| match rows {
        u64::MAX => "all rows".to_owned(),
        rows => format!("{rows} rows"),
    };
    let mut claims = Vec::new();
    for rows in shared {
        let (a, b) = (&lora[&rows], &full[&rows]);
        let (words, tested) = if rows == least || rows == most {
            ("is ahead of".to_owned(), above(paired(a, b), 0.0))
        } else {
            let within = [
                above(paired(a, b), -MARGIN_LITTLE_DATA),
                below(paired(a, b), MARGIN_LITTLE_DATA),
            ];
            (format!("is within {MARGIN_LITTLE_DATA} of"), all(&within))
        };
        claims.push(Claim {
            statement: format!("LoRA {words} full fine-tuning on {}", amount(rows)),
            about: row.to_owned(),
            numbers: format!("{} against {}", level(a), level(b)),
            tested,
        });
    }
    for (name, prefix) in prefixes {
        let Some(little) = prefix.get(&least) else { continue };
        let behind = [&lora[&least], &full[&least]].map(|side| above(paired(side, little), 0.0));
        claims.push(Claim {
            statement: format!("{name} is behind LoRA and full fine-tuning on {}", amount(least)),
            about: row.to_owned(),
            numbers: level(little),
            tested: all(&behind),
        });
        let Some(much) = prefix.get(&most).filter(|_| most != least) else {
            continue;
        };
        let gap = |side: &Scores, prefix: &Scores| Scores {
            seeds: side
                .seeds
                .iter()
                .filter_map(|(seed, score)| Some((*seed, score - prefix.seeds.get(seed)?)))
                .collect(),
            printed: None,
        };
        let shrinks = paired(&gap(&lora[&least], little), &gap(&lora[&most], much));
        claims.push(Claim {
            statement: format!("{name} comes nearer to LoRA with more data"),
            about: row.to_owned(),
            numbers: String::new(),
            tested: above(shrinks, 0.0),
        });
    }
    claims
}

/// Grids of pairs of adapters, no two of which share an adapter: independent samples of one pair of ranks.
fn pairs(found: &Subspace, about: Comparison, layer: u32, module: Module) -> Vec<(&PhiGrid, (usize, usize))> {
    let rank = |n: usize| found.adapters.get(n).map(|adapter| adapter.directions());
    let mut used = BTreeSet::new();
    let mut kept: Vec<(&PhiGrid, (usize, usize))> = Vec::new();
    let here = |g: &&PhiGrid| g.about == about && g.layer == Some(layer) && g.module == Some(module);
    for grid in found.grids.iter().filter(here) {
        let (Directions::Adapter(i), Directions::Adapter(j)) = (grid.i.of, grid.j.of) else {
            continue;
        };
        let alike = kept
            .first()
            .is_none_or(|(_, (a, b))| (rank(*a), rank(*b)) == (rank(i), rank(j)));
        if alike && i != j && !used.contains(&i) && !used.contains(&j) {
            used.extend([i, j]);
            kept.push((grid, (i, j)));
        }
    }
    kept
}

fn average(grid: &PhiGrid) -> f64 {
    middle(grid.values.iter().map(|phi| f64::from(*phi)))
}

/// Mean phi of random subspaces over all i and j: max(i, j) / d each.
fn chance(grid: &PhiGrid, width: u32) -> f64 {
    let cells = (1..=grid.i.len).flat_map(|i| (1..=grid.j.len).map(move |j| i.max(j) as f64));
    middle(cells) / f64::from(width.max(1))
}

fn at(layer: u32, module: Module) -> String {
    format!("W_{} in layer {layer}", module.letter())
}

/// Figures 3 and 6: the strongest directions of two ranks share more than 0.5, the others do not.
#[must_use]
pub fn ranks(found: &Subspace, layers: &[u32]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for &layer in layers {
        for module in [Module::Query, Module::Value] {
            let grids: Vec<&PhiGrid> = pairs(found, Comparison::Ranks, layer, module)
                .into_iter()
                .map(|p| p.0)
                .collect();
            if grids.is_empty() {
                continue;
            }
            let top: Vec<f64> = grids.iter().map(|g| f64::from(g.at(1, 1))).collect();
            claims.push(Claim {
                statement: "the strongest directions share phi above 0.5".to_owned(),
                about: at(layer, module),
                numbers: format!("{:.2}", middle(top.iter().copied())),
                tested: above(mean(&top), 0.5),
            });
            // Squared overlap of the first i directions of both, less that of the strongest pair, per direction.
            let rest = |g: &&PhiGrid| {
                let i = g.i.len.min(g.j.len);
                (i > 1).then(|| (i as f64 * f64::from(g.at(i, i)) - f64::from(g.at(1, 1))) / (i as f64 - 1.0))
            };
            let rest: Vec<f64> = grids.iter().filter_map(rest).collect();
            if !rest.is_empty() {
                claims.push(Claim {
                    statement: "the other directions do not share as much".to_owned(),
                    about: at(layer, module),
                    numbers: format!("{:.2} each", middle(rest.iter().copied())),
                    tested: below(mean(&rest), 0.5),
                });
            }
        }
    }
    claims
}

/// Figures 4 and 7: two seeds share more of W_q than of W_v, and both more than chance.
#[must_use]
pub fn seeds(found: &Subspace, layers: &[u32]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for &layer in layers {
        let of = |module| pairs(found, Comparison::Seeds, layer, module);
        let (q, v) = (of(Module::Query), of(Module::Value));
        let both: Vec<(f64, f64)> = q
            .iter()
            .filter_map(|(grid, who)| Some((average(grid), average(v.iter().find(|(_, other)| other == who)?.0))))
            .collect();
        if !both.is_empty() {
            let more: Vec<f64> = both.iter().map(|(q, v)| q - v).collect();
            claims.push(Claim {
                statement: "two seeds share more of W_q than of W_v".to_owned(),
                about: format!("layer {layer}"),
                numbers: format!(
                    "{:.3} and {:.3}",
                    middle(both.iter().map(|p| p.0)),
                    middle(both.iter().map(|p| p.1))
                ),
                tested: above(mean(&more), 0.0),
            });
        }
        for (module, grids) in [(Module::Query, q), (Module::Value, v)] {
            let Some((first, _)) = grids.first() else { continue };
            let random = chance(first, found.width);
            let values: Vec<f64> = grids.iter().map(|(grid, _)| average(grid)).collect();
            claims.push(Claim {
                statement: "two seeds share more than chance does".to_owned(),
                about: at(layer, module),
                numbers: format!("{:.3} and {random:.3}", middle(values.iter().copied())),
                tested: above(mean(&values), random),
            });
        }
    }
    claims
}

/// Figure 8: an update hardly lies in the strongest tenth of the weight's directions; one of a larger rank does more.
#[must_use]
pub fn weight(found: &Subspace, layer: u32) -> Vec<Claim> {
    let mut shares: BTreeMap<u32, BTreeMap<usize, f64>> = BTreeMap::new();
    let here =
        |g: &&PhiGrid| g.about == Comparison::Weight && g.layer == Some(layer) && g.module == Some(Module::Query);
    for grid in found.grids.iter().filter(here) {
        let Directions::Adapter(n) = grid.j.of else { continue };
        let Some(adapter) = found.adapters.get(n) else { continue };
        let (tenth, rank) = (grid.i.len, grid.j.len);
        // phi is relative to the smaller of the two subspaces; the share is relative to the update's r directions.
        let share = f64::from(grid.at(tenth, rank)) * tenth.min(rank) as f64 / rank.max(1) as f64;
        shares.entry(adapter.directions()).or_default().insert(n, share);
    }
    let values = |of: &BTreeMap<usize, f64>| of.values().copied().collect::<Vec<_>>();
    let Some((least, small)) = shares.first_key_value() else {
        return Vec::new();
    };
    let mut claims = vec![Claim {
        statement: "no more than 0.2 of an update of W_q lies in the strongest tenth of W_q".to_owned(),
        about: format!("r = {least} in layer {layer}"),
        numbers: format!("{:.2}", middle(small.values().copied())),
        tested: below(mean(&values(small)), 0.2),
    }];
    if let Some((most, large)) = shares.last_key_value().filter(|(most, _)| *most > least) {
        claims.push(Claim {
            statement: format!("more of an update of W_q lies there at r = {most}"),
            about: String::new(),
            numbers: format!("{:.2}", middle(large.values().copied())),
            tested: above(groups(&values(large), &values(small)), 0.0),
        });
    }
    claims
}

/// Table 7: W_q lies in an update's directions more than in random ones and less than in its own strongest; the update amplifies
/// them, and without the factor alpha / r a smaller rank amplifies more.
#[must_use]
pub fn amplification(found: &Subspace) -> Vec<Claim> {
    let mut ranks: BTreeMap<u32, Vec<&Projection>> = BTreeMap::new();
    let here = |p: &&Projection| p.layer == found.probe && p.module == Module::Query;
    for projection in found.projections.iter().filter(here) {
        if let Some(adapter) = found.adapters.get(projection.adapter) {
            ranks.entry(adapter.directions()).or_default().push(projection);
        }
    }
    let mut claims = Vec::new();
    for (rank, of) in &ranks {
        let about = || format!("r = {rank}");
        let random = logs(of, |p| Some(p.onto_delta? / p.onto_random?));
        let statement = "W_q lies in an update's directions more than in random ones";
        claims.extend(factor(statement, about(), &random, above(mean(&random), 0.0)));
        // Below the geometric mean of the projections on random and on the strongest directions.
        let own = logs(of, |p| Some(p.onto_delta? / (p.onto_random? * p.onto_weight?).sqrt()));
        let statement = "the update's directions are nearer to random ones than to those that W_q emphasises";
        claims.extend(factor(statement, about(), &own, below(mean(&own), 0.0)));
        let amplified = logs(of, |p| p.amplification);
        let statement = "an update amplifies its directions";
        claims.extend(factor(statement, about(), &amplified, above(mean(&amplified), 0.0)));
    }
    if let (Some((least, small)), Some((most, large))) = (ranks.first_key_value(), ranks.last_key_value())
        && least < most
    {
        let [small, large] = [small, large].map(|of| logs(of, |p| p.amplification_unscaled));
        if !small.is_empty() && !large.is_empty() {
            let ratio = middle(small.iter().copied()) - middle(large.iter().copied());
            let statement = "a smaller rank amplifies more, alpha / r taken out";
            let about = format!("r = {least} against {most}");
            claims.extend(factor(statement, about, &[ratio], above(groups(&small, &large), 0.0)));
        }
    }
    claims
}

fn logs(of: &[&Projection], value: impl Fn(&Projection) -> Option<f64>) -> Vec<f64> {
    of.iter()
        .filter_map(|p| value(p))
        .map(f64::ln)
        .filter(|x| x.is_finite())
        .collect()
}

/// A claim about a factor, given its logarithms; `None` without any.
fn factor(statement: &str, about: String, logs: &[f64], tested: Tested) -> Option<Claim> {
    (!logs.is_empty()).then(|| Claim {
        statement: statement.to_owned(),
        about,
        numbers: format!("{:.2} times", middle(logs.iter().copied()).exp()),
        tested,
    })
}
