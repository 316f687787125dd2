//! The one place that creates variables.

use super::{
    AdapterSite, AttachPoint, Depth, Embedding, Linear, Method, Norm, Owner, Param, ParamKind, Prefix, Role, Site,
    SoftPrompt, TapPoint,
};
use crate::{Error, Result, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use tch::{Device, Kind, Tensor};

/// How a fresh variable is filled.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// The same number everywhere.
    Const(f64),
    /// Normal around 0.
    Normal(f64),
    /// Uniform on (-bound, bound). PyTorch's default for a linear layer, `kaiming_uniform(a = sqrt 5)`, is bound 1/sqrt(fan in).
    Uniform(f64),
}

impl Init {
    /// A fresh fp32 tensor on the CPU. The numbers come from a generator of its own: libtorch's is shared by all threads.
    fn fill(self, seed: u64, dims: &[i64]) -> Tensor {
        let count = dims.iter().product::<i64>().max(0) as usize;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = match self {
            Init::Const(value) => vec![value as f32; count],
            Init::Normal(std) => (0..count)
                .map(|_| rng.sample::<f32, _>(StandardNormal) * std as f32)
                .collect(),
            Init::Uniform(bound) => (0..count)
                .map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound as f32)
                .collect(),
        };
        Tensor::from_slice(&values).view(dims)
    }
}

/// What the pretrained part holds before weights are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseInit {
    /// Seeded random numbers: for tests, benchmarks and pretraining.
    Random,
    /// Memory as it comes, not even touched: for weights that a load fills, and for counting.
    Blank,
}

/// One variable: what it is, and its tensor.
#[derive(Debug)]
pub struct Entry {
    /// The description.
    pub param: Param,
    /// The values; `requires_grad` says whether it is trained.
    pub tensor: Tensor,
}

/// Names and tensors.
type Named = Vec<(String, Tensor)>;

/// Computes what is kept in the place of a train_only.
struct ExportFn(Box<dyn Fn() -> Named + Send>);

impl fmt::Debug for ExportFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExportFn")
    }
}

/// All variables of a model, in the order in which they were created.
#[derive(Debug, Default)]
pub struct Params {
    kept: Vec<ExportFn>,
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl Params {
    /// Every variable.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.index.get(name).map(|i| &self.entries[*i])
    }

    /// The variables that are trained.
    pub fn trainable(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.tensor.requires_grad())
    }

    /// What is kept when training is over: the variables that were trained, with what a method computes from its scaffold
    /// (such as the keys and values that come out of a network) in the scaffold's place.
    pub fn kept(&self) -> Vec<(String, Tensor)> {
        let _guard = tch::no_grad_guard();
        let trained = self.trainable().filter(|e| !e.param.train_only);
        let named = trained.map(|e| (e.param.name.clone(), e.tensor.shallow_clone()));
        named.chain(self.kept.iter().flat_map(|kept| kept.0())).collect()
    }

    fn push(&mut self, param: Param, tensor: &Tensor) {
        self.index.insert(param.name.clone(), self.entries.len());
        self.entries.push(Entry {
            param,
            tensor: tensor.shallow_clone(),
        });
    }
}

/// How many numbers are trained, by owner, and how many the whole model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the pretrained model.
    pub base: i64,
    /// Of what the method adds.
    pub method: i64,
    /// Of the task head.
    pub head: i64,
    /// All variables, trained or not.
    pub total: i64,
}

/// A model's variables after the method has had its say.
#[derive(Debug)]
pub struct BuiltParams {
    /// The variables.
    pub params: Params,
    /// What is trained.
    pub counts: Counts,
}

/// The settings under which a model is built, and the variables it has created so far.
#[derive(Debug)]
pub struct Build<'m> {
    method: &'m dyn Method,
    seed: u64,
    device: Device,
    base_kind: Kind,
    base_init: BaseInit,
    base: Option<&'m Params>,
    to_count: bool,
    params: RefCell<Params>,
    attached: RefCell<BTreeSet<AttachPoint>>,
    shifted: Cell<bool>,
    freeze_pooler: bool,
    has_pooler: Cell<bool>,
}

impl<'m> Build<'m> {
    /// A build on the CPU in fp32 with a blank base.
    pub fn new(method: &'m dyn Method, seed: u64) -> Self {
        Build {
            method,
            seed,
            device: Device::Cpu,
            base_kind: Kind::Float,
            base_init: BaseInit::Blank,
            base: None,
            to_count: false,
            params: RefCell::default(),
            attached: RefCell::default(),
            shifted: Cell::new(false),
            freeze_pooler: false,
            has_pooler: Cell::new(false),
        }
    }

    /// Where variables live.
    pub fn device(self, device: Device) -> Self {
        Build { device, ..self }
    }

