//! Lists in columns without rules, as programs print them beside the tables of results.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

/// The head of a column.
#[derive(Clone, Debug)]
pub struct Column {
    head: String,
    align: CellAlignment,
}

impl Column {
    /// A column of words.
    #[must_use]
    pub fn text(head: &str) -> Self {
        Self {
            head: head.to_owned(),
            align: CellAlignment::Left,
        }
    }

    /// A column of numbers.
    #[must_use]
    pub fn number(head: &str) -> Self {
        Self {
            head: head.to_owned(),
            align: CellAlignment::Right,
        }
    }
}

/// The columns and their rows as lines. With a `width` in characters, columns stand closer and at last cells are broken, so that
/// lines fit; without, each row is one line. Heads that are all empty are left out.
#[must_use]
pub fn listing(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>, width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let fits = |text: &String| width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width));
    let whole = |gap| lines(columns, &rows, gap, None);
    Some(whole(2))
        .filter(fits)
        .or_else(|| Some(whole(1)).filter(fits))
        .unwrap_or_else(|| lines(columns, &rows, 1, width))
}

fn lines(columns: &[Column], rows: &[Vec<String>], gap: u16, width: Option<usize>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if let Some(width) = width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    let aligned = |(text, column): (String, &Column)| Cell::new(text).set_alignment(column.align);
    if columns.iter().any(|column| !column.head.is_empty()) {
        table.set_header(columns.iter().map(|column| aligned((column.head.clone(), column))));
    }
    for row in rows {
        table.add_row(row.iter().cloned().zip(columns).map(aligned));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, gap));
    }
    if let Some(width) = width {
        keep_words_whole(&mut table, width);
    }
    let text = table.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Has cells broken between words alone, where a table of `width` characters has room for the longest word of each column.
pub(crate) fn keep_words_whole(table: &mut Table, width: usize) {
    let mut least: Vec<usize> = table
        .column_iter()
        .map(|column| usize::from(column.padding_width()))
        .collect();
    let padding: Vec<usize> = least.clone();
    for row in table.header().into_iter().chain(table.row_iter()) {
        for ((least, padding), cell) in least.iter_mut().zip(&padding).zip(row.cell_iter()) {
            let text = cell.content();
            let words = text.split_whitespace().map(|word| word.chars().count() + padding);
            *least = words.fold(*least, usize::max);
        }
    }
    // A preset may draw a blank between columns.
    if least.iter().map(|one| one + 1).sum::<usize>() > width + 1 {
        return;
    }
    for (column, least) in table.column_iter_mut().zip(least) {
        let least = Width::Fixed(u16::try_from(least).unwrap_or(u16::MAX));
        column.set_constraint(ColumnConstraint::LowerBoundary(least));
    }
}

/// Prose in lines of at most `width` characters. Lines that begin with a blank are commands or columns, and stay whole.
#[must_use]
pub fn wrapped(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let line = |line: &str| match line.starts_with(' ') {
        true => line.to_owned(),
        false => textwrap::fill(line, whole_words(width)),
    };
    let end = if text.ends_with('\n') { "\n" } else { "" };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + end
}

/// A text after `head`, in lines of at most `width` characters; the lines after the first begin below it.
#[must_use]
pub fn beside(head: &str, text: &str, width: Option<usize>) -> String {
    let Some(width) = width else {
        return format!("{head}{text}");
    };
    let indent = " ".repeat(head.chars().count());
    textwrap::fill(text, whole_words(width).initial_indent(head).subsequent_indent(&indent))
}

/// Lines of at most `width` characters that break no word, so that names and paths can be copied.
pub(crate) fn whole_words(width: usize) -> textwrap::Options<'static> {
    textwrap::Options::new(width)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
}

/// The width in characters of the terminal that standard output is, if it is one.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    let term = console::Term::stdout();
    term.is_term().then(|| usize::from(term.size().1))
}

/// The width in characters of the terminal that standard error is, if it is one.
#[must_use]
pub fn error_width() -> Option<usize> {
    let term = console::Term::stderr();
    term.is_term().then(|| usize::from(term.size().1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> [Column; 3] {
        [Column::text("run"), Column::number("steps"), Column::text("what it is")]
    }

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        vec![
            row(["a", "9", "a short one"]),
            row(["bcd", "12000", "one that takes many more words than the first"]),
        ]
    }

    #[test]
    fn rows_are_lines_and_numbers_stand_right() {
        let text = listing(&columns(), rows(), None);
        assert_eq!(
            text,
            "run  steps  what it is\na        9  a short one\nbcd  12000  one that takes many more words than the first\n"
        );
    }

    #[test]
    fn a_narrow_terminal_loses_no_word() {
        let text = listing(&columns(), rows(), Some(40));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        for word in ["12000", "takes", "than", "first"] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
    }

    #[test]
    fn prose_is_wrapped_and_commands_are_not() {
        let text = wrapped("one two three four five\n  a command that is long\n", Some(12));
        assert_eq!(text, "one two\nthree four\nfive\n  a command that is long\n");
    }
}
