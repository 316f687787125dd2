//! File names made from free text: labels, presets, models.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::Analysis;
use crate::store::Selection;

/// Longest part of a file name that comes from free text, in bytes; file systems allow 255 in all.
const LONGEST: usize = 80;

/// Lower-case words joined by hyphens. A text that is cut ends in a hash of the whole; one without letters or digits is a hash.
pub(crate) fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let whole = words.join("-");
    if whole.is_empty() {
        return hash(text);
    }
    if whole.len() <= LONGEST {
        return whole;
    }
    let ends = whole.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= LONGEST).last().unwrap_or_default();
    format!("{}-{}", whole[..end].trim_end_matches('-'), hash(text))
}

/// The slug of each (text, identity). Slugs shared by several identities, such as names that differ in case alone, end in a hash of
/// the identity.
pub(crate) fn slugs(things: &[(String, String)]) -> Vec<String> {
    let mut same: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (text, thing) in things {
        same.entry(slug(text)).or_default().insert(thing);
    }
    let one = |(text, thing): &(String, String)| match slug(text) {
        slug if same[&slug].len() > 1 => format!("{slug}-{}", hash(thing)),
        slug => slug,
    };
    things.iter().map(one).collect()
}

/// File stem of an analysis: the kind of table or figure, and the preset or model, with the analysis' id where several share them.
pub(crate) fn analysis_stem(kind: &str, analysis: &Analysis, stored: &Selection) -> String {
    let own = |a: &Analysis| slug(a.preset.as_ref().unwrap_or(&a.model));
    let short = own(analysis);
    let alike = |a: &&Analysis| a.findings.kind() == analysis.findings.kind() && own(a) == short;
    if stored.analyses.iter().filter(alike).count() <= 1 {
        return format!("{kind}-{short}");
    }
    format!("{kind}-{short}-{}", &analysis.id[..analysis.id.len().min(6)])
}

/// Printed name of a kind of table or figure, from its stem: `Figure 3` for `figure3-minilm`.
pub(crate) fn numbered(stem: &str) -> String {
    let kind = stem.split('-').next().unwrap_or(stem);
    let at = kind.find(|c: char| c.is_ascii_digit()).unwrap_or(kind.len());
    let (word, number) = kind.split_at(at);
    let first = word.chars().next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
    let named = format!("{first}{} {number}", word.get(1..).unwrap_or_default());
    named.trim_end().to_owned()
}

/// Six hex digits of FNV-1a, folded: the same on every platform.
fn hash(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let whole = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{:06x}", (whole ^ (whole >> 24) ^ (whole >> 48)) & 0x00ff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_a_name_that_a_file_system_takes() {
        let long = "a long label of the runs in this study, ".repeat(7);
        for text in [
            "../x",
            "/etc/passwd",
            "",
            "...",
            "\0",
            &long,
            &"ß漢".repeat(200),
            "con\n",
        ] {
            let name = slug(text);
            assert!(!name.is_empty() && name.len() < 100, "{text:?}: {name:?}");
            let fine = |c: char| c.is_alphanumeric() || c == '-';
            assert!(name.chars().all(fine) && !name.starts_with('-'), "{text:?}: {name:?}");
        }
        assert_eq!(slug("MiniLM L6 (on real GLUE)"), "minilm-l6-on-real-glue");
        let other = format!("{long}, the second of them");
        assert_ne!(slug(&long), slug(&other), "cut where they are still the same");
        assert_ne!(slug("..."), slug("???"));
    }

    #[test]
    fn names_that_differ_in_case_or_signs_alone_are_told_apart() {
        let same = |text: &str| (text.to_owned(), text.to_owned());
        let all = ["Base", "base", "base?", "other"].map(same);
        let names = slugs(&all);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 4, "{names:?}");
        assert!(names[0].starts_with("base-") && names[3] == "other", "{names:?}");
        // Whatever else there is and in whichever order, a name that is shared stays the same.
        let fewer = slugs(&[all[1].clone(), all[0].clone()]);
        assert_eq!(fewer, [names[1].clone(), names[0].clone()]);
        assert_eq!(slugs(&[same("base"), same("base")]), ["base", "base"]);
    }
}
