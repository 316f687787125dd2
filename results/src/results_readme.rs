//! `results/README.md`: the published figures and tables, and the records that they are made from.

use crate::figure::Figure;
use crate::record::RunRecord;
use crate::store::Selection;
use crate::sweep;
use crate::table::{RowKind, Table, TableRow, markdown_escape};

/// The page as Markdown, with links relative to the store.
pub(crate) fn page(stored: &Selection, tables: &[Table], figures: &[Figure]) -> String {
    let mut out = include_str!("results_readme.md").to_owned();
    list_figures(&mut out, figures);
    list_tables(&mut out, tables);
    list_runs(&mut out, stored);
    list_analyses(&mut out, stored);
    out
}

fn list_figures(out: &mut String, figures: &[Figure]) {
    out.push_str("\n## Figures\n");
    for figure in figures.iter().filter(|figure| !figure.is_empty()) {
        let (name, title, caption) = (&figure.name, &figure.title, &figure.caption);
        out.push_str(&format!(
            "\n### {title}\n\n![{title}](figures/{name}.png)\n\n**{}.** {caption} ([SVG](figures/{name}.svg))\n",
            numbered(name)
        ));
    }
    let empty: Vec<String> = figures
        .iter()
        .filter(|figure| figure.is_empty())
        .map(|figure| numbered(&figure.name))
        .collect();
    if !empty.is_empty() {
        out.push_str(&format!(
            "\nNot measured yet, with panels that say what to run: {}.\n",
            empty.join(", ")
        ));
    }
}

/// Printed name of a kind: `Figure 3` for `figure3-minilm`.
fn numbered(name: &str) -> String {
    let kind = name.split('-').next().unwrap_or(name);
    let at = kind.find(|c: char| c.is_ascii_digit()).unwrap_or(kind.len());
    let (word, number) = kind.split_at(at);
    let first = word.chars().next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
    let named = format!("{first}{} {number}", word.get(1..).unwrap_or_default());
    named.trim_end().to_owned()
}

fn list_tables(out: &mut String, tables: &[Table]) {
    out.push_str("\n## Tables\n\n| Table | What it shows | Rows of ours | Files |\n| --- | --- | ---: | --- |\n");
    for table in tables {
        let name = &table.name;
        let measured =
            |row: &&TableRow| row.kind == RowKind::Ours && row.cells.first().is_some_and(|c| !c.is_word("not run yet"));
        out.push_str(&format!(
            "| {} | {} | {} | [md](tables/{name}.md), [tex](tables/{name}.tex), [csv](tables/{name}.csv) |\n",
            numbered(name),
            markdown_escape(&table.title),
            table.rows.iter().filter(measured).count(),
        ));
    }
}

fn list_runs(out: &mut String, stored: &Selection) {
    out.push_str("\n## Runs\n");
    if stored.runs.is_empty() {
        out.push_str("\nNone yet.\n");
        return;
    }
    out.push_str("\n| Record | Experiment | Model | Task | Method | Seed | Score | Device | Hours |\n| --- | --- | --- | --- | --- | ---: | ---: | --- | ---: |\n");
    let mut runs: Vec<&RunRecord> = stored.runs.iter().collect();
    let key = |run: &&RunRecord| {
        (
            run.experiment.clone(),
            run.model.clone(),
            run.task.clone(),
            run.method.clone(),
            run.seed,
            run.id.clone(),
        )
    };
    runs.sort_by_key(key);
    for run in runs {
        let score = match sweep::headline(run) {
            None => "–".to_owned(),
            Some((name, None)) => format!("undefined {name}"),
            Some((name, Some(value))) => format!("{value:.1} {name}"),
        };
        let settings = sweep::settings_text(run);
        let method = if settings.is_empty() {
            run.shown_method().to_owned()
        } else {
            format!("{} ({settings})", run.shown_method())
        };
        out.push_str(&format!(
            "| [{id}](runs/{id}.json) | {} | {} | {} | {} | {} | {score} | {} | {:.1} |\n",
            markdown_escape(&run.experiment),
            markdown_escape(&run.model),
            markdown_escape(&run.task),
            markdown_escape(&method),
            run.seed,
            markdown_escape(&run.provenance.device),
            run.timing.seconds / 3600.0,
            id = run.id,
        ));
    }
}

fn list_analyses(out: &mut String, stored: &Selection) {
    out.push_str("\n## Analyses\n");
    if stored.analyses.is_empty() {
        out.push_str("\nNone yet.\n");
        return;
    }
    out.push_str("\n| Record | Kind | Model | What it is | Device |\n| --- | --- | --- | --- | --- |\n");
    for analysis in &stored.analyses {
        out.push_str(&format!(
            "| [{id}](analyses/{id}.json) | {} | {} | {} | {} |\n",
            analysis.findings.kind(),
            markdown_escape(&analysis.model),
            markdown_escape(&analysis.label),
            markdown_escape(&analysis.provenance.device),
            id = analysis.id,
        ));
    }
}
