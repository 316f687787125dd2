//! The registry of methods. To add one: a file in this folder, a `mod` line, and a line in [`METHODS`]; from outside this
//! crate: [`register`].

mod adapter_h;
mod adapter_l;
mod adapter_p;
mod bitfit;
mod bottleneck;
mod combined;
mod dora;
mod factors;
mod ft_top;
mod full;
mod head;
mod lora;
mod pre_embed;
mod pre_layer;
mod prefix_tuning;
mod registered;

use crate::nn::Method;
use crate::{Error, Result};
use combined::Combined;
use serde_yaml::{Mapping, Value};
use std::sync::{PoisonError, RwLock};

pub use factors::StartOfA;
pub use lora::{Lora, LoraSettings};
pub use registered::Registered;

/// Every method.
pub static METHODS: &[Registered] = &[
    Registered::new::<full::Full>("full", "every weight of the model is trained (FT)", "{}"),
    Registered::new::<ft_top::FtTop>(
        "ft_top",
        "the last `layers` blocks are trained (FT-Top2)",
        "{layers: 2}",
    ),
    Registered::new::<bitfit::BitFit>("bitfit", "bias vectors alone are trained (BitFit)", "{}"),
    Registered::new::<Lora>(
        "lora",
        "low-rank updates beside chosen matrices (LoRA)",
        "{r: 8, alpha: 16, targets: [query, value]}",
    ),
    Registered::new::<adapter_h::AdapterH>(
        "adapter_h",
        "two adapters a block, before the residual adds (Houlsby)",
        "{bottleneck: 8, nonlinearity: silu, layer_norm: false, init: normal, std: 0.02, drop: []}",
    ),
    Registered::new::<adapter_l::AdapterL>(
        "adapter_l",
        "one adapter a block, with its own LayerNorm, on the block's output (Lin)",
        "{bottleneck: 8, nonlinearity: relu, layer_norm: true, init: normal, std: 0.02, drop: []}",
    ),
    Registered::new::<adapter_p::AdapterP>(
        "adapter_p",
        "one adapter a block, behind the feed-forward network (Pfeiffer)",
        "{bottleneck: 16, nonlinearity: relu, layer_norm: false, init: normal, std: 0.02, drop: []}",
    ),
    Registered::new::<adapter_p::AdapterP>(
        "adapter_d",
        "the same without the blocks named in `drop` (AdapterDrop)",
        "{bottleneck: 16, nonlinearity: relu, layer_norm: false, init: normal, std: 0.02, drop: [0]}",
    ),
    Registered::new::<pre_embed::PreEmbed>(
        "pre_embed",
        "trained embeddings of special tokens (prefix-embedding tuning)",
        "{prefix: 8, infix: 4, std: 0.02}",
    ),
    Registered::new::<pre_layer::PreLayer>(
        "pre_layer",
        "trained activations of special tokens in every block (prefix-layer tuning)",
        "{prefix: 8, infix: 4, std: 0.02}",
    ),
    Registered::new::<prefix_tuning::PrefixTuning>(
        "prefix_tuning",
        "trained keys and values in every block (Li and Liang)",
        "{prefix: 8, mlp: 512}",
    ),
    Registered::new::<dora::Dora>(
        "dora",
        "LoRA of direction, with trained lengths (DoRA)",
        "{r: 8, alpha: 16, targets: [query, value]}",
    ),
    Registered::joined("lora+pre_embed", "both at once, each with its settings under its name"),
    Registered::joined(
        "lora+pre_layer",
        "likewise; any methods that work in different places can be joined by +",
    ),
    Registered::new::<head::Head>("head", "nothing but the task head is trained: the control", "{}"),
];

/// Methods from outside this crate.
static OWN: RwLock<Vec<&'static Registered>> = RwLock::new(Vec::new());

/// Adds a method from outside this crate: from now on configurations of this process may name it by its kind, in
/// combinations too.
///
/// # Errors
/// [`Error::Config`] for a kind that is taken, is empty or contains `+`.
pub fn register(method: Registered) -> Result<()> {
    if method.kind.is_empty() || method.kind.contains('+') {
        let what = format!(
            "`{}` cannot be a method's kind: it must be a name without +",
            method.kind
        );
        return Err(Error::Config(what));
    }
    let mut own = OWN.write().unwrap_or_else(PoisonError::into_inner);
    if METHODS.iter().chain(own.iter().copied()).any(|m| m.kind == method.kind) {
        return Err(Error::Config(format!("there is a method `{}` already", method.kind)));
    }
    own.push(Box::leak(Box::new(method)));
    Ok(())
}

