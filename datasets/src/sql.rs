//! WikiSQL's queries: one column of one table, perhaps aggregated, under conditions that all hold. Their text is SQL.
//!
//! Generated text is parsed leniently: keywords in any case, columns quoted as `"…"`, `` `…` ``, `[…]` or not at all,
//! values in single or double quotes or bare. Text that cannot be parsed is an error of one line, never a panic.

use std::fmt;
use std::sync::Arc;

/// A question's table, and the query that answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The gold query.
    pub query: Query,
    /// The table. It has no columns if the data set was read without its tables.
    pub table: Arc<Table>,
}

/// A table; columns are known by name, rows may be missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Its id in the data set.
    pub id: String,
    /// Title of the page and section that it comes from; empty if unknown.
    pub title: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Its rows, as long as `columns` each.
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its header.
    pub name: String,
    /// Whether it holds numbers.
    pub number: bool,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
}

/// The aggregate of the selected values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// No aggregate: the values are listed.
    None,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// How many there are.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
}

impl Aggregate {
    /// In the order of WikiSQL's numbers.
    pub const ALL: [Aggregate; 6] = [Self::None, Self::Max, Self::Min, Self::Count, Self::Sum, Self::Avg];

    /// Its SQL function; empty for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Max => "MAX",
            Self::Min => "MIN",
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Avg => "AVG",
        }
    }
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
}

impl Comparison {
    /// In the order of WikiSQL's numbers.
    pub const ALL: [Comparison; 3] = [Self::Equal, Self::Greater, Self::Less];

    /// Its sign.
    pub fn sign(self) -> char {
        match self {
            Self::Equal => '=',
            Self::Greater => '>',
            Self::Less => '<',
        }
    }
}

/// A condition on a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The column's name.
    pub column: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// The value it is compared with.
    pub value: String,
}

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The selected column's name.
    pub column: String,
    /// The aggregate of its values.
    pub aggregate: Aggregate,
    /// Conditions, all of which must hold, in any order.
    pub conditions: Vec<Condition>,
}

/// As SQL: `SELECT MAX("Pick #") FROM table WHERE Position = 'Guard' AND Year > 1996`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = identifier(&self.column);
        match self.aggregate {
            Aggregate::None => write!(f, "SELECT {column} FROM table")?,
            aggregate => write!(f, "SELECT {}({column}) FROM table", aggregate.name())?,
        }
        for (i, condition) in self.conditions.iter().enumerate() {
            let word = if i == 0 { "WHERE" } else { "AND" };
            let (column, sign) = (identifier(&condition.column), condition.comparison.sign());
            write!(f, " {word} {column} {sign} {}", literal(&condition.value))?;
        }
        Ok(())
    }
}

const WORDS: [&str; 10] = [
    "select", "from", "where", "and", "table", "max", "min", "count", "sum", "avg",
];

fn identifier(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let word = WORDS.contains(&name.to_ascii_lowercase().as_str());
    if !name.is_empty() && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit() && !word {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(value: &str) -> String {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = value.strip_prefix('-').unwrap_or(value);
    let number = match unsigned.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(unsigned),
    };
    if number {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

/// Names of columns as they are compared: without regard to case and to the kind of white space.
pub fn same_name(a: &str, b: &str) -> bool {
    let plain = |s: &str| {
        s.split_whitespace()
            .map(str::to_lowercase)
            .collect::<Vec<_>>()
            .join(" ")
    };
    plain(a) == plain(b)
}

impl Query {
    /// Reads a query; `columns` are the table's names, which settle what an unquoted one with odd signs means.
    ///
    /// # Errors
    /// What cannot be read, in a line.
    pub fn parse(text: &str, columns: &[Column]) -> Result<Self, String> {
        let text = text.trim().trim_end_matches(';').trim_end();
        let body = word(text, "select").ok_or("it does not begin with SELECT")?;
        let froms = positions(body, "from");
        let named = |at: &&usize| find_column(selected(body[..**at].trim()).1, columns).is_some();
        let from = froms.iter().find(named).or(froms.first()).ok_or("no FROM in it")?;
        let (aggregate, column) = selected_of(body[..*from].trim(), columns);
        let column = name(column)?;
        let rest = &body[*from + "from".len()..];
        let conditions = match positions(rest, "where").first() {
            None => Vec::new(),
            Some(at) => conditions(&rest[*at + "where".len()..], columns)?,
        };
        Ok(Self {
            column,
            aggregate,
            conditions,
        })
    }
}

/// What follows `keyword` at the start of the text, which is a word of its own.
fn word<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let head = text.get(..keyword.len())?;
    let rest = &text[keyword.len()..];
    let ends = rest
        .chars()
        .next()
        .is_none_or(|c| c.is_whitespace() || "(\"'`[*".contains(c));
    (head.eq_ignore_ascii_case(keyword) && ends).then_some(rest)
}

/// Where a keyword stands as a word of its own, outside quotes.
fn positions(text: &str, keyword: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => {
                // An apostrophe inside a word quotes nothing.
                if (c == '"' || c == '`' || c == '\'') && !before.is_alphanumeric() {
                    quote = Some(c);
                } else if !before.is_alphanumeric() && before != '_' && word(&text[at..], keyword).is_some() {
                    found.push(at);
                }
            }
        }
        before = c;
    }
    found
}

