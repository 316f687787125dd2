//! [`Analysis`]: the record of a measurement that is no training run, one JSON file each: subspaces of saved adapters (Section 7
//! of the paper), latency of adapters (Table 1, Figure 5) and cost of training (Section 4.2).
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
use crate::json::{self, Schemas};
use crate::record::{Provenance, is_id};

/// Version of the JSON layout; increases when a field is added, renamed or changes its meaning.
///
/// Since 2 the file must have a line `"checksum"` behind the schema: SHA-256 of the file without that line. Files of schema 1 may have
/// it.
pub const SCHEMA: u32 = 2;

const SCHEMAS: Schemas = Schemas {
    known: SCHEMA,
    sealed: 2,
};

/// One analysis: its config, its findings and their provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// [`SCHEMA`] of the program that wrote the record.
    pub schema: u32,
    /// 16 lower-case hex digits: a hash of the resolved config and of the input files.
    pub id: String,
    /// Description of the numbers: "the released RoBERTa-base MNLI adapter; the paper shows GPT-3".
    pub label: String,
    /// The model's name.
    pub model: String,
    /// Name of the preset, if any.
    pub preset: Option<String>,
    /// The resolved config.
    pub config: serde_json::Value,
    /// The results.
    pub findings: Findings,
    /// Program, inputs and machine.
    pub provenance: Provenance,
    /// Start, RFC 3339.
    pub started: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Results of an analysis, by kind.
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

/// Adapters of one model, compared with each other, with the frozen weights, and with random matrices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subspace {
    /// The adapters; all other fields refer to them by index, from 0.
    pub adapters: Vec<Adapter>,
    /// Number of the model's blocks.
    pub layers: u32,
    /// Input width d of the compared matrices: two random subspaces have phi(i, j) = max(i, j) / d on average.
    pub width: u32,
    /// The probed block, from 1, in place of the paper's layer 48 of 96 (Figures 3, 4, 8 and Table 7).
    pub probe: u32,
    /// phi over pairs of subspaces.
    pub grids: Vec<PhiGrid>,
    /// Singular values of the updates, one spectrum per adapter, block and matrix.
    pub spectra: Vec<Spectrum>,
    /// Rows of Table 7, one per update.
    pub projections: Vec<Projection>,
    /// Conclusions of [`crate::claims`] at the time of the computation, by subject: a [`Comparison`] (`ranks`, `seeds`, `weight`) or
    /// `amplification`. Tables and figures recompute them.
    pub remarks: BTreeMap<String, String>,
}

/// An adapter of an analysis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Role in the paper's figures: `r4`, `r8`, `r64`, `r64-other` (another seed); `None` for other adapters.
    pub role: Option<String>,
    /// Source: "run 0123456789abcdef of glue", "loralib checkpoint roberta_base_lora_mnli.bin".
    pub origin: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Rank r.
    pub rank: u32,
    /// Largest numerical rank of an update, where that is less than r.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directions: Option<u32>,
    /// Alpha; `None` for loralib's files, which do not record it.
    pub alpha: Option<f64>,
    /// Seed of the run, if known.
    pub seed: Option<u64>,
    /// The task, if known.
    pub task: Option<String>,
}

impl Adapter {
    /// alpha / r.
    #[must_use]
    pub fn scale(&self) -> Option<f64> {
        self.alpha.map(|alpha| alpha / f64::from(self.rank.max(1)))
    }

    /// Largest numerical rank of an update.
    #[must_use]
    pub fn directions(&self) -> u32 {
        self.directions.unwrap_or(self.rank)
    }
}

/// Purpose of a comparison of two families of subspaces.
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
    /// Name in the JSON.
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

/// The attention projections that the paper examines.
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

    /// Name in the JSON and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Module::Query => "query",
            Module::Key => "key",
            Module::Value => "value",
            Module::AttnOut => "attn_out",
        }
    }

    /// Index in the paper: `q`, `k`, `v`, `o`.
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

