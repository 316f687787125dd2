//! `lora score`: generated texts against references, as the field's own tools score them.

use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use datasets::metric::generated::{Scores, read_parallel};
use datasets::metric::meteor::Meteor;
use datasets::metric::{e2e, rouge, sacrebleu, sql, webnlg};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;

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
        score: |args| {
            let segments = e2e::read(&args.hyp, &args.refs[0])?;
            Ok(e2e::score(&segments, args.meteor()?.as_ref()))
        },
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
        score: |args| {
            let segments = read_parallel(&args.hyp, &args.refs)?;
            Ok(webnlg::score(&segments, args.meteor()?.as_ref()))
        },
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
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  lora score e2e outputs.txt references.txt\n  lora score e2e outputs.txt references.txt --json\n\nMETEOR's data is not part of this program: `lora score fetch-meteor-data` brings it, once. Without it METEOR is \"–\"."
)]
pub struct ScoreCommand {
    #[command(subcommand)]
    data: Option<Data>,
    #[command(flatten)]
    args: Option<ScoreArgs>,
}

#[derive(Subcommand, Debug)]
enum Data {
    /// Brings METEOR's data from PyPI (pip download pycocoevalcap==1.2, 104 MB) into the cache
    FetchMeteorData,
}

/// What is scored, and how.
#[derive(Args, Debug)]
pub struct ScoreArgs {
    /// The task or tool whose scores are wanted
    #[arg(value_parser = kinds())]
    pub kind: String,
    /// File of outputs
    pub hyp: PathBuf,
    /// Files of references
    #[arg(required = true)]
    pub refs: Vec<PathBuf>,
    /// METEOR's data: the pycocoevalcap 1.2 wheel, meteor-1.5.jar, or a folder that holds either (or $LORA_METEOR_DATA)
    #[arg(long, value_name = "PATH")]
    pub meteor_data: Option<PathBuf>,
    /// Stem words of more than three letters before they are compared (rouge)
    #[arg(long)]
    pub stemmer: bool,
    /// One JSON object, unrounded, in place of the table
    #[arg(long)]
    pub json: bool,
}

impl ScoreArgs {
    /// METEOR, if its data is at hand; if not, a word on how to get it.
    ///
    /// # Errors
    /// Data that is named and not there, or not METEOR 1.5's.
    pub fn meteor(&self) -> Result<Option<Meteor>> {
        let meteor = meteor(self.meteor_data.as_deref())?;
        if meteor.is_none() {
            eprintln!(
                "METEOR is left out: its data is neither in the cache nor named by --meteor-data; `lora score fetch-meteor-data` brings it"
            );
        }
        Ok(meteor)
    }
}

/// METEOR, if its data is in the cache, at `named`, or where `LORA_METEOR_DATA` says.
///
/// # Errors
/// Data that is named and not there, or not METEOR 1.5's.
pub fn meteor(named: Option<&Path>) -> Result<Option<Meteor>> {
    let from_env = || {
        std::env::var_os("LORA_METEOR_DATA")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let source = named.map(PathBuf::from).or_else(from_env);
    Ok(Meteor::open(source.as_deref())?)
}

/// Scores, or brings what scoring needs.
///
/// # Errors
/// Files that cannot be read or do not belong together; data that cannot be had.
pub fn run(command: &ScoreCommand) -> Result<String> {
    match (&command.data, &command.args) {
        (Some(Data::FetchMeteorData), _) => fetch_meteor_data(),
        (None, Some(args)) => score(args),
        (None, None) => bail!("what to score is missing; see `lora score --help`"),
    }
}

/// The data as pip brings it, indexed in the cache; the wheel itself is not kept.
fn fetch_meteor_data() -> Result<String> {
    let index = Meteor::cached().context("no folder for the cache: set LORA_CACHE or HOME")?;
    if Meteor::open(None)?.is_none() {
        let dir = tempfile::tempdir()?;
        eprintln!("fetching pycocoevalcap 1.2 (104 MB) with pip ...");
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--dest",
        ]);
        let done = pip.arg(dir.path()).arg("pycocoevalcap==1.2").status();
        ensure!(
            done.is_ok_and(|s| s.success()),
            "`python3 -m pip download pycocoevalcap==1.2` failed; get that wheel some other way and name it by --meteor-data"
        );
        eprintln!("indexing it ...");
        Meteor::open(Some(dir.path()))?;
        ensure!(index.is_file(), "{} could not be written", index.display());
    }
    Ok(format!("METEOR's data is in {}\n", index.display()))
}

/// The scores as a table, or as one JSON object.
///
/// # Errors
/// Files that cannot be read or do not belong together.
fn score(args: &ScoreArgs) -> Result<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        score: ScoreCommand,
    }

    fn parse(args: &[&str]) -> Result<ScoreCommand, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"score").chain(args)).map(|c| c.score)
    }

    #[test]
    fn scores_as_a_table_and_as_json() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let hyp = file("hyp", "a cheap pub near the river\na pub\n");
        let refs = file("refs", "a cheap pub near the river\n\nthe pub\n");
        let run = |args: &[&str]| run(&parse(&[&["e2e", &hyp, &refs], args].concat()).unwrap());
        let json: Value = serde_json::from_str(&run(&["--json"]).unwrap()).unwrap();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(names, ["BLEU", "NIST", "METEOR", "ROUGE_L", "CIDEr"]);
        assert_eq!(json["ROUGE_L"].as_f64(), Some(0.75));
        assert!(run(&[]).unwrap().contains("ROUGE_L    0.7500\n"));
        let more = run(&[&refs]).unwrap_err().to_string();
        assert!(more.ends_with("not 2 files of references"), "{more}");
    }

    #[test]
    fn fetching_takes_no_files() {
        assert!(matches!(
            parse(&["fetch-meteor-data"]).unwrap().data,
            Some(Data::FetchMeteorData)
        ));
        assert!(parse(&["e2e", "hyp"]).is_err());
        assert!(parse(&["e3e", "hyp", "refs"]).is_err());
    }
}
