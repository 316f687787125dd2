//! The start of PiSSA (Meng et al., 2024): A and B hold the largest singular components of the weight, the base the rest.

use crate::nn::Site;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Sets A = √(Σᵣ / s) Vᵣᵀ and B = Uᵣ √(Σᵣ / s), where s is LoRA's `scale`, and takes s B A from the weight at `site`: the
/// model's function stays the same, up to rounding to the weight's data type. PEFT's `pissa_init`.
///
/// The decomposition runs on the CPU in fp64, so that the start is the same on every device and, to the rounding of fp32, on every
/// processor: a stored adapter is applied to a base that is computed again.
pub(super) fn start(site: &Site, [a, b]: [&Tensor; 2], scale: f64) -> impl Fn() -> Result<()> + use<> {
    let [weight, a, b] = [&site.weight, a, b].map(Tensor::shallow_clone);
    move || {
        let doing = || Error::torch("decomposing a weight for PiSSA");
        let whole = weight.to_device(Device::Cpu).to_kind(Kind::Double);
        let (left, values, right) = whole.f_svd(true, true).map_err(doing())?;
        let r = a.size()[0];
        let root = (values.narrow(0, 0, r) / scale).sqrt();
        // As they are stored, so that the base takes up their rounding.
        let stored = |x: Tensor| x.to_kind(a.kind()).to_kind(Kind::Double);
        let up = stored(left.narrow(1, 0, r) * &root); // [out, r]
        let down = stored((right.narrow(1, 0, r) * &root).tr()); // [r, in]
        let rest = whole - up.matmul(&down) * scale;
        for (to, from) in [(&weight, rest), (&a, down), (&b, up)] {
            to.shallow_clone().f_copy_(&from).map_err(doing())?;
        }
        Ok(())
    }
}