/// Similarity phi(i, j) of two families of nested subspaces (eq. 4 of the paper), for all i and j.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhiGrid {
    /// The comparison.
    pub about: Comparison,
    /// The block, from 1; `None` for two random matrices.
    pub layer: Option<u32>,
    /// The projection; `None` for two random matrices.
    pub module: Option<Module>,
    /// Axis of i.
    pub i: GridAxis,
    /// Axis of j.
    pub j: GridAxis,
    /// Values `[i, j]`, row-major: (i, j), both from 1, is at `(i - 1) * j.len + (j - 1)`. The file holds whole thousandths, which
    /// is finer than the colours of a figure.
    #[serde(rename = "thousandths", with = "thousandths")]
    pub values: Vec<f32>,
}

impl PhiGrid {
    /// phi(i, j), both from 1; NaN outside the grid.
    #[must_use]
    pub fn at(&self, i: usize, j: usize) -> f32 {
        if i == 0 || j == 0 || j > self.j.len {
            return f32::NAN;
        }
        let at = (i - 1) * self.j.len + (j - 1);
        self.values.get(at).copied().unwrap_or(f32::NAN)
    }
}

/// One axis of a [`PhiGrid`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridAxis {
    /// The matrix whose directions are counted.
    pub of: Directions,
    /// Number of directions: the index runs from 1 to `len`.
    pub len: usize,
}

/// A matrix whose right singular directions, by falling singular value, span the compared subspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directions {
    /// A of the adapter with this index in [`Subspace::adapters`].
    Adapter(usize),
    /// The frozen weight.
    Weight,
    /// A Gaussian matrix.
    Random,
}

/// Singular values of one update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spectrum {
    /// Index in [`Subspace::adapters`].
    pub adapter: usize,
    /// The block, from 1.
    pub layer: u32,
    /// The projection.
    pub module: Module,
    /// Singular values of BA, without the factor alpha / r, in falling order, up to the numerical rank.
    pub values: Vec<f32>,
}

/// A row of Table 7, in Frobenius norms. Fields that need the frozen weights, alpha or the update's directions are `None` where
/// these are not given, not recorded, or absent because the update is zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// Index in [`Subspace::adapters`].
    pub adapter: usize,
    /// The block, from 1.
    pub layer: u32,
    /// The projection.
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
    /// `||U'WV||` with the left and right singular directions of dW, up to its numerical rank.
    pub onto_delta: Option<f64>,
    /// The same with as many top singular directions of W.
    pub onto_weight: Option<f64>,
    /// The same with as many random orthonormal directions, as mean over draws.
    pub onto_random: Option<f64>,
    /// `||dW|| / onto_delta`: the amplification factor.
    pub amplification: Option<f64>,
    /// `||BA|| / onto_delta`: the same without alpha / r.
    pub amplification_unscaled: Option<f64>,
}

/// Latency of forward passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Number of the model's blocks.
    pub layers: u32,
    /// Width of the model.
    pub hidden: u32,
    /// Parameters of the model without adapters.
    pub params: i64,
    /// Uncounted passes before the measurement of each cell.
    pub warmup: u32,
    /// The measurements.
    pub cells: Vec<LatencyCell>,
    /// Conclusions of [`crate::claims`] at the time of the computation; tables and figures recompute them.
    pub remark: String,
}

/// The model of a latency measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// The model alone: full fine-tuning, or merged LoRA.
    Base,
    /// LoRA with its two matrices beside the weight, not merged.
    LoraUnmerged,
    /// Adapters after feed-forwards (Lin et al., 2020).
    AdapterL,
    /// Adapters after attention and feed-forward (Houlsby et al., 2019).
    AdapterH,
}

/// One latency measurement: milliseconds of single forward passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyCell {
    /// The model.
    pub design: Design,
    /// Rows of the batch.
    pub batch: u32,
    /// Tokens per row.
    pub length: u32,
    /// Bottleneck of the adapters, or rank of LoRA; 0 for the model alone.
    pub bottleneck: u32,
    /// Parameters added to the model.
    pub added_params: i64,
    /// Median.
    pub median_ms: f64,
    /// Interquartile range.
    pub iqr_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// Sample standard deviation; 0 for a single trial.
    pub sd_ms: f64,
    /// Counted passes.
    pub trials: u32,
}

impl Latency {
    /// The measurement of the model alone with the same batch and length.
    #[must_use]
    pub fn base_of(&self, cell: &LatencyCell) -> Option<&LatencyCell> {
        let same = |c: &&LatencyCell| c.design == Design::Base && (c.batch, c.length) == (cell.batch, cell.length);
        self.cells.iter().find(same)
    }

