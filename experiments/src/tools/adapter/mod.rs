//! `lora adapter`: import, export, merge and inspect adapters.

mod card;
mod classes;
mod command;
mod head;
mod info;
mod merged;
pub mod stored;

use crate::report::resume_command;
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use datasets::{GlueTask, Hub};
use lora_core::interop::{Export, VectorExport};
use lora_core::method;
use std::path::{Path, PathBuf};
use stored::{AdapterSource, BaseModel, Stored, open_foreign};

/// `lora adapter`
#[derive(Subcommand, Debug)]
pub enum AdapterCommand {
    /// Convert a PEFT or loralib adapter to one of this project
    Import(ImportArgs),
    /// Write an adapter as a PEFT folder with a model card
    Export(ExportArgs),
    /// Merge an adapter into its base and write a Hugging Face model folder with a model card
    Merge(MergeArgs),
    /// Describe an adapter and the size of its updates
    Info(info::InfoArgs),
}

/// `lora adapter import`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora adapter import peft/mrpc --base FacebookAI/roberta-base \\\n      --out adapters/mrpc\n  lora adapter import roberta_base_lora_mnli.bin --alpha 16 --task mnli \\\n      --base FacebookAI/roberta-base --out adapters/mnli\n\nPEFT's adapters of LoRA, rsLoRA, PiSSA, DoRA, (IA)³ and VeRA (adapter_config.json) and loralib's checkpoints are read; nothing in\nthem is ever executed."
)]
pub struct ImportArgs {
    /// A PEFT folder, or a loralib checkpoint
    pub source: PathBuf,
    /// The base model that it was trained on: a Hugging Face model folder, a model of the hub, or embedded:roberta
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    pub base: String,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Alpha of a loralib checkpoint, whose file lacks it: 16 for the RoBERTa releases, 32 for GPT-2's
    #[arg(long, value_name = "NUMBER")]
    pub alpha: Option<f64>,
    /// The task that it was trained on, such as mnli, whose class names are stored with the adapter
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// The base was fine-tuned on another task, and the adapter has its own head
    #[arg(long)]
    pub fresh_head: bool,
}

/// `lora adapter export`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora adapter export results/own/1977ecad94f36450 --base minilm/model \\\n      --out peft/cola\n  lora adapter export adapters/mrpc --out peft/mrpc \\\n      --push me/roberta-base-lora-mrpc\n\nIn Python: PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(BASE), \"peft/mrpc\")"
)]
pub struct ExportArgs {
    /// RESULTS/ID of a run whose weights were kept (glue --keep), its weights file, or a folder of `lora adapter import`
    pub adapter: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The base model, where the adapter does not name it
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    pub base: Option<String>,
    /// The base was fine-tuned on another task, and the adapter has its own head
    #[arg(long)]
    pub fresh_head: bool,
    /// Also upload the folder to this repository of the Hugging Face hub, with HF_TOKEN
    #[arg(long, value_name = "OWNER/NAME")]
    pub push: Option<String>,
}

/// `lora adapter merge`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora adapter merge results/own/1977ecad94f36450 --base minilm/model \\\n      --out merged/cola\n  lora adapter merge peft/mrpc --base FacebookAI/roberta-base --out merged/mrpc\n\nIn Python: AutoModelForSequenceClassification.from_pretrained(\"merged/cola\")"
)]
pub struct MergeArgs {
    /// An adapter as for export, a PEFT folder, or a loralib checkpoint
    pub adapter: PathBuf,
    /// The base model
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    pub base: Option<String>,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Alpha of a loralib checkpoint
    #[arg(long, value_name = "NUMBER")]
    pub alpha: Option<f64>,
    /// The base was fine-tuned on another task, and the adapter has its own head
    #[arg(long)]
    pub fresh_head: bool,
    /// Also upload the folder to this repository of the Hugging Face hub, with HF_TOKEN
    #[arg(long, value_name = "OWNER/NAME")]
    pub push: Option<String>,
}

