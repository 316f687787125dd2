//! The paper's conclusions with their verdicts, gathered from tables and figures: a compact table, and a page of every test.

use std::collections::BTreeSet;

use crate::figure::Figure;
use crate::scripts::markdown;
use crate::stem::numbered;
use crate::table::{Table, markdown_escape};
use crate::verdict::{Outcome, Verdict};

/// The page of every test, beside the tables.
pub(crate) const PAGE: &str = "conclusions.md";
/// Most tests, and most characters, whose numbers are shown in the compact table.
const SHOWN: (usize, usize) = (4, 200);

/// A conclusion with its tests.
struct Conclusion<'a> {
    statement: &'a str,
    /// The tables and figures that state it.
    sources: BTreeSet<String>,
    tests: Vec<&'a Verdict>,
}

/// Each conclusion once; a test that a table and a figure share counts once.
fn gathered<'a>(tables: &'a [Table], figures: &'a [Figure]) -> Vec<Conclusion<'a>> {
    let tables = tables.iter().map(|table| (&table.name, &table.verdicts));
    let figures = figures.iter().map(|figure| (&figure.name, &figure.verdicts));
    let mut all: Vec<Conclusion> = Vec::new();
    for (name, verdicts) in tables.chain(figures) {
        for verdict in verdicts {
            let known = all.iter().position(|known| known.statement == verdict.statement);
            let at = known.unwrap_or_else(|| {
                all.push(Conclusion {
                    statement: &verdict.statement,
                    sources: BTreeSet::new(),
                    tests: Vec::new(),
                });
                all.len() - 1
            });
            let Some(conclusion) = all.get_mut(at) else { continue };
            conclusion.sources.insert(numbered(name));
            if !conclusion.tests.contains(&verdict) {
                conclusion.tests.push(verdict);
            }
        }
    }
    all
}

/// One sentence: how many conclusions are shown, contradicted or neither; `None` if none was tested.
pub(crate) fn counted(tables: &[Table], figures: &[Figure]) -> Option<String> {
    let all = gathered(tables, figures);
    let is = |conclusion: &&Conclusion, outcome: Outcome| conclusion.tests.iter().all(|test| test.outcome == outcome);
    let shown = all.iter().filter(|one| is(one, Outcome::Shown)).count();
    let against = |one: &&Conclusion| one.tests.iter().any(|test| test.outcome == Outcome::Contradicted);
    let contradicted = all.iter().filter(against).count();
    let few = |one: &&Conclusion| {
        let untested = |test: &Verdict| matches!(&test.outcome, Outcome::NotShown(why) if why.starts_with("n = "));
        one.tests.iter().all(|test| untested(test))
    };
    let few = all.iter().filter(few).count();
    let of = |n: usize, what: &str| (n > 0).then(|| format!("{n} {} {what}", are(n)));
    let parts = [
        of(shown, "shown wherever tested"),
        of(contradicted, "contradicted somewhere"),
        (few > 0).then(|| format!("of {few} no test has three seeds, so that nothing is shown")),
    ];
    let mut parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        parts.push("none is shown wherever tested or contradicted".to_owned());
    }
    let conclusions = support::counted(all.len(), "conclusion");
    let last = parts.pop().filter(|_| !all.is_empty())?;
    let before = parts.iter().map(|part| format!("{part}, ")).collect::<String>();
    let and = if before.is_empty() { "" } else { "and " };
    Some(format!(
        "Of the {conclusions} of the paper [tested below](#the-papers-conclusions), {before}{and}{last}."
    ))
}

fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// The compact table: conclusion, verdict, numbers.
pub(crate) fn table(tables: &[Table], figures: &[Figure]) -> String {
    let all = gathered(tables, figures);
    if all.is_empty() {
        return "None is tested yet.\n".to_owned();
    }
    let mut out = "| Conclusion | From | Verdict | Numbers |\n| --- | --- | --- | --- |\n".to_owned();
    for one in &all {
        let sources = one.sources.iter().cloned().collect::<Vec<_>>().join(", ");
        out += &line([one.statement, &sources, &tally(&one.tests), &numbers(&one.tests)]);
    }
    out
}

/// The page of every test: nothing is left out of it.
pub(crate) fn page(tables: &[Table], figures: &[Figure]) -> String {
    let mut out = "# The paper's conclusions, test by test\n\n\
        The rules are in [claims.rs](../src/claims.rs), what they ask for in [Tables and figures](../../docs/figures.md#where-the-numbers-come-from). \
        Tests of one table or caption are corrected for their number.\n\n\
        | Conclusion | From | Model | Where | Numbers | Verdict |\n| --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for one in gathered(tables, figures) {
        let sources = one.sources.iter().cloned().collect::<Vec<_>>().join(", ");
        for test in &one.tests {
            let verdict = tally(&[test]);
            out += &line([
                one.statement,
                &sources,
                &test.model,
                &test.about,
                &test.numbers,
                &verdict,
            ]);
        }
    }
    out
}

fn line<const N: usize>(cells: [&str; N]) -> String {
    let cells = cells.map(|cell| markdown(&markdown_escape(cell)));
    format!("| {} |\n", cells.join(" | "))
}

