//! Grids of methods: `{each: [...]}` in the place of a value stands for a method with each of them.
//!
//! ```yaml
//! grids:
//!   rank:
//!     - {kind: lora, alpha: 16, r: {each: [1, 8]}, targets: {each: [[query], [query, value]]}}
//! ```
//!
//! is the methods `lora-q-r1`, `lora-qv-r1`, `lora-q-r8` and `lora-qv-r8`, as if they had been written under `methods:`. A method
//! that two grids ask for is one method, with one name, and so one run.

use crate::config::overrides::is_run_key;
use anyhow::{Context, Result, bail, ensure};
use results::analysis::Module;
use results::methods::size;
use serde_yaml::{Mapping, Value};

/// The key of a list of alternatives.
const EACH: &str = "each";

/// The largest number of methods of a grid.
const MOST: usize = 1000;

/// The methods of the `selected` grids, all if empty, in their order.
///
/// # Errors
/// Unknown grids (with the known ones), entries without a kind, malformed alternatives, two methods of one name.
pub fn expand(grids: &Mapping, selected: &[String]) -> Result<Mapping> {
    let known = || {
        let names: Vec<&str> = grids.keys().filter_map(Value::as_str).collect();
        names.join(", ")
    };
    for name in selected {
        ensure!(!grids.is_empty(), "grid `{name}`: the configuration has no `grids`");
        ensure!(
            grids.contains_key(name.as_str()),
            "unknown grid `{name}`; known: {}",
            known()
        );
    }
    let mut methods = Mapping::new();
    for (name, entries) in grids {
        let name = name.as_str().context("a grid's name must be text")?;
        if !selected.is_empty() && !selected.iter().any(|c| c == name) {
            continue;
        }
        let entries = entries.as_sequence();
        let entries =
            entries.with_context(|| format!("`grids.{name}` must be a list of methods, such as [{{kind: full}}]"))?;
        for (n, entry) in entries.iter().enumerate() {
            let at = || format!("`grids.{name}`, entry {}", n + 1);
            for method in alternatives(entry).with_context(at)? {
                add(&mut methods, method).with_context(at)?;
            }
            ensure!(methods.len() <= MOST, "{} makes more than {MOST} methods", at());
        }
    }
    Ok(methods)
}

/// A method of a grid, and the paths of its varied settings.
#[derive(Clone, Debug)]
struct GridMethod {
    value: Value,
    varied: Vec<Vec<String>>,
}

/// Every combination of the alternatives in `entry`; the first alternative varies slowest.
fn alternatives(entry: &Value) -> Result<Vec<GridMethod>> {
    ensure!(entry.is_mapping(), "a method must be a mapping, such as {{kind: full}}");
    let mut all = vec![GridMethod {
        value: entry.clone(),
        varied: Vec::new(),
    }];
    while let Some((path, choices)) = all.first().and_then(|one| first(&one.value, &mut Vec::new())) {
        let choices = choices.as_sequence().filter(|c| !c.is_empty());
        let choices =
            choices.with_context(|| format!("`{}.each` must be a list with something in it", path.join(".")))?;
        let with = |one: &GridMethod, choice: &Value| {
            let mut next = one.clone();
            put(&mut next.value, &path, choice.clone());
            next.varied.push(path.clone());
            next
        };
        all = all
            .iter()
            .flat_map(|one| choices.iter().map(move |c| with(one, c)))
            .collect();
        ensure!(all.len() <= MOST, "that is more than {MOST} methods");
    }
    Ok(all)
}

