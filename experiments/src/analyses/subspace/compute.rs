//! The analysis of adapters, in parallel over layers and modules.

use super::read::{Factors, Opened, Spot};
use anyhow::{Result, ensure};
use lora_core::analysis::{Overlap, Svd, directions, gaussian, random_projection, update_directions};
use lora_core::seed::derive;
use rayon::prelude::*;
use results::analysis::{Adapter, Comparison, Directions, GridAxis, Module, PhiGrid, Projection, Spectrum};
use std::collections::BTreeMap;
use tch::Tensor;

/// The resolved question.
#[derive(Debug)]
pub struct Request {
    /// Blocks, from 1, in order.
    pub layers: Vec<u32>,
    /// The block in the place of the paper's layer 48.
    pub probe: u32,
    /// Modules.
    pub modules: Vec<Module>,
    /// Pairs of adapters to compare, by index.
    pub pairs: Vec<(usize, usize)>,
    /// Adapters to compare with the frozen weight, by index.
    pub against: Vec<usize>,
    /// Draws of random directions.
    pub draws: u64,
    /// Seed of the controls.
    pub seed: u64,
}

/// The results at one layer and module, or at all of them.
#[derive(Debug, Default)]
pub struct Results {
    /// phi.
    pub grids: Vec<PhiGrid>,
    /// Singular values.
    pub spectra: Vec<Spectrum>,
    /// Cells of Table 7.
    pub projections: Vec<Projection>,
}

/// One linear of a layer, with the factors of all adapters.
struct Unit {
    spot: Spot,
    /// The adapters' factors, in their order.
    factors: Vec<Factors>,
    weight: Option<Tensor>,
}

/// Analyses every layer and module of `plan`, and random directions.
///
/// # Errors
/// A layer that an adapter or the base lacks; adapters of different shape, or of another shape than the base.
pub fn find(plan: &Request, adapters: &[Opened], weights: Option<&BTreeMap<Spot, Tensor>>) -> Result<Results> {
    let mut units = Vec::new();
    for layer in &plan.layers {
        for module in &plan.modules {
            units.push(Unit::new((*layer, *module), adapters, weights)?);
        }
    }
    let width = units
        .first()
        .and_then(|u| u.factors.first())
        .map_or(0, |(a, _)| a.size()[1]);
    let mut all = Results::default();
    let about: Vec<Adapter> = adapters.iter().map(|a| a.about.clone()).collect();
    // libtorch runs on one thread here: the parallelism is over layers.
    let parts: Vec<Result<Results>> = units.into_par_iter().map(|unit| unit.find(plan, &about)).collect();
    for part in parts {
        let part = part?;
        all.grids.extend(part.grids);
        all.spectra.extend(part.spectra);
        all.projections.extend(part.projections);
    }
    all.grids.extend(control(plan, &all.grids, width)?);
    Ok(all)
}

/// Two Gaussian matrices in the place of two seeds, of the same rank.
fn control(plan: &Request, grids: &[PhiGrid], width: i64) -> Result<Option<PhiGrid>> {
    let seeds = grids.iter().filter(|g| g.about == Comparison::Seeds);
    let Some(rank) = seeds.map(|g| g.i.len.max(g.j.len)).max() else {
        return Ok(None);
    };
    let draw = |n| directions(&gaussian(rank as i64, width, derive(plan.seed, "control", n)));
    let phi = Overlap::of(&draw(0)?, &draw(1)?)?;
    Ok(Some(grid(
        phi,
        Comparison::Random,
        None,
        (Directions::Random, Directions::Random),
    )))
}

impl Unit {
    fn new(spot: Spot, adapters: &[Opened], weights: Option<&BTreeMap<Spot, Tensor>>) -> Result<Unit> {
        let (layer, module) = spot;
        let weight = weights.map(|w| w.get(&spot));
        ensure!(
            weight != Some(None),
            "the base has no `{}` in layer {layer}",
            module.name()
        );
        let weight = weight.flatten().map(Tensor::shallow_clone);
        let mut factors: Vec<Factors> = Vec::new();
        let sides = |(a, b): &Factors| (b.size()[0], a.size()[1]);
        for adapter in adapters {
            let (a, b) = adapter.at(spot)?;
            let own = (a.shallow_clone(), b.shallow_clone());
            let ((out, inputs), path) = (sides(&own), adapter.path.display());
            if let Some(first) = factors.first().map(sides) {
                ensure!(
                    first == (out, inputs),
                    "{path}: its update of `{}` in layer {layer} is {out} x {inputs} and that of {} is {} x {}: they are adapters of different models",
                    module.name(),
                    adapters[0].path.display(),
                    first.0,
                    first.1
                );
            }
            if let Some(weight) = &weight {
                let size = weight.size();
                ensure!(
                    size == [out, inputs],
                    "{path}: its update of `{}` in layer {layer} is {out} x {inputs} and the base's weight is {} x {}: it is an adapter of another base",
                    module.name(),
                    size[0],
                    size[1]
                );
            }
            factors.push(own);
        }
        Ok(Unit { spot, factors, weight })
    }

