//! Configuration layers and their precedence: the last layer wins, and within a layer the most specific path.
//!
//! The layers, lowest precedence first: the experiment's defaults, the preset or the user's file, the methods of grids, then
//! each flag in the order of the command line. Within a layer `train` < `methods.M.train` < `tasks.T.train` <
//! `methods.M.tasks.T.train`. So `--set train.lr=0.1` replaces every learning rate of a preset. The layer of each setting is
//! recorded, so that a flag that sets nothing in any run is found and refused.

use anyhow::{Context, Result, bail, ensure};
use serde_yaml::{Mapping, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Its name in errors: `the preset \`minilm\``, `--set train.lr=0.1`.
    pub(crate) name: String,
    /// Whether it is a flag, which must set something.
    pub(crate) flag: bool,
    pub(crate) value: Value,
}

impl Layer {
    /// Reads a YAML text, which must be a mapping.
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

    /// Reads `--set a.b.c=value`, the value as YAML.
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

    /// [`Layer::flag`] for the setting at `path` of one method, whose name may have dots.
    pub(crate) fn of_method(name: String, method: &str, path: &str, value: Value) -> Layer {
        let mut layer = Layer::flag(name, path, value);
        for key in [method, "methods"] {
            let inner = std::mem::take(&mut layer.value);
            layer.value = Value::Mapping([(key.into(), inner)].into_iter().collect());
        }
        layer
    }

    /// Replaces lists of names, such as `tasks: [cola, rte]`, by mappings with empty entries, and returns the lists: they select,
    /// as `--tasks` and `--methods` do.
    pub(crate) fn take_lists(&mut self) -> Result<Vec<(&'static str, Vec<String>)>> {
        let mut lists = Vec::new();
        for key in ["tasks", "methods"] {
            let Some(value) = self.value.get_mut(key).filter(|value| value.is_sequence()) else {
                continue;
            };
            let names = value.as_sequence().into_iter().flatten();
            let names = names.map(|name| name.as_str().map(String::from));
            let names: Option<Vec<String>> = names.collect();
            let names = names.with_context(|| format!("`{key}`: a list must be of names, such as [cola, rte]"))?;
            *value = Value::Mapping(names.iter().map(|name| (name.as_str().into(), Value::Null)).collect());
            lists.push((key, names));
        }
        Ok(lists)
    }

    /// Replaces the names of tasks by their ids (`STS-B`, `stsb` and `sts-b` are one task), which `id` gives.
    pub(crate) fn name_tasks(&mut self, id: TaskId) -> Result<()> {
        if let Some(tasks) = self.value.get_mut("tasks") {
            by_id(tasks, id, "tasks")?;
        }
        for (name, method) in self
            .value
            .get_mut("methods")
            .and_then(Value::as_mapping_mut)
            .into_iter()
            .flatten()
        {
            if let Some(tasks) = method.get_mut("tasks") {
                by_id(tasks, id, &format!("methods.{}.tasks", name.as_str().unwrap_or("?")))?;
            }
        }
        Ok(())
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |inner, key| inner.get(*key))
    }
}

/// The id of the task with some name; an error for unknown names.
pub(crate) type TaskId<'a> = &'a dyn Fn(&str) -> Result<&'static str>;

fn by_id(tasks: &mut Value, id: TaskId, at: &str) -> Result<()> {
    let Some(map) = tasks.as_mapping_mut() else {
        return Ok(());
    };
    let mut out = Mapping::new();
    for (name, value) in std::mem::take(map) {
        let name = name
            .as_str()
            .with_context(|| format!("`{at}`: a task's name must be text"))?;
        let id = id(name).with_context(|| format!("`{at}`"))?;
        ensure!(
            out.insert(id.into(), value).is_none(),
            "`{at}` names {id} twice, once as `{name}`"
        );
    }
    *map = out;
    Ok(())
}

