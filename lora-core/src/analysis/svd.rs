//! Singular value decompositions, of a product of two thin matrices without ever forming it.

use super::matrix::{gaussian, matrix};
use crate::seed::derive;
use crate::{Error, Result};
use tch::Tensor;

/// A singular value of less than this share of the largest has no direction: files hold numbers of 24 bits, and what is below is
/// their rounding.
const ROUNDING: f64 = 1e-6;

/// M = U diag(s) Vᵀ, thin: k is the smaller side of M, or the inner side of a product.
#[derive(Debug)]
pub struct Svd {
    /// U, `[out, k]`.
    pub left: Tensor,
    /// s, `[k]`, falling.
    pub values: Tensor,
    /// V, `[in, k]`.
    pub right: Tensor,
}

impl Svd {
    /// Of a matrix `[out, in]`.
    ///
    /// # Errors
    /// [`Error::Config`] for what is no matrix of finite numbers; libtorch's refusal.
    pub fn of(m: &Tensor) -> Result<Svd> {
        let svd = matrix(m, "the matrix")?.f_svd(true, true);
        let (left, values, right) = svd.map_err(Error::torch("decomposing a matrix"))?;
        Ok(Svd { left, values, right })
    }

    /// Of `b` `a`, `[out, r]` times `[r, in]`: by QR of b and of aᵀ, and the decomposition of the r x r core.
    ///
    /// # Errors
    /// As [`Svd::of`], and [`Error::Config`] for two that do not go together.
    pub fn of_product(b: &Tensor, a: &Tensor) -> Result<Svd> {
        let (b, a) = (matrix(b, "B")?, matrix(a, "A")?);
        if b.size()[1] != a.size()[0] {
            let (b, a) = (b.size(), a.size());
            return Err(Error::Config(format!(
                "B {b:?} and A {a:?} are no factors of one update"
            )));
        }
        let thin = |m: &Tensor| Tensor::f_linalg_qr(m, "reduced").map_err(Error::torch("decomposing a factor"));
        let ((q_b, r_b), (q_a, r_a)) = (thin(&b)?, thin(&a.tr())?);
        let core = Svd::of(&r_b.matmul(&r_a.tr()))?;
        Ok(Svd {
            left: q_b.matmul(&core.left),
            values: core.values,
            right: q_a.matmul(&core.right),
        })
    }

    /// How many directions have a length: the numerical rank, 0 of a matrix of zeros.
    ///
    /// # Errors
    /// libtorch's refusal.
    pub fn rank(&self) -> Result<i64> {
        let values = self.spectrum()?;
        let largest = values.first().copied().unwrap_or(0.0);
        Ok(values.iter().filter(|v| **v > ROUNDING * largest).count() as i64)
    }

    /// The strongest `k` directions alone.
    #[must_use]
    pub fn top(&self, k: i64) -> Svd {
        let k = k.min(self.values.size()[0]);
        Svd {
            left: self.left.narrow(1, 0, k),
            values: self.values.narrow(0, 0, k),
            right: self.right.narrow(1, 0, k),
        }
    }

    /// The Frobenius norm of the matrix, or of the part that these directions make up.
    pub fn norm(&self) -> f64 {
        self.values.norm().double_value(&[])
    }

    /// The singular values, falling.
    ///
    /// # Errors
    /// libtorch's refusal.
    pub fn spectrum(&self) -> Result<Vec<f64>> {
        Vec::try_from(&self.values).map_err(Error::torch("reading singular values"))
    }

    /// `||Uᵀ W V||`: how much of `weight` `[out, in]` lies in these directions, left and right (Section 7.3). U Uᵀ W V Vᵀ has the same norm.
    ///
    /// # Errors
    /// [`Error::Config`] for a weight of another shape.
    pub fn projected(&self, weight: &Tensor) -> Result<f64> {
        let weight = matrix(weight, "the weight")?;
        let sides = vec![self.left.size()[0], self.right.size()[0]];
        if weight.size() != sides {
            let found = weight.size();
            return Err(Error::Config(format!(
                "the weight is {found:?} and the update {sides:?}"
            )));
        }
        let inside = self.left.tr().matmul(&weight).matmul(&self.right);
        Ok(inside.norm().double_value(&[]))
    }
}

/// The same for random orthonormal directions, `r` on each side: the mean over `draws` pairs. For a square W of width d it is
/// near `||W|| r / d`.
///
/// # Errors
/// [`Error::Config`] for no draws or an `r` that is larger than the weight.
pub fn random_projection(weight: &Tensor, r: i64, draws: u64, seed: u64) -> Result<f64> {
    let weight = matrix(weight, "the weight")?;
    let (out, inputs) = (weight.size()[0], weight.size()[1]);
    if draws == 0 || r < 1 || r > out.min(inputs) {
        return Err(Error::Config(format!(
            "{draws} draws of {r} directions in a matrix of {out} x {inputs}: both must be at least 1, and no more directions than the matrix has"
        )));
    }
    let basis = |side: &str, d: i64, draw: u64| {
        let drawn = gaussian(d, r, derive(seed, side, draw));
        let qr = Tensor::f_linalg_qr(&drawn, "reduced");
        qr.map(|(q, _)| q).map_err(Error::torch("drawing directions"))
    };
    let mut sum = 0.0;
    for draw in 0..draws {
        let (left, right) = (basis("left", out, draw)?, basis("right", inputs, draw)?);
        sum += left.tr().matmul(&weight).matmul(&right).norm().double_value(&[]);
    }
    Ok(sum / draws as f64)
}