    /// The kind of frozen base variables: fp32, or bf16 with everything that is trained still in fp32.
    pub fn base_kind(self, base_kind: Kind) -> Self {
        Build { base_kind, ..self }
    }

    /// What the base holds before weights are loaded.
    pub fn base_init(self, base_init: BaseInit) -> Self {
        Build { base_init, ..self }
    }

    /// Whether a pooler that comes with the pretrained weights (BERT's) belongs to them, and is trained by methods that train
    /// such weights alone, as in PEFT and in the paper's code; otherwise it belongs to the head, which every method trains.
    pub fn freeze_pooler(self, freeze_pooler: bool) -> Self {
        Build { freeze_pooler, ..self }
    }

    /// Takes the pretrained part from a model that is there already, over the same memory.
    pub fn sharing(self, base: &'m Params) -> Self {
        Build {
            base: Some(base),
            ..self
        }
    }

    /// Leaves every variable blank, those of method and head too: for counting, where drawing numbers would be all the work.
    pub fn to_count(self) -> Self {
        Build { to_count: true, ..self }
    }

    /// The root scope, owned by the base.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            prefix: String::new(),
            build: self,
            owner: Owner::Base,
            depth: None,
            output: false,
            train_only: false,
        }
    }

    /// Hands out the variables once the model is built.
    ///
    /// # Errors
    /// [`Error::Config`] naming every place that the method claims and the model does not have, or a setting that does not
    /// fit it.
    pub fn finish(self) -> Result<BuiltParams> {
        check_attached(&self.method.claims(), &self.attached.into_inner())?;
        if self.method.shift() > 0 && !self.shifted.get() {
            return Err(Error::Config(
                "the method shifts positions, and this model has none that count from a row's start: leave `shift` out"
                    .into(),
            ));
        }
        if self.freeze_pooler && !self.has_pooler.get() {
            return Err(Error::Config(
                "this model has no pooler among its pretrained weights that could be frozen: leave `pooler` out".into(),
            ));
        }
        let params = self.params.into_inner();
        self.method.check(&params)?;
        let mut counts = Counts::default();
        for entry in params.iter() {
            let n = entry.tensor.numel() as i64;
            counts.total += n;
            if entry.tensor.requires_grad() {
                match entry.param.owner {
                    Owner::Base => counts.base += n,
                    Owner::Method => counts.method += n,
                    Owner::Head => counts.head += n,
                }
            }
        }
        Ok(BuiltParams { params, counts })
    }
}

fn check_attached(claims: &BTreeSet<AttachPoint>, attached: &BTreeSet<AttachPoint>) -> Result<()> {
    let (mut roles, mut others) = (Vec::new(), Vec::new());
    for place in claims.difference(attached) {
        match place {
            AttachPoint::Base => {}
            AttachPoint::Linear(role) => roles.push(role.to_string()),
            other => others.push(other.to_string()),
        }
    }
    if !roles.is_empty() {
        let all: Vec<String> = Role::ALL.iter().map(Role::to_string).collect();
        return Err(Error::Config(format!(
            "this model has no layer for the target {}; the roles are {}",
            roles.join(", "),
            all.join(", ")
        )));
    }
    match others.is_empty() {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "the method attaches nothing to {}: this model has no such place, or the method's settings leave out every block",
            others.join(" and ")
        ))),
    }
}

/// The frozen variable of this name and shape in another model.
fn shared(base: &Params, name: &str, dims: &[i64], trained: bool) -> Result<Tensor> {
    let entry = base.get(name).filter(|e| e.tensor.size() == dims);
    let entry = entry.ok_or_else(|| {
        Error::Config(format!(
            "the shared base has no `{name}` of shape {dims:?}: it is another model"
        ))
    })?;
    if trained || entry.tensor.requires_grad() {
        return Err(Error::Config(format!(
            "`{name}` is trained, so it cannot be shared with other adapters"
        )));
    }
    Ok(entry.tensor.shallow_clone())
}

/// A place in the tree of names, handed to every layer.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    prefix: String,
    build: &'a Build<'a>,
    owner: Owner,
    depth: Option<Depth>,
    output: bool,
    train_only: bool,
}

impl<'a> Scope<'a> {
    /// The scope one name further down.
    pub fn sub(&self, name: impl AsRef<str>) -> Self {
        Scope {
            prefix: self.full(name.as_ref()),
            ..self.clone()
        }
    }

    /// The scope of block `index` of `of`.
    pub fn at(&self, index: usize, of: usize) -> Self {
        Scope {
            depth: Some(Depth { index, of }),
            ..self.sub(index.to_string())
        }
    }

    /// The same place under another owner.
    pub fn owned(&self, owner: Owner) -> Self {
        Scope { owner, ..self.clone() }
    }