    fn find(&self, plan: &Request, adapters: &[Adapter]) -> Result<Results> {
        let _guard = tch::no_grad_guard();
        let spans = self.factors.iter().map(|(a, b)| update_directions(b, a));
        let spans = spans.collect::<lora_core::Result<Vec<_>>>()?;
        let mut found = Results::default();
        for (one, other) in &plan.pairs {
            if [one, other].iter().any(|i| count(&spans[**i]) == 0) {
                continue;
            }
            let phi = Overlap::of(&spans[*one], &spans[*other])?;
            let seeds = adapters[*one].directions() == adapters[*other].directions();
            let about = if seeds { Comparison::Seeds } else { Comparison::Ranks };
            let of = (Directions::Adapter(*one), Directions::Adapter(*other));
            found.grids.push(grid(phi, about, Some(self.spot), of));
        }
        let whole = self.weight.as_ref().map(Svd::of).transpose()?;
        // Figure 8 is of the query weights of one layer.
        let first = Some(&self.spot.1) == plan.modules.first();
        if let Some(whole) = whole.as_ref().filter(|_| first && self.spot.0 == plan.probe) {
            found.grids.extend(self.against(plan, whole, &spans)?);
        }
        for (place, (adapter, factors)) in adapters.iter().zip(&self.factors).enumerate() {
            let (spectrum, projection) = self.update(plan, place, adapter, factors, whole.as_ref())?;
            found.spectra.push(spectrum);
            found.projections.push(projection);
        }
        Ok(found)
    }

    /// The overlap of the strongest tenth of the weight's directions with the adapters', and with random ones.
    fn against(&self, plan: &Request, whole: &Svd, spans: &[Tensor]) -> Result<Vec<PhiGrid>> {
        let width = whole.right.size()[0];
        let tenth = (width as f64 / 10.0).round().max(1.0) as usize;
        let mut grids = Vec::new();
        let there = plan.against.iter().filter(|place| count(&spans[**place]) > 0);
        for place in there.clone() {
            let phi = Overlap::of(&whole.right, &spans[*place])?.top(tenth);
            let of = (Directions::Weight, Directions::Adapter(*place));
            grids.push(grid(phi, Comparison::Weight, Some(self.spot), of));
        }
        let Some(rank) = there.map(|place| count(&spans[*place])).max() else {
            return Ok(grids);
        };
        let random = directions(&gaussian(rank, width, derive(plan.seed, "control", 2)))?;
        let phi = Overlap::of(&whole.right, &random)?.top(tenth);
        let of = (Directions::Weight, Directions::Random);
        grids.push(grid(phi, Comparison::WeightRandom, Some(self.spot), of));
        Ok(grids)
    }

    /// The spectrum of one update, and its cell of Table 7.
    fn update(
        &self,
        plan: &Request,
        place: usize,
        adapter: &Adapter,
        (a, b): &Factors,
        whole: Option<&Svd>,
    ) -> Result<(Spectrum, Projection)> {
        let (layer, module) = self.spot;
        let norm = |t: &Tensor| t.to_kind(tch::Kind::Double).norm().double_value(&[]);
        let update = Svd::of_product(b, a)?;
        let (ba, rank) = (update.norm(), update.rank()?);
        let update = update.top(rank);
        let delta = adapter.scale().map(|scale| scale * ba);
        let mut cell = Projection {
            adapter: place,
            layer,
            module,
            a: norm(a),
            b: norm(b),
            ba,
            delta,
            weight: whole.map(Svd::norm),
            onto_delta: None,
            onto_weight: whole.filter(|_| rank > 0).map(|w| w.top(rank).norm()),
            onto_random: None,
            amplification: None,
            amplification_unscaled: None,
        };
        // An update of zero spans no directions.
        if let Some(weight) = self.weight.as_ref().filter(|_| rank > 0) {
            let inside = update.projected(weight)?;
            cell.onto_delta = Some(inside);
            cell.onto_random = Some(random_projection(weight, rank, plan.draws, plan.seed)?);
            let factor = |norm: f64| (inside > 0.0).then(|| norm / inside);
            cell.amplification = delta.and_then(factor);
            cell.amplification_unscaled = factor(ba);
        }
        let values = update.spectrum()?.into_iter().map(|v| v as f32).collect();
        let spectrum = Spectrum {
            adapter: place,
            layer,
            module,
            values,
        };
        Ok((spectrum, cell))
    }
}

/// The number of directions.
fn count(span: &Tensor) -> i64 {
    span.size()[1]
}

fn grid(phi: Overlap, about: Comparison, spot: Option<Spot>, (i, j): (Directions, Directions)) -> PhiGrid {
    PhiGrid {
        about,
        layer: spot.map(|(layer, _)| layer),
        module: spot.map(|(_, module)| module),
        i: GridAxis { of: i, len: phi.rows },
        j: GridAxis {
            of: j,
            len: phi.columns,
        },
        values: phi.values.into_iter().map(|v| v as f32).collect(),
    }
}
