//! [`Analysis`]: what was found out without training anything, one JSON file each: the subspaces of saved adapters
//! (Section 7 of the paper), the latency of adapters (Table 1, Figure 5) and what training costs (Section 4.2).
//!
//! ```
//! use results::analysis::Findings;
//! # fn main() -> results::Result<()> {
//! # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/.");
//! for analysis in results::Store::open(dir)?.analyses()? {
//!     if let Findings::Subspace(found) = &analysis.findings {
//!         for grid in &found.grids {
//!             println!("{:?}, layer {:?}, {:?}: phi(1, 1) = {}", grid.about, grid.layer, grid.module, grid.at(1, 1));
//!         }
//!     }
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json;
use crate::record::{Provenance, is_id};

/// The layout of the JSON written by this version; goes up when a field is added, renamed or changes its meaning.
pub const SCHEMA: u32 = 1;

/// One analysis: what was asked for, what was found, and where it was computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// 16 lower-case hex digits: hash of the resolved config, with hashes of what went in. The same question has the same id.
    pub id: String,
    /// What the numbers are, in words: "the released RoBERTa-base MNLI adapter; the paper shows GPT-3".
    pub label: String,
    /// The model's name.
    pub model: String,
    /// The named setting that it came from, if any.
    pub preset: Option<String>,
    /// The resolved config, whole.
    pub config: serde_json::Value,
    /// What was found.
    pub findings: Findings,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// Start, RFC 3339.
    pub started: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// What was found, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Findings {
    /// Figures 3, 4, 6, 7, 8 and Table 7.
    Subspace(Subspace),
    /// Table 1 and Figure 5.
    Latency(Latency),
    /// The claims of Section 4.2.
    Efficiency(Efficiency),
}

impl Findings {
    /// `subspace`, `latency` or `efficiency`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Findings::Subspace(_) => "subspace",
            Findings::Latency(_) => "latency",
            Findings::Efficiency(_) => "efficiency",
        }
    }
}

/// Adapters of one model, compared with each other, with the weights that they change, and with chance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subspace {
    /// The adapters; everything else names them by their place here, from 0.
    pub adapters: Vec<Adapter>,
    /// Blocks of the model.
    pub layers: u32,
    /// Features that the layers looked at read, d: two random subspaces have phi(i, j) = max(i, j) / d on average.
    pub width: u32,
    /// The block, counted from 1, that stands for the paper's layer 48 of 96 (Figures 3, 4, 8 and Table 7).
    pub probe: u32,
    /// phi over pairs of subspaces.
    pub grids: Vec<Grid>,
    /// Singular values of the updates.
    pub spectra: Vec<Spectrum>,
    /// Table 7, a cell an update.
    pub projections: Vec<Projection>,
    /// What [`crate::claims`] said of it when it was computed, by what it is about: the name of a [`Comparison`] (`ranks`, `seeds`,
    /// `weight`) or `amplification`. Tables and figures ask the rules again.
    pub remarks: BTreeMap<String, String>,
}

/// An adapter that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// What it is in the paper's figures: `r4`, `r8`, `r64`, `r64-other` (another seed); none outside that setting.
    pub role: Option<String>,
    /// Where it comes from, in words: "run 0123456789abcdef of glue", "loralib checkpoint roberta_base_lora_mnli.bin".
    pub origin: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Its rank r.
    pub rank: u32,
    /// How many directions its updates have at most, where those are fewer than r: the largest numerical rank of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directions: Option<u32>,
    /// Its alpha; loralib's files do not say it.
    pub alpha: Option<f64>,
    /// Seed of the run, where known.
    pub seed: Option<u64>,
    /// The task, where known.
    pub task: Option<String>,
}

impl Adapter {
    /// alpha / r.
    #[must_use]
    pub fn scale(&self) -> Option<f64> {
        self.alpha.map(|alpha| alpha / f64::from(self.rank.max(1)))
    }

    /// How many directions its updates have at most.
    #[must_use]
    pub fn directions(&self) -> u32 {
        self.directions.unwrap_or(self.rank)
    }
}

/// What two families of subspaces are compared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Adapters of different rank: Figure 3 at the probed layer, Figure 6 elsewhere.
    Ranks,
    /// Adapters of one rank from different seeds: Figure 4 at the probed layer, Figure 7 elsewhere.
    Seeds,
    /// Two Gaussian matrices, the control of Figure 4.
    Random,
    /// The top singular directions of the frozen weight against an adapter's: Figure 8.
    Weight,
    /// The same against a Gaussian matrix: the last panel of Figure 8.
    WeightRandom,
}

impl Comparison {
    /// As in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Ranks => "ranks",
            Comparison::Seeds => "seeds",
            Comparison::Random => "random",
            Comparison::Weight => "weight",
            Comparison::WeightRandom => "weight_random",
        }
    }
}

