//! Prompt templates.

use crate::DataError;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Slot(usize),
}

/// Text with placeholders such as `{question}`. A line whose placeholders all turn out empty is left out; `{{` and `}}`
/// are braces.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    lines: Vec<Vec<Part>>,
}

impl Template {
    /// From its text; `known` are the names that may stand in braces. Without known names the text must be empty.
    pub(crate) fn parse(dataset: &'static str, text: &str, known: &[&str]) -> Result<Self, DataError> {
        let bad = |problem: String| DataError::Template { dataset, problem };
        if known.is_empty() {
            return match text {
                "" => Ok(Self { lines: Vec::new() }),
                _ => Err(bad(
                    "this data set fixes its own form, no template can be given".to_owned()
                )),
            };
        }
        let lines = text.split('\n').map(|line| parse_line(line, known).map_err(bad));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        if !lines.iter().flatten().any(|p| matches!(p, Part::Slot(_))) {
            return Err(bad(format!("no placeholder in it; known: {}", braced(known))));
        }
        Ok(Self { lines })
    }

    /// The text with `values` in the places, in the order of the known names.
    pub(crate) fn fill(&self, values: &[&str]) -> String {
        let value = |slot: usize| values.get(slot).copied().unwrap_or_default();
        let kept = self.lines.iter().filter(|line| {
            let mut slots = line.iter().filter_map(|p| match p {
                Part::Slot(slot) => Some(*slot),
                Part::Text(_) => None,
            });
            slots.clone().next().is_none() || slots.any(|slot| !value(slot).is_empty())
        });
        let filled = kept.map(|line| {
            let parts = line.iter().map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Slot(slot) => value(*slot),
            });
            parts.collect::<String>()
        });
        filled.collect::<Vec<_>>().join("\n")
    }
}

fn braced(known: &[&str]) -> String {
    known.iter().map(|k| format!("{{{k}}}")).collect::<Vec<_>>().join(", ")
}

fn parse_line(line: &str, known: &[&str]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let slot = if brace == "{" { after.split_once('}') } else { None };
        let (name, after) = slot.ok_or_else(|| format!("a single \"{brace}\" in \"{line}\"; write it twice"))?;
        let slot = known.iter().position(|k| *k == name);
        let slot = slot.ok_or_else(|| format!("no placeholder {{{name}}}; known: {}", braced(known)))?;
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(Part::Slot(slot));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["a", "b"];

    fn fill(text: &str, values: &[&str]) -> String {
        Template::parse("x", text, KNOWN).unwrap().fill(values)
    }

    #[test]
    fn places_are_filled_and_empty_lines_of_places_go() {
        assert_eq!(fill("A: {a}\nB: {b}\n\nend", &["1", "2"]), "A: 1\nB: 2\n\nend");
        assert_eq!(fill("A: {a}\nB: {b}", &["", "{a}"]), "B: {a}");
        assert_eq!(fill("{{{a}}}", &["1"]), "{1}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let problem = |text: &str, known: &[&str]| Template::parse("x", text, known).unwrap_err().to_string();
        assert!(problem("{c}", KNOWN).contains("no placeholder {c}; known: {a}, {b}"));
        assert!(problem("{a", KNOWN).contains("a single \"{\""));
        assert!(problem("a} {a}", KNOWN).contains("a single \"}\""));
        assert!(problem("no", KNOWN).contains("no placeholder in it"));
        assert!(problem("{a}", &[]).contains("fixes its own form"));
    }
}