/// Leaves of the mapping `key` of `merged` what a list names, in its order.
pub(crate) fn select(merged: &mut Value, key: &str, names: &[String]) {
    let Some(map) = merged.get_mut(key).and_then(Value::as_mapping_mut) else {
        return;
    };
    let mut all = std::mem::take(map);
    for name in names {
        if let Some(entry) = all.remove(name.as_str()) {
            map.insert(name.as_str().into(), entry);
        }
    }
}

/// Merges `over` into `base`: mappings key by key, anything else replaced.
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

/// One part of a run's settings after all layers, and the layer of each.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) value: Value,
    /// Path of a setting to the index of the layer that set it.
    pub(crate) from: BTreeMap<String, usize>,
}

impl Merged {
    fn new() -> Merged {
        Merged {
            value: Value::Mapping(Mapping::new()),
            from: BTreeMap::new(),
        }
    }

    fn apply_override(&mut self, layer: usize, over: &Value) {
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

/// One setting and the layer that set it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) value: &'a Value,
    pub(crate) layer: usize,
    /// Whether it is the method's own, not that of all methods.
    pub(crate) own: bool,
}

/// All layers of an experiment, lowest precedence first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers(pub(crate) Vec<Layer>);

/// The keys of an entry under `methods:` that configure its runs, not the method itself, and whether their values are mappings.
const RUN_KEYS: [(&str, bool); 7] = [
    ("train", true),
    ("tasks", true),
    ("decode", true),
    ("seeds", false),
    ("dtype", false),
    ("paper_row", false),
    ("limit", true),
];

/// Whether a key of a method's entry configures the runs, not the method itself.
pub(crate) fn is_run_key(key: &str) -> bool {
    RUN_KEYS.iter().any(|(known, _)| *known == key)
}

/// The keys of a method's entry whose values are mappings of settings of runs.
pub(crate) fn run_mappings() -> impl Iterator<Item = &'static str> {
    RUN_KEYS.iter().filter(|(_, mapping)| *mapping).map(|(key, _)| *key)
}

impl Layers {
    /// All layers merged, as YAML in which a comment names the layer of each value. Of tasks and methods, `chosen` names the ones that are
    /// left and their order.
    pub(crate) fn commented(&self, chosen: [(&str, Vec<String>); 2]) -> Result<String> {
        let mut merged = Merged::new();
        for (index, layer) in self.0.iter().enumerate() {
            merged.apply_override(index, &layer.value);
        }
        for (key, names) in chosen {
            select(&mut merged.value, key, &names);
        }
        let mut text = String::new();
        self.write(&merged, &merged.value, &mut Vec::new(), &mut text)?;
        Ok(text)
    }

    fn write(&self, merged: &Merged, value: &Value, path: &mut Vec<String>, text: &mut String) -> Result<()> {
        for (key, value) in value.as_mapping().into_iter().flatten() {
            let key = key.as_str().unwrap_or("?").to_owned();
            *text += &"  ".repeat(path.len());
            path.push(key.clone());
            match value.as_mapping().filter(|map| !map.is_empty()) {
                Some(_) => {
                    *text += &format!("{key}:\n");
                    self.write(merged, value, path, text)?;
                }
                None => {
                    let layer = merged
                        .from
                        .get(&path.join("."))
                        .map_or("", |layer| self.0[*layer].name.as_str());
                    let shown = serde_json::to_string(value).context("writing a value")?;
                    let comment = if layer.is_empty() {
                        String::new()
                    } else {
                        format!("  # {layer}")
                    };
                    *text += &format!("{key}: {shown}{comment}\n");
                }
            }
            path.pop();
        }
        Ok(())
    }

    /// `train` for one task and method.
    pub(crate) fn train(&self, task: &str, method: &str) -> Merged {
        self.merged(&[
            &["train"],
            &["methods", method, "train"],
            &["tasks", task, "train"],
            &["methods", method, "tasks", task, "train"],
        ])
    }

    /// `decode` or `limit` for one method; empty where no layer sets it.
    pub(crate) fn part(&self, key: &str, method: &str) -> Merged {
        self.merged(&[&[key], &["methods", method, key]])
    }

