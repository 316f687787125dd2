//! Singular value decompositions, also of a product of two thin matrices without forming it.

use super::matrix::{gaussian, matrix};
use crate::seed::derive;
use crate::{Error, Result};
use tch::Tensor;

/// Singular values below this share of the largest count as 0: files store fp32, whose rounding errors are of this
/// size.
const ROUNDING: f64 = 1e-6;

/// M = U diag(s) Vᵀ, thin: k is the smaller side of M, or the inner side of a product.
#[derive(Debug)]
pub struct Svd {
    /// U, `[out, k]`.
    pub left: Tensor,
    /// s, `[k]`, in decreasing order.
    pub values: Tensor,
    /// V, `[in, k]`.
    pub right: Tensor,
}

impl Svd {
    /// Of a matrix `[out, in]`.
    ///
    /// # Errors
    /// [`Error::Config`] unless `m` is a matrix of finite numbers; [`Error::Torch`].
    pub fn of(m: &Tensor) -> Result<Svd> {
        let svd = matrix(m, "the matrix")?.f_svd(true, true);
        let (left, values, right) = svd.map_err(Error::torch("decomposing a matrix"))?;
        Ok(Svd { left, values, right })
    }

    /// Of `b` `a`, `[out, r]` times `[r, in]`: by QR of b and aᵀ, and the SVD of the r x r core.
    ///
    /// # Errors
    /// Those of [`Svd::of`]; [`Error::Config`] if the shapes of `b` and `a` do not match.
    pub fn of_product(b: &Tensor, a: &Tensor) -> Result<Svd> {
        let (b, a) = (matrix(b, "B")?, matrix(a, "A")?);
        if b.size()[1] != a.size()[0] {
            let (b, a) = (b.size(), a.size());
            return Err(Error::Config(format!(
                "B {b:?} and A {a:?} are not factors of one update: their ranks differ"
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

    /// The numerical rank; 0 for a zero matrix.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn rank(&self) -> Result<i64> {
        let values = self.spectrum()?;
        let largest = values.first().copied().unwrap_or(0.0);
        Ok(values.iter().filter(|v| **v > ROUNDING * largest).count() as i64)
    }

    /// Only the strongest `k` directions.
    #[must_use]
    pub fn top(&self, k: i64) -> Svd {
        let k = k.min(self.values.size()[0]);
        Svd {
            left: self.left.narrow(1, 0, k),
            values: self.values.narrow(0, 0, k),
            right: self.right.narrow(1, 0, k),
        }
    }

    /// The Frobenius norm of the matrix (restricted to these directions).
    pub fn norm(&self) -> f64 {
        self.values.norm().double_value(&[])
    }

    /// The singular values, in decreasing order.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn spectrum(&self) -> Result<Vec<f64>> {
        Vec::try_from(&self.values).map_err(Error::torch("reading singular values"))
    }

    /// `||Uᵀ W V||`, the norm of `weight` `[out, in]` in these directions (Section 7.3). It equals that of U Uᵀ W V Vᵀ.
    ///
    /// # Errors
    /// [`Error::Config`] for a weight of another shape.
    pub fn projected(&self, weight: &Tensor) -> Result<f64> {
        let weight = matrix(weight, "the weight")?;
        let sides = vec![self.left.size()[0], self.right.size()[0]];
        if weight.size() != sides {
            let found = weight.size();
            return Err(Error::Config(format!(
                "the shapes of the weight {found:?} and the update {sides:?} differ"
            )));
        }
        let inside = self.left.tr().matmul(&weight).matmul(&self.right);
        Ok(inside.norm().double_value(&[]))
    }
}

/// [`Svd::projected`] for `r` random orthonormal directions on each side, averaged over `draws` pairs. For a square W
/// of width d it is close to `||W|| r / d`.
///
/// # Errors
/// [`Error::Config`] if `draws` is 0 or `r` is larger than a side of the weight.
pub fn random_projection(weight: &Tensor, r: i64, draws: u64, seed: u64) -> Result<f64> {
    let weight = matrix(weight, "the weight")?;
    let (out, inputs) = (weight.size()[0], weight.size()[1]);
    if draws == 0 || r < 1 || r > out.min(inputs) {
        return Err(Error::Config(format!(
            "{draws} draws of {r} directions in a matrix of {out} x {inputs}: both numbers must be at least 1, and the directions at most the smaller side"
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