/// Runs the command and returns the text to print.
///
/// # Errors
/// Adapters and models that are missing, do not fit, or cannot be converted; nothing is left half written.
pub fn run(command: &AdapterCommand) -> Result<String> {
    match command {
        AdapterCommand::Import(args) => import(args),
        AdapterCommand::Export(args) => export(args),
        AdapterCommand::Merge(args) => merge(args),
        AdapterCommand::Info(args) => info::info(args),
    }
}

fn import(args: &ImportArgs) -> Result<String> {
    let task = args.task.as_deref().map(datasets::find).transpose()?;
    let found = BaseModel::open(&args.base)?;
    let stored = foreign(&args.source, args.alpha, &found, (task, args.fresh_head))?;
    atomic_folder(&args.out, |dir| stored.write(dir))?;
    Ok(format!("{}: {}\n", args.out.display(), info::line(&stored)))
}

/// Reads an adapter of another library for a base, with the task and the fresh head that flags name.
fn foreign(
    source: &Path,
    alpha: Option<f64>,
    found: &BaseModel,
    (task, fresh): (Option<&GlueTask>, bool),
) -> Result<Stored> {
    let place = AdapterSource::of(source)?;
    let adapter = open_foreign(&place, alpha)?;
    found.check_name(&adapter)?;
    let what = match place {
        AdapterSource::Loralib(_) => "loralib checkpoint",
        _ => "PEFT adapter",
    };
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let mut stored = Stored::foreign(&adapter, found, format!("{what} {name}"), this_command())?;
    stored.about.fresh_head = fresh;
    stored.about.task = task.map(|task| task.id.into());
    stored.about.labels = task.map(stored::labels).unwrap_or_default();
    head::check(found, &stored.about, &stored.trained)?;
    stored.about.labels = head::labels(found, &stored.trained, task, fresh)?;
    if let (None, AdapterSource::Peft(dir)) = (task, &place) {
        let names = match found.base.outputs(&stored.trained) {
            Ok(outputs) => classes::read(dir, outputs)?,
            Err(_) => None,
        };
        stored.about.labels = names.unwrap_or(stored.about.labels);
    }
    Ok(stored)
}

fn export(args: &ExportArgs) -> Result<String> {
    let mut stored = Stored::open(&AdapterSource::of(&args.adapter)?)?;
    let lora = method::lora_or_dora(&stored.about.method);
    let vectors = matches!(stored.about.method["kind"].as_str(), Some("ia3" | "vera"));
    if lora.is_err() && !vectors {
        bail!("{}", no_export(&stored.about)?);
    }
    let found = BaseModel::of(&stored.about, args.base.as_deref())?;
    stored.about.fresh_head |= args.fresh_head;
    head::check(&found, &stored.about, &stored.trained)?;
    let (base, name, revision) = (&found.base, &found.name.name, found.name.revision.as_deref());
    let trained = &stored.trained;
    atomic_folder(&args.out, |dir| {
        match &lora {
            Ok(lora) => Export {
                base,
                name,
                revision,
                lora,
                trained,
            }
            .save(dir)?,
            Err(_) => {
                let method = &stored.about.method;
                VectorExport {
                    base,
                    name,
                    revision,
                    method,
                    trained,
                }
                .save(dir)?;
            }
        }
        classes::write(dir, &stored.about.labels)?;
        card::write(dir, &card::Card::adapter(&stored.about, &found, &this_command()))
    })?;
    let text = format!("{}: {}\n", args.out.display(), info::line(&stored));
    pushed(text, args.push.as_deref(), &args.out)
}

