//! The registry of methods. To add one: a file in this folder, a `mod` line, and a line in [`METHODS`].

mod bitfit;
mod ft_top;
mod full;
mod head;
mod lora;

use crate::nn::Method;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

pub use lora::Lora;

/// A method's name in configurations and how its settings are read.
#[derive(Debug)]
pub struct Registered {
    /// The name.
    pub kind: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Settings that are used where a configuration names the method alone, as YAML.
    pub defaults: &'static str,
    read: fn(Value) -> Result<Box<dyn Method>, serde_yaml::Error>,
}

const fn method<M: Method + DeserializeOwned + 'static>(
    kind: &'static str,
    about: &'static str,
    defaults: &'static str,
) -> Registered {
    Registered {
        kind,
        about,
        defaults,
        read: |v| Ok(Box::new(serde_yaml::from_value::<M>(v)?) as Box<dyn Method>),
    }
}

/// Every method.
pub static METHODS: &[Registered] = &[
    method::<full::Full>("full", "every weight of the model is trained (FT)", "{}"),
    method::<ft_top::FtTop>(
        "ft_top",
        "the last `layers` blocks are trained (FT-Top2)",
        "{layers: 2}",
    ),
    method::<bitfit::BitFit>("bitfit", "bias vectors alone are trained (BitFit)", "{}"),
    method::<Lora>(
        "lora",
        "low-rank updates beside chosen matrices (LoRA)",
        "{r: 8, alpha: 16, targets: [query, value]}",
    ),
    method::<head::Head>("head", "nothing but the task head is trained: the control", "{}"),
];

/// Reads a method from a mapping with the key `kind`; settings that it leaves out come from the method's defaults.
///
/// # Errors
/// [`Error::Config`] for a missing or unknown kind (the known ones are listed) or a setting that the method refuses.
pub fn from_value(value: &Value) -> Result<Box<dyn Method>> {
    let (entry, settings) = resolve(value)?;
    (entry.read)(Value::Mapping(settings)).map_err(|e| Error::Config(format!("method `{}`: {e}", entry.kind)))
}

/// The same from YAML text.
///
/// # Errors
/// As [`from_value`], and for text that is not YAML.
pub fn from_yaml(text: &str) -> Result<Box<dyn Method>> {
    from_value(&serde_yaml::from_str(text).map_err(|e| Error::Config(format!("method: {e}")))?)
}

/// The settings in full: the method's defaults under what `value` says, with `kind` first.
///
/// # Errors
/// As [`from_value`].
pub fn resolved(value: &Value) -> Result<Value> {
    from_value(value)?;
    let (entry, settings) = resolve(value)?;
    let mut full = Mapping::new();
    full.insert("kind".into(), entry.kind.into());
    full.extend(settings);
    Ok(Value::Mapping(full))
}

fn resolve(value: &Value) -> Result<(&'static Registered, Mapping)> {
    let known = || METHODS.iter().map(|m| m.kind).collect::<Vec<_>>().join(", ");
    let given = value
        .as_mapping()
        .ok_or_else(|| Error::Config("a method must be a mapping with the key `kind`".into()))?;
    let kind = given.get("kind").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| Error::Config(format!("a method needs the key `kind`; known: {}", known())))?;
    let entry = METHODS.iter().find(|m| m.kind == kind);
    let entry = entry.ok_or_else(|| Error::Config(format!("unknown method `{kind}`; known: {}", known())))?;
    let mut settings: Mapping =
        serde_yaml::from_str(entry.defaults).map_err(|e| Error::Config(format!("defaults of `{kind}`: {e}")))?;
    settings.extend(
        given
            .iter()
            .filter(|(k, _)| k.as_str() != Some("kind"))
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    Ok((entry, settings))
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
            text("{kind: lorra}").contains("known: full, ft_top, bitfit, lora, head"),
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
        assert!(text("[lora]").contains("mapping"));
        assert!(text("{r: 8}").contains("`kind`"));
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let full = resolved(&serde_yaml::from_str("{kind: lora, r: 2}").unwrap()).unwrap();
        assert_eq!(
            full,
            serde_yaml::from_str::<Value>("{kind: lora, r: 2, alpha: 16, targets: [query, value]}").unwrap()
        );
    }
}