/// Every method: [`METHODS`], then those of [`register`].
pub fn all() -> Vec<&'static Registered> {
    let own = OWN.read().unwrap_or_else(PoisonError::into_inner);
    METHODS.iter().chain(own.iter().copied()).collect()
}

/// Reads a method from a mapping with the key `kind`; settings that it leaves out come from the method's defaults.
///
/// # Errors
/// [`Error::Config`] for a missing or unknown kind (the known ones are listed) or a setting that the method refuses.
pub fn from_value(value: &Value) -> Result<Box<dyn Method>> {
    match resolve(value)? {
        Resolved::One(entry, settings) => entry.read(settings),
        Resolved::Joined(parts) => {
            let read = parts
                .into_iter()
                .map(|(kind, entry, settings)| Ok((kind, entry.read(settings)?)));
            Ok(Box::new(Combined::new(read.collect::<Result<_>>()?)?))
        }
    }
}

/// The same from YAML text.
///
/// # Errors
/// As [`from_value`], and for text that is not YAML.
pub fn from_yaml(text: &str) -> Result<Box<dyn Method>> {
    from_value(&serde_yaml::from_str(text).map_err(|e| Error::Config(format!("method: {e}")))?)
}

/// The LoRA that a method's mapping says, with its defaults.
///
/// # Errors
/// As [`from_value`], and for another method.
pub fn lora(value: &Value) -> Result<Lora> {
    let kind = value.get("kind").and_then(Value::as_str);
    match resolve(value)? {
        Resolved::One(entry, settings) if entry.kind == "lora" => {
            serde_yaml::from_value(Value::Mapping(settings)).map_err(|e| Error::Config(format!("method `lora`: {e}")))
        }
        _ => {
            from_value(value)?;
            let kind = kind.unwrap_or_default();
            Err(Error::Config(format!("the method is `{kind}`, not `lora`")))
        }
    }
}

/// The settings in full and in one form, with `kind` first: the method's defaults under what `value` says; lists of roles and
/// blocks in order and without repetition, the methods of a combination in alphabetical order, `16.0` as `16`. Two mappings
/// that mean the same method give the same value.
///
/// # Errors
/// As [`from_value`].
pub fn resolved(value: &Value) -> Result<Value> {
    from_value(value)?;
    let mut full = Mapping::new();
    match resolve(value)? {
        Resolved::One(entry, settings) => {
            full.insert("kind".into(), entry.kind.into());
            full.extend(normal(entry, settings)?);
        }
        Resolved::Joined(mut parts) => {
            parts.sort_by_key(|(kind, ..)| *kind);
            let kinds: Vec<&str> = parts.iter().map(|(kind, ..)| *kind).collect();
            full.insert("kind".into(), kinds.join("+").into());
            for (kind, entry, settings) in parts {
                full.insert(kind.into(), Value::Mapping(normal(entry, settings)?));
            }
        }
    }
    Ok(Value::Mapping(full))
}

/// A method's settings as it writes them itself.
fn normal(entry: &Registered, settings: Mapping) -> Result<Mapping> {
    let mut normal = entry.normal(settings)?;
    whole_numbers(&mut normal);
    Ok(normal.as_mapping().cloned().unwrap_or_default())
}

/// Writes whole numbers without a fraction: `16.0` as `16`.
fn whole_numbers(value: &mut Value) {
    const EXACT: f64 = (1_u64 << 53) as f64;
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|x| number.is_f64() && x.fract() == 0.0);
            if let Some(x) = whole.filter(|x| x.abs() < EXACT) {
                *value = (x as i64).into();
            }
        }
        Value::Sequence(all) => all.iter_mut().for_each(whole_numbers),
        Value::Mapping(map) => map.iter_mut().for_each(|(_, value)| whole_numbers(value)),
        _ => {}
    }
}