/// The linears that the paper looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    /// `W_q`.
    Query,
    /// `W_k`.
    Key,
    /// `W_v`.
    Value,
    /// `W_o`.
    AttnOut,
}

impl Module {
    /// All of them.
    pub const ALL: [Module; 4] = [Module::Query, Module::Key, Module::Value, Module::AttnOut];

    /// As in the JSON and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Module::Query => "query",
            Module::Key => "key",
            Module::Value => "value",
            Module::AttnOut => "attn_out",
        }
    }

    /// As the paper writes it: `q`, `k`, `v`, `o`.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Module::Query => "q",
            Module::Key => "k",
            Module::Value => "v",
            Module::AttnOut => "o",
        }
    }
}

/// phi(i, j) of two families of nested subspaces (eq. 4 of the paper), for all i and j.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// What for.
    pub about: Comparison,
    /// The block, from 1; none of two random matrices.
    pub layer: Option<u32>,
    /// The linear; none of two random matrices.
    pub module: Option<Module>,
    /// What i counts.
    pub i: Axis,
    /// What j counts.
    pub j: Axis,
    /// The values, i slowest: the one of (i, j), both from 1, is at `(i - 1) * j.len + (j - 1)`. Kept in the file as whole
    /// thousandths, which is finer than any colour.
    #[serde(rename = "thousandths", with = "thousandths")]
    pub values: Vec<f32>,
}

impl Grid {
    /// phi(i, j), both from 1; not a number outside the grid.
    #[must_use]
    pub fn at(&self, i: usize, j: usize) -> f32 {
        if i == 0 || j == 0 || j > self.j.len {
            return f32::NAN;
        }
        let at = (i - 1) * self.j.len + (j - 1);
        self.values.get(at).copied().unwrap_or(f32::NAN)
    }
}

/// One side of a [`Grid`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Whose directions.
    pub of: Of,
    /// How many: the index runs from 1 to this.
    pub len: usize,
}

/// Whose singular directions, the strongest first, in the space of the linear's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The A of the adapter at this place of [`Subspace::adapters`].
    Adapter(usize),
    /// The frozen weight.
    Weight,
    /// A Gaussian matrix.
    Random,
}

/// The singular values of one update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spectrum {
    /// Place in [`Subspace::adapters`].
    pub adapter: usize,
    /// The block, from 1.
    pub layer: u32,
    /// The linear.
    pub module: Module,
    /// Of BA, without alpha / r, falling; those that rounding has made are left out, so there are as many as the numerical rank.
    pub values: Vec<f32>,
}

/// A cell of Table 7. Frobenius norms; what needs the frozen weights is none where they were not given, what needs
/// alpha where the adapter does not say it, what needs directions where the update is zero and has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// Place in [`Subspace::adapters`].
    pub adapter: usize,
    /// The block, from 1.
    pub layer: u32,
    /// The linear.
    pub module: Module,
    /// `||A||`.
    pub a: f64,
    /// `||B||`.
    pub b: f64,
    /// `||BA||`, without alpha / r.
    pub ba: f64,
    /// `||dW||`, dW = alpha / r BA.
    pub delta: Option<f64>,
    /// `||W||`.
    pub weight: Option<f64>,
    /// `||U'WV||` with the singular directions of dW, left and right: as many as its numerical rank, which is r at most.
    pub onto_delta: Option<f64>,
    /// With as many of the top ones of W itself.
    pub onto_weight: Option<f64>,
    /// With as many random orthonormal ones: the mean over draws.
    pub onto_random: Option<f64>,
    /// `||dW|| / onto_delta`: the amplification factor.
    pub amplification: Option<f64>,
    /// `||BA|| / onto_delta`: the same without alpha / r.
    pub amplification_unscaled: Option<f64>,
}

/// How long forward passes take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Blocks of the model.
    pub layers: u32,
    /// Its width.
    pub hidden: u32,
    /// Its parameters, without adapters.
    pub params: i64,
    /// Passes before the first that counts, a cell.
    pub warmup: u32,
    /// The measurements.
    pub cells: Vec<Cell>,
    /// What [`crate::claims`] said of it when it was computed; tables and figures ask the rules again.
    pub remark: String,
}

/// What a forward pass runs through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// The model alone: full fine-tuning, or LoRA merged.
    Base,
    /// LoRA in its two matrices beside the weight, not merged.
    LoraUnmerged,
    /// Adapters after feed-forwards (Lin et al., 2020).
    AdapterL,
    /// Adapters after attention and feed-forward (Houlsby et al., 2019).
    AdapterH,
}

