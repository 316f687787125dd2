//! A few texts beside their references.

use crate::plan::Planned;
use crate::task::generation::RunPaths;
use anyhow::Result;
use results::Store;

/// Contexts that are shown.
const SHOWN: usize = 3;

/// The longest text that is shown whole, in characters.
const LONGEST: usize = 400;

/// Some contexts, what a person wrote, and what each method wrote in its first finished run; none where no texts are kept.
///
/// # Errors
/// Files of texts that cannot be used.
pub fn samples(store: &Store, runs: &[Planned]) -> Result<Option<String>> {
    let mut methods: Vec<(&Planned, Vec<String>)> = Vec::new();
    for run in runs {
        let Some(writing) = run.rows.exam.writing() else {
            continue;
        };
        if methods
            .iter()
            .any(|(other, _)| other.config.method_name == run.config.method_name)
        {
            continue;
        }
        let place = RunPaths {
            out: store.dir(),
            run: &run.id,
        };
        if let Some(texts) = writing.kept(place)? {
            methods.push((run, texts));
        }
    }
    let Some((first, _)) = methods.first() else {
        return Ok(None);
    };
    let Some(writing) = first.rows.exam.writing() else {
        return Ok(None);
    };
    let (count, split) = (writing.prompts.len(), &writing.decode.split);
    let width = methods
        .iter()
        .map(|(run, _)| run.config.method_name.chars().count())
        .max()
        .unwrap_or(0);
    let width = width.max("a person".len());
    let seed = first.config.seed;
    let mut text = format!(
        "Texts, {} of {count} contexts of {split} (seed {seed}; all are in {})\n",
        SHOWN.min(count),
        store.dir().join("texts").display()
    );
    for i in 0..SHOWN.min(count) {
        let row = i * count / SHOWN.min(count);
        let prompt = &writing.prompts[row];
        text += &format!("\n{}\n", short(&prompt.context));
        let person = prompt.references.first().map(String::as_str).unwrap_or_default();
        text += &format!("  {:<width$}  {}\n", "a person", short(person));
        for (run, texts) in &methods {
            // Runs may have decoded fewer contexts than the first one.
            let written = texts.get(row).map_or("–", String::as_str);
            text += &format!("  {:<width$}  {}\n", run.config.method_name, short(written));
        }
    }
    Ok(Some(text))
}

/// On one line, and not too long.
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