/// Whose settings a mapping holds, in full.
enum Resolved<'v> {
    One(&'static Registered, Mapping),
    /// The kind, the method and the settings of each.
    Joined(Vec<(&'v str, &'static Registered, Mapping)>),
}

fn known() -> String {
    all().iter().map(|m| m.kind).collect::<Vec<_>>().join(", ")
}

fn resolve(value: &Value) -> Result<Resolved<'_>> {
    let given = value
        .as_mapping()
        .ok_or_else(|| Error::Config("a method must be a mapping with the key `kind`".into()))?;
    let kind = given.get("kind").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| Error::Config(format!("a method needs the key `kind`; known: {}", known())))?;
    let given = given.iter().filter(|(k, _)| k.as_str() != Some("kind"));
    let given: Mapping = given.map(|(k, v)| (k.clone(), v.clone())).collect();
    if kind.contains('+') {
        return Ok(Resolved::Joined(parts(kind, given)?));
    }
    let (entry, settings) = with_defaults(kind, given)?;
    Ok(Resolved::One(entry, settings))
}

/// The method of this kind, and its defaults under the settings that are `given`.
fn with_defaults(kind: &str, given: Mapping) -> Result<(&'static Registered, Mapping)> {
    let entry = all().into_iter().find(|m| m.kind == kind).ok_or_else(|| {
        Error::Config(format!(
            "unknown method `{kind}`; known: {}; or several joined by +",
            known()
        ))
    })?;
    let mut settings: Mapping =
        serde_yaml::from_str(entry.defaults).map_err(|e| Error::Config(format!("defaults of `{kind}`: {e}")))?;
    settings.extend(given);
    Ok((entry, settings))
}

