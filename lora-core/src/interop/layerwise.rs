//! What a configuration of PEFT says of single layers: which are adapted, and each one's rank and α.

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Which biases were trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainedBiases {
    /// None.
    #[default]
    None,
    /// Those of the adapted layers.
    LoraOnly,
    /// All.
    All,
}

/// Names of modules: their ends, or a pattern of the whole name.
#[derive(Clone, Debug)]
enum Modules {
    Ends(Vec<String>),
    Whole(Regex),
}

/// Values by patterns of the ends of names.
type ByPattern<T> = Vec<(Regex, T)>;

/// The keys of a configuration that name layers, and `bias`.
#[derive(Clone, Debug, Default)]
pub struct Layerwise {
    ranks: ByPattern<i64>,
    alphas: ByPattern<f64>,
    targets: Option<Modules>,
    excluded: Option<Modules>,
    /// Blocks, and patterns of what stands before their numbers in names.
    blocks: Option<Blocks>,
    /// Which biases were trained.
    pub biases: TrainedBiases,
}

/// The keys that [`Layerwise`] reads.
pub(super) const KEYS: [&str; 7] = [
    "alpha_pattern",
    "bias",
    "exclude_modules",
    "layers_pattern",
    "layers_to_transform",
    "rank_pattern",
    "target_modules",
];

impl Layerwise {
    /// Reads the keys of adapter_config.json. Patterns are Python's: what their syntax means otherwise here is refused.
    pub(super) fn read(config: &Map<String, Value>) -> Result<Layerwise, String> {
        let get = |key: &str| config.get(key).filter(|value| !value.is_null());
        let biases = get("bias").map(|bias| TrainedBiases::deserialize(bias.clone()));
        let biases = biases
            .transpose()
            .map_err(|_| "`bias` must be \"none\", \"lora_only\" or \"all\"".to_string())?;
        let modules = |key| get(key).map(|value| modules(key, value)).transpose();
        Ok(Layerwise {
            ranks: by_pattern("rank_pattern", get("rank_pattern"), Value::as_i64)?,
            alphas: by_pattern("alpha_pattern", get("alpha_pattern"), Value::as_f64)?,
            targets: modules("target_modules")?,
            excluded: modules("exclude_modules")?,
            blocks: blocks(get("layers_to_transform"), get("layers_pattern"))?,
            biases: biases.unwrap_or_default(),
        })
    }

    /// The rank of the module of this name, where a pattern says.
    pub(super) fn rank(&self, module: &str) -> Option<i64> {
        first(&self.ranks, module)
    }

    /// α of the module of this name, where a pattern says.
    pub(super) fn alpha(&self, module: &str) -> Option<f64> {
        first(&self.alphas, module)
    }

    /// Whether layers have ranks or α of their own.
    pub fn differ(&self) -> bool {
        !(self.ranks.is_empty() && self.alphas.is_empty())
    }

    /// Whether the configuration adapts the module of this name, by PEFT's rules; none where it does not say.
    pub(super) fn adapts(&self, module: &str) -> Option<bool> {
        let targets = self.targets.as_ref()?;
        if self.excluded.as_ref().is_some_and(|excluded| excluded.name(module)) {
            return Some(false);
        }
        let Modules::Ends(ends) = targets else {
            return Some(targets.name(module));
        };
        // A module that is named in full is adapted in every block.
        let whole = ends.iter().any(|end| end == module);
        Some(whole || (targets.name(module) && self.in_blocks(module)))
    }

    fn in_blocks(&self, module: &str) -> bool {
        let Some((wanted, patterns)) = &self.blocks else {
            return true;
        };
        let number = patterns.iter().find_map(|pattern| {
            let captures = pattern.captures(module).ok()??;
            captures.get(captures.len() - 1)?.as_str().parse().ok()
        });
        number.is_some_and(|number: i64| wanted.contains(&number))
    }
}

impl Modules {
    fn name(&self, module: &str) -> bool {
        match self {
            Modules::Ends(ends) => ends.iter().any(|end| {
                module == end
                    || module
                        .strip_suffix(end.as_str())
                        .is_some_and(|rest| rest.ends_with('.'))
            }),
            Modules::Whole(pattern) => pattern.is_match(module).unwrap_or(false),
        }
    }
}

fn modules(key: &str, value: &Value) -> Result<Modules, String> {
    match value {
        Value::String(pattern) => Ok(Modules::Whole(regex(key, &format!("^(?:{pattern})$"))?)),
        Value::Array(names) => names
            .iter()
            .map(|name| name.as_str().map(String::from))
            .collect::<Option<_>>()
            .map(Modules::Ends)
            .ok_or_else(|| format!("`{key}` must hold names of modules")),
        _ => Err(format!("`{key}` must be a list of names or a pattern")),
    }
}

