//! The results as text.

use results::Analysis;
use results::analysis::{Adapter, Comparison, Directions, GridAxis, PhiGrid, Subspace};
use results::restate::remarks;

/// The numbers, and how they compare with the paper's conclusions.
pub fn text(analysis: &Analysis, found: &Subspace) -> String {
    let mut text = format!("{}: {}\n", analysis.model, analysis.label);
    for (n, adapter) in found.adapters.iter().enumerate() {
        let alpha = adapter.alpha.map_or("–".into(), |a| a.to_string());
        let seed = adapter.seed.map_or(String::new(), |s| format!(", seed {s}"));
        let name = name(found, n);
        let directions = adapter
            .directions
            .map_or(String::new(), |n| format!(" ({n} directions)"));
        text += &format!(
            "{name:<10} r {}{directions}, alpha {alpha}{seed}: {}\n",
            adapter.rank, adapter.origin
        );
    }
    text += &overlaps(found);
    text += &updates(found);
    for remark in remarks(found).values() {
        text += &format!("\n{remark}\n");
    }
    text
}

/// The name of an adapter in a table.
fn name(found: &Subspace, place: usize) -> String {
    let role = |a: &Adapter| a.role.clone();
    found
        .adapters
        .get(place)
        .and_then(role)
        .unwrap_or(format!("#{}", place + 1))
}

fn side(found: &Subspace, axis: &GridAxis) -> String {
    match axis.of {
        Directions::Adapter(place) => name(found, place),
        Directions::Weight => format!("W, top {}", axis.len),
        Directions::Random => "random".into(),
    }
}

fn overlaps(found: &Subspace) -> String {
    if found.grids.is_empty() && found.adapters.iter().any(|a| a.directions() == 0) {
        return "\nAn update of zero has no directions to compare.\n".into();
    }
    if found.grids.is_empty() {
        return "\nOne adapter and no --base: there is nothing to compare its directions with.\n".into();
    }
    let head = format!(
        "\n{:<14} {:>5} {:<8}  {:<12} {:<12} {:>9} {:>9} {:>9} {:>9}\n",
        "shared", "layer", "module", "i of", "j of", "phi(1,1)", "chance", "phi(n,n)", "chance"
    );
    let rows = found.grids.iter().map(|g| row(found, g));
    format!(
        "{head}{}n: the smaller number of directions. Chance: what random subspaces share.\n",
        rows.collect::<String>()
    )
}

fn row(found: &Subspace, g: &PhiGrid) -> String {
    let n = g.i.len.min(g.j.len);
    let width = f64::from(found.width.max(1));
    let about = match g.about {
        Comparison::Ranks => "across ranks",
        Comparison::Seeds => "across seeds",
        Comparison::Random => "control",
        Comparison::Weight => "with W",
        Comparison::WeightRandom => "control with W",
    };
    let dash = || "–".to_string();
    format!(
        "{about:<14} {:>5} {:<8}  {:<12} {:<12} {:>9.3} {:>9.3} {:>9.3} {:>9.3}\n",
        g.layer.map_or_else(dash, |l| l.to_string()),
        g.module.map_or("–", |m| m.name()),
        side(found, &g.i),
        side(found, &g.j),
        g.at(1, 1),
        1.0 / width,
        g.at(n, n),
        n as f64 / width
    )
}

fn updates(found: &Subspace) -> String {
    let dash = |value: Option<f64>| value.map_or("–".into(), |v| format!("{v:.3}"));
    let mut text = format!(
        "\n{:<10} {:>5} {:<8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>10}\n",
        "update",
        "layer",
        "module",
        "|A|",
        "|B|",
        "|BA|",
        "|dW|",
        "|W|",
        "W in dW",
        "W in top",
        "W in rand",
        "|dW|/in",
        "|BA|/in"
    );
    for p in &found.projections {
        text += &format!(
            "{:<10} {:>5} {:<8} {:>8.3} {:>8.3} {:>8.3} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>10}\n",
            name(found, p.adapter),
            p.layer,
            p.module.name(),
            p.a,
            p.b,
            p.ba,
            dash(p.delta),
            dash(p.weight),
            dash(p.onto_delta),
            dash(p.onto_weight),
            dash(p.onto_random),
            dash(p.amplification),
            dash(p.amplification_unscaled)
        );
    }
    text += "Frobenius norms. W in dW: what W has in the update's own directions, in its own top ones, in random ones; the last two columns are the\namplification factor, with alpha / r and without.\n";
    if found.projections.iter().any(|p| p.weight.is_none()) {
        text += "– needs the frozen weights: --base.\n";
    } else if found.projections.iter().any(|p| p.onto_delta.is_none()) {
        text += "– where the update is zero: it has no directions.\n";
    }
    if found.adapters.iter().any(|a| a.alpha.is_none()) {
        text += "dW = alpha / r BA needs alpha, which loralib's files do not say: --alpha (16 for the RoBERTa releases, 32 for GPT-2's).\n";
    }
    text
}
