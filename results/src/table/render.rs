//! Renderings of a [`Table`]: terminal, Markdown, LaTeX and CSV. The same table gives the same bytes.

use std::path::{Path, PathBuf};

use comfy_table::{Cell as TermCell, CellAlignment, ContentArrangement, Table as TermTable, TableComponent, presets};
use support::write_atomic;

use super::value::{Cell, Number, RowKind, Table, TableRow};
use crate::error::{Error, Result};
use crate::listing::{keep_words_whole, whole_words};

/// Terminal width that every table fits into, in columns.
pub const TERMINAL_WIDTH: usize = 100;

const MISSING: &str = "–";
const UNDEFINED: &str = "undef.";

impl Table {
    /// Extensions and contents of the table's files: Markdown, LaTeX, CSV.
    ///
    /// # Errors
    /// [`Error::Csv`].
    pub fn files(&self) -> Result<[(&'static str, String); 3]> {
        Ok([("md", self.markdown()), ("tex", self.latex()), ("csv", self.csv()?)])
    }

    /// Writes [`Table::files`] into `dir` as `NAME.md`, `NAME.tex` and `NAME.csv`, each atomically.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Csv`].
    pub fn write(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        let write = |(extension, text): (&str, String)| {
            let path = dir.join(format!("{}.{extension}", self.name));
            write_atomic(&path, text.as_bytes())?;
            Ok(path)
        };
        self.files()?.into_iter().map(write).collect()
    }

    /// Plain text for a terminal of `width` columns. In tables that are too wide, columns stand closer; in those that still are,
    /// spreads are printed below their values.
    #[must_use]
    pub fn terminal(&self, width: usize) -> String {
        let fits = |body: &String| body.lines().all(|line| line.chars().count() <= width);
        let narrow = || self.terminal_body("\n", 0, Some(u16::try_from(width).unwrap_or(u16::MAX)));
        let whole = |gap| Some(self.terminal_body(" ", gap, None)).filter(fits);
        let body = whole(1).or_else(|| whole(0)).unwrap_or_else(narrow);
        let mut out = wrap(&self.title, width, "");
        out.push_str(body.trim_end());
        out.push('\n');
        for note in &self.notes {
            out.push_str(&wrap(note, width, "  "));
        }
        out
    }

    /// The rows with `gap` more blanks between columns than one; without a `width`, each is one line.
    fn terminal_body(&self, break_at: &str, gap: u16, width: Option<u16>) -> String {
        let mut term = TermTable::new();
        term.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        match width {
            Some(width) => {
                term.set_content_arrangement(ContentArrangement::Dynamic)
                    .set_width(width);
            }
            // Rows of one line each need no rules between them.
            None => {
                term.remove_style(TableComponent::HorizontalLines);
                term.remove_style(TableComponent::MiddleIntersections);
            }
        }
        term.set_header(
            self.header
                .iter()
                .enumerate()
                .map(|(i, name)| aligned(name.clone(), self.is_text(i))),
        );
        for row in &self.rows {
            let cells = self.shown(row).into_iter().enumerate();
            term.add_row(cells.map(|(i, parts)| aligned(parts.join(break_at), self.is_text(i))));
        }
        for column in term.column_iter_mut() {
            column.set_padding((0, gap));
        }
        if let Some(width) = width {
            keep_words_whole(&mut term, usize::from(width));
        }
        let text = term.to_string();
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// Markdown: title, table, notes.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("**{}**\n\n{}\n", markdown_escape(&self.title), self.markdown_body());
        for note in &self.notes {
            out += &format!("- {}\n", markdown_escape(note));
        }
        out
    }

    /// The table alone in Markdown.
    pub(crate) fn markdown_body(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut out = line(self.header.iter().map(|name| markdown_escape(name)).collect());
        let rule = |i| {
            if self.is_text(i) {
                "---".to_owned()
            } else {
                "---:".to_owned()
            }
        };
        out += &line((0..self.header.len()).map(rule).collect());
        for row in &self.rows {
            out += &line(
                self.shown(row)
                    .iter()
                    .map(|parts| markdown_escape(&parts.join(" ")))
                    .collect(),
            );
        }
        out
    }

    /// LaTeX for the package booktabs.
    #[must_use]
    pub fn latex(&self) -> String {
        let spec: String = (0..self.header.len())
            .map(|i| if self.is_text(i) { 'l' } else { 'r' })
            .collect();
        let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
        let mut out = format!(
            "\\begin{{table}}\n\\centering\n\\caption{{{}}}\n",
            latex_escape(&self.title)
        );
        out += &format!("\\begin{{tabular}}{{{spec}}}\n\\toprule\n");
        out += &line(self.header.iter().map(|name| latex_escape(name)).collect());
        out += "\\midrule\n";
        for row in &self.rows {
            let cell = |(cell, parts): (&Cell, Vec<String>)| {
                let text = latex_escape(&parts.join(" "));
                let number = matches!(cell, Cell::Number(_));
                text.strip_prefix('-')
                    .filter(|_| number)
                    .map_or(text.clone(), |rest| format!("$-${rest}"))
            };
            out += &line(row.cells.iter().zip(self.shown(row)).map(cell).collect());
        }
        out += "\\bottomrule\n\\end{tabular}\n\\par\\smallskip\\footnotesize\n";
        for note in &self.notes {
            out += &format!("{}\\par\n", latex_escape(note));
        }
        out + "\\end{table}\n"
    }

    /// CSV: a column `numbers` (ours, paper, difference), then each column of text or counts as one column, and each column of
    /// numbers as three: value (four decimals), `±` and `n`. Missing cells are empty, undefined ones are NaN.
    ///
    /// # Errors
    /// [`Error::Csv`].
    pub fn csv(&self) -> Result<String> {
        let fail = |source| Error::Csv {
            name: self.name.clone(),
            source,
        };
        let mut out = csv::Writer::from_writer(Vec::new());
        let mut header = vec!["numbers".to_owned()];
        for (i, name) in self.header.iter().enumerate() {
            header.push(name.clone());
            if self.has_numbers(i) {
                header.extend([format!("{name} ±"), format!("{name} n")]);
            }
        }
        out.write_record(&header).map_err(fail)?;
        for row in &self.rows {
            out.write_record(self.csv_row(row)).map_err(fail)?;
        }
        let bytes = out.into_inner().map_err(|e| fail(e.into_error().into()))?;
        String::from_utf8(bytes).map_err(|e| fail(std::io::Error::other(e).into()))
    }

    fn csv_row(&self, row: &TableRow) -> Vec<String> {
        let mut cells = vec![row.kind.name().to_owned()];
        for (i, cell) in row.cells.iter().enumerate() {
            let number = |x: f64| unsigned_zero(format!("{x:.4}"));
            let (value, spread, n) = match cell {
                Cell::Text(text) => (text.clone(), None, None),
                Cell::Count(count) => (count.to_string(), None, None),
                Cell::Number(x) => (number(x.value), x.spread.map(number), x.n),
                Cell::Undefined { undefined } => ("NaN".to_owned(), None, Some(*undefined)),
                Cell::Missing => (String::new(), None, None),
            };
            cells.push(value);
            if self.has_numbers(i) {
                cells.extend([
                    spread.unwrap_or_default(),
                    n.map_or_else(String::new, |n| n.to_string()),
                ]);
            }
        }
        cells
    }

    /// The printed cells, by row.
    #[must_use]
    pub fn printed(&self) -> Vec<Vec<String>> {
        let joined = |row| self.shown(row).iter().map(|parts| parts.join(" ")).collect();
        self.rows.iter().map(joined).collect()
    }

    /// Parts of a row's cells: value, spread, number of seeds. A number of seeds that is the same throughout the row is printed
    /// once, after the row's name.
    fn shown(&self, row: &TableRow) -> Vec<Vec<String>> {
        let seeds_of = || row.cells.iter().filter_map(Cell::seeds);
        let uniform = seeds_of().next().filter(|first| seeds_of().all(|n| n == *first));
        let name = row.cells.iter().rposition(Cell::is_name);
        let each = self.show_n && (uniform.is_none() || name.is_none());
        let part = |(i, cell): (usize, &Cell)| match cell {
            Cell::Text(text) => {
                let n = uniform.filter(|_| self.show_n && Some(i) == name).map(with_seeds);
                [Some(text.clone()), n].into_iter().flatten().collect()
            }
            Cell::Count(count) => vec![grouped(*count)],
            Cell::Number(number) => number.shown(row.kind, each),
            Cell::Undefined { undefined } => {
                let n = each.then(|| with_seeds(*undefined));
                std::iter::once(UNDEFINED.to_owned()).chain(n).collect()
            }
            Cell::Missing => vec![MISSING.to_owned()],
        };
        row.cells.iter().enumerate().map(part).collect()
    }

    pub(crate) fn is_text(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.cells.get(column));
        let first = cells.find(|cell| !matches!(cell, Cell::Missing));
        first.map_or(self.rows.is_empty(), |cell| matches!(cell, Cell::Text(_)))
    }

