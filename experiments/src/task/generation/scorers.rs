//! Data of scorers that are not part of this program: METEOR's, and the parameters of NLTK's tokenizer.

use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Args, FromArgMatches};
use datasets::metric::meteor::Meteor;
use datasets::metric::nltk::Nltk;
pub use datasets::metric::scorers::Scorers;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names METEOR's data, where no flag does.
pub const METEOR_DATA: &str = "LORA_METEOR_DATA";
/// The variable that names Punkt's parameters, where no flag does.
pub const PUNKT_DATA: &str = "LORA_PUNKT_DATA";

/// The flags that name the data.
#[derive(Args, Clone, Debug, Default)]
pub struct DataArgs {
    /// METEOR's data: the pycocoevalcap 1.2 wheel, meteor-1.5.jar, or a folder that holds either (or $LORA_METEOR_DATA);
    /// `lora score fetch-meteor-data` fetches it
    #[arg(long, value_name = "PATH", help_heading = "Data of the scorers")]
    pub meteor_data: Option<PathBuf>,
    /// Parameters of NLTK's Punkt, on whose words METEOR and TER of WebNLG and DART are computed: NLTK's folder punkt_tab or
    /// punkt_tab.zip, the llama-index-core wheel, or a folder that holds one of them (or $LORA_PUNKT_DATA);
    /// `lora score fetch-punkt-data` fetches them
    #[arg(long, value_name = "PATH", help_heading = "Data of the scorers")]
    pub punkt_data: Option<PathBuf>,
}

impl DataArgs {
    /// The scorers of a command line: with the data that its flags name, or those in the cache; none where it has no such flags.
    ///
    /// # Errors
    /// As [`DataArgs::open`].
    pub fn scorers(matches: &ArgMatches) -> Result<Scorers> {
        match matches.try_contains_id("meteor_data") {
            Ok(_) => DataArgs::from_arg_matches(matches)?.open(),
            Err(_) => Ok(Scorers::default()),
        }
    }

    /// The scorers whose data are named or in the cache.
    ///
    /// # Errors
    /// Named data that are missing or not the published ones.
    pub fn open(&self) -> Result<Scorers> {
        Ok(Scorers {
            meteor: self.meteor()?,
            nltk: self.nltk()?,
        })
    }

    /// METEOR, if its data are named or in the cache.
    ///
    /// # Errors
    /// Named data that are missing or not METEOR 1.5's.
    pub fn meteor(&self) -> Result<Option<Meteor>> {
        Ok(Meteor::open(named(self.meteor_data.as_ref(), METEOR_DATA).as_deref())?)
    }

    /// NLTK's tokenizer, if its parameters are named or in the cache.
    ///
    /// # Errors
    /// Named parameters that are missing or not NLTK's.
    pub fn nltk(&self) -> Result<Option<Nltk>> {
        Ok(Nltk::open(named(self.punkt_data.as_ref(), PUNKT_DATA).as_deref())?)
    }
}

/// The path of a flag, or else of an environment variable.
pub fn named(flag: Option<&PathBuf>, variable: &str) -> Option<PathBuf> {
    let variable = || {
        let value = std::env::var_os(variable)?;
        (!value.is_empty()).then(|| datasets::cache::expand_home(value))
    };
    flag.cloned().or_else(variable)
}

/// Fetches METEOR's data with pip and indexes them in the cache; the wheel itself is not kept.
///
/// # Errors
/// No cache, no pip, or other data than METEOR 1.5's.
pub fn fetch_meteor() -> Result<String> {
    let index = Meteor::cached().context("no folder for the cache: set LORA_CACHE or HOME")?;
    if Meteor::open(None)?.is_none() {
        let dir = tempfile::tempdir()?;
        download("pycocoevalcap==1.2", "104 MB", "--meteor-data", dir.path())?;
        eprintln!("indexing it ...");
        Meteor::open(Some(dir.path()))?;
        ensure!(index.is_file(), "{} could not be written", index.display());
    }
    Ok(format!("METEOR's data is in {}\n", index.display()))
}

/// Fetches Punkt's parameters with pip into the cache; the wheel itself is not kept.
///
/// # Errors
/// No cache, no pip, or other parameters than NLTK's.
pub fn fetch_punkt() -> Result<String> {
    let folder = Nltk::cached().context("no folder for the cache: set LORA_CACHE or HOME")?;
    // An incomplete folder is replaced.
    if !Nltk::open(None).is_ok_and(|found| found.is_some()) {
        let dir = tempfile::tempdir()?;
        download("llama-index-core==0.14.25", "12 MB", "--punkt-data", dir.path())?;
        Nltk::open(Some(dir.path()))?;
        ensure!(Nltk::open(None)?.is_some(), "{} could not be written", folder.display());
    }
    Ok(format!("Punkt's parameters are in {}\n", folder.display()))
}

fn download(package: &str, size: &str, flag: &str, dir: &Path) -> Result<()> {
    eprintln!("fetching {package} ({size}) with pip ...");
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
    let done = pip.arg(dir).arg(package).status();
    ensure!(
        done.is_ok_and(|s| s.success()),
        "`python3 -m pip download {package}` failed; get that wheel some other way and name it by {flag}"
    );
    Ok(())
}