/// One measurement: milliseconds of single forward passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// What the pass ran through.
    pub design: Design,
    /// Rows.
    pub batch: u32,
    /// Tokens a row.
    pub length: u32,
    /// Bottleneck of the adapters, or rank; 0 of the model alone.
    pub bottleneck: u32,
    /// Parameters added to the model.
    pub added_params: i64,
    /// Median.
    pub median_ms: f64,
    /// From the first quartile to the third.
    pub iqr_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// Sample standard deviation; 0 of a single trial.
    pub sd_ms: f64,
    /// Passes that count.
    pub trials: u32,
}

impl Latency {
    /// The cell of the model alone with the same batch and length.
    #[must_use]
    pub fn base_of(&self, cell: &Cell) -> Option<&Cell> {
        let same = |c: &&Cell| c.design == Design::Base && (c.batch, c.length) == (cell.batch, cell.length);
        self.cells.iter().find(same)
    }

    /// Slow-down over the model alone, in per cent, of mean passes, as in the paper; 0 of the model alone.
    #[must_use]
    pub fn slowdown(&self, cell: &Cell) -> Option<f64> {
        let base = self.base_of(cell)?.mean_ms;
        (base > 0.0).then(|| (cell.mean_ms / base - 1.0) * 100.0)
    }
}

/// What training costs, a row a method and model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Efficiency {
    /// The rows.
    pub costs: Vec<Cost>,
    /// What [`crate::claims`] said of it when it was computed; tables ask the rules again.
    pub remark: String,
}

/// What a method costs on a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The model's name.
    pub model: String,
    /// The method: `full`, `lora`.
    pub method: String,
    /// Where the numbers come from.
    pub how: How,
    /// Parameters that are trained.
    pub trained_params: i64,
    /// All parameters.
    pub total_params: i64,
    /// Memory of training, in MiB.
    pub memory_mib: Option<f64>,
    /// Bytes of a checkpoint of what is trained.
    pub checkpoint_bytes: Option<u64>,
    /// Tokens trained on a second.
    pub tokens_per_second: Option<f64>,
    /// What is counted, and under which assumptions, in words.
    pub note: String,
}

/// Where the numbers of a [`Cost`] come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// From a run on this machine.
    Measured,
    /// From the shape of the model, in closed form.
    Computed,
    /// Printed in the paper.
    Paper,
}

impl Analysis {
    /// Reads an analysis; `path` is only for the messages.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with line and column, [`Error::NewerSchema`], [`Error::Invalid`].
    pub fn from_json(text: &[u8], path: &Path) -> Result<Self> {
        let analysis: Self = json::versioned(text, SCHEMA, path)?;
        analysis.validate(path)?;
        Ok(analysis)
    }

    /// The analysis as JSON with a closing newline, indented but for the innermost parts: a grid is a line.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the text could not be read back.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate(Path::new(&format!("{}.json", self.id)))?;
        json::indented(self, 3).map_err(|source| Error::Serialise {
            id: self.id.clone(),
            source,
        })
    }

    /// Everything in it that must be as it says, so that nobody who reads it needs to look again.
    fn validate(&self, path: &Path) -> Result<()> {
        let check = |holds: bool, reason: &str| match holds {
            true => Ok(()),
            false => Err(Error::Invalid {
                path: path.to_owned(),
                reason: reason.into(),
            }),
        };
        let known = self.schema != 0 && self.schema <= SCHEMA;
        check(known, "a schema that this program does not know")?;
        check(is_id(&self.id), "the id is not 16 lower-case hex digits")?;
        check(self.seconds.is_finite(), "the time is not a finite number")?;
        match &self.findings {
            Findings::Subspace(found) => {
                let there = |adapter: usize| adapter < found.adapters.len();
                let of = |axis: &Axis| !matches!(axis.of, Of::Adapter(n) if !there(n));
                let cells = |g: &Grid| g.i.len.checked_mul(g.j.len);
                let whole = |g: &Grid| cells(g) == Some(g.values.len()) && g.values.iter().all(|v| v.is_finite());
                check(
                    found.grids.iter().all(whole),
                    "a grid has not i x j values, or one that is no number",
                )?;
                let named = found.grids.iter().all(|g| of(&g.i) && of(&g.j))
                    && found.spectra.iter().all(|s| there(s.adapter))
                    && found.projections.iter().all(|p| there(p.adapter));
                check(named, "an adapter is named that is not listed")
            }
            Findings::Latency(found) => {
                let times = |c: &Cell| [c.median_ms, c.iqr_ms, c.mean_ms, c.sd_ms];
                let finite = found.cells.iter().flat_map(times).all(f64::is_finite);
                check(finite, "a time is not a finite number")
            }
            Findings::Efficiency(_) => Ok(()),
        }
    }
}

/// Numbers of [0, 1] as whole thousandths.
mod thousandths {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(values: &[f32], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|v| (v * 1000.0).round() as i32))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
        let whole = Vec::<i32>::deserialize(from)?;
        Ok(whole.into_iter().map(|v| v as f32 / 1000.0).collect())
    }
}