/// `shown`, `not shown (n = 1)`, or how many of the tests came out how.
fn tally(tests: &[&Verdict]) -> String {
    let word = |test: &&Verdict| match &test.outcome {
        Outcome::Shown => "shown",
        Outcome::Contradicted => "contradicted",
        Outcome::NotShown(_) => "not shown",
    };
    let of = |outcome: &str| tests.iter().filter(|test| word(test) == outcome).collect::<Vec<_>>();
    let part = |outcome: &str| {
        let some = of(outcome);
        let reasons: BTreeSet<&str> = some
            .iter()
            .filter_map(|test| match &test.outcome {
                Outcome::NotShown(why) => Some(why.as_str()),
                _ => None,
            })
            .collect();
        let why = match reasons.len() {
            0 => String::new(),
            _ => format!(" ({})", in_brief(&reasons)),
        };
        match some.len() {
            0 => None,
            n if n == tests.len() => Some(format!("{outcome}{why}")),
            n => Some(format!("{outcome}{why} {n} of {}", tests.len())),
        }
    };
    let parts: Vec<String> = ["shown", "contradicted", "not shown"]
        .into_iter()
        .filter_map(part)
        .collect();
    parts.join(", ")
}

/// Reasons, with p values as their smallest.
fn in_brief(reasons: &BTreeSet<&str>) -> String {
    let mut p: Vec<&str> = reasons.iter().filter_map(|why| why.strip_prefix("p = ")).collect();
    p.sort_by(|a, b| a.parse().unwrap_or(1.0f64).total_cmp(&b.parse().unwrap_or(1.0)));
    let smallest = match p[..] {
        [] => None,
        [one] => Some(format!("p = {one}")),
        [first, ..] => Some(format!("p ≥ {first}")),
    };
    let others = reasons
        .iter()
        .filter(|why| !why.starts_with("p = "))
        .map(|why| (*why).to_owned());
    smallest.into_iter().chain(others).collect::<Vec<_>>().join("; ")
}

/// The numbers of few tests; of more, a link to them.
fn numbers(tests: &[&Verdict]) -> String {
    let one = |test: &&Verdict| {
        let place = [test.model.as_str(), test.about.as_str()];
        let place = place
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        match (place.as_str(), test.numbers.as_str()) {
            (_, "") => place,
            ("", numbers) => numbers.to_owned(),
            (_, numbers) => format!("{place}: {numbers}"),
        }
    };
    let all = tests.iter().map(one).collect::<Vec<_>>().join("; ");
    if tests.len() <= SHOWN.0 && all.chars().count() <= SHOWN.1 {
        all
    } else {
        format!("[{} tests](tables/{PAGE})", tests.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(model: &str, about: &str, outcome: Outcome) -> Verdict {
        Verdict {
            model: model.into(),
            statement: "LoRA is ahead".into(),
            about: about.into(),
            numbers: "1.0 against 2.0".into(),
            outcome,
        }
    }

    fn figure(name: &str, verdicts: Vec<Verdict>) -> Figure {
        Figure {
            name: name.into(),
            title: String::new(),
            foot: Vec::new(),
            shows: String::new(),
            caption: String::new(),
            verdicts,
            panels: Vec::new(),
            widths: Vec::new(),
            height: 1,
            bar: None,
        }
    }

    #[test]
    fn a_conclusion_stands_once_with_how_its_tests_came_out() {
        let few = || Outcome::NotShown("n = 1".into());
        let figures = [
            figure(
                "figure2-a",
                vec![verdict("a", "CoLA", Outcome::Shown), verdict("a", "RTE", few())],
            ),
            figure(
                "figure3",
                vec![
                    verdict("a", "RTE", few()),
                    verdict("b", "W_q", Outcome::NotShown("p = 0.20".into())),
                ],
            ),
        ];
        let table = table(&[], &figures);
        let row = table.lines().nth(2).unwrap();
        assert!(
            row.starts_with(
                "| LoRA is ahead | Figure 2, Figure 3 | shown 1 of 3, not shown (p = 0.20; n = 1) 2 of 3 |"
            ),
            "{row}"
        );
        assert!(row.contains("a CoLA: 1.0 against 2.0; a RTE: 1.0 against 2.0"), "{row}");
        assert_eq!(table.lines().count(), 3);
        let page = page(&[], &figures);
        assert_eq!(page.matches("| LoRA is ahead |").count(), 3, "{page}");
        assert!(
            page.contains("| b | W<sub>q</sub> | 1.0 against 2.0 | not shown (p = 0.20) |"),
            "{page}"
        );
        let counted = counted(&[], &figures).unwrap();
        assert!(
            counted.contains("Of the 1 conclusion of")
                && counted.ends_with(", none is shown wherever tested or contradicted."),
            "{counted}"
        );
    }

    #[test]
    fn many_tests_are_a_link() {
        let all: Vec<Verdict> = (0..9)
            .map(|i| verdict("a", &i.to_string(), Outcome::Contradicted))
            .collect();
        let table = table(&[], &[figure("figure7", all)]);
        assert!(
            table.contains("| contradicted | [9 tests](tables/conclusions.md) |"),
            "{table}"
        );
        assert_eq!(super::table(&[], &[]), "None is tested yet.\n");
    }
}
