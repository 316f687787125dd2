//! Configuration layers and the rule between them: what is said last and most explicitly wins.
//!
//! Layers lie over each other in this order: the experiment's defaults, the preset or the user's file, the methods of grids,
//! then each flag in the order of the command line. Inside one layer `train` is weaker than `methods.M.train`, that than
//! `tasks.T.train`, and that than `methods.M.tasks.T.train`. So `--set train.lr=0.1` replaces every learning rate of a preset,
//! and a flag that nothing is left for is found by asking which layer each setting came from.

use crate::experiment::Experiment;
use anyhow::{Context, Result, bail, ensure};
use serde_yaml::{Mapping, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// What errors call it: `the preset \`minilm\``, `--set train.lr=0.1`.
    pub(crate) name: String,
    /// Whether it is a flag, which must have an effect.
    pub(crate) flag: bool,
    pub(crate) value: Value,
}

impl Layer {
    /// A YAML text.
    ///
    /// # Errors
    /// Text that is no YAML mapping.
    pub(crate) fn yaml(name: &str, text: &str) -> Result<Layer> {
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value: Value = serde_yaml::from_str(text).with_context(|| format!("{name} is not valid YAML"))?;
        ensure!(value.is_mapping(), "{name}: expected `key: value` lines at the top");
        Ok(Layer {
            name: name.into(),
            flag: false,
            value,
        })
    }

    /// `--set a.b.c=value`; the value is read as YAML.
    ///
    /// # Errors
    /// Text of another form.
    pub(crate) fn set(set: &str) -> Result<Layer> {
        let (path, value) = set
            .split_once('=')
            .with_context(|| format!("--set {set}: expected key=value, such as train.epochs=3"))?;
        let value: Value =
            serde_yaml::from_str(value).with_context(|| format!("--set {set}: the value is not valid YAML"))?;
        Ok(Layer::flag(format!("--set {set}"), path, value))
    }

    /// A flag that stands for the setting at `path`.
    pub(crate) fn flag(name: String, path: &str, value: Value) -> Layer {
        let value = path.trim().rsplit('.').fold(value, |inner, key| {
            let mut map = Mapping::new();
            map.insert(key.into(), inner);
            Value::Mapping(map)
        });
        Layer {
            name,
            flag: true,
            value,
        }
    }

    /// Writes every task by its id (`STS-B`, `stsb` and `sts-b` are one task).
    ///
    /// # Errors
    /// An unknown task (with the known ones), a task named twice.
    pub(crate) fn name_tasks(&mut self, experiment: &Experiment) -> Result<()> {
        if let Some(tasks) = self.value.get_mut("tasks") {
            named(tasks, experiment, "tasks")?;
        }
        for (name, method) in self
            .value
            .get_mut("methods")
            .and_then(Value::as_mapping_mut)
            .into_iter()
            .flatten()
        {
            if let Some(tasks) = method.get_mut("tasks") {
                named(
                    tasks,
                    experiment,
                    &format!("methods.{}.tasks", name.as_str().unwrap_or("?")),
                )?;
            }
        }
        Ok(())
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |inner, key| inner.get(*key))
    }
}

fn named(tasks: &mut Value, experiment: &Experiment, at: &str) -> Result<()> {
    let Some(map) = tasks.as_mapping_mut() else {
        return Ok(());
    };
    let mut out = Mapping::new();
    for (name, value) in std::mem::take(map) {
        let name = name
            .as_str()
            .with_context(|| format!("`{at}`: a task's name must be text"))?;
        let id = experiment.task(name).with_context(|| format!("`{at}`"))?.id();
        ensure!(
            out.insert(id.into(), value).is_none(),
            "`{at}` names {id} twice, once as `{name}`"
        );
    }
    *map = out;
    Ok(())
}

/// Lays `over` on `base`: mappings key by key, anything else replaced.
pub(crate) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(slot) => merge(slot, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// What the layers come to for one part of one run, and where each setting came from.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) value: Value,
    /// Path of a setting to the layer that said it last.
    pub(crate) from: BTreeMap<String, usize>,
}

impl Settled {
    fn new() -> Settled {
        Settled {
            value: Value::Mapping(Mapping::new()),
            from: BTreeMap::new(),
        }
    }

    fn lay(&mut self, layer: usize, over: &Value) {
        merge(&mut self.value, over.clone());
        trace(&mut self.from, layer, over, &mut String::new());
    }
}

fn trace(from: &mut BTreeMap<String, usize>, layer: usize, over: &Value, path: &mut String) {
    let Value::Mapping(map) = over else {
        let inside = format!("{path}.");
        from.retain(|other, _| !other.starts_with(&inside));
        from.insert(path.clone(), layer);
        return;
    };
    let length = path.len();
    for (key, value) in map {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key.as_str().unwrap_or("?"));
        trace(from, layer, value, path);
        path.truncate(length);
    }
}

/// One setting, and who said it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) value: &'a Value,
    pub(crate) layer: usize,
    /// Whether it was said of the method, and not of all.
    pub(crate) own: bool,
}

/// All layers of an experiment, weakest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers(pub(crate) Vec<Layer>);