/// The path of the first value `{each: ...}`, and its alternatives.
fn first(value: &Value, path: &mut Vec<String>) -> Option<(Vec<String>, Value)> {
    let map = value.as_mapping()?;
    if let (1, Some(choices)) = (map.len(), map.get(EACH)) {
        return Some((path.clone(), choices.clone()));
    }
    for (key, inner) in map {
        path.push(key.as_str()?.to_string());
        let found = first(inner, path);
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

fn put(value: &mut Value, path: &[String], new: Value) {
    match path {
        [] => *value = new,
        [key, rest @ ..] => {
            if let Some(inner) = value.get_mut(key.as_str()) {
                put(inner, rest, new);
            }
        }
    }
}

fn add(methods: &mut Mapping, mut one: GridMethod) -> Result<()> {
    // Without a number of rows there is no limit: as if unset.
    let unlimited = one
        .value
        .get("limit")
        .is_some_and(|l| l.get("train").is_none_or(Value::is_null));
    if let Some(map) = one.value.as_mapping_mut().filter(|_| unlimited) {
        map.remove("limit");
    }
    let name = name(&one)?;
    match methods.get(name.as_str()) {
        Some(there) if *there == one.value || same(there, &one.value) => {}
        Some(_) => bail!(
            "two different methods are called `{name}`: let them differ in what names them, or make them the same"
        ),
        None => {
            methods.insert(name.into(), one.value);
        }
    }
    Ok(())
}

/// Whether two entries are the same method in another form.
fn same(one: &Value, other: &Value) -> bool {
    let parts = |value: &Value| {
        let (mut method, mut runs) = (Mapping::new(), Mapping::new());
        for (key, value) in value.as_mapping().into_iter().flatten() {
            let part = if is_run_key(key.as_str().unwrap_or_default()) {
                &mut runs
            } else {
                &mut method
            };
            part.insert(key.clone(), value.clone());
        }
        Some((lora_core::method::resolved(&Value::Mapping(method)).ok()?, runs))
    };
    parts(one).is_some_and(|one| Some(one) == parts(other))
}

/// `lora-qv-r8`: the kind, the matrices, the sizes, then other varied settings and the number of rows.
fn name(one: &GridMethod) -> Result<String> {
    let kind = one.value.get("kind").and_then(Value::as_str);
    let mut name = kind.context("a method must say its `kind`")?.to_string();
    let mut parts = Vec::new();
    for (key, value) in one.value.as_mapping().into_iter().flatten() {
        let key = key.as_str().unwrap_or_default();
        if key != "kind" && !is_run_key(key) {
            sizes(&mut parts, key, value);
        }
    }
    // Independent of the order in the file.
    parts.sort_by_key(|(place, _)| *place);
    parts.iter().for_each(|(_, part)| name += part);
    for path in &one.varied {
        let (Some(last), Some(value)) = (path.last(), at(&one.value, path)) else {
            continue;
        };
        let named = path[0] != "kind" && !is_run_key(&path[0]) && size(last).is_some();
        if !named && path[0] != "limit" {
            name += &format!("-{last}{}", word(value));
        }
    }
    if let Some(rows) = one.value.get("limit").and_then(|l| l.get("train")) {
        name += &format!("-n{}", word(rows));
    }
    Ok(name)
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |inner, key| inner.get(key.as_str()))
}

fn sizes(parts: &mut Vec<(usize, String)>, key: &str, value: &Value) {
    match (size(key), value) {
        (Some((place, prefix)), value) => parts.push((place, format!("-{prefix}{}", word(value)))),
        // The settings of the methods of a combination stand under their names.
        (None, Value::Mapping(inner)) => inner
            .iter()
            .for_each(|(key, value)| sizes(parts, key.as_str().unwrap_or_default(), value)),
        _ => {}
    }
}

/// A value as part of a name; a list of matrices by their letters.
fn word(value: &Value) -> String {
    match value {
        Value::Sequence(list) => {
            let mut words: Vec<String> = list.iter().map(word).collect();
            // Independent of the order of the matrices.
            let place = |word: &String| Module::ALL.iter().position(|module| module.name() == word);
            words.sort_by_key(|word| place(word).unwrap_or(Module::ALL.len()));
            words.dedup();
            words.iter().map(|word| letter(word)).collect()
        }
        Value::String(text) => text.clone(),
        // 16.0 is 16.
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |x| x.to_string()),
        other => serde_yaml::to_string(other).unwrap_or_default().trim().to_string(),
    }
}