    /// The same place for what is behind the last block: see [`Param::output`].
    pub fn output(&self) -> Self {
        Scope {
            output: true,
            ..self.clone()
        }
    }

    /// By how much the method shifts the positions of a row's tokens: one call in the constructor of a model whose positions
    /// count from a row's start.
    pub fn shift(&self) -> i64 {
        self.build.shifted.set(true);
        self.build.method.shift()
    }

    /// The same place for a pooler that comes with the pretrained weights: one call in the constructor of a model that has one.
    pub fn pooler(&self) -> Self {
        self.build.has_pooler.set(true);
        self.owned(if self.build.freeze_pooler {
            Owner::Base
        } else {
            Owner::Head
        })
    }

    /// The same place for variables that serve training alone; what is kept of them, [`Scope::keeps`] says.
    pub fn train_only(&self) -> Self {
        Scope {
            train_only: true,
            ..self.clone()
        }
    }

    /// What `kept` computes, by its name here, is kept in the place of a scaffold when training is over.
    pub fn keeps(&self, kept: impl Fn() -> Vec<(&'static str, Tensor)> + Send + 'static) {
        let place = self.full("");
        let named = move || {
            let tensors = kept().into_iter();
            tensors
                .map(|(name, tensor)| (format!("{place}{name}"), tensor))
                .collect()
        };
        self.build.params.borrow_mut().kept.push(ExportFn(Box::new(named)));
    }

    /// The block this is in.
    pub fn depth(&self) -> Option<Depth> {
        self.depth
    }

    /// The full name of this place.
    pub fn name(&self) -> &str {
        &self.prefix
    }

    /// The kind in which the model computes: that of the frozen base.
    pub fn activation_kind(&self) -> Kind {
        self.build.base_kind
    }

    /// Creates the variable `name`.
    ///
    /// Its first values depend on (seed, full name) alone, so that every method starts from the same head. Whether it is
    /// trained, and in which kind it is kept, is decided here, once.
    ///
    /// # Errors
    /// [`Error::Duplicate`], or libtorch's refusal (memory).
    pub fn var(&self, name: &str, kind: ParamKind, dims: &[i64], init: Init) -> Result<Tensor> {
        let param = Param {
            name: self.full(name),
            owner: self.owner,
            kind,
            depth: self.depth,
            output: self.output,
            train_only: self.train_only,
        };
        if self.build.params.borrow().get(&param.name).is_some() {
            return Err(Error::Duplicate(param.name));
        }
        let trained = param.owner != Owner::Base || self.build.method.trains_base(&param);
        if let Some(base) = self.build.base.filter(|_| param.owner == Owner::Base) {
            let tensor = shared(base, &param.name, dims, trained)?;
            self.build.params.borrow_mut().push(param, &tensor);
            return Ok(tensor);
        }
        let stored = if trained { Kind::Float } else { self.build.base_kind };
        let doing = || Error::torch(format!("creating `{}` {dims:?}", param.name));
        let blank = param.owner == Owner::Base && self.build.base_init == BaseInit::Blank;
        let tensor = if blank || self.build.to_count {
            Tensor::f_empty(dims, (stored, self.build.device)).map_err(doing())?
        } else {
            let fresh = init.fill(seed::derive(self.build.seed, &param.name, 0), dims);
            fresh
                .f_to_device(self.build.device)
                .and_then(|t| t.f_to_kind(stored))
                .map_err(doing())?
        };
        let tensor = tensor.set_requires_grad(trained);
        self.build.params.borrow_mut().push(param, &tensor);
        Ok(tensor)
    }

    /// The variable `name` of the whole model, made by whoever asks for it first: for what a method shares among blocks.
    ///
    /// # Errors
    /// As [`Scope::var`].
    pub fn shared(&self, name: &str, kind: ParamKind, dims: &[i64], init: Init) -> Result<Tensor> {
        if let Some(entry) = self.build.params.borrow().get(name) {
            return Ok(entry.tensor.shallow_clone());
        }
        let root = Scope {
            prefix: String::new(),
            depth: None,
            output: false,
            ..self.clone()
        };
        root.var(name, kind, dims, init)
    }

    /// A linear layer `[out, in]` with bias. With several roles one weight holds several projections, one after the other
    /// along the output (GPT-2's fused query, key and value); the method is asked about each.
    pub fn linear(&self, name: &str, roles: &[Role], in_dim: i64, out_dim: i64, init: Init) -> Result<Linear> {
        let scope = self.sub(name);
        let width = out_dim * roles.len().max(1) as i64;
        let weight = scope.var("weight", ParamKind::Weight, &[width, in_dim], init)?;
        let bias = scope.var("bias", ParamKind::Bias, &[width], Init::Const(0.0))?;
        let mut linear = Linear::new(weight.shallow_clone(), bias.shallow_clone());
        for (slot, role) in roles.iter().enumerate() {
            let start = slot as i64 * out_dim;
            let site = Site {
                depth: self.depth,
                in_dim,
                out_dim,
                weight: weight.narrow(0, start, out_dim),
                bias: bias.narrow(0, start, out_dim),
            };
            let place = if roles.len() > 1 {
                scope.sub(role.to_string())
            } else {
                scope.clone()
            };
            if let Some(branch) = self.build.method.at_linear(*role, &site, &place.owned(Owner::Method))? {
                self.mark_attached(AttachPoint::Linear(*role));
                linear.attach(start, out_dim, branch);
            }
        }
        if roles == [Role::Query, Role::Key, Role::Value] {
            let whole = Site {
                depth: self.depth,
                in_dim,
                out_dim: width,
                weight,
                bias,
            };
            scope.fused(&mut linear, &whole)?;
        }
        Ok(linear)
    }

    /// What the method puts at a tap of this block of width `dim`: one call a tap in a block's constructor.
    ///
    /// # Errors
    /// As [`Method::at_tap`].
    pub fn tap(&self, tap: AdapterSite, dim: i64) -> Result<TapPoint> {
        let place = self.sub(tap.to_string()).owned(Owner::Method);
        let adapter = self.build.method.at_tap(tap, dim, &place)?;
        if adapter.is_some() {
            self.mark_attached(AttachPoint::AdapterSite(tap));
        }
        Ok(TapPoint::new(adapter))
    }

    /// The trained keys and values of this block's attention of width `dim`: one call in a block's constructor, as
    /// [`super::Attention::prefix`].
    ///
    /// # Errors
    /// As [`Method::at_attention`].
    pub fn prefix(&self, dim: i64) -> Result<Prefix> {
        let place = self.sub("prefix").owned(Owner::Method);
        let prefix = self.build.method.at_attention(dim, &place)?;
        if prefix.is_some() {
            self.mark_attached(AttachPoint::Attention);
        }
        Ok(Prefix::new(prefix))
    }

    /// The trained tokens of a model of `blocks` blocks and width `dim`, whose rows may have `max_len` tokens in all: one
    /// call in the model's constructor.
    ///
    /// # Errors
    /// As [`Method::at_embedding`], and [`Error::Config`] where they leave no room for a row.
    pub fn prompt(&self, dim: i64, blocks: usize, max_len: i64) -> Result<SoftPrompt> {
        let place = self.sub("prompt").owned(Owner::Method);
        let tokens = self.build.method.at_embedding(dim, blocks, &place)?;
        if let Some(tokens) = &tokens {
            self.mark_attached(AttachPoint::Embedding);
            let left = max_len - tokens.prefix - tokens.infix;
            if left < 2 {
                return Err(Error::Config(format!(
                    "a prefix of {} and an infix of {} leave {} of the model's {max_len} positions for text: make them shorter",
                    tokens.prefix,
                    tokens.infix,
                    left.max(0)
                )));
            }
        }
        Ok(SoftPrompt::new(tokens))
    }

    fn mark_attached(&self, place: AttachPoint) {
        self.build.attached.borrow_mut().insert(place);
    }

    /// Asks the method about a weight of query, key and value as one matrix.
    fn fused(&self, linear: &mut Linear, site: &Site) -> Result<()> {
        let (role, method) = (Role::Qkv, self.build.method);
        let Some(branch) = method.at_linear(role, site, &self.owned(Owner::Method))? else {
            return Ok(());
        };
        if linear.is_adapted() {
            return Err(Error::Config(format!(
                "the target {role} is query, key and value in one: name it, or some of the three, not both"
            )));
        }
        self.mark_attached(AttachPoint::Linear(role));
        linear.attach(0, site.out_dim, branch);
        Ok(())
    }

    /// LayerNorm over the last `dim` features.
    pub fn norm(&self, name: &str, dim: i64, eps: f64) -> Result<Norm> {
        let scope = self.sub(name);
        let weight = scope.var("weight", ParamKind::NormWeight, &[dim], Init::Const(1.0))?;
        let bias = scope.var("bias", ParamKind::NormBias, &[dim], Init::Const(0.0))?;
        Ok(Norm::new(weight, bias, eps))
    }

    /// A table of `count` embeddings.
    pub fn embedding(&self, name: &str, count: i64, dim: i64, std: f64) -> Result<Embedding> {
        let table = self
            .sub(name)
            .var("weight", ParamKind::Embedding, &[count, dim], Init::Normal(std))?;
        Ok(Embedding::new(table))
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }
}
