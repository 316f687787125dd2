//! `subspace`: Figures 3, 4, 6, 7, 8 and Table 7, from saved adapters.

mod compute;
mod read;
mod show;

use crate::analyses::{Question, resolved, whereabouts};
use crate::inputs::environment::set_threads;
use crate::inputs::locator::ModelSource;
use crate::tools::adapter::stored::BaseModel;
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser};
use compute::Request;
use read::{Opened, Spot};
use results::Store;
use results::analysis::{Findings, Module, Subspace};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tch::{Device, Tensor};

/// Analyses trained adapters: Figures 3, 4, 6, 7, 8 and Table 7.
///
/// Compares the directions of saved LoRA adapters with each other (phi), with the frozen weights and with random directions, and
/// states whether the paper's findings hold. Nothing is trained. The record is kept in OUT/analyses.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "subspace",
    version,
    after_help = "Examples:
  subspace roberta_base_lora_mnli.bin --alpha 16
  subspace roberta_base_lora_mnli.bin --alpha 16 \\
      --base FacebookAI/roberta-base --layers all
  subspace results/own/1977ecad94f36450 results/own/2c93f131256b10d9 \\
      --base minilm/model --layers 1,3,last
  subspace --r4 out/ID --r8 out/ID --r64 out/ID --r64-other out/ID \\
      --base minilm/model

The last is all of the paper's figures for one model: make its four runs with
  glue --tasks rte --methods lora --keep --seeds 1 --set methods.lora.r=4
and likewise 8 with --seeds 2, 64 with --seeds 3, and 64 with --seeds 4: with one seed all start from the same A."
)]
pub struct SubspaceArgs {
    /// Adapters: RESULTS/ID of a run whose weights were kept (--keep), its file RESULTS/weights/ID.safetensors, a folder of
    /// `lora adapter import`, a PEFT folder, or a loralib checkpoint. Those of one rank are compared as seeds, others as ranks
    #[arg(value_name = "ADAPTER")]
    pub adapters: Vec<PathBuf>,
    /// Those of the paper's setting.
    #[command(flatten)]
    pub paper: Roles,
    /// The frozen model: a Hugging Face model folder, a model of the hub, or embedded:roberta; needed for comparisons with the
    /// frozen weights
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    pub base: Option<String>,
    /// Blocks: numbers from 1, names as the adapter has them (encoder.layer.0 is 1), first, third, middle, two-thirds, last, or all;
    /// --probe is analysed too
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "first,third,two-thirds,last"
    )]
    pub layers: Vec<String>,
    /// The block that stands for the paper's layer 48 of 96, as for --layers
    #[arg(long, value_name = "LAYER", default_value = "middle")]
    pub probe: String,
    /// Matrices: query, key, value, attn_out; Figure 8 is of the first
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "query,value")]
    pub modules: Vec<String>,
    /// Alpha of loralib checkpoints, whose files lack it: 16 for the RoBERTa releases, 32 for GPT-2's
    #[arg(long, value_name = "NUMBER")]
    pub alpha: Option<f64>,
    /// Draws of random directions (Table 7)
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub draws: u64,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The model's name in figures
    #[arg(long, value_name = "NAME")]
    pub model_name: Option<String>,
    /// What the numbers are, in words, for figures and tables
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Where the record goes: OUT/analyses/ID.json
    #[arg(long, value_name = "DIR", default_value = results::OWN)]
    pub out: PathBuf,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Compute again even if the store has the record
    #[arg(long)]
    pub again: bool,
    /// Print the record as JSON
    #[arg(long)]
    pub json: bool,
}

/// The adapters of the paper's setting.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The paper's setting")]
#[group(multiple = true, conflicts_with = "adapters")]
pub struct Roles {
    /// The adapter of rank 8: with --r64 gives Figures 3 and 6
    #[arg(long, value_name = "ADAPTER")]
    pub r8: Option<PathBuf>,
    /// The adapter of rank 64
    #[arg(long, value_name = "ADAPTER")]
    pub r64: Option<PathBuf>,
    /// One of rank 64 with another seed: with --r64 gives Figures 4 and 7
    #[arg(long, value_name = "ADAPTER")]
    pub r64_other: Option<PathBuf>,
    /// The adapter of rank 4: with --r64 and --base gives Table 7, and with --r8 Figure 8
    #[arg(long, value_name = "ADAPTER")]
    pub r4: Option<PathBuf>,
}

