//! The registry of methods. A new method is a file in this folder, a `mod` line and an entry in [`METHODS`]; other
//! crates add theirs with [`register`].

mod adapter_h;
mod adapter_l;
mod adapter_p;
mod bitfit;
mod bottleneck;
mod checks;
mod combined;
mod dora;
mod factors;
mod ft_top;
mod full;
mod head;
mod ia3;
mod lora;
mod pissa;
mod pre_embed;
mod pre_layer;
mod prefix_tuning;
mod registered;
mod vera;

use crate::nn::Method;
use crate::{Error, Result};
use combined::Combined;
use serde_yaml::{Mapping, Value};
use std::sync::{PoisonError, RwLock};

pub use factors::LoraInit;
pub use lora::{Lora, LoraSettings};
pub use registered::Registered;

/// The methods of this crate.
pub static METHODS: &[Registered] = &[
    Registered::new::<full::Full>("full", "all weights of the model are trained (FT)", "{}"),
    Registered::new::<ft_top::FtTop>(
        "ft_top",
        "only the last `layers` blocks are trained (FT-Top2)",
        "{layers: 2}",
    ),
    Registered::new::<bitfit::BitFit>("bitfit", "only biases are trained (BitFit)", "{}"),
    Registered::new::<Lora>(
        "lora",
        "low-rank updates beside chosen matrices (LoRA)",
        "{r: 8, alpha: 16, targets: [query, value]}",
    ),
    Registered::new::<adapter_h::AdapterH>(
        "adapter_h",
        "two adapters per block, before the residual adds (Houlsby)",
        "{bottleneck: 8, nonlinearity: silu, layer_norm: false, init: normal, std: 0.02, drop: []}",
    ),
    Registered::new::<adapter_l::AdapterL>(
        "adapter_l",
        "one adapter per block, with its own LayerNorm, on the block's output (Lin)",
        "{bottleneck: 8, nonlinearity: relu, layer_norm: true, init: normal, std: 0.02, drop: []}",
    ),
    Registered::new::<adapter_p::AdapterP>(
        "adapter_p",
        "one adapter per block, after the feed-forward network (Pfeiffer)",
        "{bottleneck: 16, nonlinearity: relu, layer_norm: false, init: normal, std: 0.02, drop: []}",
    ),
    Registered::new::<adapter_p::AdapterP>(
        "adapter_d",
        "adapter_p without adapters in the blocks listed in `drop` (AdapterDrop)",
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
        "LoRA of the direction of weights, with trained magnitudes (DoRA)",
        "{r: 8, alpha: 16, targets: [query, value]}",
    ),
    Registered::new::<ia3::Ia3>(
        "ia3",
        "trained factors of keys, values and feed-forward features ((IA)³)",
        "{targets: [key, value, ffn_out]}",
    ),
    Registered::new::<vera::Vera>(
        "vera",
        "trained vectors between two random matrices that all layers share (VeRA)",
        "{r: 256, d_initial: 0.1, projection_key: 0, targets: [query, value]}",
    ),
    Registered::joined(
        "lora+pre_embed",
        "both methods, each with its settings under its own name",
    ),
    Registered::joined(
        "lora+pre_layer",
        "likewise; methods that attach to different places can be joined by +",
    ),
    Registered::new::<head::Head>("head", "only the task head is trained (control)", "{}"),
];

/// The methods of other crates.
static REGISTERED: RwLock<Vec<&'static Registered>> = RwLock::new(Vec::new());

/// Registers a method of another crate, so that configurations of this process may name it by its kind, also in
/// combinations.
///
/// # Errors
/// [`Error::Config`] for a kind that is taken, is empty or contains `+`.
pub fn register(method: Registered) -> Result<()> {
    if method.kind.is_empty() || method.kind.contains('+') {
        let what = format!(
            "`{}` cannot be the kind of a method: it must be a name without +",
            method.kind
        );
        return Err(Error::Config(what));
    }
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if METHODS
        .iter()
        .chain(registered.iter().copied())
        .any(|m| m.kind == method.kind)
    {
        return Err(Error::Config(format!("a method `{}` exists already", method.kind)));
    }
    registered.push(Box::leak(Box::new(method)));
    Ok(())
}

