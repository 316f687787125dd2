use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The activation function of a feed-forward network or a head, by its name in config.json.
///
/// transformers has several names for the same function, computed in ways that agree up to rounding; here they are one
/// variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x Φ(x).
    #[serde(alias = "gelu_python")]
    Gelu,
    /// x Φ(x), clipped to [-10, 10].
    #[serde(rename = "gelu_10")]
    Gelu10,
    /// GELU in its tanh approximation.
    #[serde(
        alias = "gelu_pytorch_tanh",
        alias = "gelu_python_tanh",
        alias = "gelu_fast",
        alias = "gelu_accurate"
    )]
    GeluNew,
    /// x σ(1.702 x).
    QuickGelu,
    /// max(x, 0).
    Relu,
    /// x σ(x).
    #[serde(alias = "swish")]
    Silu,
    /// tanh(x).
    Tanh,
}

impl Activation {
    /// Applies the function element-wise.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::Gelu10 => x.gelu("none").clamp(-10.0, 10.0),
            Activation::GeluNew => x.gelu("tanh"),
            Activation::QuickGelu => x * (x * 1.702).sigmoid(),
            Activation::Relu => x.relu(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use tch::Kind;

    fn named(name: &str) -> Result<Activation, serde_json::Error> {
        serde_json::from_value(Value::from(name))
    }

    /// The definitions in transformers' `activations.py`, written out in double precision.
    #[test]
    fn every_name_is_the_function_of_transformers() {
        let x: Vec<f64> = (-260..=260).map(|i| f64::from(i) / 20.0).collect();
        let tensor = Tensor::from_slice(&x);
        let erf = |x: f64| {
            let t = Tensor::from(x).erf();
            t.double_value(&[])
        };
        let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()));
        let approximate = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        };
        let fast = |x: f64| 0.5 * x * (1.0 + (x * 0.7978845608 * (1.0 + 0.044715 * x * x)).tanh());
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        type Function<'a> = &'a dyn Fn(f64) -> f64;
        let table: [(&str, Function); 13] = [
            ("gelu", &gelu),
            ("gelu_python", &gelu),
            ("gelu_10", &|x| gelu(x).clamp(-10.0, 10.0)),
            ("gelu_new", &approximate),
            ("gelu_pytorch_tanh", &approximate),
            ("gelu_python_tanh", &approximate),
            ("gelu_accurate", &approximate),
            ("gelu_fast", &fast),
            ("quick_gelu", &|x| x * sigmoid(1.702 * x)),
            ("relu", &|x| x.max(0.0)),
            ("silu", &|x| x * sigmoid(x)),
            ("swish", &|x| x * sigmoid(x)),
            ("tanh", &f64::tanh),
        ];
        for (name, function) in table {
            let ours = Vec::<f64>::try_from(named(name).unwrap().apply(&tensor)).unwrap();
            for (x, ours) in x.iter().zip(ours) {
                let wanted = function(*x);
                assert!((ours - wanted).abs() < 1e-9, "{name}({x}) is {ours} and not {wanted}");
            }
        }
        assert_eq!(tensor.kind(), Kind::Double);
    }

    #[test]
    fn names_that_are_not_known_are_refused() {
        for name in ["mish", "GELU", "gelu_tanh", ""] {
            assert!(named(name).is_err(), "{name}");
        }
        // A setting is serialised under one name, whichever alias it was read from.
        for (name, canonical) in [("gelu_fast", "gelu_new"), ("gelu_10", "gelu_10"), ("swish", "silu")] {
            assert_eq!(serde_json::to_value(named(name).unwrap()).unwrap(), canonical);
        }
    }
}