fn find_column<'a>(name: &str, columns: &'a [Column]) -> Option<&'a Column> {
    let name = unquoted(name).unwrap_or_else(|| name.to_owned());
    columns.iter().find(|c| same_name(&c.name, &name))
}

/// The aggregate and the column of `MAX(x)`, `MAX x` or `x`; a column may itself begin with such a word.
fn selected_of<'a>(text: &'a str, columns: &[Column]) -> (Aggregate, &'a str) {
    if find_column(text, columns).is_some() {
        (Aggregate::None, text)
    } else {
        selected(text)
    }
}

fn selected(text: &str) -> (Aggregate, &str) {
    for aggregate in &Aggregate::ALL[1..] {
        let Some(rest) = word(text, aggregate.name()) else {
            continue;
        };
        let rest = rest.trim();
        let inner = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')'));
        match inner {
            Some(inner) => return (*aggregate, inner.trim()),
            None if !rest.is_empty() => return (*aggregate, rest),
            None => {}
        }
    }
    (Aggregate::None, text)
}

/// A name without its quotes.
fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let bare = unquoted(text).unwrap_or_else(|| text.to_owned());
    if bare.trim().is_empty() {
        return Err("a column is missing".to_owned());
    }
    Ok(bare)
}

const QUOTES: [(char, char); 4] = [('"', '"'), ('`', '`'), ('\'', '\''), ('[', ']')];

/// The inside of a text that is quoted as a whole, or None.
fn unquoted(text: &str) -> Option<String> {
    let (inside, rest) = leading_quoted(text)?;
    rest.is_empty().then_some(inside)
}

/// The inside of the quotes at the start of the text, and what follows them. A doubled quote stands for itself.
fn leading_quoted(text: &str) -> Option<(String, &str)> {
    let first = text.chars().next()?;
    let (_, close) = QUOTES.iter().find(|(open, _)| *open == first)?;
    let mut inside = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = letters.next() {
        if c != *close {
            inside.push(c);
        } else if first == *close && letters.peek().is_some_and(|(_, next)| next == close) {
            inside.push(c);
            letters.next();
        } else {
            return Some((inside, &text[at + close.len_utf8()..]));
        }
    }
    None
}

fn conditions(text: &str, columns: &[Column]) -> Result<Vec<Condition>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    loop {
        let (column, after) = condition_column(rest, columns)?;
        let (comparison, after) = comparison(after.trim_start())?;
        let (value, after) = value(after.trim_start())?;
        found.push(Condition {
            column,
            comparison,
            value,
        });
        let after = after.trim_start();
        if after.is_empty() {
            return Ok(found);
        }
        rest = word(after, "and")
            .ok_or_else(|| format!("not AND but \"{}\"", start(after)))?
            .trim_start();
    }
}

/// A column and what follows it: quoted, or one of the table's, or all before the sign.
fn condition_column<'a>(text: &'a str, columns: &[Column]) -> Result<(String, &'a str), String> {
    if let Some((inside, rest)) = leading_quoted(text) {
        return Ok((inside, rest));
    }
    let known = columns.iter().filter_map(|c| {
        let head = text.get(..c.name.len())?;
        let rest = text[c.name.len()..].trim_start();
        (!c.name.is_empty() && head.to_lowercase() == c.name.to_lowercase() && comparison(rest).is_ok())
            .then_some((c, rest))
    });
    if let Some((column, rest)) = known.max_by_key(|(c, _)| c.name.len()) {
        return Ok((column.name.clone(), rest));
    }
    let at = text.find(['=', '<', '>', '!']);
    let at = at.ok_or_else(|| format!("no comparison in \"{}\"", start(text)))?;
    Ok((name(&text[..at])?, &text[at..]))
}

fn comparison(text: &str) -> Result<(Comparison, &str), String> {
    let found = Comparison::ALL
        .iter()
        .find_map(|c| Some((*c, text.strip_prefix(c.sign())?)));
    match found {
        Some((c, rest)) if !rest.starts_with(['=', '<', '>']) => Ok((c, rest)),
        _ => Err(format!("not =, < or > but \"{}\"", start(text))),
    }
}

/// A value and what follows it: quoted, or all up to the next AND.
fn value(text: &str) -> Result<(String, &str), String> {
    if text.starts_with(['\'', '"'])
        && let Some((inside, rest)) = leading_quoted(text)
    {
        return Ok((inside, rest));
    }
    // A quote that is never closed would swallow every later AND.
    let plain = text.trim_start_matches(['\'', '"']);
    let end = positions(plain, "and").first().copied().unwrap_or(plain.len());
    let bare = plain[..end].trim();
    if bare.is_empty() {
        return Err("a value is missing".to_owned());
    }
    Ok((bare.to_owned(), &plain[end..]))
}