/// All settings that decide the answer.
#[derive(Serialize)]
struct SubspaceConfig<'a> {
    kind: &'static str,
    model: &'a str,
    weights_sha256: Option<&'a str>,
    adapters: Vec<Part<'a>>,
    layers: &'a [u32],
    probe: u32,
    modules: &'a [Module],
    draws: u64,
    seed: u64,
}

#[derive(Serialize)]
struct Part<'a> {
    role: Option<&'a str>,
    sha256: &'a str,
    rank: u32,
    alpha: Option<f64>,
}

impl<'a> Part<'a> {
    fn of(adapter: &'a Opened) -> Part<'a> {
        let about = &adapter.about;
        Part {
            role: about.role.as_deref(),
            sha256: &about.sha256,
            rank: about.rank,
            alpha: about.alpha,
        }
    }
}

/// Analyses the adapters, keeps the record, and returns the result as text.
///
/// # Errors
/// Adapters or models that are missing, not LoRA, or do not fit together; layers or modules that they lack.
pub fn run(args: &SubspaceArgs) -> Result<String> {
    let modules = modules(&args.modules)?;
    let adapters = open(args)?;
    let threads = set_threads(args.threads)?;
    tch::set_num_threads(1);
    let store = Store::open(&args.out)?;
    let base = base(args, &adapters)?;
    let weights = base.as_ref().map(read::weights).transpose()?;
    let layers = weights
        .as_ref()
        .map_or_else(|| deepest(&adapters), |(_, layers)| *layers);
    let plan = plan(args, &adapters, modules, layers)?;
    let model = model_name(args, &adapters);
    let sha256 = base.as_ref().and_then(|b| b.name.weights_sha256.clone());
    let source = base
        .as_ref()
        .filter(|b| b.name.revision.is_some())
        .map(|b| b.name.word());
    let settings = SubspaceConfig {
        kind: "subspace",
        model: &model,
        weights_sha256: sha256.as_deref(),
        adapters: adapters.iter().map(Part::of).collect(),
        layers: &plan.layers,
        probe: plan.probe,
        modules: &plan.modules,
        draws: plan.draws,
        seed: plan.seed,
    };
    let question = Question {
        label: args
            .label
            .clone()
            .unwrap_or("adapters of the user's own; the paper shows GPT-3".into()),
        config: resolved(&settings)?,
        model: model.clone(),
        preset: None,
        weights: (sha256, source),
        device: Device::Cpu,
        dtype: "fp64",
        threads,
    };
    let weights = weights.as_ref().map(|(weights, _)| weights);
    let find = || findings(&plan, &adapters, weights, layers);
    let (analysis, kept) = question.answer(&store, args.again, find)?;
    if args.json {
        return Ok(String::from_utf8(analysis.to_json()?)?);
    }
    let Findings::Subspace(found) = &analysis.findings else {
        bail!("analysis {} is of another kind; delete it", analysis.id);
    };
    Ok(show::text(&analysis, found) + "\n" + &whereabouts(&analysis, &store, kept))
}

fn findings(
    plan: &Request,
    adapters: &[Opened],
    weights: Option<&BTreeMap<Spot, Tensor>>,
    layers: u32,
) -> Result<Findings> {
    let found = lora_core::device::guarded("analysing the updates", || Ok(compute::find(plan, adapters, weights)))??;
    let spot = (plan.probe, *plan.modules.first().context("no module")?);
    let width = adapters.first().context("no adapter")?.at(spot)?.0.size()[1];
    let mut subspace = Subspace {
        adapters: adapters.iter().map(|a| a.about.clone()).collect(),
        layers,
        width: u32::try_from(width).context("the width")?,
        probe: plan.probe,
        grids: found.grids,
        spectra: found.spectra,
        projections: found.projections,
        remarks: BTreeMap::new(),
    };
    subspace.remarks = results::restate::remarks(&subspace);
    Ok(Findings::Subspace(subspace))
}

/// All named adapters, which must be distinct.
fn open(args: &SubspaceArgs) -> Result<Vec<Opened>> {
    let roles = [
        ("r4", &args.paper.r4),
        ("r8", &args.paper.r8),
        ("r64", &args.paper.r64),
        ("r64-other", &args.paper.r64_other),
    ];
    let named = roles
        .iter()
        .filter_map(|(role, path)| Some((Some(*role), path.as_ref()?)));
    let all: Vec<(Option<&str>, &PathBuf)> = args.adapters.iter().map(|p| (None, p)).chain(named).collect();
    ensure!(
        !all.is_empty(),
        "no adapter is named; expected {}",
        crate::tools::adapter::stored::FORMS
    );
    let adapters = all.iter().map(|(role, path)| Opened::read(path, *role, args.alpha));
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    for (n, one) in adapters.iter().enumerate() {
        if let Some(same) = adapters[..n]
            .iter()
            .find(|other| other.about.sha256 == one.about.sha256)
        {
            bail!(
                "{} and {} are the same adapter; two seeds must differ in how A starts",
                same.path.display(),
                one.path.display()
            );
        }
    }
    check_roles(&adapters)?;
    Ok(adapters)
}

/// The paper's four adapters rise in rank, and the last two differ in the seed alone.
fn check_roles(adapters: &[Opened]) -> Result<()> {
    let of = |role: &str| adapters.iter().find(|a| a.about.role.as_deref() == Some(role));
    let rank = |a: &Opened| a.about.rank;
    for (low, high) in [("r4", "r8"), ("r8", "r64"), ("r4", "r64")] {
        if let (Some(a), Some(b)) = (of(low), of(high)) {
            ensure!(
                rank(a) < rank(b),
                "--{low} has rank {} and --{high} rank {}: the first must be the smaller",
                rank(a),
                rank(b)
            );
        }
    }
    if let (Some(a), Some(b)) = (of("r64"), of("r64-other")) {
        ensure!(
            rank(a) == rank(b),
            "--r64 has rank {} and --r64-other rank {}: they must be the same",
            rank(a),
            rank(b)
        );
    }
    Ok(())
}

/// Runs of this project draw A from the seed, whatever its rank: with the same seed the rows of the smaller A are among those of the
/// larger one, an overlap without any training.
fn check_seeds(one: &Opened, other: &Opened) -> Result<()> {
    let (a, b) = (&one.about, &other.about);
    ensure!(
        a.seed.is_none() || a.seed != b.seed,
        "{} and {} were trained with the same seed, so their A started from the same values and share directions without any training: train one with another seed",
        one.path.display(),
        other.path.display()
    );
    Ok(())
}

/// The named base, or the embedded model that the adapters were trained on.
fn base(args: &SubspaceArgs, adapters: &[Opened]) -> Result<Option<BaseModel>> {
    let own = adapters.iter().find_map(|a| a.base.as_ref());
    let own = own
        .map(|(name, _)| name.as_str())
        .filter(|name| name.starts_with("embedded:"));
    let Some(word) = args.base.as_deref().or(own) else {
        return Ok(None);
    };
    let found = BaseModel::open(word)?;
    for adapter in adapters {
        let wanted = adapter.base.as_ref().and_then(|(_, sha256)| sha256.as_ref());
        ensure!(
            wanted.is_none() || wanted == found.name.weights_sha256.as_ref(),
            "{}: it was trained on `{}` with other weights than those of {word}: it is an adapter of another base",
            adapter.path.display(),
            adapter.base.as_ref().map_or("?", |(name, _)| name)
        );
    }
    Ok(Some(found))
}

fn model_name(args: &SubspaceArgs, adapters: &[Opened]) -> String {
    let own = || {
        adapters
            .iter()
            .find_map(|a| Some(ModelSource::name(&a.base.as_ref()?.0)))
    };
    let given = args.model_name.clone().or_else(own);
    let base = || args.base.as_deref().map(ModelSource::name);
    let file = || {
        let path = &adapters.first()?.path;
        Some(path.file_stem()?.to_string_lossy().into_owned())
    };
    given.or_else(base).or_else(file).unwrap_or("model".into())
}

fn deepest(adapters: &[Opened]) -> u32 {
    adapters.iter().map(Opened::layers).max().unwrap_or(0)
}

fn plan(args: &SubspaceArgs, adapters: &[Opened], modules: Vec<Module>, layers: u32) -> Result<Request> {
    let mut names = BTreeMap::new();
    adapters.iter().for_each(|a| names.extend(a.names.clone()));
    let probe = layer(&args.probe, layers, &names)?;
    let [probe] = probe[..] else {
        bail!("--probe {}: expected one layer", args.probe);
    };
    let mut chosen = BTreeSet::from([probe]);
    for word in &args.layers {
        chosen.extend(layer(word, layers, &names)?);
    }
    ensure!(args.draws > 0, "--draws must be at least 1");
    let role = |i: usize| adapters[i].about.role.as_deref();
    let wanted = |a: usize, b: usize| match (role(a), role(b)) {
        (None, None) => true,
        (one, other) => [("r8", "r64"), ("r64", "r64-other")]
            .iter()
            .any(|(x, y)| (one, other) == (Some(x), Some(y))),
    };
    let count = adapters.len();
    let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
    let pairs: Vec<(usize, usize)> = pairs.filter(|(a, b)| wanted(*a, *b)).collect();
    for (a, b) in &pairs {
        check_seeds(&adapters[*a], &adapters[*b])?;
    }
    Ok(Request {
        layers: chosen.into_iter().collect(),
        probe,
        modules,
        pairs,
        against: (0..count).filter(|i| role(*i) != Some("r64-other")).collect(),
        draws: args.draws,
        seed: args.seed,
    })
}

/// The blocks that one word of --layers names.
fn layer(word: &str, layers: u32, names: &BTreeMap<String, u32>) -> Result<Vec<u32>> {
    let part = |share: f64| ((f64::from(layers) * share).round() as u32).clamp(1, layers.max(1));
    let word = word.trim();
    let found = match word {
        "all" => return Ok((1..=layers).collect()),
        "first" => 1,
        "third" => part(1.0 / 3.0),
        "middle" => part(0.5),
        "two-thirds" => part(2.0 / 3.0),
        "last" => layers,
        _ => match word.parse() {
            Ok(number) => number,
            Err(_) => {
                let end = format!(".{word}");
                let named = names.iter().find(|(name, _)| *name == word || name.ends_with(&end));
                *named.map(|(_, layer)| layer).with_context(|| {
                    format!("layer `{word}`: expected a number from 1 to {layers}, a name such as `{}`, first, third, middle, two-thirds, last or all",
                        names.keys().next().map_or("encoder.layer.0", String::as_str))
                })?
            }
        },
    };
    ensure!(
        (1..=layers).contains(&found),
        "layer {word}: there are {layers}, counted from 1"
    );
    Ok(vec![found])
}

fn modules(words: &[String]) -> Result<Vec<Module>> {
    let mut found = Vec::new();
    for word in words {
        let module = Module::ALL.into_iter().find(|m| m.name() == word.trim());
        let module = module.with_context(|| support::unknown("module", word, Module::ALL.iter().map(|m| m.name())))?;
        ensure!(!found.contains(&module), "module `{word}` is named twice");
        found.push(module);
    }
    ensure!(!found.is_empty(), "no module is named");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_in_many_ways() {
        let names = BTreeMap::from([
            ("roberta.encoder.layer.0".to_string(), 1),
            ("roberta.encoder.layer.3".into(), 4),
        ]);
        let of = |word: &str, layers| layer(word, layers, &names).map_err(|e| format!("{e:#}"));
        let paper = ["first", "third", "two-thirds", "last", "middle"];
        let medium: Vec<u32> = paper.iter().flat_map(|w| of(w, 24).unwrap()).collect();
        assert_eq!(medium, [1, 8, 16, 24, 12]);
        let small: Vec<u32> = paper.iter().flat_map(|w| of(w, 4).unwrap()).collect();
        assert_eq!(small, [1, 1, 3, 4, 2]);
        assert_eq!(of("all", 3).unwrap(), [1, 2, 3]);
        assert_eq!(of("encoder.layer.3", 12).unwrap(), [4]);
        assert!(of("0", 12).unwrap_err().contains("counted from 1"));
        assert!(of("13", 12).unwrap_err().contains("there are 12"));
        assert!(of("top", 12).unwrap_err().contains("first, third"));
        assert!(of("layer.9", 12).unwrap_err().contains("encoder.layer.0"));
    }
}