fn by_pattern<T>(key: &str, value: Option<&Value>, read: impl Fn(&Value) -> Option<T>) -> Result<ByPattern<T>, String> {
    let wrong = || format!("`{key}` must map patterns of names to numbers");
    let entries = match value {
        None => return Ok(Vec::new()),
        Some(value) => value.as_object().ok_or_else(wrong)?,
    };
    let entry = |(pattern, value): (&String, &Value)| {
        let found = read(value).ok_or_else(wrong)?;
        Ok((regex(key, &format!(r"^(?:.*\.)?(?:{pattern})$"))?, found))
    };
    entries.iter().map(entry).collect()
}

/// The first value whose pattern fits the name.
fn first<T: Copy>(values: &ByPattern<T>, module: &str) -> Option<T> {
    let found = values
        .iter()
        .find(|(pattern, _)| pattern.is_match(module).unwrap_or(false));
    found.map(|(_, value)| *value)
}

/// The numbers of the blocks that are adapted, and the patterns that find a block's number in a module's name.
type Blocks = (BTreeSet<i64>, Vec<Regex>);

fn blocks(numbers: Option<&Value>, patterns: Option<&Value>) -> Result<Option<Blocks>, String> {
    let numbers: Option<BTreeSet<i64>> = match numbers {
        None => return Ok(None),
        Some(Value::Array(all)) if all.is_empty() => return Ok(None),
        Some(Value::Array(all)) => all.iter().map(Value::as_i64).collect(),
        Some(one) => one.as_i64().map(|number| [number].into()),
    };
    let numbers = numbers.ok_or("`layers_to_transform` must be a number or a list of numbers")?;
    let names: Option<Vec<&str>> = match patterns {
        None => Some(Vec::new()),
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect(),
        Some(one) => one.as_str().map(|name| vec![name]),
    };
    let mut names = names.ok_or("`layers_pattern` must be a name or a list of names")?;
    if names.is_empty() {
        names.push("[^.]*");
    }
    let pattern = |name: &&str| regex("layers_pattern", &format!(r"^.*\.{name}\.(\d+)\."));
    Ok(Some((numbers, names.iter().map(pattern).collect::<Result<_, _>>()?)))
}

fn regex(key: &str, pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|e| format!("`{key}`: the pattern {pattern} cannot be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(config: Value) -> Layerwise {
        Layerwise::read(config.as_object().unwrap()).unwrap()
    }

    const QUERY: &str = "bert.encoder.layer.2.attention.self.query";

    #[test]
    fn modules_are_selected_as_in_peft() {
        for (config, adapts) in [
            (json!({"target_modules": ["query"]}), true),
            (json!({"target_modules": ["uery"]}), false),
            (
                json!({"target_modules": ["query"], "exclude_modules": ["query"]}),
                false,
            ),
            (
                json!({"target_modules": ["query"], "layers_to_transform": [0, 2]}),
                true,
            ),
            (json!({"target_modules": ["query"], "layers_to_transform": 1}), false),
            (json!({"target_modules": ["query"], "layers_to_transform": []}), true),
            (
                json!({"target_modules": ["query"], "layers_to_transform": 2, "layers_pattern": "layer"}),
                true,
            ),
            (
                json!({"target_modules": ["query"], "layers_to_transform": 2, "layers_pattern": ["h", "layer"]}),
                true,
            ),
            (
                json!({"target_modules": ["query"], "layers_to_transform": 2, "layers_pattern": "h"}),
                false,
            ),
            (json!({"target_modules": [QUERY], "layers_to_transform": 1}), true),
            (json!({"target_modules": r".*layer\.(?!1)\d+\..*query"}), true),
            (json!({"target_modules": "query"}), false),
        ] {
            assert_eq!(read(config.clone()).adapts(QUERY), Some(adapts), "{config}");
        }
        assert_eq!(read(json!({})).adapts(QUERY), None);
    }

    #[test]
    fn patterns_fit_the_ends_of_names_and_the_first_counts() {
        let found = read(
            json!({"rank_pattern": {"value": 2, "self.quer.": 3}, "alpha_pattern": {r"layer\.1\..*": 4, QUERY: 2.5}}),
        );
        assert_eq!((found.rank(QUERY), found.alpha(QUERY)), (Some(3), Some(2.5)));
        assert_eq!(found.rank("bert.encoder.layer.0.attention.self.values"), None);
        assert!(found.differ() && !read(json!({"rank_pattern": {}})).differ());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (config, said) in [
            (json!({"bias": "some"}), "`bias` must be"),
            (json!({"rank_pattern": {"query": "many"}}), "`rank_pattern` must map"),
            (json!({"alpha_pattern": {"(": 2}}), "`alpha_pattern`: the pattern"),
            (json!({"layers_to_transform": "all"}), "`layers_to_transform` must"),
            (json!({"target_modules": 3}), "`target_modules` must be"),
        ] {
            let error = Layerwise::read(config.as_object().unwrap()).unwrap_err();
            assert!(error.contains(said), "{config}: {error}");
        }
    }
}