    /// Slow-down of the mean pass over the model alone, in per cent, as in the paper.
    #[must_use]
    pub fn slowdown(&self, cell: &LatencyCell) -> Option<f64> {
        let base = self.base_of(cell)?.mean_ms;
        (base > 0.0).then(|| (cell.mean_ms / base - 1.0) * 100.0)
    }
}

/// Cost of training, one row per method and model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Efficiency {
    /// The rows.
    pub costs: Vec<Cost>,
    /// Conclusions of [`crate::claims`] at the time of the computation; tables recompute them.
    pub remark: String,
}

/// Cost of training a model with a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The model's name.
    pub model: String,
    /// The method: `full`, `lora`.
    pub method: String,
    /// Source of the numbers.
    pub how: CostSource,
    /// Trained parameters.
    pub trained_params: i64,
    /// All parameters.
    pub total_params: i64,
    /// Memory of training, in MiB.
    pub memory_mib: Option<f64>,
    /// Bytes of a checkpoint of the trained parameters.
    pub checkpoint_bytes: Option<u64>,
    /// Training throughput in tokens per second.
    pub tokens_per_second: Option<f64>,
    /// What is counted, and under which assumptions.
    pub note: String,
}

/// Source of the numbers of a [`Cost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// Measured in a run on this machine.
    Measured,
    /// Computed from the shape of the model.
    Computed,
    /// Quoted from the paper.
    Paper,
}

impl Analysis {
    /// Reads an analysis; `path` is used in error messages only.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with line and column, [`Error::Damaged`], [`Error::NewerSchema`], [`Error::Invalid`].
    pub fn from_json(text: &[u8], path: &Path) -> Result<Self> {
        let analysis: Self = json::versioned(text, SCHEMAS, path)?;
        analysis.validate(path)?;
        Ok(analysis)
    }

    /// The analysis as JSON with its checksum and a closing newline, indented three levels deep: a grid is one line.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an analysis that could not be read back.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        Ok(json::sealed(&self.content()?))
    }

    /// [`Analysis::to_json`] without the line of the checksum.
    ///
    /// # Errors
    /// As [`Analysis::to_json`].
    pub fn content(&self) -> Result<Vec<u8>> {
        self.validate(Path::new(&format!("{}.json", self.id)))?;
        json::indented(self, 3).map_err(|source| Error::Serialise {
            id: self.id.clone(),
            source,
        })
    }

    /// Checks what the types do not guarantee.
    fn validate(&self, path: &Path) -> Result<()> {
        let check = |holds: bool, reason: &str| match holds {
            true => Ok(()),
            false => Err(Error::Invalid {
                path: path.to_owned(),
                reason: reason.into(),
            }),
        };
        let known = self.schema != 0 && self.schema <= SCHEMA;
        check(known, "its schema is not known to this program")?;
        check(is_id(&self.id), "the id is not 16 lower-case hex digits")?;
        check(self.seconds.is_finite(), "the time is not a finite number")?;
        match &self.findings {
            Findings::Subspace(found) => {
                let there = |adapter: usize| adapter < found.adapters.len();
                let of = |axis: &GridAxis| !matches!(axis.of, Directions::Adapter(n) if !there(n));
                let cells = |g: &PhiGrid| g.i.len.checked_mul(g.j.len);
                let whole = |g: &PhiGrid| cells(g) == Some(g.values.len()) && g.values.iter().all(|v| v.is_finite());
                check(
                    found.grids.iter().all(whole),
                    "a grid does not have i x j values, or one of them is not finite",
                )?;
                let named = found.grids.iter().all(|g| of(&g.i) && of(&g.j))
                    && found.spectra.iter().all(|s| there(s.adapter))
                    && found.projections.iter().all(|p| there(p.adapter));
                check(
                    named,
                    "a grid, spectrum or projection refers to an adapter that is not listed",
                )
            }
            Findings::Latency(found) => {
                let times = |c: &LatencyCell| [c.median_ms, c.iqr_ms, c.mean_ms, c.sd_ms];
                let finite = found.cells.iter().flat_map(times).all(f64::is_finite);
                check(finite, "a time is not a finite number")
            }
            Findings::Efficiency(_) => Ok(()),
        }
    }
}

/// Serialises numbers in [0, 1] as whole thousandths.
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
