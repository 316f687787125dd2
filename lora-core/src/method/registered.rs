//! A method in the registry.

use crate::nn::Method;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

/// A method's name in configurations, and how its settings are read and written.
#[derive(Debug)]
pub struct Registered {
    /// The name.
    pub kind: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Settings that are used where a configuration names the method alone, as a YAML mapping.
    pub defaults: &'static str,
    read: fn(Value) -> Result<Box<dyn Method>, serde_yaml::Error>,
    normal: fn(Value) -> Result<Value, serde_yaml::Error>,
}

impl Registered {
    /// The method `M`, whose fields are its settings.
    pub const fn new<M: Method + DeserializeOwned + Serialize + 'static>(
        kind: &'static str,
        about: &'static str,
        defaults: &'static str,
    ) -> Registered {
        Registered {
            kind,
            about,
            defaults,
            read: |v| Ok(Box::new(serde_yaml::from_value::<M>(v)?) as Box<dyn Method>),
            normal: |v| serde_yaml::to_value(serde_yaml::from_value::<M>(v)?),
        }
    }

    /// A combination that is listed beside the methods; its parts are read one by one.
    pub(super) const fn joined(kind: &'static str, about: &'static str) -> Registered {
        Registered {
            kind,
            about,
            defaults: "{}",
            read: |_| Err(serde::de::Error::custom("a combination is read part by part")),
            normal: |_| Err(serde::de::Error::custom("a combination is written part by part")),
        }
    }

    /// The method with these settings.
    pub(super) fn read(&self, settings: Mapping) -> Result<Box<dyn Method>> {
        (self.read)(Value::Mapping(settings)).map_err(|e| self.error(&e))
    }

    /// The settings as the method writes them.
    pub(super) fn normal(&self, settings: Mapping) -> Result<Value> {
        (self.normal)(Value::Mapping(settings)).map_err(|e| self.error(&e))
    }

    fn error(&self, error: &serde_yaml::Error) -> Error {
        Error::Config(format!("method `{}`: {error}", self.kind))
    }
}