/// The methods that `kind` joins: `given` holds under each one's name what differs from its defaults.
fn parts(kind: &str, mut given: Mapping) -> Result<Vec<(&str, &'static Registered, Mapping)>> {
    let mut found: Vec<(&str, &'static Registered, Mapping)> = Vec::new();
    for part in kind.split('+') {
        let own = match given.remove(part) {
            None | Some(Value::Null) => Mapping::new(),
            Some(Value::Mapping(own)) => own,
            Some(_) => return Err(Error::Config(format!("method `{kind}`: `{part}` must be a mapping"))),
        };
        if found.iter().any(|(other, ..)| *other == part) {
            return Err(Error::Config(format!("method `{kind}` names `{part}` twice")));
        }
        let (entry, settings) = with_defaults(part, own).map_err(|e| Error::Config(format!("method `{kind}`: {e}")))?;
        found.push((part, entry, settings));
    }
    match given.keys().next() {
        None => Ok(found),
        Some(other) => Err(Error::Config(format!(
            "method `{kind}`: unknown field `{}`, expected one of {}",
            other.as_str().unwrap_or("?"),
            kind.split('+')
                .map(|part| format!("`{part}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_reads_from_its_name_alone() {
        for entry in METHODS {
            from_yaml(&format!("{{kind: {}}}", entry.kind)).unwrap();
        }
    }

    #[test]
    fn mistakes_are_named() {
        let text = |yaml: &str| from_yaml(yaml).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            text("{kind: lorra}").contains("known: full, ft_top, bitfit, lora, adapter_h"),
            "{}",
            text("{kind: lorra}")
        );
        assert!(text("{kind: lora, rank: 3}").contains("unknown field `rank`, expected one of `r`"));
        assert!(text("{kind: lora, targets: [qurey]}").contains("unknown variant `qurey`, expected one of `query`"));
        assert!(text("{kind: lora, r: 0}").contains("r must be"));
        assert!(text("{kind: lora, targets: []}").contains("targets"));
        assert!(text("{kind: lora, alpha: .nan}").contains("alpha"));
        assert!(text("{kind: lora, dropout: 1.0}").contains("dropout"));
        assert!(text("{kind: ft_top, layers: 0}").contains("layers"));
        assert!(text("{kind: dora, alpha: 0}").contains("alpha must be"));
        assert!(text("{kind: adapter_h, bottleneck: 0}").contains("bottleneck must be"));
        assert!(text("{kind: adapter_h, nonlinearity: rleu}").contains("unknown variant `rleu`"));
        assert!(text("{kind: adapter_l, width: 3}").contains("unknown field `width`, expected one of `bottleneck`"));
        assert!(text("{kind: adapter_p, std: 0}").contains("std must be"));
        assert!(text("{kind: pre_embed, prefix: -1}").contains("prefix and infix"));
        assert!(text("{kind: pre_embed, prefix: 0, infix: 0}").contains("must not both be 0"));
        assert!(text("{kind: pre_layer, prefx: 2}").contains("unknown field `prefx`"));
        assert!(text("{kind: prefix_tuning, infix: 2}").contains("unknown field `infix`"));
        assert!(text("{kind: prefix_tuning, mlp: 0}").contains("mlp must be"));
        assert!(text("[lora]").contains("mapping"));
        assert!(text("{r: 8}").contains("`kind`"));
    }

    #[test]
    fn combinations_are_checked() {
        let text = |yaml: &str| from_yaml(yaml).err().map(|e| e.to_string()).unwrap_or_default();
        let clash = text("{kind: pre_embed+lora+pre_layer}");
        assert!(
            clash.contains("`pre_embed` and `pre_layer` both want the embeddings"),
            "{clash}"
        );
        assert!(text("{kind: lora+dora}").contains("`lora` and `dora` both want the query layers"));
        assert!(text("{kind: adapter_h+adapter_p}").contains("the place after_ffn of the blocks"));
        assert!(text("{kind: lora+lora}").contains("names `lora` twice"));
        assert!(text("{kind: lora+lorra}").contains("unknown method `lorra`"));
        assert!(text("{kind: lora+head, r: 4}").contains("unknown field `r`, expected one of `lora`, `head`"));
        assert!(text("{kind: lora+pre_embed, lora: {rank: 4}}").contains("unknown field `rank`"));
        assert!(text("{kind: lora+pre_embed, lora: 4}").contains("`lora` must be a mapping"));
        from_yaml("{kind: lora+dora, dora: {targets: [ffn_in]}}").unwrap();
        from_yaml("{kind: bitfit+lora}").unwrap();
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let full = resolved(&serde_yaml::from_str("{kind: lora, r: 2}").unwrap()).unwrap();
        assert_eq!(
            full,
            serde_yaml::from_str::<Value>("{kind: lora, r: 2, alpha: 16, targets: [query, value]}").unwrap()
        );
        let full = resolved(&serde_yaml::from_str("{kind: lora+pre_embed, lora: {r: 2}}").unwrap()).unwrap();
        let lora = "lora: {r: 2, alpha: 16, targets: [query, value]}";
        let both = format!("{{kind: lora+pre_embed, {lora}, pre_embed: {{prefix: 8, infix: 4, std: 0.02}}}}");
        assert_eq!(full, serde_yaml::from_str::<Value>(&both).unwrap());
    }

    #[test]
    fn one_method_has_one_form() {
        let full = |yaml: &str| {
            let full = resolved(&serde_yaml::from_str(yaml).unwrap()).unwrap();
            serde_json::to_string(&full).unwrap()
        };
        let lora = full("{kind: lora}");
        assert_eq!(lora, r#"{"kind":"lora","r":8,"alpha":16,"targets":["query","value"]}"#);
        for same in [
            "alpha: 16.0",
            "dropout: 0",
            "dropout: 0.0",
            "targets: [value, query]",
            "targets: [query, query, value]",
        ] {
            assert_eq!(full(&format!("{{kind: lora, {same}}}")), lora, "{same}");
        }
        assert_ne!(full("{kind: lora, alpha: 16.5}"), lora);
        assert_ne!(full("{kind: lora, dropout: 0.1}"), lora);
        let joined = full("{kind: pre_embed+lora, lora: {alpha: 16.0}}");
        assert_eq!(joined, full("{kind: lora+pre_embed}"));
        assert!(
            joined.starts_with(r#"{"kind":"lora+pre_embed","lora":{"r":8"#),
            "{joined}"
        );
        assert_eq!(
            full("{kind: adapter_h, nonlinearity: swish}"),
            full("{kind: adapter_h}")
        );
        assert_eq!(
            full("{kind: adapter_d, drop: [1, 0, 1]}"),
            full("{kind: adapter_d, drop: [0, 1]}")
        );
    }
}
