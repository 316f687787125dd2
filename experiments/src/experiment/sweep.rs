//! `--sweep KEY=V1,V2`: each method once for each value of a setting.

use crate::config::overrides::{Layer, is_run_key, merge};
use crate::experiment::config::ExperimentConfig;
use anyhow::{Context, Result, bail, ensure};
use results::by_value::{BySetting, Swept};
use serde_yaml::{Mapping, Value};

/// The settings of runs that can be swept beside those of methods.
const OF_RUNS: [&str; 4] = ["train", "decode", "limit", "dtype"];

/// The largest number of values.
const MOST: usize = 100;

/// The words of `--sweep`.
struct Asked {
    /// The one method to sweep, for `methods.M.KEY`; all if none.
    only: Option<String>,
    key: String,
    values: Vec<Value>,
}

impl Asked {
    fn read(text: &str) -> Result<Asked> {
        let form =
            || format!("--sweep {text}: expected a setting and its values, such as r=1,2,4 or train.lr=0.001,0.003");
        let (key, values) = text.split_once('=').with_context(form)?;
        let values: Vec<Value> = serde_yaml::from_str(&format!("[{values}]")).with_context(form)?;
        let (key, only) = match key
            .trim()
            .strip_prefix("methods.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((method, key)) => (key, Some(method.to_owned())),
            None => (key.trim(), None),
        };
        ensure!(!key.is_empty() && (1..=MOST).contains(&values.len()), form());
        let twice = (1..values.len()).find(|i| values[..*i].contains(&values[*i]));
        ensure!(twice.is_none(), "--sweep {text}: a value is named twice");
        let first = key.split('.').next().unwrap_or(key);
        ensure!(
            OF_RUNS.contains(&first) || !(is_run_key(first) || first == "kind" || first == "methods"),
            "--sweep {text}: `{first}` cannot be swept; a setting of methods can, such as r, and of runs: {}",
            OF_RUNS.join(", ")
        );
        Ok(Asked {
            only,
            key: key.to_owned(),
            values,
        })
    }

    fn concerns(&self, method: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == method)
    }
}

/// Gives the members of an earlier sweep the names under which they run: `renamed` has old and new ones, and what the method is
/// called beside others. Those without a new name do not run.
fn rename(members: &mut Vec<Swept>, renamed: &[[String; 3]]) {
    let again = members.iter().flat_map(|member| {
        let own = renamed.iter().filter(|[old, ..]| *old == member.name);
        own.map(|[_, new, suffix]| Swept {
            name: new.clone(),
            method: format!("{}{suffix}", member.method),
            value: member.value.clone(),
        })
    });
    *members = again.collect();
}

impl ExperimentConfig {
    /// Replaces each method that has the setting by one method a value, named `lora-r4`, and leaves out the others.
    ///
    /// # Errors
    /// Text of another form, a setting that no method has, a value that a method refuses.
    pub(super) fn add_sweep(&mut self, text: &str) -> Result<()> {
        let asked = Asked::read(text)?;
        let mut by = BySetting {
            key: asked.key.clone(),
            values: asked.values.iter().map(shown).collect(),
            ..BySetting::default()
        };
        let mut methods = Mapping::new();
        let mut refusal = None;
        let mut renamed = Vec::new();
        for (name, entry) in std::mem::take(&mut self.methods) {
            let name = name.as_str().context("a method's name must be text")?.to_owned();
            if let Err(lacks) = self.takes(&asked, &name)? {
                // That of a method with settings names them.
                if refusal.as_ref().is_none_or(|why: &String| !why.contains("expected")) {
                    refusal = lacks.or(refusal);
                }
                by.left_out.push(name);
                continue;
            }
            for (value, shown) in asked.values.iter().zip(&by.values) {
                let last = asked.key.rsplit('.').next().unwrap_or_default();
                let new = format!("{name}-{last}{shown}");
                let taken = methods.insert(new.as_str().into(), entry.clone());
                ensure!(taken.is_none(), "--sweep {text}: there is a method `{new}` already");
                self.copy_layers(&name, &new);
                let name_of_layer = format!("--sweep {text}");
                let layer = Layer::of_method(name_of_layer, &new, &asked.key, value.clone());
                self.layers.0.push(layer);
                renamed.push([name.clone(), new.clone(), format!("-{last}{shown}")]);
                by.members.push(Swept {
                    name: new,
                    method: name.clone(),
                    value: shown.clone(),
                });
            }
        }
        if methods.is_empty() {
            let part = OF_RUNS
                .iter()
                .find(|part| self.layers.top(&[part, &asked.key]).is_some());
            if let Some(part) = part {
                bail!(
                    "--sweep {text}: no method has the setting `{0}`; did you mean `{part}.{0}`?",
                    asked.key
                );
            }
            bail!(
                "--sweep {text}: none of the methods {} has the setting `{}`{}",
                by.left_out.join(", "),
                asked.key,
                refusal.map_or(String::new(), |why| format!(": {why}"))
            );
        }
        self.methods = methods;
        for earlier in &mut self.sweeps {
            rename(&mut earlier.members, &renamed);
        }
        self.sweeps.push(by);
        Ok(())
    }

    /// Whether the method has the setting, or why not. A value that the method refuses is an error.
    fn takes(&self, asked: &Asked, name: &str) -> Result<Result<(), Option<String>>> {
        if !asked.concerns(name) {
            return Ok(Err(None));
        }
        let first = asked.key.split('.').next().unwrap_or_default();
        if OF_RUNS.contains(&first) {
            return Ok(Ok(())); // read, with all errors, when the runs are made
        }
        for value in &asked.values {
            let mut settings = self.layers.method(name).value;
            merge(
                &mut settings,
                Layer::flag(String::new(), &asked.key, value.clone()).value,
            );
            match lora_core::method::resolved(&settings) {
                Ok(_) => {}
                Err(error) if error.to_string().contains("unknown field") => return Ok(Err(Some(error.to_string()))),
                Err(error) => return Err(error).with_context(|| format!("--sweep {}={}", asked.key, shown(value))),
            }
        }
        Ok(Ok(()))
    }

    /// Gives `new` the settings that each layer has for `name`.
    fn copy_layers(&mut self, name: &str, new: &str) {
        let kind = self.layers.method(name).value.get("kind").cloned();
        for layer in &mut self.layers.0 {
            if let Some(methods) = layer.value.get_mut("methods").and_then(Value::as_mapping_mut)
                && let Some(own) = methods.get(name).cloned()
            {
                methods.insert(new.into(), own);
            }
        }
        // Below all others: a method that is named by its kind alone has none in its settings.
        let lowest = Layer::of_method("the method's name".into(), new, "kind", kind.unwrap_or_default());
        if let Some(first) = self.layers.0.first_mut() {
            let mut value = lowest.value;
            merge(&mut value, std::mem::take(&mut first.value));
            first.value = value;
        }
    }
}

/// A value in names: as it is typed, without blanks.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    };
    text.chars()
        .filter(|c| !c.is_whitespace() && !"[]\"".contains(*c))
        .collect()
}
