//! The interface between models and methods: [`Scope`] creates all variables, [`Method`] decides how they are adapted.

use super::params::{BuiltParams, Counts, ExportFn, Init, Params, StartFn};
use super::{
    Adapter, AdapterSite, AttachPoint, Branch, Depth, Owner, Param, ParamKind, PrefixKv, PromptTokens, Role, Site,
};
use crate::model::ModelShape;
use crate::{Error, Result, seed};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Debug;
use tch::{Device, Kind, Tensor};

/// The values of the base before weights are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseInit {
    /// Seeded random values, for tests, benchmarks and pretraining.
    Random,
    /// Uninitialised memory, for weights that are loaded and for counting.
    Blank,
}

/// A method of adapting a pretrained model. An implementation overrides only the functions it needs.
pub trait Method: Debug + Send + Sync {
    /// Whether this variable of the pretrained model is trained. Called once, when the variable is created.
    fn trains_base(&self, _param: &Param) -> bool {
        false
    }

    /// The places where the method attaches. Each must exist in the model, otherwise [`super::Build::finish`] fails.
    /// Two methods of a combination must not claim the same place.
    fn claims(&self) -> BTreeSet<AttachPoint>;

    /// A branch for the linear layer at `site`, whose variables are created in `scope`.
    ///
    /// # Errors
    /// Those of [`Scope::var`]; [`crate::Error::Config`] for a setting that does not fit the site.
    fn at_linear(&self, _role: Role, _site: &Site, _scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        Ok(None)
    }

    /// An adapter at a site of a block of width `width`, whose variables are created in `scope`; the block is that of
    /// [`Scope::depth`].
    ///
    /// # Errors
    /// Those of [`Method::at_linear`].
    fn at_tap(&self, _tap: AdapterSite, _width: i64, _scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        Ok(None)
    }

    /// Trained keys and values for one block's attention, whose keys have `width` features over all heads.
    ///
    /// # Errors
    /// Those of [`Method::at_linear`].
    fn at_attention(&self, _width: i64, _scope: &Scope) -> Result<Option<Box<dyn PrefixKv>>> {
        Ok(None)
    }

    /// Trained tokens in every row of a model with `blocks` blocks of width `width`.
    ///
    /// # Errors
    /// Those of [`Method::at_linear`].
    fn at_embedding(&self, _width: i64, _blocks: usize, _scope: &Scope) -> Result<Option<PromptTokens>> {
        Ok(None)
    }

    /// The offset added to the positions of a row's tokens, for keys and values that take the first positions.
    fn shift(&self) -> i64 {
        0
    }

    /// Checks the settings against the variables of the built model.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the setting.
    fn check(&self, _params: &Params) -> Result<()> {
        Ok(())
    }

    /// Why the model differs from the pretrained one before the first step; none if it does not.
    fn changes_start(&self) -> Option<&'static str> {
        None
    }

    /// The factor of this variable's learning rate, for methods that train their parts at different rates. Called once,
    /// when the variable is created.
    fn lr_factor(&self, _param: &Param) -> f64 {
        1.0
    }

    /// Whether everything the method adds can be merged into the weights.
    fn mergeable(&self) -> bool {
        let in_weights = |place: &AttachPoint| matches!(place, AttachPoint::Base | AttachPoint::Linear(_));
        self.claims().iter().all(in_weights)
    }

    /// The number of trained parameters without the head as (base, method), in closed form from the paper's
    /// definitions. A test compares it with the built model.
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64);

    /// [`Method::expected_params`] after training, when train-only variables ([`Scope::train_only`]) have been
    /// replaced.
    fn kept_params(&self, shape: &ModelShape) -> (i64, i64) {
        self.expected_params(shape)
    }
}

/// The settings of a model's construction, and the variables created so far.
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
    shape: OnceCell<ModelShape>,
}

impl<'m> Build<'m> {
    /// On the CPU, in fp32, with a blank base.
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
            shape: OnceCell::new(),
        }
    }

    /// The device of the variables.
    pub fn device(self, device: Device) -> Self {
        Build { device, ..self }
    }

    /// The data type of frozen base variables: fp32 or bf16. Trained variables are always fp32.
    pub fn base_kind(self, base_kind: Kind) -> Self {
        Build { base_kind, ..self }
    }

    /// The values of the base before weights are loaded.
    pub fn base_init(self, base_init: BaseInit) -> Self {
        Build { base_init, ..self }
    }

    /// Whether a pretrained pooler (BERT's) belongs to the base, which only some methods train, as in PEFT and in the
    /// paper's code. Otherwise it belongs to the head, which every method trains.
    pub fn freeze_pooler(self, freeze_pooler: bool) -> Self {
        Build { freeze_pooler, ..self }
    }

    /// Shares the base variables of an existing model, in the same memory.
    pub fn sharing(self, base: &'m Params) -> Self {
        Build {
            base: Some(base),
            ..self
        }
    }

    /// Leaves all variables uninitialised, those of method and head included: for counting parameters.
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
            frozen: false,
        }
    }

    /// Returns the variables once the model is built.
    ///
    /// # Errors
    /// [`Error::Config`] if the model lacks a place that the method claims, or a setting does not fit the model.
    pub fn finish(self) -> Result<BuiltParams> {
        check_attached(&self.method.claims(), &self.attached.into_inner())?;
        if self.method.shift() > 0 && !self.shifted.get() {
            return Err(Error::Config(
                "the method shifts positions, but this model has no absolute positions to shift: leave `shift` out"
                    .into(),
            ));
        }
        if self.freeze_pooler && !self.has_pooler.get() {
            return Err(Error::Config(
                "this model has no pooler to freeze: leave `pooler` out".into(),
            ));
        }
        let mut params = self.params.into_inner();
        params.activations = Some(self.base_kind);
        if self.base_init == BaseInit::Random && !self.to_count && self.base.is_none() {
            params.start()?;
        }
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
            "the method attaches nothing to {}: this model has no such place, or the method's settings exclude every block",
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

/// A prefix of variable names, passed to the constructors of all layers, which create their variables in it.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    prefix: String,
    build: &'a Build<'a>,
    owner: Owner,
    depth: Option<Depth>,
    output: bool,
    train_only: bool,
    frozen: bool,
}

