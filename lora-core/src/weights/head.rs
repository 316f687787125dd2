//! Compares the classifier in a model's file with the classes of a task.

use super::{StoredHead, Weights};
use crate::model::{Arch, label_names, rows_of};
use crate::{Error, Result};
use serde_json::Value;

impl Weights {
    /// How to load the classifier of this file for a task with these `classes` (empty for regression) and this number
    /// of `outputs`. `config` is the config.json of the model.
    ///
    /// # Errors
    /// [`Error::Format`] if the number of its outputs or their labels differ from the task's.
    pub fn head(&self, arch: &Arch, config: &Value, classes: &[&str], outputs: i64) -> Result<StoredHead> {
        let other = |what: String| {
            Error::format(
                &self.path,
                format!(
                    "{what}: the model was fine-tuned on another task. Start with a fresh head (--set train.fresh_head=true), or from \
                     the model that it was fine-tuned from"
                ),
            )
        };
        let Some(rows) = self.outputs(arch)? else {
            return Ok(StoredHead::AsStored);
        };
        let at_config = |e: Error| Error::format(self.path.with_file_name("config.json"), e.to_string());
        let names = label_names(config).map_err(at_config)?;
        if rows != outputs {
            let named = names.map_or_else(String::new, |n| format!(" ({})", n.join(", ")));
            return Err(other(format!(
                "its head has {rows} outputs{named} and the task {outputs}"
            )));
        }
        let Some(names) = names.filter(|_| !classes.is_empty()) else {
            return Ok(StoredHead::AsStored);
        };
        let order = rows_of(&names, classes).ok_or_else(|| {
            other(format!(
                "`id2label` of config.json labels the outputs of its head {} and the task's classes are {} (if they mean the same, \
                 use the task's classes as labels)",
                names.join(", "),
                classes.join(", ")
            ))
        })?;
        Ok(if order.is_sorted() {
            StoredHead::AsStored
        } else {
            StoredHead::Reordered(order)
        })
    }

    /// The number of outputs of the classifier in this file, if there is one.
    ///
    /// # Errors
    /// Those of [`Weights::tensor`].
    pub fn outputs(&self, arch: &Arch) -> Result<Option<i64>> {
        let name = arch.output_weight().filter(|name| self.index.contains_key(name));
        let weight = name.map(|name| self.tensor(&name)).transpose()?;
        Ok(weight.and_then(|w| w.size().first().copied()))
    }
}
