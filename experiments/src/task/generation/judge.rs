//! Scores of what was written, by the metrics of each data set.

use crate::task::Metrics;
use crate::task::generation::scorers::Scorers;
use anyhow::{Context, Result, ensure};
use datasets::metric::generated::{Scores, Segment};
use datasets::metric::{e2e, rouge, sql, webnlg};
use datasets::text::Prompt;

/// How the texts of one data set are judged. To add a data set: an entry in [`SCORERS`].
pub(crate) struct Scorer {
    dataset: &'static str,
    /// What its tables show, by the names in records.
    pub metrics: &'static [&'static str],
    score: fn(&Judged, &Scorers) -> Result<Named>,
}

/// All scores of a group of texts, by name.
type Named = Vec<(String, Option<f64>)>;

/// What was written, beside what it is measured by.
struct Judged<'a> {
    prompts: &'a [Prompt],
    texts: &'a [String],
    /// The same, as most metrics take it.
    segments: Vec<Segment>,
}

static SCORERS: &[Scorer] = &[
    Scorer {
        dataset: "e2e",
        metrics: &["BLEU", "NIST", "METEOR", "ROUGE_L", "CIDEr"],
        score: |judged, tools| Ok(named(e2e::score(&judged.segments, tools.meteor.as_ref()), "")),
    },
    Scorer {
        dataset: "wikisql",
        metrics: &["logical_form", "execution"],
        score: queries,
    },
    Scorer {
        dataset: "samsum",
        metrics: &["rouge1", "rouge2", "rougeL"],
        score: |judged, _| Ok(summaries(&judged.segments)),
    },
    Scorer {
        dataset: "webnlg",
        metrics: TRIPLES,
        score: |judged, tools| Ok(seen_and_unseen(judged, tools)),
    },
    Scorer {
        dataset: "dart",
        metrics: TRIPLES,
        score: |judged, tools| Ok(seen_and_unseen(judged, tools)),
    },
];

const TRIPLES: &[&str] = &["BLEU", "METEOR", "TER"];

impl Scorer {
    /// That of a data set.
    ///
    /// # Errors
    /// A data set without one.
    pub fn of(dataset: &str) -> Result<&'static Scorer> {
        let found = SCORERS.iter().find(|j| j.dataset == dataset);
        found.with_context(|| format!("there is no way of scoring {dataset}"))
    }

    /// Scores `texts`, one a prompt, as `test/BLEU` and so on; all as fractions, but for NIST and CIDEr, whose scale is
    /// their own.
    ///
    /// # Errors
    /// Texts and prompts that do not match.
    pub fn score(&self, split: &str, prompts: &[Prompt], texts: &[String], tools: &Scorers) -> Result<Metrics> {
        let (written, asked) = (texts.len(), prompts.len());
        ensure!(written == asked, "{written} texts for {asked} contexts");
        let segment = |(prompt, text): (&Prompt, &String)| Segment {
            hyp: text.clone(),
            refs: prompt.references.clone(),
        };
        let judged = Judged {
            prompts,
            texts,
            segments: prompts.iter().zip(texts).map(segment).collect(),
        };
        let scores = (self.score)(&judged, tools)?.into_iter();
        Ok(scores.map(|(name, value)| (format!("{split}{name}"), value)).collect())
    }
}

/// ROUGE's F without and with stemming: the paper does not say which it prints.
fn summaries(segments: &[Segment]) -> Named {
    let f = |stemmed| {
        rouge::score(segments, stemmed)
            .into_iter()
            .filter(|(name, _)| !name.contains('_'))
    };
    let stemmed = named(f(true).collect(), "").into_iter();
    let stemmed = stemmed.map(|(name, value)| (name + "_stemmed", value));
    named(f(false).collect(), "").into_iter().chain(stemmed).collect()
}

fn queries(judged: &Judged, _: &Scorers) -> Result<Named> {
    let questions: Vec<_> = judged.prompts.iter().filter_map(|p| p.question.as_ref()).collect();
    ensure!(
        questions.len() == judged.texts.len(),
        "a question came without its query"
    );
    let names = [("lf_accuracy", "logical_form"), ("ex_accuracy", "execution")];
    Ok(named(renamed(sql::score(judged.texts, &questions), &names), ""))
}

/// All, and apart those whose category stands among the training data and those whose does not.
fn seen_and_unseen(judged: &Judged, tools: &Scorers) -> Named {
    let mut all = named(triples(&judged.segments, tools), "");
    for (group, seen) in [("_seen", true), ("_unseen", false)] {
        let of_group = judged.prompts.iter().zip(&judged.segments);
        let of_group = of_group.filter(|(p, _)| p.category.as_ref().is_some_and(|c| c.seen == seen));
        let own: Vec<Segment> = of_group.map(|(_, s)| s.clone()).collect();
        if !own.is_empty() {
            all.extend(named(triples(&own, tools), group));
        }
    }
    all
}

/// As the paper's code scores WebNLG and DART.
fn triples(segments: &[Segment], tools: &Scorers) -> Scores {
    let scores = webnlg::score(&webnlg::prepared(segments), tools.nltk.as_ref(), tools.meteor.as_ref());
    let names = [("bleu", "BLEU"), ("meteor", "METEOR"), ("ter", "TER")];
    let mut scores = renamed(scores, &names);
    for (_, value) in scores.iter_mut().filter(|(name, _)| *name == "BLEU") {
        *value = value.map(|v| v / 100.0);
    }
    scores
}

/// With what stands behind the split's name in a record.
fn named(scores: Scores, group: &str) -> Named {
    let named = scores.into_iter();
    named.map(|(name, value)| (format!("{group}/{name}"), value)).collect()
}

/// Those with a new name.
fn renamed(scores: Scores, names: &[(&str, &'static str)]) -> Scores {
    let own = scores.into_iter().filter_map(|(name, value)| {
        let (_, new) = names.iter().find(|(old, _)| *old == name)?;
        Some((*new, value))
    });
    own.collect()
}