    /// The settings of the method itself.
    pub(crate) fn method(&self, method: &str) -> Merged {
        let mut merged = self.merged(&[&["methods", method]]);
        if let Some(map) = merged.value.as_mapping_mut() {
            map.retain(|key, _| !is_run_key(key.as_str().unwrap_or_default()));
            map.entry("kind".into()).or_insert(method.into());
        }
        let of_runs = |path: &str| is_run_key(path.split('.').next().unwrap_or_default());
        merged.from.retain(|path, _| !of_runs(path));
        merged
    }

    /// A single value, such as `dtype`, that a method may set for itself.
    pub(crate) fn value(&self, key: &str, method: &str) -> Option<Setting<'_>> {
        self.last(&[&[key], &["methods", method, key]])
    }

    /// A setting of a task (`prompt`).
    pub(crate) fn of_task(&self, key: &str, task: &str) -> Option<Setting<'_>> {
        self.last(&[&["tasks", task, key]])
    }

    /// A setting of a method on a task (`start`).
    pub(crate) fn of_method_on_task(&self, key: &str, method: &str, task: &str) -> Option<Setting<'_>> {
        self.last(&[&["methods", method, "tasks", task, key]])
    }

    /// The setting at a path.
    pub(crate) fn top(&self, path: &[&str]) -> Option<Setting<'_>> {
        self.last(&[path])
    }

    /// The layers that have an entry under `key` whose name satisfies `wanted`.
    pub(crate) fn with_entry(&self, key: &str, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let has = |layer: &Layer| {
            let named = layer.at(&[key]).and_then(Value::as_mapping);
            named.is_some_and(|map| map.keys().filter_map(Value::as_str).any(&wanted))
        };
        let all = self.0.iter().enumerate();
        all.filter(|(_, layer)| has(layer)).map(|(index, _)| index).collect()
    }

    /// The first layer with the entry `name` under `key`, if the entry is empty.
    pub(crate) fn first_with_empty(&self, key: &str, name: &str) -> Option<usize> {
        let first = self.with_entry(key, |other| other == name).first().copied()?;
        let entry = self.0[first].at(&[key, name])?;
        (entry.is_null() || entry.as_mapping().is_some_and(Mapping::is_empty)).then_some(first)
    }

    fn merged(&self, paths: &[&[&str]]) -> Merged {
        let mut merged = Merged::new();
        for (index, layer) in self.0.iter().enumerate() {
            for path in paths {
                match layer.at(path) {
                    // `decode: null` clears what lower layers set.
                    Some(Value::Null) if path.len() == 1 => merged = Merged::new(),
                    None | Some(Value::Null) => {}
                    Some(value) => merged.apply_override(index, value),
                }
            }
        }
        merged
    }

    /// The setting at any of these paths, least specific first.
    fn last(&self, paths: &[&[&str]]) -> Option<Setting<'_>> {
        let mut last = None;
        for (layer, settings) in self.0.iter().enumerate() {
            for (place, path) in paths.iter().enumerate() {
                if let Some(value) = settings.at(path) {
                    last = Some(Setting {
                        value,
                        layer,
                        own: place > 0,
                    });
                }
            }
        }
        last
    }

    /// Refuses a flag whose layer is not among the `used` ones; the error names the flag that overrides it, or the reason
    /// that `idle` has for it.
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
                None => bail!("{} has no effect: no requested run uses it", layer.name),
            }
        }
        Ok(())
    }
}

/// Whether two layers set settings of the same name.
fn overlaps(one: &Value, other: &Value) -> bool {
    let leaf = |value: &Value| {
        let mut from = BTreeMap::new();
        trace(&mut from, 0, value, &mut String::new());
        let last = |path: &String| path.rsplit('.').next().map(String::from);
        from.keys().filter_map(last).collect::<BTreeSet<String>>()
    };
    leaf(one).intersection(&leaf(other)).next().is_some()
}
