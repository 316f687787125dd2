//! Scores of what was written, by the metrics of each data set.

use crate::score::meteor;
use crate::task::Metrics;
use anyhow::{Result, bail, ensure};
use clap::Args;
use datasets::metric::generated::{Scores, Segment};
use datasets::metric::meteor::Meteor;
use datasets::metric::{e2e, rouge, sql, webnlg};
use datasets::nlg::Prompt;
use std::path::PathBuf;

/// What experiments of text take beside what all experiments take.
#[derive(Args, Clone, Debug)]
pub struct TextArgs {
    /// METEOR's data: the pycocoevalcap 1.2 wheel, meteor-1.5.jar, or a folder that holds either (or $LORA_METEOR_DATA);
    /// `lora score fetch-meteor-data` brings it
    #[arg(long, value_name = "PATH", help_heading = "Where")]
    pub meteor_data: Option<PathBuf>,
}

/// What scoring needs beside the texts.
#[derive(Default)]
pub struct Tools {
    /// METEOR, where its data are at hand.
    pub meteor: Option<Meteor>,
}

impl Tools {
    /// METEOR's data from where they are named, or from the cache.
    ///
    /// # Errors
    /// Data that are named and not there, or not METEOR 1.5's.
    pub fn open(args: &TextArgs) -> Result<Tools> {
        Ok(Tools {
            meteor: meteor(args.meteor_data.as_deref())?,
        })
    }

    /// Whether these tools can fill in what `metrics` lack.
    pub fn would_add(&self, metrics: &Metrics) -> bool {
        let lacks = |(key, value): (&String, &Option<f64>)| key.ends_with("/METEOR") && value.is_none();
        self.meteor.is_some() && metrics.iter().any(lacks)
    }
}

/// The metrics of a data set, by their names in records.
pub(super) fn metrics(dataset: &str) -> Vec<&'static str> {
    match dataset {
        "e2e" => vec!["BLEU", "NIST", "METEOR", "ROUGE_L", "CIDEr"],
        "webnlg" | "dart" => vec!["BLEU", "METEOR", "TER"],
        "wikisql" => vec!["logical_form", "execution"],
        "samsum" => vec!["rouge1", "rouge2", "rougeL"],
        _ => Vec::new(),
    }
}

/// Scores `texts`, one a prompt, as `test/BLEU` and so on; all as fractions, but for NIST and CIDEr, whose scale is their own.
pub(super) fn score(
    dataset: &str,
    split: &str,
    prompts: &[Prompt],
    texts: &[String],
    tools: &Tools,
) -> Result<Metrics> {
    ensure!(
        prompts.len() == texts.len(),
        "{} texts for {} contexts",
        texts.len(),
        prompts.len()
    );
    let segment = |(prompt, text): (&Prompt, &String)| Segment {
        hyp: text.clone(),
        refs: prompt.references.clone(),
    };
    let segments: Vec<Segment> = prompts.iter().zip(texts).map(segment).collect();
    let mut found = Metrics::new();
    let mut add = |group: &str, scores: Vec<(String, Option<f64>)>| {
        found.extend(
            scores
                .into_iter()
                .map(|(name, value)| (format!("{split}{group}/{name}"), value)),
        );
    };
    match dataset {
        "e2e" => add("", named(e2e::score(&segments, tools.meteor.as_ref()))),
        "samsum" => {
            let f = |scores: Scores| scores.into_iter().filter(|(name, _)| !name.contains('_'));
            add("", named(f(rouge::score(&segments, false)).collect()));
            let stemmed = named(f(rouge::score(&segments, true)).collect());
            add(
                "",
                stemmed
                    .into_iter()
                    .map(|(name, value)| (name + "_stemmed", value))
                    .collect(),
            );
        }
        "wikisql" => {
            let questions: Vec<_> = prompts.iter().filter_map(|p| p.question.as_ref()).collect();
            ensure!(questions.len() == texts.len(), "a question came without its query");
            add(
                "",
                renamed(
                    sql::score(texts, &questions),
                    &[("lf_accuracy", "logical_form"), ("ex_accuracy", "execution")],
                ),
            );
        }
        "webnlg" | "dart" => {
            add("", triples(&segments, tools));
            for (group, seen) in [("_seen", true), ("_unseen", false)] {
                let of_group = prompts.iter().zip(&segments);
                let of_group = of_group.filter(|(p, _)| p.category.as_ref().is_some_and(|c| c.seen == seen));
                let own: Vec<Segment> = of_group.map(|(_, s)| s.clone()).collect();
                if !own.is_empty() {
                    add(group, triples(&own, tools));
                }
            }
        }
        other => bail!("there is no way of scoring {other}"),
    }
    Ok(found)
}

/// As the paper's code scores WebNLG and DART.
fn triples(segments: &[Segment], tools: &Tools) -> Vec<(String, Option<f64>)> {
    let scores = webnlg::score(&webnlg::prepared(segments), tools.meteor.as_ref());
    let names = [("bleu", "BLEU"), ("meteor", "METEOR"), ("ter", "TER")];
    let percent = |(name, value): (String, Option<f64>)| {
        let value = if name == "BLEU" {
            value.map(|v| v / 100.0)
        } else {
            value
        };
        (name, value)
    };
    renamed(scores, &names).into_iter().map(percent).collect()
}

fn named(scores: Scores) -> Vec<(String, Option<f64>)> {
    scores
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
}

/// Those with a new name.
fn renamed(scores: Scores, names: &[(&str, &str)]) -> Vec<(String, Option<f64>)> {
    let own = scores.into_iter().filter_map(|(name, value)| {
        let (_, new) = names.iter().find(|(old, _)| *old == name)?;
        Some(((*new).to_string(), value))
    });
    own.collect()
}