/// All methods: [`METHODS`], then the registered ones.
pub fn all() -> Vec<&'static Registered> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    METHODS.iter().chain(registered.iter().copied()).collect()
}

/// Reads a method from a mapping with the key `kind`. Settings that are left out take the method's defaults.
///
/// # Errors
/// [`Error::Config`] for a missing or unknown kind (the message lists the known ones), or a setting that the method
/// refuses.
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

/// [`from_value`] of YAML text.
///
/// # Errors
/// Those of [`from_value`]; [`Error::Config`] for text that is not YAML.
pub fn from_yaml(text: &str) -> Result<Box<dyn Method>> {
    from_value(&serde_yaml::from_str(text).map_err(|e| Error::Config(format!("method: {e}")))?)
}

/// Reads a mapping of the kind `lora`, with defaults for the settings that are left out.
///
/// # Errors
/// Those of [`from_value`]; [`Error::Config`] for another kind.
pub fn lora(value: &Value) -> Result<Lora> {
    low_rank(value, &["lora"])
}

/// Reads a mapping of the kind `lora` or `dora`, whose settings are the same.
///
/// # Errors
/// Those of [`lora`].
pub fn lora_or_dora(value: &Value) -> Result<Lora> {
    low_rank(value, &["lora", "dora"])
}

fn low_rank(value: &Value, kinds: &[&str]) -> Result<Lora> {
    let kind = value.get("kind").and_then(Value::as_str);
    match resolve(value)? {
        Resolved::One(entry, settings) if kinds.contains(&entry.kind) => {
            let read = serde_yaml::from_value(Value::Mapping(settings));
            read.map_err(|e| Error::Config(format!("method `{}`: {e}", entry.kind)))
        }
        _ => {
            from_value(value)?;
            let (kind, kinds) = (kind.unwrap_or_default(), kinds.join("` or `"));
            Err(Error::Config(format!("the method is `{kind}`, not `{kinds}`")))
        }
    }
}

/// The full settings of a method in canonical form: `kind` first, defaults filled in, lists of roles and blocks sorted
/// and without duplicates, the methods of a combination in alphabetical order, `16.0` as `16`. Equivalent mappings give
/// equal values.
///
/// # Errors
/// Those of [`from_value`].
pub fn resolved(value: &Value) -> Result<Value> {
    from_value(value)?;
    let mut full = Mapping::new();
    match resolve(value)? {
        Resolved::One(entry, settings) => {
            full.insert("kind".into(), entry.kind.into());
            full.extend(canonical(entry, settings)?);
        }
        Resolved::Joined(mut parts) => {
            parts.sort_by_key(|(kind, ..)| *kind);
            let kinds: Vec<&str> = parts.iter().map(|(kind, ..)| *kind).collect();
            full.insert("kind".into(), kinds.join("+").into());
            for (kind, entry, settings) in parts {
                full.insert(kind.into(), Value::Mapping(canonical(entry, settings)?));
            }
        }
    }
    Ok(Value::Mapping(full))
}

fn canonical(entry: &Registered, settings: Mapping) -> Result<Mapping> {
    let mut settings = entry.canonical(settings)?;
    whole_numbers(&mut settings);
    Ok(settings.as_mapping().cloned().unwrap_or_default())
}

/// Turns whole floats into integers: `16.0` into `16`.
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

/// A method's mapping with defaults filled in.
enum Resolved<'v> {
    /// The method and its settings.
    One(&'static Registered, Mapping),
    /// Kind, method and settings of each part of a combination.
    Joined(Vec<(&'v str, &'static Registered, Mapping)>),
}

/// The kinds of all methods, for error messages.
fn known() -> String {
    all().iter().map(|m| m.kind).collect::<Vec<_>>().join(", ")
}

