//! Creates layers in a scope and attaches the method's modules to them.

use super::{
    AdapterSite, AttachPoint, Embedding, Init, Linear, Norm, Owner, ParamKind, Prefix, RmsNorm, Role, Scope, Site,
    SoftPrompt, TapPoint,
};
use crate::{Error, Result};
use tch::Tensor;

impl Scope<'_> {
    /// A linear layer `[out, in]` with bias. With several roles the weight is fused: it holds several projections,
    /// concatenated along the output (GPT-2's query, key and value), and the method can attach to each.
    pub fn linear(&self, name: &str, roles: &[Role], in_dim: i64, out_dim: i64, init: Init) -> Result<Linear> {
        self.linear_with(name, roles, (in_dim, out_dim), true, init)
    }

    /// [`Scope::linear`] with or without a `bias`.
    pub fn linear_with(
        &self,
        name: &str,
        roles: &[Role],
        (in_dim, out_dim): (i64, i64),
        bias: bool,
        init: Init,
    ) -> Result<Linear> {
        let scope = self.sub(name);
        let width = out_dim * roles.len().max(1) as i64;
        let weight = scope.var("weight", ParamKind::Weight, &[width, in_dim], init)?;
        let bias = bias.then(|| scope.var("bias", ParamKind::Bias, &[width], Init::Const(0.0)));
        let bias = bias.transpose()?;
        let mut linear = Linear::new(weight.shallow_clone(), bias.as_ref().map(Tensor::shallow_clone));
        for (slot, role) in roles.iter().enumerate() {
            let start = slot as i64 * out_dim;
            let site = Site {
                depth: self.depth(),
                in_dim,
                out_dim,
                weight: weight.narrow(0, start, out_dim),
                bias: bias.as_ref().map(|bias| bias.narrow(0, start, out_dim)),
            };
            let place = if roles.len() > 1 {
                scope.sub(role.to_string())
            } else {
                scope.clone()
            };
            if let Some(branch) = self.method().at_linear(*role, &site, &place.owned(Owner::Method))? {
                self.mark_attached(AttachPoint::Linear(*role));
                linear.attach(start, out_dim, branch);
            }
        }
        if roles == [Role::Query, Role::Key, Role::Value] {
            let whole = Site {
                depth: self.depth(),
                in_dim,
                out_dim: width,
                weight,
                bias,
            };
            scope.fused(&mut linear, &whole)?;
        }
        Ok(linear)
    }

    /// The method's adapter at a site of this block of width `dim`. A block's constructor calls it once per site.
    ///
    /// # Errors
    /// Those of [`super::Method::at_tap`].
    pub fn tap(&self, tap: AdapterSite, dim: i64) -> Result<TapPoint> {
        let place = self.sub(tap.to_string()).owned(Owner::Method);
        let adapter = self.method().at_tap(tap, dim, &place)?;
        if adapter.is_some() {
            self.mark_attached(AttachPoint::AdapterSite(tap));
        }
        Ok(TapPoint::new(adapter))
    }

    /// The method's trained keys and values for this block's attention, whose keys have `dim` features over all heads.
    /// A block's constructor calls it once, for [`super::Attention::prefix`].
    ///
    /// # Errors
    /// Those of [`super::Method::at_attention`].
    pub fn prefix(&self, dim: i64) -> Result<Prefix> {
        let place = self.sub("prefix").owned(Owner::Method);
        let prefix = self.method().at_attention(dim, &place)?;
        if prefix.is_some() {
            self.mark_attached(AttachPoint::Attention);
        }
        Ok(Prefix::new(prefix))
    }

    /// The method's trained tokens for a model of `blocks` blocks and width `dim` with at most `max_len` tokens per
    /// row. A model's constructor calls it once.
    ///
    /// # Errors
    /// Those of [`super::Method::at_embedding`]; [`Error::Config`] if the tokens leave no room for a row.
    pub fn prompt(&self, dim: i64, blocks: usize, max_len: i64) -> Result<SoftPrompt> {
        let place = self.sub("prompt").owned(Owner::Method);
        let tokens = self.method().at_embedding(dim, blocks, &place)?;
        if let Some(tokens) = &tokens {
            self.mark_attached(AttachPoint::Embedding);
            let free = max_len - tokens.prefix - tokens.infix;
            if free < 2 {
                return Err(Error::Config(format!(
                    "a prefix of {} and an infix of {} leave {} of the model's {max_len} positions for text: make them shorter",
                    tokens.prefix,
                    tokens.infix,
                    free.max(0)
                )));
            }
        }
        Ok(SoftPrompt::new(tokens))
    }

    /// Attaches the method to a fused query-key-value weight as a whole.
    fn fused(&self, linear: &mut Linear, site: &Site) -> Result<()> {
        let (role, method) = (Role::Qkv, self.method());
        let Some(branch) = method.at_linear(role, site, &self.owned(Owner::Method))? else {
            return Ok(());
        };
        if linear.is_adapted() {
            return Err(Error::Config(format!(
                "the target {role} is query, key and value in one matrix: name either it or some of the three, not both"
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

    /// RMSNorm over the last `dim` features.
    pub fn rms_norm(&self, name: &str, dim: i64, eps: f64) -> Result<RmsNorm> {
        let weight = self
            .sub(name)
            .var("weight", ParamKind::NormWeight, &[dim], Init::Const(1.0))?;
        Ok(RmsNorm::new(weight, eps))
    }

    /// An embedding of `count` ids.
    pub fn embedding(&self, name: &str, count: i64, dim: i64, std: f64) -> Result<Embedding> {
        let table = self
            .sub(name)
            .var("weight", ParamKind::Embedding, &[count, dim], Init::Normal(std))?;
        Ok(Embedding::new(table))
    }
}
