//! What was measured, as a person reads it.

use super::passes::name;
use results::Analysis;
use results::analysis::{Cell, Design, Efficiency, How, Latency};

/// Medians and slow-downs, a line a model, a column a batch and length.
pub fn latency(analysis: &Analysis, found: &Latency) -> String {
    let mut text = format!(
        "{}: {}\n{}; medians of {} forward passes, in ms, and the slow-down over the model alone\n\n",
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
            let here = |c: &&Cell| ((c.design, c.bottleneck), (c.batch, c.length)) == (kind, *place);
            let cell = found.cells.iter().find(here);
            text += &format!(" {:>18}", cell.map_or("–".into(), |c| one(found, c)));
        }
    }
    text + &format!(
        "\n\nColumns: rows x tokens. base: full fine-tuning, or LoRA merged.\n{}\n",
        found.remark
    )
}

fn one(found: &Latency, cell: &Cell) -> String {
    let slower = found.slowdown(cell).filter(|_| cell.design != Design::Base);
    let slower = slower.map_or(String::new(), |s| format!(" ({s:+.1}%)"));
    format!("{:.2}{slower}", cell.median_ms)
}

/// Whether adapters slow the model down, and most where there is little to compute.
pub fn remark(found: &Latency) -> String {
    let slowed: Vec<(&Cell, f64)> = found
        .cells
        .iter()
        .filter(|c| matches!(c.design, Design::AdapterL | Design::AdapterH))
        .filter_map(|c| Some((c, found.slowdown(c)?)))
        .collect();
    let tokens = |c: &Cell| u64::from(c.batch) * u64::from(c.length);
    let mean = |at: Option<u64>| {
        let here: Vec<f64> = slowed
            .iter()
            .filter(|(c, _)| Some(tokens(c)) == at)
            .map(|(_, s)| *s)
            .collect();
        (!here.is_empty()).then(|| here.iter().sum::<f64>() / here.len() as f64)
    };
    let few = slowed.iter().map(|(c, _)| tokens(c)).min();
    let many = slowed.iter().map(|(c, _)| tokens(c)).max();
    let worst = slowed.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let (Some(short), Some(long), Some((cell, most))) = (mean(few), mean(many), worst) else {
        return "No adapter was measured.".into();
    };
    // The quartiles of passes of one size lie this far apart.
    let spread = |at: Option<u64>| {
        let here = found
            .cells
            .iter()
            .filter(|c| Some(tokens(c)) == at && c.median_ms > 0.0);
        here.map(|c| 100.0 * c.iqr_ms / c.median_ms).fold(0.0, f64::max)
    };
    let noise = spread(few);
    let gap = (short - long).abs();
    let verdict = if short.abs() < noise {
        "less than passes differ among themselves, so it says nothing: measure on a quiet machine"
    } else if short <= 0.0 {
        "unlike in the paper, adapters do not slow the smallest passes down"
    } else if few == many {
        "adapters slow the model down, as the paper found"
    } else if gap <= noise.max(spread(many)) {
        "adapters slow the model down, but unlike in the paper small passes not clearly more"
    } else if short > long {
        "adapters slow small passes down most, as the paper found"
    } else {
        "adapters slow the model down, but unlike in the paper not small passes most"
    };
    let longest = match many {
        Some(many) if few != Some(many) => format!(" and {long:.1} % at {many}"),
        _ => String::new(),
    };
    format!(
        "Adapters add {short:.1} % on average at {} tokens a pass{longest}; most, {most:.1} %, {} with r = {} at {} x {}: {verdict}.",
        few.unwrap_or(0),
        name(cell.design),
        cell.bottleneck,
        cell.batch,
        cell.length
    )
}

/// A line a method and model.
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
            How::Measured => "measured",
            How::Computed => "computed",
            How::Paper => "paper",
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
    text + &format!("\n{}\n", found.remark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(short: f64, long: f64) -> Latency {
        let cell = |design, batch, bottleneck, median_ms| Cell {
            design,
            batch,
            length: 64,
            bottleneck,
            added_params: 0,
            median_ms,
            iqr_ms: 0.0,
            mean_ms: median_ms,
            sd_ms: 0.0,
            trials: 3,
        };
        Latency {
            cells: vec![
                cell(Design::Base, 1, 0, 10.0),
                cell(Design::AdapterL, 1, 8, 10.0 + short),
                cell(Design::Base, 8, 0, 100.0),
                cell(Design::AdapterL, 8, 8, 100.0 + 10.0 * long),
            ],
            ..Latency::default()
        }
    }

    #[test]
    fn slow_downs_are_told_as_they_are() {
        let said = remark(&found(3.0, 0.5));
        assert!(
            said.contains("30.0 % on average at 64 tokens") && said.contains("5.0 % at 512"),
            "{said}"
        );
        assert!(said.contains("small passes down most, as the paper found"), "{said}");
        assert!(remark(&found(0.5, 3.0)).contains("not small passes most"));
        assert!(remark(&found(-0.5, 3.0)).contains("do not slow the smallest"));
        let mut noisy = found(3.0, 0.5);
        noisy.cells.iter_mut().for_each(|c| c.iqr_ms = 0.5 * c.median_ms);
        assert!(remark(&noisy).contains("says nothing"));
        let mut alike = found(3.0, 2.9);
        alike.cells.iter_mut().for_each(|c| c.iqr_ms = 0.02 * c.median_ms);
        assert!(remark(&alike).contains("not clearly more"));
        assert_eq!(remark(&Latency::default()), "No adapter was measured.");
    }
}
