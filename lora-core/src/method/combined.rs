//! Combinations of methods, such as LoRA+PreEmbed (Section 5.1, Table 15).

use crate::model::ModelShape;
use crate::nn::{
    Adapter, AdapterSite, AttachPoint, Branch, Method, Param, Params, PrefixKv, PromptTokens, Role, Scope, Site,
};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Two or more methods that attach to different places: `kind: a+b`, with the settings of each under its name.
#[derive(Debug)]
pub(super) struct Combined(Vec<Box<dyn Method>>);

impl Combined {
    /// Joins methods, given with their kinds.
    ///
    /// # Errors
    /// [`Error::Config`] if two attach to the same place.
    pub(super) fn new(parts: Vec<(&str, Box<dyn Method>)>) -> Result<Combined> {
        let mut claimed: BTreeMap<AttachPoint, &str> = BTreeMap::new();
        for (kind, method) in &parts {
            for place in method.claims() {
                if let Some(other) = claimed.insert(place, kind) {
                    return Err(Error::Config(format!(
                        "`{other}` and `{kind}` both attach to {place}: the methods of a combination must attach to different places"
                    )));
                }
            }
        }
        Ok(Combined(parts.into_iter().map(|(_, method)| method).collect()))
    }

    /// The result of the one method that returns some.
    fn only<T>(&self, call: impl Fn(&dyn Method) -> Result<Option<T>>) -> Result<Option<T>> {
        let results = self.0.iter().map(|method| call(method.as_ref()));
        Ok(results.collect::<Result<Vec<_>>>()?.into_iter().flatten().next())
    }

    fn sum(&self, count: impl Fn(&dyn Method) -> (i64, i64)) -> (i64, i64) {
        let counts = self.0.iter().map(|method| count(method.as_ref()));
        counts.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}

impl Method for Combined {
    fn trains_base(&self, param: &Param) -> bool {
        self.0.iter().any(|method| method.trains_base(param))
    }

    fn lr_factor(&self, param: &Param) -> f64 {
        self.0.iter().map(|method| method.lr_factor(param)).product()
    }

    fn claims(&self) -> BTreeSet<AttachPoint> {
        self.0.iter().flat_map(|method| method.claims()).collect()
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        self.only(|method| method.at_linear(role, site, scope))
    }

    fn at_tap(&self, tap: AdapterSite, width: i64, scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        self.only(|method| method.at_tap(tap, width, scope))
    }

    fn at_attention(&self, width: i64, scope: &Scope) -> Result<Option<Box<dyn PrefixKv>>> {
        self.only(|method| method.at_attention(width, scope))
    }

    fn at_embedding(&self, width: i64, blocks: usize, scope: &Scope) -> Result<Option<PromptTokens>> {
        self.only(|method| method.at_embedding(width, blocks, scope))
    }

    fn shift(&self) -> i64 {
        self.0.iter().map(|method| method.shift()).sum()
    }

    fn check(&self, params: &Params) -> Result<()> {
        self.0.iter().try_for_each(|method| method.check(params))
    }

    fn changes_start(&self) -> Option<&'static str> {
        self.0.iter().find_map(|method| method.changes_start())
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        self.sum(|method| method.expected_params(shape))
    }

    fn kept_params(&self, shape: &ModelShape) -> (i64, i64) {
        self.sum(|method| method.kept_params(shape))
    }
}
