//! An entry of the method registry.

use crate::nn::Method;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

/// A method's name in configurations, and how its settings are parsed and serialised.
#[derive(Debug)]
pub struct Registered {
    /// The name.
    pub kind: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Default settings, as a YAML mapping.
    pub defaults: &'static str,
    read: fn(Value) -> Result<Box<dyn Method>, serde_yaml::Error>,
    canonical: fn(Value) -> Result<Value, serde_yaml::Error>,
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
            canonical: |v| serde_yaml::to_value(serde_yaml::from_value::<M>(v)?),
        }
    }

    /// A combination that is listed beside the methods. Its parts are parsed one by one, never as a whole.
    pub(super) const fn joined(kind: &'static str, about: &'static str) -> Registered {
        Registered {
            kind,
            about,
            defaults: "{}",
            read: |_| Err(serde::de::Error::custom("a combination is read part by part")),
            canonical: |_| Err(serde::de::Error::custom("a combination is serialised part by part")),
        }
    }

    /// Parses `settings`.
    pub(super) fn read(&self, settings: Mapping) -> Result<Box<dyn Method>> {
        (self.read)(Value::Mapping(settings)).map_err(|e| self.error(&e))
    }

    /// Parses `settings` and serialises them again, which sorts sets and omits defaults.
    pub(super) fn canonical(&self, settings: Mapping) -> Result<Value> {
        (self.canonical)(Value::Mapping(settings)).map_err(|e| self.error(&e))
    }

    fn error(&self, error: &serde_yaml::Error) -> Error {
        Error::Config(format!("method `{}`: {error}", self.kind))
    }
}
