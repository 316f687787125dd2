//! Some generated texts beside their references.

use crate::plan::planned::Planned;
use crate::task::StageOutputs;
use anyhow::Result;
use results::Store;

/// The number of contexts shown.
const SHOWN: usize = 3;

/// The longest text shown in full, in characters.
const LONGEST: usize = 400;

/// Some contexts with a reference by a person and the text of each method in its first finished run; none without kept texts.
///
/// # Errors
/// Files of texts that cannot be read.
pub fn samples(store: &Store, runs: &[Planned]) -> Result<Option<String>> {
    let mut methods: Vec<(&Planned, StageOutputs)> = Vec::new();
    for run in runs {
        let name = &run.config.method_name;
        if methods.iter().any(|(other, _)| other.config.method_name == *name) {
            continue;
        }
        let stage = run.rows.evaluator.post_training();
        methods.extend(stage.outputs(&run.paths(store.dir()))?.map(|outputs| (run, outputs)));
    }
    let Some((first, outputs)) = methods.first() else {
        return Ok(None);
    };
    let (count, split) = (outputs.inputs.len(), outputs.split);
    let names = methods.iter().map(|(run, _)| run.config.method_name.chars().count());
    let width = names.max().unwrap_or(0).max("a person".len());
    let mut text = format!(
        "Texts, {} of {count} contexts of {split} (seed {}; all are in {})\n",
        SHOWN.min(count),
        first.config.seed,
        store.dir().join("texts").display()
    );
    for i in 0..SHOWN.min(count) {
        let row = i * count / SHOWN.min(count);
        let (context, person) = outputs.inputs[row];
        text += &format!("\n{}\n", short(context));
        text += &format!("  {:<width$}  {}\n", "a person", short(person));
        for (run, outputs) in &methods {
            // Runs may have decoded fewer contexts than the first one.
            let generated = outputs.texts.get(row).map_or("–", String::as_str);
            text += &format!("  {:<width$}  {}\n", run.config.method_name, short(generated));
        }
    }
    Ok(Some(text))
}

/// The text on one line, shortened.
fn short(text: &str) -> String {
    let line = text.trim().replace('\n', " / ");
    if line.is_empty() {
        return "(nothing)".into();
    }
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_line() {
        assert_eq!(short(" a\nb "), "a / b");
        assert_eq!(short(" \n"), "(nothing)");
        assert_eq!(short(&"ä".repeat(500)).chars().count(), LONGEST + 2);
    }
}