/// Why the adapter has no form in PEFT, and what can be done with it.
fn no_export(about: &stored::AdapterInfo) -> Result<String> {
    let kind = about.method["kind"].as_str().unwrap_or_default();
    let advice = if method::from_value(&about.method)?.mergeable() {
        "`lora adapter merge` writes base and adapter as one model for transformers"
    } else {
        "it adds modules or tokens to the model, so it cannot be merged into the weights either: `lora predict`, `generate` and \
         `evaluate` use it"
    };
    Ok(format!(
        "{}: the method is `{kind}`, and PEFT's format, as it is written here, holds lora, dora, ia3 and vera only; {advice}",
        about.origin
    ))
}

fn merge(args: &MergeArgs) -> Result<String> {
    let (stored, found) = Beside {
        adapter: &args.adapter,
        base: args.base.as_deref(),
        alpha: args.alpha,
        task: None,
        fresh_head: args.fresh_head,
    }
    .open()?;
    let mut note = String::new();
    atomic_folder(&args.out, |dir| {
        note = merged::write(dir, &stored, &found)?;
        card::write(dir, &card::Card::merged(&stored.about, &found, &this_command()))
    })?;
    let text = format!("{}: a whole model{note}\n", args.out.display());
    pushed(text, args.push.as_deref(), &args.out)
}

/// An adapter in any form, and the base to put it beside.
pub(crate) struct Beside<'a> {
    pub(crate) adapter: &'a Path,
    pub(crate) base: Option<&'a str>,
    pub(crate) alpha: Option<f64>,
    pub(crate) task: Option<&'a GlueTask>,
    pub(crate) fresh_head: bool,
}

impl Beside<'_> {
    /// Reads the adapter and finds the base: the named one, else the one that the adapter names.
    ///
    /// # Errors
    /// Adapters and bases that are missing or do not fit.
    pub(crate) fn open(&self) -> Result<(Stored, BaseModel)> {
        let place = AdapterSource::of(self.adapter)?;
        if let AdapterSource::Peft(_) | AdapterSource::Loralib(_) = place {
            let named = || Ok::<_, anyhow::Error>(open_foreign(&place, self.alpha)?.base);
            let base = self.base.map_or_else(named, |base| Ok(Some(base.to_owned())))?;
            let base = base.context("a base is needed: name it with --base")?;
            let found = BaseModel::open(&base)?;
            let stored = foreign(self.adapter, self.alpha, &found, (self.task, self.fresh_head))?;
            return Ok((stored, found));
        }
        let mut stored = Stored::open(&place)?;
        let found = BaseModel::of(&stored.about, self.base)?;
        stored.about.fresh_head |= self.fresh_head;
        head::check(&found, &stored.about, &stored.trained)?;
        Ok((stored, found))
    }
}

/// Fills a temporary folder and renames it to `out`, so that `out` is complete or missing.
fn atomic_folder(out: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let empty = std::fs::read_dir(out).map_or(!out.exists(), |mut entries| entries.next().is_none());
    ensure!(empty, "{} is there already; name another folder", out.display());
    let parent = out
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let temp = tempfile::Builder::new().prefix(".lora-").tempdir_in(parent);
    let temp = temp.with_context(|| format!("writing to {}", parent.display()))?;
    let inner = temp.path().join("folder"); // has the user's usual permissions, unlike the temporary folder
    std::fs::create_dir(&inner).with_context(|| format!("writing to {}", parent.display()))?;
    fill(&inner)?;
    if out.exists() {
        std::fs::remove_dir(out).with_context(|| format!("replacing the empty {}", out.display()))?;
    }
    std::fs::rename(&inner, out).with_context(|| format!("making {}", out.display()))
}

fn pushed(text: String, repo: Option<&str>, dir: &Path) -> Result<String> {
    let Some(repo) = repo else { return Ok(text) };
    let url = Hub::from_env()?.upload(repo, dir, "Upload with lora adapter");
    let url = url.with_context(|| format!("{} is written; uploading it", dir.display()))?;
    Ok(format!("{text}uploaded: {url}\n"))
}

/// The command line without secrets, with the program's bare name.
fn this_command() -> String {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_os_string();
    resume_command::command(std::iter::once(name).chain(words), true, false)
}
