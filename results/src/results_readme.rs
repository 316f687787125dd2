//! `results/README.md`: the answer, the published tables and figures, the paper's conclusions; and the pages beside the tables that
//! list every test and every record.

use crate::answer::answer;
use crate::conclusions;
use crate::figure::Figure;
use crate::gathered::Published;
use crate::methods::METHOD_FACTS;
use crate::record::RunRecord;
use crate::scripts::markdown;
use crate::stem::numbered;
use crate::store::Selection;
use crate::sweep;
use crate::table::{Table, markdown_escape};

/// The page that lists the records.
const RECORDS: &str = "records.md";
/// Tables of more rows are folded.
const ROWS: usize = 24;
/// Beginnings of the notes that say what a table's cells are; the others are on the table's own page.
const CELLS: [&str; 3] = ["Cells: ", "Columns: ", "A method's own row: "];

/// Pages as paths below the store and Markdown: README.md and those beside the tables. `measured` are the tables and figures to show,
/// `unmeasured` those without records. Pages of a store elsewhere, not `beside_docs`, link to nothing outside of it.
pub(crate) fn pages(
    stored: &Selection,
    (measured, unmeasured): (&Published, &Published),
    beside_docs: bool,
) -> Vec<(String, String)> {
    let Published { tables, figures } = measured;
    let mut out = include_str!("results_readme.md").to_owned();
    write_answer(&mut out, stored, measured);
    show_tables(&mut out, tables, &unmeasured.tables);
    show_figures(&mut out, figures, &unmeasured.figures);
    out.push_str("\n## The paper's conclusions\n\n");
    if tables.iter().any(|table| !table.verdicts.is_empty()) || figures.iter().any(|figure| !figure.verdicts.is_empty())
    {
        out.push_str(&format!(
            "Each by a [tested rule](../docs/figures.md#where-the-numbers-come-from), over every place where it could be tested; \
             [test by test](tables/{}).\n\n",
            conclusions::PAGE
        ));
    }
    out.push_str(&conclusions::table(tables, figures));
    out.push_str(include_str!("results_records.md"));
    if beside_docs {
        out.push_str(include_str!("results_sources.md"));
    } else {
        out = without_docs(&out);
    }
    vec![
        ("README.md".to_owned(), out),
        (
            format!("tables/{}", conclusions::PAGE),
            conclusions::page(tables, figures),
        ),
        (format!("tables/{RECORDS}"), records(stored)),
    ]
}

