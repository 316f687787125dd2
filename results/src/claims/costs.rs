//! What adapters cost a forward pass (Table 1, Figure 5), and what training costs (Section 4.2).

use std::collections::BTreeSet;

use crate::analysis::{Cost, CostSource, Design, Efficiency, Latency, LatencyCell};
use crate::stats::Estimate;
use crate::verdict::{Claim, FEWEST, Tested, above, all, any, few, middle};

/// Logarithm of the mean pass, with the standard error of the relative mean.
fn pass(cell: &LatencyCell) -> Result<Estimate, String> {
    let n = cell.trials as usize;
    let enough = n >= FEWEST && cell.mean_ms > 0.0;
    let error = cell.sd_ms / cell.mean_ms / (n as f64).sqrt();
    let estimate = Estimate {
        value: cell.mean_ms.ln(),
        error,
        freedom: n as f64 - 1.0,
    };
    enough.then_some(estimate).ok_or_else(|| few(n))
}

/// The smallest and the largest: `+1.1 % to +6.6 %`.
fn percents(of: impl Iterator<Item = f64>) -> String {
    let (low, high) = of.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    format!("{low:+.1} % to {high:+.1} %")
}

/// Batch and length of a place: `4 x 128`.
fn size((_, batch, length): &(u64, u32, u32)) -> String {
    format!("{batch} x {length}")
}

/// Table 1 and Figure 5: adapters slow every pass down, by over 30 % for the smallest input, and less for the largest. Passes take
/// the place of seeds.
#[must_use]
pub fn latency(found: &Latency) -> Vec<Claim> {
    let adapters = |c: &&LatencyCell| matches!(c.design, Design::AdapterL | Design::AdapterH);
    let slowed: Vec<(&LatencyCell, &LatencyCell, f64)> = found
        .cells
        .iter()
        .filter(adapters)
        .filter_map(|c| Some((c, found.base_of(c)?, found.slowdown(c)?)))
        .collect();
    let tokens = |c: &LatencyCell| (u64::from(c.batch) * u64::from(c.length), c.batch, c.length);
    let places: BTreeSet<(u64, u32, u32)> = slowed.iter().map(|(c, ..)| tokens(c)).collect();
    let (Some(least), Some(most)) = (places.first(), places.last()) else {
        return Vec::new();
    };
    let ratio = |(cell, base, _): &(&LatencyCell, &LatencyCell, f64)| -> Result<Estimate, String> {
        Ok(Estimate::sum(&[(1.0, pass(cell)?), (-1.0, pass(base)?)]))
    };
    let slower: Vec<Tested> = slowed.iter().map(|s| above(ratio(s), 0.0)).collect();
    let here = || slowed.iter().filter(|(c, ..)| tokens(c) == *least);
    let much: Vec<Tested> = here().map(|s| above(ratio(s), 1.3f64.ln())).collect();
    let mut claims = vec![
        Claim {
            statement: "adapters slow every pass down".to_owned(),
            about: String::new(),
            numbers: percents(slowed.iter().map(|s| s.2)),
            tested: all(&slower),
        },
        Claim {
            statement: format!("some adapter slows a pass down by over 30 % at {}", size(least)),
            about: String::new(),
            numbers: percents(here().map(|s| s.2)),
            tested: any(&much),
        },
    ];
    if least != most {
        let sum = |place| -> Result<Estimate, String> {
            let here: Vec<_> = slowed.iter().filter(|(c, ..)| tokens(c) == place).collect();
            let share = 1.0 / here.len() as f64;
            let mut parts = vec![(-1.0, pass(here[0].1)?)];
            for (cell, ..) in here {
                parts.push((share, pass(cell)?));
            }
            Ok(Estimate::sum(&parts))
        };
        let less = || -> Result<Estimate, String> { Ok(Estimate::sum(&[(1.0, sum(*least)?), (-1.0, sum(*most)?)])) };
        let percent = |place| {
            let here = slowed.iter().filter(|(c, ..)| tokens(c) == place);
            format!("{:+.1} %", middle(here.map(|s| s.2)))
        };
        claims.push(Claim {
            statement: format!(
                "adapters slow a pass down less at {} than at {}",
                size(most),
                size(least)
            ),
            about: String::new(),
            numbers: format!("{} and {} on average", percent(*most), percent(*least)),
            tested: above(less(), 0.0),
        });
    }
    claims
}

/// Section 4.2: LoRA has smaller checkpoints and trains faster in less memory. Sizes are exact; memory and speed are one
/// measurement each, hence untested.
#[must_use]
pub fn efficiency(found: &Efficiency) -> Vec<Claim> {
    let of = |name: &str| {
        found
            .costs
            .iter()
            .find(|c| c.how == CostSource::Measured && c.method == name)
    };
    let (Some(full), Some(lora)) = (of("full"), of("lora")) else {
        return Vec::new();
    };
    let numbers = |value: &dyn Fn(&Cost) -> Option<f64>| Some((value(lora)?, value(full)?));
    let one = || Err(few(1));
    let mut claims = Vec::new();
    if let Some((a, b)) = numbers(&|c| c.checkpoint_bytes.map(|n| n as f64)) {
        claims.push(Claim {
            statement: format!(
                "a checkpoint of LoRA is smaller than one of full fine-tuning on {}",
                full.model
            ),
            about: String::new(),
            numbers: format!("{:.0} times; the paper has 10,000", b / a),
            tested: Ok(if a < b { (0.0, 1.0) } else { (1.0, 0.0) }),
        });
    }
    if let Some((a, b)) = numbers(&|c| c.memory_mib) {
        claims.push(Claim {
            statement: "LoRA trains in less memory".to_owned(),
            about: String::new(),
            numbers: format!("{:.2} of it; the paper has 0.29", a / b),
            tested: one(),
        });
    }
    if let Some((a, b)) = numbers(&|c| c.tokens_per_second) {
        claims.push(Claim {
            statement: "LoRA trains faster".to_owned(),
            about: String::new(),
            numbers: format!("{:.2} times the tokens a second; the paper has 1.33", a / b),
            tested: one(),
        });
    }
    claims
}
