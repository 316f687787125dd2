//! The E2E NLG Challenge's scores, as its `measure_scores.py -p` prints them.

use std::path::Path;

use rayon::prelude::*;

use super::bleu_e2e::Tokenized;
use super::generated::{ScoreError, Scores, Segment, is_python_space, read_lines};
use super::meteor::Meteor;
use super::{cider, ptb, rouge_l};

/// Outputs, one a line, and the references to each: one a line, with a blank line between instances. A file without any
/// blank line, beside more outputs than one, holds one reference to each output.
///
/// # Errors
/// Files that cannot be read, are empty or not UTF-8; other numbers of outputs and instances; an instance without a reference.
pub fn read(hyp: &Path, refs: &Path) -> Result<Vec<Segment>, ScoreError> {
    let trimmed = |line: String| line.trim_matches(is_python_space).to_owned();
    let outputs = read_lines(hyp, "an output a line")?;
    let mut instances = instances(refs)?;
    if instances.len() == 1 && outputs.len() > 1 {
        instances = instances.into_iter().flatten().map(|r| vec![r]).collect();
    }
    if outputs.len() != instances.len() {
        return Err(ScoreError::Count {
            hyp: hyp.to_path_buf(),
            outputs: outputs.len(),
            refs: refs.to_path_buf(),
            instances: instances.len(),
        });
    }
    let pairs = outputs.into_iter().map(trimmed).zip(instances);
    Ok(pairs.map(|(hyp, refs)| Segment { hyp, refs }).collect())
}

/// The references of each instance. Blank lines at the end of the file are none.
fn instances(path: &Path) -> Result<Vec<Vec<String>>, ScoreError> {
    let lines = read_lines(path, "a reference a line and a blank line between instances")?;
    let texts: Vec<&str> = lines.iter().map(|l| l.trim_matches(is_python_space)).collect();
    let end = texts.iter().rposition(|t| !t.is_empty()).map_or(1, |last| last + 1);
    let mut instances = Vec::new();
    let mut line = 1;
    for block in texts[..end].split(|t| t.is_empty()) {
        if block.is_empty() {
            let path = path.to_path_buf();
            let instance = instances.len() + 1;
            return Err(ScoreError::NoReference { path, line, instance });
        }
        line += block.len() + 1;
        instances.push(block.iter().map(|&r| r.to_owned()).collect());
    }
    Ok(instances)
}

/// The segments as METEOR, ROUGE-L and CIDEr see them: PTB tokens without punctuation.
pub fn tokenized(segments: &[Segment]) -> Vec<Segment> {
    // Outputs and references are two files to the tool's tokeniser.
    let outputs: Vec<&str> = segments.iter().map(|s| s.hyp.as_str()).collect();
    let references: Vec<&str> = segments.iter().flat_map(|s| &s.refs).map(String::as_str).collect();
    let mut references = ptb::words(&references).into_iter();
    let outputs = ptb::words(&outputs).into_iter().zip(segments);
    let segment = |(hyp, s): (String, &Segment)| Segment {
        hyp,
        refs: references.by_ref().take(s.refs.len()).collect(),
    };
    outputs.map(segment).collect()
}

/// All metrics over all segments together; METEOR only where its data is at hand.
pub fn score(segments: &[Segment], meteor: Option<&Meteor>) -> Scores {
    let mteval = Tokenized::new(segments);
    let tokenized = tokenized(segments);
    let rouge_l: Vec<f64> = tokenized.par_iter().map(rouge_l::score).collect();
    vec![
        ("BLEU", Some(mteval.bleu(0.0))),
        ("NIST", mteval.nist()),
        ("METEOR", meteor.map(|m| m.score(&tokenized))),
        ("ROUGE_L", mean(&rouge_l)),
        ("CIDEr", mean(&cider::scores(&tokenized))),
    ]
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