fn resolve(value: &Value) -> Result<Resolved<'_>> {
    let mapping = value
        .as_mapping()
        .ok_or_else(|| Error::Config("a method must be a mapping with the key `kind`".into()))?;
    let kind = mapping.get("kind").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| Error::Config(format!("a method needs the key `kind`; known: {}", known())))?;
    let settings = mapping.iter().filter(|(k, _)| k.as_str() != Some("kind"));
    let settings: Mapping = settings.map(|(k, v)| (k.clone(), v.clone())).collect();
    if kind.contains('+') {
        return Ok(Resolved::Joined(parts(kind, settings)?));
    }
    let (entry, settings) = with_defaults(kind, settings)?;
    Ok(Resolved::One(entry, settings))
}

/// Variants of LoRA that are settings of it, not methods, by the names of their papers.
const VARIANTS: [(&str, &str); 3] = [
    ("rslora", "rslora: true"),
    ("loraplus", "b_lr_ratio: 16"),
    ("pissa", "init: pissa"),
];

/// The method of this kind, and its defaults overlaid with `settings`.
fn with_defaults(kind: &str, settings: Mapping) -> Result<(&'static Registered, Mapping)> {
    let entry = all().into_iter().find(|m| m.kind == kind).ok_or_else(|| {
        let plain = kind.to_lowercase().replace(['-', '_'], "");
        if let Some((_, setting)) = VARIANTS.iter().find(|(name, _)| *name == plain) {
            return Error::Config(format!(
                "`{kind}` is a setting of the method lora: `lora: {{{setting}}}`"
            ));
        }
        let unknown = support::unknown("method", kind, all().into_iter().map(|m| m.kind));
        Error::Config(format!("{unknown}; or several joined by +"))
    })?;
    let mut full: Mapping =
        serde_yaml::from_str(entry.defaults).map_err(|e| Error::Config(format!("defaults of `{kind}`: {e}")))?;
    full.extend(settings);
    Ok((entry, full))
}

/// The methods that `kind` joins. `settings` maps a method's name to the settings that differ from its defaults.
fn parts(kind: &str, mut settings: Mapping) -> Result<Vec<(&str, &'static Registered, Mapping)>> {
    let mut found: Vec<(&str, &'static Registered, Mapping)> = Vec::new();
    for part in kind.split('+') {
        let own = match settings.remove(part) {
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
    match settings.keys().next() {
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
    fn every_method_is_read_from_its_kind_alone() {
        for entry in METHODS {
            from_yaml(&format!("{{kind: {}}}", entry.kind)).unwrap();
        }
    }

    #[test]
    fn invalid_settings_are_named() {
        let text = |yaml: &str| from_yaml(yaml).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            text("{kind: lorra}").contains("known: full, ft_top, bitfit, lora, adapter_h"),
            "{}",
            text("{kind: lorra}")
        );
        assert!(text("{kind: lora, rank: 3}").contains("unknown field `rank`, expected one of `r`"));
        let typo = text("{kind: lora, targets: [qurey]}");
        assert!(
            typo.contains("unknown variant `qurey`, expected one of") && typo.contains("`query`"),
            "{typo}"
        );
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
        assert!(text("{kind: rs-LoRA}").contains("`rs-LoRA` is a setting of the method lora: `lora: {rslora: true}`"));
        assert!(text("[lora]").contains("mapping"));
        assert!(text("{r: 8}").contains("`kind`"));
    }

    #[test]
    fn combinations_are_checked() {
        let text = |yaml: &str| from_yaml(yaml).err().map(|e| e.to_string()).unwrap_or_default();
        let clash = text("{kind: pre_embed+lora+pre_layer}");
        assert!(
            clash.contains("`pre_embed` and `pre_layer` both attach to the embeddings"),
            "{clash}"
        );
        assert!(text("{kind: lora+dora}").contains("`lora` and `dora` both attach to the query layers"));
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
    fn equivalent_settings_have_one_canonical_form() {
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
