//! `lora score`: generated texts scored against references as the field's own tools do.

use crate::task::generation::scorers::{DataArgs, fetch_meteor, fetch_punkt};
use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use datasets::metric::generated::{Scores, read_parallel};
use datasets::metric::meteor::Meteor;
use datasets::metric::nltk::Nltk;
use datasets::metric::{e2e, rouge, sacrebleu, webnlg};
use datasets::text::wikisql;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A scorer: the inputs and outputs of one of the field's tools.
pub struct ScoringTool {
    /// Its name on the command line.
    pub name: &'static str,
    /// The files that it takes after its name, for messages.
    pub files: &'static str,
    /// The largest number of files of references.
    pub most_refs: usize,
    /// Reads the files and scores.
    pub score: fn(&ScoreArgs) -> Result<Scores>,
}

const PARALLEL: &str = "HYP (an output a line) and REF ... (a reference a line, a file for the first reference of each, one for the second, ...)";

/// All scorers. To add one: an entry here.
pub const SCORERS: &[ScoringTool] = &[
    ScoringTool {
        name: "e2e",
        files: "HYP (an output a line) and REF (a reference a line, a blank line between instances)",
        most_refs: 1,
        score: |args| {
            let segments = e2e::read(&args.hyp, &args.refs[0])?;
            Ok(e2e::score(&segments, args.meteor()?.as_ref()))
        },
    },
    ScoringTool {
        name: "rouge",
        files: PARALLEL,
        most_refs: usize::MAX,
        score: |args| Ok(rouge::score(&read_parallel(&args.hyp, &args.refs)?, args.stemmer)),
    },
    ScoringTool {
        name: "bleu",
        files: PARALLEL,
        most_refs: usize::MAX,
        score: |args| Ok(sacrebleu::score(&read_parallel(&args.hyp, &args.refs)?)),
    },
    ScoringTool {
        name: "webnlg",
        files: PARALLEL,
        most_refs: usize::MAX,
        score: |args| {
            let segments = read_parallel(&args.hyp, &args.refs)?;
            let (nltk, meteor) = (args.nltk()?, args.meteor()?);
            Ok(webnlg::score(&segments, nltk.as_ref(), meteor.as_ref()))
        },
    },
    ScoringTool {
        name: "wikisql",
        files: "HYP (a query a line) and REF (a query a line, or WikiSQL's own SPLIT.jsonl, which is executed too if SPLIT.tables.jsonl lies beside it)",
        most_refs: 1,
        score: |args| Ok(wikisql::score_files(&args.hyp, &args.refs[0])?),
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
    after_help = "Examples:\n  lora score e2e outputs.txt references.txt\n  lora score e2e outputs.txt references.txt --json\n\nMETEOR's data and NLTK's parameters, on whose words WebNLG and DART are scored, are not part of this program: `lora score fetch-meteor-data` and `lora score fetch-punkt-data` bring them, once. Without them the scores that need them are \"–\"."
)]
pub struct ScoreCommand {
    #[command(subcommand)]
    data: Option<Data>,
    #[command(flatten)]
    args: Option<ScoreArgs>,
    /// Where METEOR's data and NLTK's parameters lie
    #[command(flatten)]
    sources: DataArgs,
}

#[derive(Subcommand, Debug)]
enum Data {
    /// Fetch METEOR's data from PyPI (pip download pycocoevalcap==1.2, 104 MB) into the cache
    FetchMeteorData,
    /// Fetch the parameters of NLTK's Punkt from PyPI (pip download llama-index-core==0.14.25, 12 MB) into the cache
    FetchPunktData,
}

/// The files to score, and how.
#[derive(Args, Clone, Debug)]
pub struct ScoreArgs {
    /// The task or tool whose scores to compute
    #[arg(value_parser = kinds())]
    pub kind: String,
    /// File of outputs
    pub hyp: PathBuf,
    /// Files of references
    #[arg(required = true)]
    pub refs: Vec<PathBuf>,
    /// Where METEOR's data and NLTK's parameters lie: the command's own flags.
    #[arg(skip)]
    pub data: DataArgs,
    /// Stem words of more than three letters before they are compared (rouge)
    #[arg(long)]
    pub stemmer: bool,
    /// Print one JSON object, unrounded, instead of the table
    #[arg(long)]
    pub json: bool,
}

impl ScoreArgs {
    /// METEOR, if its data are found; otherwise a hint how to get them.
    ///
    /// # Errors
    /// Named data that are missing or not METEOR 1.5's.
    pub fn meteor(&self) -> Result<Option<Meteor>> {
        let meteor = self.data.meteor()?;
        if meteor.is_none() {
            eprintln!(
                "METEOR is left out: its data is neither in the cache nor named by --meteor-data; `lora score fetch-meteor-data` fetches it"
            );
        }
        Ok(meteor)
    }

    /// NLTK's tokenizer, if its parameters are found; otherwise a hint how to get them.
    ///
    /// # Errors
    /// Named parameters that are missing or not NLTK's.
    pub fn nltk(&self) -> Result<Option<Nltk>> {
        let nltk = self.data.nltk()?;
        if nltk.is_none() {
            eprintln!(
                "NLTK's BLEU, METEOR and TER are left out: they are computed on NLTK's words, whose parameters are neither in the cache nor named by --punkt-data; `lora score fetch-punkt-data` fetches them"
            );
        }
        Ok(nltk)
    }
}

/// Scores, or fetches the data of scorers.
///
/// # Errors
/// Files that cannot be read or do not match; data that cannot be fetched.
pub fn run(command: &ScoreCommand) -> Result<String> {
    match (&command.data, &command.args) {
        (Some(Data::FetchMeteorData), _) => fetch_meteor(),
        (Some(Data::FetchPunktData), _) => fetch_punkt(),
        (None, Some(args)) => score(&ScoreArgs {
            data: command.sources.clone(),
            ..args.clone()
        }),
        (None, None) => bail!("no files to score; see `lora score --help`"),
    }
}

/// The scores of the files.
///
/// # Errors
/// Files that cannot be read or do not match.
pub(crate) fn scores(args: &ScoreArgs) -> Result<Scores> {
    let scorer = SCORERS.iter().find(|s| s.name == args.kind);
    let scorer = scorer.with_context(|| support::unknown("kind", &args.kind, SCORERS.iter().map(|s| s.name)))?;
    ensure!(
        args.refs.len() <= scorer.most_refs,
        "`lora score {}` takes {}, not {} files of references",
        scorer.name,
        scorer.files,
        args.refs.len()
    );
    (scorer.score)(args)
}

/// The scores as a table, or as one JSON object.
///
/// # Errors
/// Files that cannot be read or do not match.
fn score(args: &ScoreArgs) -> Result<String> {
    let scores = scores(args)?;
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
    fn a_scorer_without_data_of_its_own_needs_no_flag() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "a b c d\n").unwrap();
            path.display().to_string()
        };
        let (hyp, refs) = (file("hyp"), file("refs"));
        for kind in ["bleu", "rouge"] {
            let scored = run(&parse(&[kind, &hyp, &refs, "--json"]).unwrap()).unwrap();
            assert!(scored.contains('1'), "{kind}: {scored}");
        }
        let named = parse(&["bleu", &hyp, &refs, "--meteor-data", "somewhere"]).unwrap();
        assert_eq!(
            named.sources.meteor_data.as_deref(),
            Some(std::path::Path::new("somewhere"))
        );
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
