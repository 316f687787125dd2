//! Several LoRA adapters on one frozen base in memory, and batches whose rows use different adapters.
//!
//! The base's weights are held once; an adapter costs only its factors and head. [`AdapterBank::model`] is the model
//! with one adapter. [`AdapterBank::predict`] passes rows for different adapters through the base together: rows are
//! sorted by adapter, each linear layer multiplies all tokens by W at once, and each adapter's update is added to the
//! span of its own tokens. Nothing is padded and no weight is copied.

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

/// LoRA adapters on one base.
#[derive(Debug)]
pub struct AdapterBank {
    base: Base,
    /// The base's variables, frozen.
    frozen: Params,
    device: Device,
    kind: Kind,
    members: Vec<Member>,
    /// The base with the updates of all members, each on its own rows.
    mixed: Option<Box<dyn Model>>,
    route: Route,
}

/// One adapter, and the base with it.
#[derive(Debug)]
struct Member {
    name: String,
    lora: Lora,
    model: Box<dyn Model>,
    params: Params,
}

/// Consecutive rows that use the same adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    member: usize,
    rows: i64,
    tokens: i64,
}

/// The spans of the current batch, in its order.
type Route = Arc<Mutex<Vec<Span>>>;

impl AdapterBank {
    /// Loads the base, without adapters.
    ///
    /// # Errors
    /// [`Error::Load`] for weights that do not fit config.json.
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

    /// Adds an adapter and returns its index, counted from 0. `trained` holds its tensors, head included, by the names
    /// of the model's variables.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is taken, or tensors that do not fit the base and `lora`.
    pub fn add(&mut self, name: &str, lora: &Lora, trained: &Tensors) -> Result<usize> {
        if self.members.iter().any(|m| m.name == name) {
            return Err(Error::Config(format!("an adapter `{name}` exists already")));
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
        let method = BankMethod {
            members: Mutex::new(self.members.iter().map(Member::factors).collect()),
            route: self.route.clone(),
        };
        let build = Build::new(&method, 0)
            .device(self.device)
            .base_kind(self.kind)
            .sharing(&self.frozen);
        self.mixed = Some(self.base.model(1, &build)?);
        Ok(self.members.len() - 1)
    }

    /// The adapters' names, by index.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| m.name.as_str())
    }

    /// The model with one adapter.
    pub fn model(&self, member: usize) -> Option<&dyn Model> {
        self.members.get(member).map(|m| m.model.as_ref())
    }

    /// The outputs for rows that are given with the index of their adapter, in one pass through the base: one vector
    /// per row, in the order of `requests`, of as many values as the adapter has outputs (language model: the logits of
    /// the row's tokens, concatenated).
    ///
    /// # Errors
    /// [`Error::Config`] for an adapter that does not exist or rows that do not fit the model; [`Error::OutOfMemory`].
    pub fn predict(&self, requests: &[(usize, &Row)]) -> Result<Vec<Vec<f32>>> {
        if let Some((member, _)) = requests.iter().find(|(m, _)| *m >= self.members.len()) {
            let count = self.members.len();
            return Err(Error::Config(format!(
                "there is no adapter {member}; there are {count}, counted from 0"
            )));
        }
        let Some(mixed) = &self.mixed else {
            return Ok(Vec::new());
        };
        check_rows(mixed.as_ref(), requests.iter().map(|(_, row)| *row))?;
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|i| requests[*i].0);
        let sorted: Vec<(usize, &Row)> = order.iter().map(|i| requests[*i]).collect();
        let outputs = guarded("predicting", || self.predict_sorted(mixed.as_ref(), &sorted))?;
        let mut in_request_order = vec![Vec::new(); requests.len()];
        for (i, output) in order.into_iter().zip(outputs) {
            in_request_order[i] = output;
        }
        Ok(in_request_order)
    }

    /// [`AdapterBank::predict`] for rows sorted by adapter.
    fn predict_sorted(&self, mixed: &dyn Model, requests: &[(usize, &Row)]) -> Result<Vec<Vec<f32>>> {
        let _guard = tch::no_grad_guard();
        let rows: Vec<&Row> = requests.iter().map(|(_, row)| *row).collect();
        let batch = Batch::new(&rows, self.device)?;
        let spans: Vec<Span> = requests.chunk_by(|a, b| a.0 == b.0).map(span).collect();
        self.set_route(spans.clone());
        let features = mixed.features(&batch, false, &ActivationCheckpointing::off()); // [B, d], or [S, d] in a language model
        let mut outputs = Vec::with_capacity(rows.len());
        let (mut start, mut counts) = (0, rows.iter().map(|row| self.output_vectors(row)));
        for s in spans {
            let lengths: Vec<i64> = counts.by_ref().take(s.rows as usize).collect();
            let len = lengths.iter().sum();
            let logits = self.members[s.member]
                .model
                .logits(&features.narrow(0, start, len), false);
            for row in logits.to_device(Device::Cpu).split_with_sizes(&lengths, 0) {
                outputs.push(Vec::try_from(row.reshape([-1])).map_err(Error::torch("reading the outputs"))?);
            }
            start += len;
        }
        Ok(outputs)
    }

    /// The number of output vectors for `row`: one, or in a language model one per scored token (per token, if the
    /// row's target is not tokens).
    pub fn output_vectors(&self, row: &Row) -> i64 {
        match &row.target {
            _ if !self.base.head.is_empty() => 1,
            Target::Tokens(wanted) => wanted.iter().filter(|id| **id != UNSCORED).count() as i64,
            _ => row.ids.len() as i64,
        }
    }

    fn set_route(&self, spans: Vec<Span>) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = spans;
    }
}

fn span(requests: &[(usize, &Row)]) -> Span {
    Span {
        member: requests.first().map_or(0, |(m, _)| *m),
        rows: requests.len() as i64,
        tokens: requests.iter().map(|(_, row)| row.ids.len() as i64).sum(),
    }
}

impl Member {
    fn factors(&self) -> MemberFactors {
        let method = self.params.iter().filter(|e| e.param.owner == Owner::Method);
        let tensors = method.map(|e| (e.param.name.clone(), e.tensor.shallow_clone()));
        (self.lora.clone(), tensors.collect())
    }
}

/// A member's method and its variables.
type MemberFactors = (Lora, Tensors);

/// The updates of all members as one method, which creates no variables.
#[derive(Debug)]
struct BankMethod {
    members: Mutex<Vec<MemberFactors>>,
    route: Route,
}

impl Method for BankMethod {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        BTreeSet::new()
    }

    fn at_linear(&self, _: Role, _: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        let one = |(lora, tensors): &MemberFactors| {
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
        Ok(Some(Box::new(BankBranch {
            branches,
            route: self.route.clone(),
        })))
    }

    fn expected_params(&self, _: &ModelShape) -> (i64, i64) {
        (0, 0)
    }
}

/// The updates of all members at one layer; none for a member that does not adapt it.
#[derive(Debug)]
struct BankBranch {
    branches: Vec<Option<Box<dyn Branch>>>,
    route: Route,
}

impl Branch for BankBranch {
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor {
        let route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        // The input holds all tokens, or only the first token of each row.
        let all_tokens = x.size()[0] == route.iter().map(|s| s.tokens).sum::<i64>();
        let mut start = 0;
        let mut parts = Vec::with_capacity(route.len());
        for s in route.iter() {
            let len = if all_tokens { s.tokens } else { s.rows };
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
