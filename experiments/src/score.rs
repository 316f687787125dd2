//! `lora score`: generated texts against references, as the field's own tools score them.

use anyhow::{Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use datasets::metric::generated::{Scores, read_parallel};
use datasets::metric::{e2e, rouge, sacrebleu, sql, webnlg};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A way of scoring: what the field's tool reads and prints.
pub struct Scorer {
    /// Its name on the command line.
    pub name: &'static str,
    /// The files that it wants after the kind, for messages.
    pub files: &'static str,
    /// The most files of references that it takes.
    pub most_refs: usize,
    /// Reads the files and scores.
    pub score: fn(&ScoreArgs) -> Result<Scores>,
}

const PARALLEL: &str = "HYP (an output a line) and REF ... (a reference a line, a file for the first reference of each, one for the second, ...)";

/// All of them. A new one is an entry here.
pub const SCORERS: &[Scorer] = &[
    Scorer {
        name: "e2e",
        files: "HYP (an output a line) and REF (a reference a line, a blank line between instances)",
        most_refs: 1,
        score: |args| Ok(e2e::score(&e2e::read(&args.hyp, &args.refs[0])?)),
    },
    Scorer {
        name: "rouge",
        files: PARALLEL,
        most_refs: usize::MAX,
        score: |args| Ok(rouge::score(&read_parallel(&args.hyp, &args.refs)?, args.stemmer)),
    },
    Scorer {
        name: "bleu",
        files: PARALLEL,
        most_refs: usize::MAX,
        score: |args| Ok(sacrebleu::score(&read_parallel(&args.hyp, &args.refs)?)),
    },
    Scorer {
        name: "webnlg",
        files: PARALLEL,
        most_refs: usize::MAX,
        score: |args| Ok(webnlg::score(&read_parallel(&args.hyp, &args.refs)?)),
    },
    Scorer {
        name: "wikisql",
        files: "HYP (a query a line) and REF (a query a line, or WikiSQL's own SPLIT.jsonl, which is executed too if SPLIT.tables.jsonl lies beside it)",
        most_refs: 1,
        score: |args| Ok(sql::score_files(&args.hyp, &args.refs[0])?),
    },
];

fn kinds() -> PossibleValuesParser {
    SCORERS.iter().map(|s| s.name).into()
}

/// `lora score`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora score e2e outputs.txt references.txt\n  lora score e2e outputs.txt references.txt --json"
)]
pub struct ScoreArgs {
    /// The task or tool whose scores are wanted
    #[arg(value_parser = kinds())]
    pub kind: String,
    /// File of outputs
    pub hyp: PathBuf,
    /// Files of references
    #[arg(required = true)]
    pub refs: Vec<PathBuf>,
    /// Stem words of more than three letters before they are compared (rouge)
    #[arg(long)]
    pub stemmer: bool,
    /// One JSON object, unrounded, in place of the table
    #[arg(long)]
    pub json: bool,
}

/// The scores as a table, or as one JSON object.
///
/// # Errors
/// Files that cannot be read or do not belong together.
pub fn score(args: &ScoreArgs) -> Result<String> {
    let scorer = SCORERS.iter().find(|s| s.name == args.kind);
    let scorer = scorer.ok_or_else(|| anyhow::anyhow!("unknown kind `{}`", args.kind))?;
    ensure!(
        args.refs.len() <= scorer.most_refs,
        "`lora score {}` takes {}, not {} files of references",
        scorer.name,
        scorer.files,
        args.refs.len()
    );
    let scores = (scorer.score)(args)?;
    if args.json {
        let object: Map<String, Value> = scores.into_iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
        return Ok(Value::Object(object).to_string() + "\n");
    }
    let width = scores.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, Option<f64>)| {
        let value = value.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"));
        format!("{name:<width$}  {value:>8}\n")
    };
    Ok(scores.iter().map(line).collect())
}
