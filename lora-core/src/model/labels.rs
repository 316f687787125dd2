//! The labels of a classifier's outputs in config.json: `id2label` and `label2id`.

use super::Arch;
use crate::{Error, Result};
use serde_json::{Map, Value};

impl Arch {
    /// Whether this variable belongs to the classifier, which only fine-tuning creates.
    pub(crate) fn is_of_classifier(&self, name: &str) -> bool {
        self.classifier.iter().any(|module| is_of(name, module))
    }

    /// Whether this variable has one row per output of the classifier.
    pub(crate) fn is_of_output(&self, name: &str) -> bool {
        self.classifier.last().is_some_and(|module| is_of(name, module))
    }

    /// The name of the weight with one row per output of the classifier, if there is a classifier.
    pub fn output_weight(&self) -> Option<String> {
        self.classifier.last().map(|module| format!("{module}.weight"))
    }
}

fn is_of(name: &str, module: &str) -> bool {
    let rest = name.strip_prefix(module);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// The labels of a classifier's outputs, in order; none if config.json has none, or only transformers' placeholders
/// (`LABEL_0`, `LABEL_1`).
///
/// # Errors
/// [`Error::Config`] if the indices are not 0, 1, 2, ..., or `id2label` and `label2id` contradict each other.
pub fn label_names(config: &Value) -> Result<Option<Vec<String>>> {
    let map = |key: &str| config.get(key).and_then(Value::as_object);
    let of_ids = map("id2label").map(of_ids).transpose()?;
    let of_labels = map("label2id").map(of_labels).transpose()?;
    match (of_ids.filter(|n| !numbered(n)), of_labels.filter(|n| !numbered(n))) {
        (Some(one), Some(other)) if one != other => Err(Error::Config(format!(
            "`id2label` labels the outputs {} but `label2id` {}: make them agree",
            one.join(", "),
            other.join(", ")
        ))),
        (one, other) => Ok(one.or(other)),
    }
}

/// The row of the head for each of `classes`, if the labels of its outputs are `names`; none if the labels do not match
/// the classes. Case and punctuation are ignored, and a number (`1`, `LABEL_1`) is the index of a class.
pub fn rows_of(names: &[String], classes: &[&str]) -> Option<Vec<i64>> {
    if names.len() != classes.len() {
        return None;
    }
    let class = |name: &String| {
        let named = classes.iter().position(|c| plain(c) == plain(name));
        named.or_else(|| number(name))
    };
    let row = |wanted: usize| names.iter().position(|name| class(name) == Some(wanted));
    (0..classes.len()).map(|c| row(c).map(|r| r as i64)).collect()
}

/// `{"0": "negative", "1": "positive"}`.
fn of_ids(map: &Map<String, Value>) -> Result<Vec<String>> {
    let name = |id: usize| map.get(&id.to_string()).map(text);
    ordered(map.len(), name).ok_or_else(|| unordered("id2label"))
}

/// `{"negative": 0, "positive": 1}`.
fn of_labels(map: &Map<String, Value>) -> Result<Vec<String>> {
    let is = |value: &Value, id: usize| text(value) == id.to_string();
    let name = |id: usize| Some(map.iter().find(|(_, value)| is(value, id))?.0.clone());
    ordered(map.len(), name).ok_or_else(|| unordered("label2id"))
}

fn ordered(count: usize, name: impl Fn(usize) -> Option<String>) -> Option<Vec<String>> {
    (0..count).map(name).collect()
}

fn unordered(key: &str) -> Error {
    Error::Config(format!("`{key}` does not number the outputs 0, 1, 2, ..."))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// Whether every label is only the index of its output.
fn numbered(names: &[String]) -> bool {
    names.iter().enumerate().all(|(i, name)| number(name) == Some(i))
}

/// The index in `LABEL_1` or `1`.
fn number(name: &str) -> Option<usize> {
    let plain = plain(name);
    plain.strip_prefix("label").unwrap_or(&plain).parse().ok()
}

/// The letters and digits of `name`, in lower case.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MODELS;
    use serde_json::json;

    const MNLI: [&str; 3] = ["entailment", "neutral", "contradiction"];

    fn names(config: Value) -> Option<Vec<String>> {
        label_names(&config).unwrap()
    }

    #[test]
    fn names_are_read_from_either_key_in_the_order_of_the_outputs() {
        let wanted = Some(vec!["no".to_string(), "yes".to_string()]);
        assert_eq!(names(json!({"id2label": {"1": "yes", "0": "no"}})), wanted);
        assert_eq!(names(json!({"label2id": {"yes": 1, "no": 0}})), wanted);
        assert_eq!(names(json!({"label2id": {"yes": "1", "no": "0"}})), wanted);
        // A key with transformers' placeholders does not contradict the other.
        let both = json!({"id2label": {"0": "no", "1": "yes"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}});
        assert_eq!(names(both), wanted);
        let ten: Map<String, Value> = (0..11).map(|i| (i.to_string(), json!(format!("class {i}!")))).collect();
        assert_eq!(names(json!({ "id2label": ten })).unwrap()[10], "class 10!");
    }

    #[test]
    fn numbers_say_nothing() {
        for config in [
            json!({}),
            json!({"id2label": null}),
            json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}),
            json!({"id2label": {"0": "0", "1": 1}, "label2id": {"0": 0, "1": 1}}),
        ] {
            assert_eq!(names(config), None);
        }
    }

    #[test]
    fn names_that_cannot_be_in_an_order_are_refused() {
        for (config, what) in [
            (json!({"id2label": {"1": "a", "2": "b"}}), "`id2label` does not number"),
            (json!({"label2id": {"a": 0, "b": 0}}), "`label2id` does not number"),
            (
                json!({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}),
                "`id2label` labels the outputs a, b but `label2id` b, a",
            ),
        ] {
            let message = label_names(&config).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn outputs_are_found_by_name_whatever_their_spelling() {
        let rows = |names: &[&str], classes: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_string()).collect();
            rows_of(&names, classes)
        };
        let two = ["entailment", "not_entailment"];
        assert_eq!(
            rows(&["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], &MNLI),
            Some(vec![2, 1, 0])
        );
        assert_eq!(
            rows(&["contradiction", "entailment", "neutral"], &MNLI),
            Some(vec![1, 2, 0])
        );
        assert_eq!(rows(&["not entailment", "Entailment"], &two), Some(vec![1, 0]));
        assert_eq!(rows(&["LABEL_1", "LABEL_0"], &two), Some(vec![1, 0]));
        for names in [
            &["negative", "positive"][..],
            &["entailment", "neutral"],
            &["entailment", "entailment", "contradiction"],
            &["entailment", "neutral", "contradiction", "other"],
            &["LABEL_1", "LABEL_2", "LABEL_3"],
        ] {
            assert_eq!(rows(names, &MNLI), None, "{names:?}");
        }
    }

    #[test]
    fn every_classifier_has_an_output_layer_among_its_variables() {
        for arch in MODELS.iter().filter(|a| a.build.is_some()) {
            let output = arch.output_weight().unwrap();
            assert!(arch.is_of_output(&output) && arch.is_of_classifier(&output));
            assert!(!arch.is_of_classifier(&format!("{}pooler.dense.weight", arch.prefix)));
        }
    }
}
