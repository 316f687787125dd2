//! Reports as self-contained HTML files, with a table of contents, sortable tables and inline SVG figures; and their index.

use anyhow::Result;
use results::figure::Style;
use results::table::RowKind;
use results::verdict;
use results::{Figure, Selection, Table};

use crate::report::{Part, Report, commits};

/// Most bytes of a page, unless a single figure has more.
pub const LARGEST: usize = 1_000_000;

/// A page, and what it has.
pub struct Page {
    /// Name of the file.
    pub file: String,
    /// Its text.
    pub text: String,
    title: String,
    about: &'static str,
    /// Anchors and titles of its sections.
    sections: Vec<(String, String)>,
}

/// The pages of a report: one, or as many as [`LARGEST`] asks for.
pub fn pages(report: &Report, stored: &Selection) -> Result<Vec<Page>> {
    let mut parts: Vec<(String, Vec<(String, String)>)> = vec![Default::default()];
    for part in report.parts(stored)? {
        let (anchor, title, shown) = match part {
            Part::Table(shown) => (shown.name.clone(), shown.title.clone(), table(&shown)),
            Part::Figure(shown) => (shown.name.clone(), shown.title.clone(), figure(&shown)?),
        };
        let section = format!("<h2 id=\"{anchor}\">{}</h2>\n{shown}", escape(&title));
        // A tenth is left for what frames the sections.
        let full =
            |(body, _): &&mut (String, Vec<_>)| !body.is_empty() && body.len() + section.len() > LARGEST / 10 * 9;
        if parts.last_mut().filter(full).is_some() {
            parts.push(Default::default());
        }
        if let Some((body, sections)) = parts.last_mut() {
            body.push_str(&section);
            sections.push((anchor, title));
        }
    }
    let several = parts.len() > 1;
    let page = |(i, (body, sections)): (usize, (String, Vec<(String, String)>))| {
        let title = match several {
            true => format!("{}, part {}", report.title, i + 1),
            false => report.title.to_owned(),
        };
        let file = match i {
            0 => format!("{}.html", report.name),
            i => format!("{}-{}.html", report.name, i + 1),
        };
        let (about, contents) = (escape(report.about), contents(&sections, ""));
        let head = format!(
            "<p><a href=\"index.html\">All reports</a></p>\n<h1>{}</h1>\n<p>{about}</p>\n{contents}",
            escape(&title)
        );
        let foot = commits(stored).map(|commits| format!("<footer><p>{}</p></footer>\n", escape(&commits)));
        Page {
            text: framed(&title, &(head + &body + &foot.unwrap_or_default())),
            file,
            title,
            about: report.about,
            sections,
        }
    };
    Ok(parts.into_iter().enumerate().map(page).collect())
}

/// The page that leads to the others.
pub fn index(pages: &[Page]) -> String {
    let mut body = "<h1>Reports</h1>\n".to_owned();
    for page in pages {
        body += &format!(
            "<h2><a href=\"{}\">{}</a></h2>\n<p>{}</p>\n{}",
            page.file,
            escape(&page.title),
            escape(page.about),
            contents(&page.sections, &page.file)
        );
    }
    framed("Reports", &body)
}

fn framed(title: &str, body: &str) -> String {
    include_str!("page.html")
        .replace("{{title}}", &escape(title))
        .replace("{{body}}", body)
}

/// Links to the sections of a page.
fn contents(sections: &[(String, String)], file: &str) -> String {
    let item =
        |(anchor, title): &(String, String)| format!("<li><a href=\"{file}#{anchor}\">{}</a></li>\n", escape(title));
    let items: String = sections.iter().map(item).collect();
    format!("<nav aria-label=\"Contents\"><ol>\n{items}</ol></nav>\n")
}

fn figure(figure: &Figure) -> Result<String> {
    let description = escape(&figure.description());
    if figure.is_empty() {
        return Ok(format!("<p class=\"empty\">{description}</p>\n"));
    }
    // The drawing begins with its title and description, which screen readers take for an image.
    let drawing = figure.svg(Style::Screen)?.replacen("<svg ", "<svg role=\"img\" ", 1);
    let verdicts = match verdict::text(&figure.verdicts) {
        text if text.is_empty() => text,
        text => format!(
            "<details><summary>The paper's conclusions</summary>{}</details>",
            escape(&text)
        ),
    };
    Ok(format!(
        "<figure>\n{drawing}<figcaption>{description}{verdicts}</figcaption>\n</figure>\n"
    ))
}

/// Each row is a table body of its own, the unit of sorting; rows of differences share the body of the two rows that they compare.
fn table(table: &Table) -> String {
    let mut out = "<div class=\"wide\"><table>\n<thead><tr>".to_owned();
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
