//! The measurements as text.

use super::passes::name;
use results::analysis::{CostSource, Design, Efficiency, Latency, LatencyCell};
use results::verdict::conclude;
use results::{Analysis, claims};

/// Means and slow-downs: a line for each model, a column for each batch and length.
pub fn latency(analysis: &Analysis, found: &Latency) -> String {
    let mut text = format!(
        "{}: {}\n{}; means of {} forward passes, in ms, and the slow-down over the model alone\n\n",
        analysis.model,
        analysis.label,
        analysis.provenance.place(),
        found.cells.first().map_or(0, |c| c.trials)
    );
    let mut places: Vec<(u32, u32)> = found.cells.iter().map(|c| (c.batch, c.length)).collect();
    let mut kinds: Vec<(Design, u32)> = found.cells.iter().map(|c| (c.design, c.bottleneck)).collect();
    places.sort_unstable();
    places.dedup();
    kinds.sort_unstable();
    kinds.dedup();
    text += &format!("{:<14} {:>5}", "model", "r");
    for (batch, length) in &places {
        text += &format!(" {:>18}", format!("{batch} x {length}"));
    }
    for kind in kinds {
        text += &format!("\n{:<14} {:>5}", name(kind.0), kind.1);
        for place in &places {
            let here = |c: &&LatencyCell| ((c.design, c.bottleneck), (c.batch, c.length)) == (kind, *place);
            let cell = found.cells.iter().find(here);
            text += &format!(" {:>18}", cell.map_or("–".into(), |c| one(found, c)));
        }
    }
    text + &format!(
        "\n\nColumns: rows x tokens. base: full fine-tuning, or LoRA merged.\n{}\n",
        conclude(claims::latency(found))
    )
}

fn one(found: &Latency, cell: &LatencyCell) -> String {
    let slower = found.slowdown(cell).filter(|_| cell.design != Design::Base);
    let slower = slower.map_or(String::new(), |s| format!(" ({s:+.1}%)"));
    format!("{:.2}{slower}", cell.mean_ms)
}

/// The costs: a line for each method and model.
pub fn efficiency(analysis: &Analysis, found: &Efficiency) -> String {
    let mut text = format!(
        "{}: {}\n{}\n\n{:<12} {:<7} {:<9} {:>15} {:>13} {:>14} {:>10}\n",
        analysis.model,
        analysis.label,
        analysis.provenance.place(),
        "model",
        "method",
        "how",
        "trained",
        "memory MiB",
        "checkpoint MB",
        "tokens/s"
    );
    let dash = |value: Option<f64>, digits: usize| value.map_or("–".into(), |v| format!("{v:.digits$}"));
    let mut notes: Vec<&str> = Vec::new();
    for c in &found.costs {
        let how = match c.how {
            CostSource::Measured => "measured",
            CostSource::Computed => "computed",
            CostSource::Paper => "paper",
        };
        text += &format!(
            "{:<12} {:<7} {how:<9} {:>15} {:>13} {:>14} {:>10}\n",
            c.model,
            c.method,
            c.trained_params,
            dash(c.memory_mib, 0),
            dash(c.checkpoint_bytes.map(|b| b as f64 / 1e6), 2),
            dash(c.tokens_per_second, 1)
        );
        if !notes.contains(&c.note.as_str()) {
            notes.push(&c.note);
        }
    }
    for note in notes {
        text += &format!("{note}.\n");
    }
    text + &format!("\n{}\n", conclude(claims::efficiency(found)))
}