/// The keys of a method's entry that are not the method's own settings.
pub(crate) const BESIDE: [&str; 7] = ["train", "tasks", "decode", "seeds", "dtype", "paper_row", "limit"];

impl Layers {
    /// `train` for one task and method.
    pub(crate) fn train(&self, task: &str, method: &str) -> Settled {
        self.settle(&[
            &["train"],
            &["methods", method, "train"],
            &["tasks", task, "train"],
            &["methods", method, "tasks", task, "train"],
        ])
    }

    /// `decode` or `limit` for one method; nothing where no layer says anything.
    pub(crate) fn part(&self, key: &str, method: &str) -> Settled {
        self.settle(&[&[key], &["methods", method, key]])
    }

    /// The settings of the method itself.
    pub(crate) fn method(&self, method: &str) -> Settled {
        let mut settled = self.settle(&[&["methods", method]]);
        if let Some(map) = settled.value.as_mapping_mut() {
            map.retain(|key, _| !BESIDE.contains(&key.as_str().unwrap_or_default()));
            map.entry("kind".into()).or_insert(method.into());
        }
        let beside = |path: &str| {
            BESIDE
                .iter()
                .any(|key| path == *key || path.starts_with(&format!("{key}.")))
        };
        settled.from.retain(|path, _| !beside(path));
        settled
    }

    /// One value beside these, such as the number type.
    pub(crate) fn value(&self, key: &str, method: &str) -> Option<Said<'_>> {
        self.last(&[&[key], &["methods", method, key]])
    }

    /// What is said of a task alone (`prompt`).
    pub(crate) fn of_task(&self, key: &str, task: &str) -> Option<Said<'_>> {
        self.last(&[&["tasks", task, key]])
    }

    /// What is said of a method on a task (`start`).
    pub(crate) fn of_method_on_task(&self, key: &str, method: &str, task: &str) -> Option<Said<'_>> {
        self.last(&[&["methods", method, "tasks", task, key]])
    }

    /// The last word at a path.
    pub(crate) fn top(&self, path: &[&str]) -> Option<Said<'_>> {
        self.last(&[path])
    }

    /// The layers that name something under `key` which `wanted` admits.
    pub(crate) fn that_say(&self, key: &str, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let says = |layer: &Layer| {
            let named = layer.at(&[key]).and_then(Value::as_mapping);
            named.is_some_and(|map| map.keys().filter_map(Value::as_str).any(&wanted))
        };
        let all = self.0.iter().enumerate();
        all.filter(|(_, layer)| says(layer)).map(|(index, _)| index).collect()
    }

    /// The layer that brings in `name` under `key`, if it says no more of it.
    pub(crate) fn first_to_name(&self, key: &str, name: &str) -> Option<usize> {
        let first = self.that_say(key, |other| other == name).first().copied()?;
        let said = self.0[first].at(&[key, name])?;
        (said.is_null() || said.as_mapping().is_some_and(Mapping::is_empty)).then_some(first)
    }

    fn settle(&self, paths: &[&[&str]]) -> Settled {
        let mut settled = Settled::new();
        for (index, layer) in self.0.iter().enumerate() {
            for path in paths {
                match layer.at(path) {
                    // `decode: null` takes back what was said before.
                    Some(Value::Null) if path.len() == 1 => settled = Settled::new(),
                    None | Some(Value::Null) => {}
                    Some(value) => settled.lay(index, value),
                }
            }
        }
        settled
    }

    /// The last word at any of these paths, the later of which are the more explicit.
    fn last(&self, paths: &[&[&str]]) -> Option<Said<'_>> {
        let mut last = None;
        for (layer, said) in self.0.iter().enumerate() {
            for (place, path) in paths.iter().enumerate() {
                if let Some(value) = said.at(path) {
                    last = Some(Said {
                        value,
                        layer,
                        own: place > 0,
                    });
                }
            }
        }
        last
    }

    /// Refuses a flag of which nothing is left in any of the parts that are used.
    ///
    /// # Errors
    /// The flag, and what overrides it, where another layer does.
    pub(crate) fn all_flags_used(&self, used: &BTreeSet<usize>, idle: &BTreeMap<usize, String>) -> Result<()> {
        for (index, layer) in self.0.iter().enumerate() {
            if !layer.flag || used.contains(&index) {
                continue;
            }
            if let Some(why) = idle.get(&index) {
                bail!("{} has no effect: {why}", layer.name);
            }
            let by = self.0[index + 1..]
                .iter()
                .find(|over| over.flag && overlaps(&over.value, &layer.value));
            match by {
                Some(by) => bail!("{} has no effect: {} overrides it", layer.name, by.name),
                None => bail!("{} has no effect: no run that is asked for uses it", layer.name),
            }
        }
        Ok(())
    }
}

/// Whether two layers say something of settings of one name.
fn overlaps(one: &Value, other: &Value) -> bool {
    let leaf = |value: &Value| {
        let mut from = BTreeMap::new();
        trace(&mut from, 0, value, &mut String::new());
        let last = |path: &String| path.rsplit('.').next().map(String::from);
        from.keys().filter_map(last).collect::<BTreeSet<String>>()
    };
    leaf(one).intersection(&leaf(other)).next().is_some()
}
