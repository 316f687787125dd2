//! Several adapters beside one frozen base, all in memory, and batches in which each row asks another of them.
//!
//! The base's weights are there once; an adapter costs its own factors and head. [`AdapterBank::model`] is the model under one of
//! them, so that switching is picking another. [`AdapterBank::answer`] takes rows for different adapters through the base together:
//! the rows of a batch are put in the order of their adapters, each linear layer multiplies all tokens by W at once, and the
//! updates of each adapter are added to its own stretch of tokens. Nothing is padded, and no weight is copied.

use crate::batch::{Batch, Row, Target, UNSCORED};
use crate::device::guarded;
use crate::interop::{Base, Tensors, fill};
use crate::method::{self, Lora};
use crate::model::{Model, ModelShape};
use crate::nn::{ActivationCheckpointing, AttachPoint, Branch, Build, Method, Owner, Params, Role, Scope, Site};
use crate::train::check_rows;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Adapters beside one base.
#[derive(Debug)]
pub struct AdapterBank {
    base: Base,
    /// The base's variables, frozen.
    frozen: Params,
    device: Device,
    kind: Kind,
    members: Vec<Member>,
    /// The base with the updates of all members.
    mixed: Option<Box<dyn Model>>,
    route: Route,
}

/// One adapter, and the base under it.
#[derive(Debug)]
struct Member {
    name: String,
    lora: Lora,
    model: Box<dyn Model>,
    params: Params,
}

/// A stretch of rows that ask the same adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    member: usize,
    rows: i64,
    tokens: i64,
}

/// The stretches of the batch that is being computed, in its order.
type Route = Arc<Mutex<Vec<Stretch>>>;

impl AdapterBank {
    /// The base alone, its weights loaded and frozen.
    ///
    /// # Errors
    /// Weights that do not fit config.json.
    pub fn new(base: Base, device: Device, kind: Kind) -> Result<AdapterBank> {
        let head = method::from_yaml("{kind: head}")?;
        let frozen = base.load(head.as_ref(), 1, device, kind)?.1.params;
        Ok(AdapterBank {
            base,
            frozen,
            device,
            kind,
            members: Vec::new(),
            mixed: None,
            route: Route::default(),
        })
    }

    /// Puts an adapter beside the others, its tensors under the names of the model's variables, head included; its number,
    /// from 0.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is taken, or tensors that do not fit the base and the method.
    pub fn add(&mut self, name: &str, lora: &Lora, trained: &Tensors) -> Result<usize> {
        if self.members.iter().any(|m| m.name == name) {
            return Err(Error::Config(format!("there is an adapter `{name}` already")));
        }
        let build = Build::new(lora, 0)
            .device(self.device)
            .base_kind(self.kind)
            .sharing(&self.frozen);
        let trained = self.base.complete(trained)?;
        let model = self.base.model(self.base.outputs(&trained)?, &build)?;
        let params = build.finish()?.params;
        fill(&params, &trained, |_| true).map_err(|e| Error::Config(format!("adapter `{name}`: {e}")))?;
        self.members.push(Member {
            name: name.to_string(),
            lora: lora.clone(),
            model,
            params,
        });
        let mix = Mix {
            members: Mutex::new(self.members.iter().map(Member::factors).collect()),
            route: self.route.clone(),
        };
        let build = Build::new(&mix, 0)
            .device(self.device)
            .base_kind(self.kind)
            .sharing(&self.frozen);
        self.mixed = Some(self.base.model(1, &build)?);
        Ok(self.members.len() - 1)
    }