    fn has_numbers(&self, column: usize) -> bool {
        self.rows
            .iter()
            .any(|row| matches!(row.cells.get(column), Some(Cell::Number(_) | Cell::Undefined { .. })))
    }
}

impl Number {
    fn shown(self, kind: RowKind, with_n: bool) -> Vec<String> {
        let Self {
            value,
            spread,
            n,
            decimals,
        } = self;
        let text = unsigned_zero(format!("{value:.decimals$}"));
        let plus = kind == RowKind::Difference && text.bytes().any(|b| matches!(b, b'1'..=b'9')) && value > 0.0;
        let mut parts = vec![if plus { format!("+{text}") } else { text }];
        parts.extend(spread.map(|spread| format!("±{spread:.decimals$}")));
        parts.extend(n.filter(|_| with_n).map(with_seeds));
        parts
    }
}

fn with_seeds(n: usize) -> String {
    format!("(n={n})")
}

fn aligned(text: String, left: bool) -> TermCell {
    TermCell::new(text).set_alignment(if left {
        CellAlignment::Left
    } else {
        CellAlignment::Right
    })
}

/// Removes the sign of a rounded zero.
fn unsigned_zero(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.to_owned(),
        _ => text,
    }
}

/// With thousands separators: `294,912`.
pub(crate) fn grouped(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut out = String::from(if count < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Text in a cell of a Markdown table.
pub(crate) fn markdown_escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ")
}

fn latex_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '–' => out.push_str("--"),
            '†' => out.push_str("\\dag{}"),
            '\n' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

/// Lines of at most `width` characters, broken at blanks; later lines are indented.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    textwrap::fill(text, whole_words(width).subsequent_indent(indent)) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latex_specials_are_escaped() {
        assert_eq!(latex_escape("a_b & 5% #1 {x} $y$"), r"a\_b \& 5\% \#1 \{x\} \$y\$");
        assert_eq!(
            latex_escape(r"\ ~ ^ ± – −"),
            r"\textbackslash{} \textasciitilde{} \textasciicircum{} $\pm$ -- $-$"
        );
    }

    #[test]
    fn counts_are_grouped_and_zero_has_no_sign() {
        assert_eq!(
            [0, 999, 1000, 294_912, -1_234_567].map(grouped),
            ["0", "999", "1,000", "294,912", "-1,234,567"]
        );
        assert_eq!(
            ["-0.0", "-0.1", "0.0"].map(|s| unsigned_zero(s.into())),
            ["0.0", "-0.1", "0.0"]
        );
    }
}