fn start(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    fn columns(names: &[&str]) -> Vec<Column> {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            number: false,
        };
        names.iter().map(column).collect()
    }

    fn query(column: &str, aggregate: Aggregate, conditions: &[(&str, Comparison, &str)]) -> Query {
        let condition = |(column, comparison, value): &(&str, Comparison, &str)| Condition {
            column: (*column).to_owned(),
            comparison: *comparison,
            value: (*value).to_owned(),
        };
        Query {
            column: column.to_owned(),
            aggregate,
            conditions: conditions.iter().map(condition).collect(),
        }
    }

    #[test]
    fn many_ways_of_writing_are_one_query() {
        use Comparison::{Equal, Greater};
        let wanted = query(
            "Pick #",
            Aggregate::Max,
            &[("School", Equal, "Butler CC (KS)"), ("Year", Greater, "1996")],
        );
        let known = columns(&["Pick #", "School", "Year", "Year > old"]);
        for text in [
            "SELECT MAX(\"Pick #\") FROM table WHERE School = 'Butler CC (KS)' AND Year > 1996",
            "select max ( `Pick #` ) from t where \"School\"=\"Butler CC (KS)\" and [Year]>'1996';",
            "SELECT MAX Pick # FROM table WHERE School = Butler CC (KS) AND Year > 1996",
        ] {
            assert_eq!(Query::parse(text, &known), Ok(wanted.clone()), "{text}");
            assert_eq!(Query::parse(text, &[]), Ok(wanted.clone()), "{text}");
        }
        assert_eq!(Query::parse(&wanted.to_string(), &[]), Ok(wanted));
    }

    #[test]
    fn known_columns_settle_odd_names() {
        let known = columns(&["Sum(x)", "Goals > 5", "from here", "Count"]);
        let none = Aggregate::None;
        for (text, wanted) in [
            ("SELECT Sum(x) FROM table", query("Sum(x)", none, &[])),
            ("SELECT Count FROM table", query("Count", none, &[])),
            ("SELECT from here FROM table", query("from here", none, &[])),
            (
                "SELECT Count FROM table WHERE Goals > 5 = yes",
                query("Count", none, &[("Goals > 5", Comparison::Equal, "yes")]),
            ),
        ] {
            assert_eq!(Query::parse(text, &known), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "",
            "SELECT",
            "hello",
            "SELECT x",
            "SELECT FROM table",
            "SELECT x FROM t WHERE",
            "SELECT x FROM t WHERE y",
            "SELECT x FROM t WHERE y =",
            "SELECT x FROM t WHERE y >= 3",
            "SELECT x FROM t WHERE y = 'a' OR z = 1",
            "selectx FROM t",
        ] {
            assert!(
                Query::parse(text, &[]).is_err(),
                "{text}: {:?}",
                Query::parse(text, &[])
            );
        }
    }

    /// Any query, odd signs and all, is read back from its own text.
    #[test]
    fn what_is_written_is_read_back() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let signs: Vec<char> = "aB '\"`[]()=<>!.;,-é0 9\u{a0}and from".chars().collect();
        for _ in 0..5000 {
            let mut text = |least: usize| -> String {
                let n = rng.random_range(least..8);
                let inner: String = (0..n).filter_map(|_| signs.choose(&mut rng)).collect();
                format!("x{inner}y")
            };
            let names = [text(0), text(1), text(2)];
            let values = [text(0), text(1)];
            let conditions = [
                (names[1].as_str(), Comparison::Less, values[0].as_str()),
                (names[2].as_str(), Comparison::Equal, values[1].as_str()),
            ];
            let wanted = query(&names[0], Aggregate::Sum, &conditions);
            assert_eq!(Query::parse(&wanted.to_string(), &[]), Ok(wanted.clone()), "{wanted}");
        }
    }

    /// Bits of SQL in any order: an answer or an error, and no panic.
    #[test]
    fn scrambled_text_never_panics() {
        let bits = [
            "SELECT",
            "FROM",
            "WHERE",
            "AND",
            "MAX",
            "(",
            ")",
            "=",
            "<",
            ">",
            "'",
            "\"",
            "`",
            "[",
            "]",
            "é",
            "x y",
            ";",
            "''",
            "1.5",
            "-",
            "\u{1f600}",
            "\n",
            "and",
            "İ",
        ];
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        let known = columns(&["x y", "é", "(", "MAX", "İ"]);
        for _ in 0..50_000 {
            let n = rng.random_range(0..12);
            let parts: Vec<&str> = (0..n).filter_map(|_| bits.choose(&mut rng).copied()).collect();
            let text = format!(
                "{}{}",
                if rng.random_bool(0.8) { "SELECT " } else { "" },
                parts.join([" ", ""][n % 2])
            );
            let _ = Query::parse(&text, &known);
        }
    }
}