/// The text with the words alone of links to `../docs/`.
fn without_docs(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(end) = rest.find("](../docs/") {
        let (before, link) = rest.split_at(end);
        let begin = before.rfind('[').unwrap_or(0);
        out.push_str(&before[..begin]);
        out.push_str(before.get(begin + 1..).unwrap_or_default());
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    out + rest
}

fn write_answer(out: &mut String, stored: &Selection, measured: &Published) {
    out.push_str("\n## The answer\n\nDoes LoRA match full fine-tuning, and what do the other methods do? Computed from the records; means over seeds. A p here is that of the sentence, one-sided with its margin, doubled and corrected for the tests of the answer; in tables and in `results compare` it is that of a difference of zero.\n\n");
    let answer = answer(stored);
    let counted = conclusions::counted(&measured.tables, &measured.figures);
    let sentences = answer.in_full().into_iter().map(str::to_owned).chain(counted);
    for sentence in sentences {
        out.push_str(&format!("- {}\n", markdown(&sentence)));
    }
    let trained = |kind: &str| {
        stored
            .runs
            .iter()
            .any(|run| sweep::kind(run) == kind || run.method == kind)
    };
    let names: Vec<String> = METHOD_FACTS
        .iter()
        .filter(|facts| trained(facts.kind))
        .map(|facts| format!("`{}` is {}", facts.kind, markdown(facts.name)))
        .collect();
    if !names.is_empty() {
        out.push_str(&format!(
            "\nNames: {} ([what each trains](../docs/methods.md)). n is the number of seeds; with fewer than three nothing is concluded.\n",
            names.join(", ")
        ));
    }
}

fn show_tables(out: &mut String, tables: &[Table], empty: &[Table]) {
    out.push_str("\n## Tables\n");
    for table in tables {
        let name = &table.name;
        let (what, label) = table.title.split_once(": ").unwrap_or((&table.title, ""));
        out.push_str(&format!(
            "\n### {}. {}\n\n",
            numbered(name),
            markdown(&markdown_escape(what))
        ));
        if !label.is_empty() {
            out.push_str(&format!("{}\n\n", markdown_escape(label)));
        }
        let body = markdown(&table.markdown_body());
        if table.rows.len() > ROWS {
            out.push_str(&format!(
                "<details><summary>{} rows</summary>\n\n{body}\n</details>\n",
                table.rows.len()
            ));
        } else {
            out.push_str(&body);
        }
        let cells = table
            .notes
            .iter()
            .find(|note| CELLS.iter().any(|start| note.starts_with(start)));
        let cells = cells
            .map(|note| markdown(&markdown_escape(note)) + " ")
            .unwrap_or_default();
        out.push_str(&format!(
            "\n{cells}[All notes](tables/{name}.md), [LaTeX](tables/{name}.tex), [CSV](tables/{name}.csv).\n"
        ));
    }
    list_unmeasured(
        out,
        empty.iter().map(|table| (table.name.as_str(), table.title.as_str())),
    );
}

/// One line for everything without records.
fn list_unmeasured<'a>(out: &mut String, names: impl Iterator<Item = (&'a str, &'a str)>) {
    let named = |(name, title): (&str, &str)| {
        let title = title.split(": runs in").next().unwrap_or(title);
        format!("{} ({})", numbered(name), markdown_escape(title))
    };
    let all: Vec<String> = names.map(named).collect();
    if !all.is_empty() {
        out.push_str(&format!(
            "\nNot measured in the paper's settings: {}. `figures --empty --out DIR` writes them with the paper's numbers and the commands that fill them.\n",
            all.join(", ")
        ));
    }
}

fn show_figures(out: &mut String, figures: &[Figure], empty: &[Figure]) {
    out.push_str("\n## Figures\n");
    let mut kind = String::new();
    for figure in figures {
        let (name, title) = (&figure.name, &figure.title);
        if numbered(name) != kind {
            kind = numbered(name);
            let about = title.split(':').next().unwrap_or(title);
            out.push_str(&format!(
                "\n### {kind}. {}\n\n{}\n",
                markdown(about),
                markdown(&figure.shows)
            ));
        }
        out.push_str(&format!(
            "\n![{title}](figures/{name}.png)\n\n{} [SVG](figures/{name}.svg)\n",
            markdown(&figure.caption)
        ));
    }
    list_unmeasured(
        out,
        empty.iter().map(|figure| (figure.name.as_str(), figure.title.as_str())),
    );
}

/// The page that lists runs and analyses.
fn records(stored: &Selection) -> String {
    let mut out = "# Records\n".to_owned();
    list_runs(&mut out, stored);
    list_analyses(&mut out, stored);
    out
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
            "| [{id}](../runs/{id}.json) | {} | {} | {} | {} | {} | {score} | {} | {:.1} |\n",
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
            "| [{id}](../analyses/{id}.json) | {} | {} | {} | {} |\n",
            analysis.findings.kind(),
            markdown_escape(&analysis.model),
            markdown_escape(&analysis.label),
            markdown_escape(&analysis.provenance.device),
            id = analysis.id,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::without_docs;

    #[test]
    fn a_page_elsewhere_has_no_links_to_docs() {
        let text = "a [b](../docs/x.md#y), c [d](e) ([f](../docs/g.md))";
        assert_eq!(without_docs(text), "a b, c [d](e) (f)");
    }
}
