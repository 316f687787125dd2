//! Registered methods of other crates.

use lora_core::method::{self, Registered};
use lora_core::model::ModelShape;
use lora_core::nn::{AttachPoint, Method, Param, ParamKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Trains the embeddings.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    first: usize,
}

impl Method for Tables {
    fn trains_base(&self, param: &Param) -> bool {
        param.kind == ParamKind::Embedding
    }

    fn claims(&self) -> BTreeSet<AttachPoint> {
        [AttachPoint::Base].into()
    }

    fn expected_params(&self, _: &ModelShape) -> (i64, i64) {
        (0, 0)
    }
}

fn registered(kind: &'static str) -> Registered {
    Registered::new::<Tables>(kind, "tables of embeddings", "{first: 3}")
}

#[test]
fn a_registered_method_behaves_like_a_built_in_one() {
    assert!(method::from_yaml("{kind: tables}").is_err());
    method::register(registered("tables")).unwrap();

    let alone = method::from_yaml("{kind: tables}").unwrap();
    assert!(alone.claims().contains(&AttachPoint::Base));
    let joined = method::from_yaml("{kind: tables+lora, lora: {r: 4}}").unwrap();
    assert_eq!(joined.claims().len(), 3);

    let yaml = serde_yaml::from_str("{first: 5.0, kind: tables}");
    let refused = method::resolved(&yaml.unwrap()).unwrap_err().to_string();
    assert!(refused.contains("method `tables`"), "{refused}");
    let value = serde_yaml::from_str("{kind: lora+tables, tables: {first: 5}}").unwrap();
    let resolved = serde_yaml::to_string(&method::resolved(&value).unwrap()).unwrap();
    assert!(resolved.contains("tables:\n  first: 5"), "{resolved}");

    let kinds: Vec<&str> = method::all().iter().map(|m| m.kind).collect();
    assert_eq!(kinds.first(), Some(&"full"));
    assert_eq!(kinds.last(), Some(&"tables"));
    let unknown = method::from_yaml("{kind: no}").unwrap_err().to_string();
    assert!(unknown.contains("tables"), "{unknown}");

    for taken in ["tables", "lora", "a+b", ""] {
        assert!(method::register(registered(taken)).is_err(), "{taken:?}");
    }
}
