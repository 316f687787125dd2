//! A report as a self-contained HTML file, with sortable tables and inline SVG figures.

use anyhow::Result;
use results::table::RowKind;
use results::{Figure, Selection, Table};

use crate::report::{Part, Report, commits};

/// The page.
pub fn page(report: &Report, stored: &Selection) -> Result<String> {
    let mut body = format!("<h1>{}</h1>\n<p>{}</p>\n", escape(report.title), escape(report.about));
    for part in report.parts(stored)? {
        body += &match part {
            Part::Table(shown) => table(&shown),
            Part::Figure(shown) => figure(&shown)?,
        };
    }
    if let Some(commits) = commits(stored) {
        body += &format!("<footer><p>{}</p></footer>\n", escape(&commits));
    }
    Ok(include_str!("page.html")
        .replace("{{title}}", &escape(report.title))
        .replace("{{body}}", &body))
}

fn figure(figure: &Figure) -> Result<String> {
    if figure.is_empty() {
        return Ok(format!("<p class=\"empty\">{}</p>\n", escape(&figure.caption)));
    }
    Ok(format!(
        "<figure>\n{}<figcaption><b>{}.</b> {}</figcaption>\n</figure>\n",
        figure.svg()?,
        escape(&figure.title),
        escape(&figure.caption)
    ))
}

/// Each row is a table body of its own, the unit of sorting; rows of differences share the body of the two rows that they compare.
fn table(table: &Table) -> String {
    let mut out = format!(
        "<h2>{}</h2>\n<div class=\"wide\"><table>\n<thead><tr>",
        escape(&table.title)
    );
    for name in &table.header {
        out += &format!("<th><button type=\"button\">{}</button></th>", escape(name));
    }
    out += "</tr></thead>\n";
    let pairs = table.rows.iter().any(|row| row.kind == RowKind::Difference);
    let printed = table.printed();
    for (i, (row, cells)) in table.rows.iter().zip(printed).enumerate() {
        if i == 0 || !pairs || row.kind == RowKind::Ours {
            out += if i == 0 { "<tbody>" } else { "</tbody>\n<tbody>" };
        }
        out += &format!("<tr class=\"{}\">", row.kind.name());
        for cell in cells {
            out += &format!("<td>{}</td>", escape(&cell));
        }
        out += "</tr>";
    }
    out += "</tbody>\n</table></div>\n<ul class=\"notes\">\n";
    for note in &table.notes {
        out += &format!("<li>{}</li>\n", escape(note));
    }
    out + "</ul>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