impl<'a> Scope<'a> {
    /// The scope with `name` appended to the prefix.
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

    /// This scope with another owner.
    pub fn owned(&self, owner: Owner) -> Self {
        Scope { owner, ..self.clone() }
    }

    /// This scope for variables after the last block: see [`Param::output`].
    pub fn output(&self) -> Self {
        Scope {
            output: true,
            ..self.clone()
        }
    }

    /// The method's offset to the positions of a row's tokens ([`Method::shift`]). The constructor of a model with such
    /// positions calls it once.
    pub fn shift(&self) -> i64 {
        self.build.shifted.set(true);
        self.build.method.shift()
    }

    /// This scope for a pretrained pooler. The constructor of a model that has one calls it once.
    pub fn pooler(&self) -> Self {
        self.build.has_pooler.set(true);
        self.owned(if self.build.freeze_pooler {
            Owner::Base
        } else {
            Owner::Head
        })
    }

    /// This scope for train-only variables, which [`Scope::keeps`] replaces after training.
    pub fn train_only(&self) -> Self {
        Scope {
            train_only: true,
            ..self.clone()
        }
    }

    /// This scope for variables of the method that are not trained and not saved, since their initial values are known.
    pub fn frozen(&self) -> Self {
        Scope {
            frozen: true,
            ..self.clone()
        }
    }

    /// Calls `start` when the weights of the base are loaded (and again if they are loaded again), for methods that
    /// compute from them where their own variables start, or change them.
    ///
    /// # Errors
    /// [`Error::Config`] if the base is shared with other adapters.
    pub fn when_loaded(&self, start: impl Fn() -> Result<()> + Send + 'static) -> Result<()> {
        if self.build.base.is_some() {
            return Err(Error::Config(
                "the method changes the weights of the base at its start, so the base cannot be shared with other adapters".into(),
            ));
        }
        self.build.params.borrow_mut().starts.push(StartFn(Box::new(start)));
        Ok(())
    }

    /// The dimensions of the model that is being built.
    ///
    /// # Errors
    /// [`Error::Config`] if the model is built without [`crate::model::Arch`].
    pub fn shape(&self) -> Result<&'a ModelShape> {
        let shape = self.build.shape.get();
        shape.ok_or_else(|| {
            Error::Config("the method needs the model's shape, which this constructor does not give".into())
        })
    }

    /// Sets [`Scope::shape`].
    pub(crate) fn set_shape(&self, shape: ModelShape) {
        let _known = self.build.shape.set(shape);
    }

    /// Registers the tensors, by name in this scope, that replace the train-only variables after training.
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

    /// The block of this scope.
    pub fn depth(&self) -> Option<Depth> {
        self.depth
    }

    /// The full prefix.
    pub fn name(&self) -> &str {
        &self.prefix
    }

    /// The device of the model's variables.
    pub fn device(&self) -> Device {
        self.build.device
    }

    /// The data type of the model's computation: that of the frozen base.
    pub fn activation_kind(&self) -> Kind {
        self.build.base_kind
    }

    /// Creates the variable `name`.
    ///
    /// Its initial values depend only on the seed and the full name, so that every method starts with the same head.
    /// This function decides whether the variable is trained, and its data type.
    ///
    /// # Errors
    /// [`Error::Duplicate`], [`Error::Torch`], [`Error::OutOfMemory`].
    pub fn var(&self, name: &str, kind: ParamKind, dims: &[i64], init: Init) -> Result<Tensor> {
        let mut param = Param {
            name: self.full(name),
            owner: self.owner,
            kind,
            depth: self.depth,
            output: self.output,
            train_only: self.train_only,
            lr_factor: 1.0,
        };
        param.lr_factor = self.build.method.lr_factor(&param);
        if self.build.params.borrow().get(&param.name).is_some() {
            return Err(Error::Duplicate(param.name));
        }
        let trained = !self.frozen && (param.owner != Owner::Base || self.build.method.trains_base(&param));
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

    /// The variable `name` without this scope's prefix, created by the first call: for variables that blocks share.
    ///
    /// # Errors
    /// Those of [`Scope::var`].
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

    pub(super) fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }

    pub(super) fn method(&self) -> &'a dyn Method {
        self.build.method
    }

    /// Records that the method has attached to `place`.
    pub(super) fn mark_attached(&self, place: AttachPoint) {
        self.build.attached.borrow_mut().insert(place);
    }
}
