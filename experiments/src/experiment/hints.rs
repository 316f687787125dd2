//! What is probably meant by a flag that cannot be read.

use crate::config::overrides::Layer;
use serde_yaml::{Mapping, Value};

/// Where the setting of `layer`, a flag that does not fit, belongs; `below` are the settings that it was to change.
pub(super) fn hint(below: &Value, layer: &Layer) -> Option<String> {
    let (key, value) = layer.value.as_mapping()?.iter().next()?;
    let name = key.as_str()?;
    if name == "decode" {
        let whole = below.get(name).is_some_and(Value::is_mapping);
        let why = "no text is generated here: `decode` is a setting of the programs that generate texts, such as e2e";
        return (!whole && value.is_mapping()).then(|| why.to_owned());
    }
    for (part, what) in [("train", "training"), ("decode", "generating texts")] {
        if below.get(part).is_some_and(|part| part.get(name).is_some()) {
            return Some(format!("it is a setting of {what}: `{part}.{name}`"));
        }
    }
    let takes = |kind: &Value| {
        let settings = Mapping::from_iter([("kind".into(), kind.clone()), (key.clone(), value.clone())]);
        lora_core::method::from_value(&Value::Mapping(settings)).is_ok()
    };
    let known = lora_core::method::all();
    let mut kinds = known.iter().map(|method| (method.kind, Value::from(method.kind)));
    let methods = below.get("methods").and_then(Value::as_mapping);
    let mut own = methods.into_iter().flatten().filter_map(|(name, method)| {
        let kind = method.get("kind").unwrap_or(name);
        Some((name.as_str()?, kind.clone()))
    });
    let (method, _) = own
        .find(|(_, kind)| takes(kind))
        .or_else(|| kinds.find(|(_, kind)| takes(kind)))?;
    Some(format!("it is a setting of a method: `methods.{method}.{name}`"))
}