/// The letter of a matrix of attention; other matrices by their role.
fn letter(role: &str) -> String {
    let known = Module::ALL.iter().find(|module| module.name() == role);
    known.map_or_else(|| format!("_{role}"), |module| module.letter().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(yaml: &str, selected: &[&str]) -> Result<Mapping> {
        let selected: Vec<String> = selected.iter().map(|c| c.to_string()).collect();
        expand(&serde_yaml::from_str(yaml)?, &selected)
    }

    fn names(methods: &Mapping) -> Vec<&str> {
        methods.keys().filter_map(Value::as_str).collect()
    }

    const GRIDS: &str = "
which:
  - {kind: lora, r: 8, alpha: 16, targets: {each: [[query], [attn_out]]}}
  - {kind: lora, r: 4, alpha: 16, targets: [query, value]}
rank:
  - {kind: lora, r: {each: [4, 8]}, alpha: 16, targets: {each: [[query], [query, value]]}}
low-data:
  - {kind: full, limit: {train: {each: [100, null]}, sample: 1}, train: {lr: {each: [0.1, 0.2]}}}
both:
  - {kind: lora+pre_embed, lora: {r: 8}, pre_embed: {prefix: {each: [2, 4]}, infix: 1}}
";

    #[test]
    fn each_combination_is_a_method_of_its_own_name() {
        let all = expanded(GRIDS, &[]).unwrap();
        assert_eq!(
            names(&all),
            [
                "lora-q-r8",
                "lora-o-r8",
                "lora-qv-r4",
                "lora-q-r4",
                "lora-qv-r8",
                "full-lr0.1-n100",
                "full-lr0.2-n100",
                "full-lr0.1",
                "full-lr0.2",
                "lora+pre_embed-r8-p2-i1",
                "lora+pre_embed-r8-p4-i1"
            ]
        );
        let one: Value = serde_yaml::from_str("{kind: lora, r: 4, alpha: 16, targets: [query, value]}").unwrap();
        assert_eq!(all["lora-qv-r4"], one, "an ordinary method");
        assert_eq!(all["full-lr0.1"].get("limit"), None);
        assert_eq!(all["full-lr0.1-n100"]["limit"]["sample"], Value::from(1));
        assert_eq!(
            names(&expanded(GRIDS, &["which"]).unwrap()),
            ["lora-q-r8", "lora-o-r8", "lora-qv-r4"]
        );
        assert_eq!(expanded("{}", &[]).unwrap(), Mapping::new());
        let twice = "{a: [{kind: lora, alpha: {each: [16, 16.0]}, targets: {each: [[value, query], [query, value]]}}]}";
        assert_eq!(names(&expanded(twice, &[]).unwrap()), ["lora-qv-alpha16"]);
    }

    #[test]
    fn what_is_known_of_methods_is_of_registered_ones() {
        use lora_core::method::METHODS;
        for facts in results::methods::METHOD_FACTS {
            let method = METHODS.iter().find(|method| method.kind == facts.kind);
            let method = method.unwrap_or_else(|| panic!("no method {}", facts.kind));
            let settings: Mapping = serde_yaml::from_str(method.defaults).unwrap();
            for (key, _) in facts.sizes {
                assert!(settings.contains_key(*key), "{} has no setting {key}", facts.kind);
            }
        }
        for module in Module::ALL {
            serde_yaml::from_str::<lora_core::nn::Role>(module.name()).unwrap();
        }
    }

    #[test]
    fn grids_that_cannot_be_are_refused() {
        let said = |yaml: &str, selected: &[&str]| format!("{:#}", expanded(yaml, selected).unwrap_err());
        assert!(said("{}", &["rank"]).contains("grid `rank`: the configuration has no `grids`"));
        assert!(said(GRIDS, &["ranks"]).contains("unknown grid `ranks`; known: which, rank, low-data, both"));
        assert!(said("{a: {kind: lora}}", &[]).contains("must be a list"));
        assert!(said("{a: [lora]}", &[]).contains("must be a mapping"));
        assert!(said("{a: [{r: 4}]}", &[]).contains("entry 1: a method must say its `kind`"));
        assert!(said("{a: [{kind: lora, r: {each: []}}]}", &[]).contains("`r.each` must be a list"));
        let clash = "{a: [{kind: full, train: {lr: 0.1}}, {kind: full, train: {lr: 0.2}}]}";
        assert!(said(clash, &[]).contains("entry 2: two different methods are called `full`"));
        let many = "{each: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}";
        let many = format!("{{a: [{{kind: lora, r: {many}, alpha: {many}, dropout: {many}}}]}}");
        assert!(said(&many, &[]).contains("more than 1000"));
    }
}