    /// The adapters' names, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| m.name.as_str())
    }

    /// The model under one adapter.
    pub fn model(&self, member: usize) -> Option<&dyn Model> {
        self.members.get(member).map(|m| m.model.as_ref())
    }

    /// Each row answered by its own adapter's head over its own adapter's updates, in one pass through the base: as many
    /// numbers a row as that adapter has outputs (in a language model the scores of its tokens, one after the other), in the
    /// order of `asked`.
    ///
    /// # Errors
    /// [`Error::Config`] for an adapter that there is not or rows that do not fit the model; [`Error::OutOfMemory`].
    pub fn answer(&self, asked: &[(usize, &Row)]) -> Result<Vec<Vec<f32>>> {
        if let Some((member, _)) = asked.iter().find(|(m, _)| *m >= self.members.len()) {
            let there = self.members.len();
            return Err(Error::Config(format!(
                "there is no adapter {member}; there are {there}, from 0"
            )));
        }
        let Some(mixed) = &self.mixed else {
            return Ok(Vec::new());
        };
        check_rows(mixed.as_ref(), asked.iter().map(|(_, row)| *row))?;
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_by_key(|i| asked[*i].0);
        let sorted: Vec<(usize, &Row)> = order.iter().map(|i| asked[*i]).collect();
        let answers = guarded("answering", || self.in_order(mixed.as_ref(), &sorted))?;
        let mut placed = vec![Vec::new(); asked.len()];
        for (i, answer) in order.into_iter().zip(answers) {
            placed[i] = answer;
        }
        Ok(placed)
    }

    /// [`AdapterBank::answer`] for rows in the order of their adapters.
    fn in_order(&self, mixed: &dyn Model, asked: &[(usize, &Row)]) -> Result<Vec<Vec<f32>>> {
        let _guard = tch::no_grad_guard();
        let rows: Vec<&Row> = asked.iter().map(|(_, row)| *row).collect();
        let batch = Batch::new(&rows, self.device)?;
        let stretches: Vec<Stretch> = asked.chunk_by(|a, b| a.0 == b.0).map(stretch).collect();
        self.set_route(stretches.clone());
        let features = mixed.features(&batch, false, &ActivationCheckpointing::off()); // [B, d], or [S, d] in a language model
        let mut answers = Vec::with_capacity(rows.len());
        let (mut start, mut left) = (0, rows.iter().map(|row| self.answers_of(row)));
        for s in stretches {
            let lengths: Vec<i64> = left.by_ref().take(s.rows as usize).collect();
            let len = lengths.iter().sum();
            let own = self.members[s.member]
                .model
                .logits(&features.narrow(0, start, len), false);
            for row in own.to_device(Device::Cpu).split_with_sizes(&lengths, 0) {
                answers.push(Vec::try_from(row.reshape([-1])).map_err(Error::torch("reading the answers"))?);
            }
            start += len;
        }
        Ok(answers)
    }

    /// How many lines of answers the model gives about a row: one, or in a language model one for each token that is scored (for each
    /// token, where the row scores none).
    pub fn answers_of(&self, row: &Row) -> i64 {
        match &row.target {
            _ if !self.base.head.is_empty() => 1,
            Target::Tokens(wanted) => wanted.iter().filter(|id| **id != UNSCORED).count() as i64,
            _ => row.ids.len() as i64,
        }
    }

    fn set_route(&self, stretches: Vec<Stretch>) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = stretches;
    }
}

fn stretch(asked: &[(usize, &Row)]) -> Stretch {
    Stretch {
        member: asked.first().map_or(0, |(m, _)| *m),
        rows: asked.len() as i64,
        tokens: asked.iter().map(|(_, row)| row.ids.len() as i64).sum(),
    }
}

impl Member {
    fn factors(&self) -> Factors {
        let own = self.params.iter().filter(|e| e.param.owner == Owner::Method);
        let tensors = own.map(|e| (e.param.name.clone(), e.tensor.shallow_clone()));
        (self.lora.clone(), tensors.collect())
    }
}

/// A member's method, and its variables.
type Factors = (Lora, Tensors);

/// The updates of all members as one method: it has no variables of its own.
#[derive(Debug)]
struct Mix {
    members: Mutex<Vec<Factors>>,
    route: Route,
}

impl Method for Mix {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        BTreeSet::new()
    }

    fn at_linear(&self, _: Role, _: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        let one = |(lora, tensors): &Factors| {
            let factor = |which| {
                tensors
                    .get(&format!("{}.{which}.weight", scope.name()))
                    .map(Tensor::shallow_clone)
            };
            Some(lora.branch(factor("lora_A")?, factor("lora_B")?))
        };
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let branches: Vec<_> = members.iter().map(one).collect();
        if branches.iter().all(Option::is_none) {
            return Ok(None);
        }
        Ok(Some(Box::new(Mixed {
            branches,
            route: self.route.clone(),
        })))
    }

    fn expected_params(&self, _: &ModelShape) -> (i64, i64) {
        (0, 0)
    }
}

/// The updates of all members beside one layer, where they have any.
#[derive(Debug)]
struct Mixed {
    branches: Vec<Option<Box<dyn Branch>>>,
    route: Route,
}

impl Branch for Mixed {
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor {
        let route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        // A layer sees all tokens, or the first of each row.
        let every = x.size()[0] == route.iter().map(|s| s.tokens).sum::<i64>();
        let mut start = 0;
        let mut parts = Vec::with_capacity(route.len());
        for s in route.iter() {
            let len = if every { s.tokens } else { s.rows };
            let (y, x) = (y.narrow(0, start, len), x.narrow(0, start, len));
            parts.push(match &self.branches[s.member] {
                Some(branch) => branch.add_to(&y, &x, train),
                None => y,
            });
            start += len;
        }
        Tensor::cat(&parts, 0)
    }
}
