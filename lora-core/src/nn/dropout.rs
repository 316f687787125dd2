//! Dropout with a fast mask on the CPU.
//!
//! libtorch draws CPU masks from one serial Mersenne twister at about 10 ns per element (except on Intel processors),
//! which costs more than the matrix products of a small encoder. Here a hash of the element's index and a seed decides;
//! each call draws one seed. A fused node draws again in the backward pass instead of storing the mask.

use super::native::{self, DropMask};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use std::cell::RefCell;
use tch::{Device, Tensor};

thread_local! {
    static MASKS: RefCell<Xoshiro256PlusPlus> = RefCell::new(Xoshiro256PlusPlus::seed_from_u64(0));
}

/// Seeds this thread's mask generator; see [`crate::seed::seed_step`].
pub(crate) fn seed_dropout(seed: u64) {
    MASKS.with(|rng| *rng.borrow_mut() = Xoshiro256PlusPlus::seed_from_u64(seed));
}

/// A state of this thread's mask generator.
pub(super) struct Masks(Xoshiro256PlusPlus);

impl Masks {
    /// The current state.
    pub(super) fn now() -> Masks {
        MASKS.with(|rng| Masks(rng.borrow().clone()))
    }

    /// Restores this state, so that the masks drawn after [`Masks::now`] are drawn again.
    pub(super) fn restore(self) {
        MASKS.with(|rng| *rng.borrow_mut() = self.0);
    }
}

/// Zeroes elements of `x` with probability `p` (rounded to 2^-16) and scales the others by 1 / (1 - p); `x` itself
/// outside training.
pub fn dropout(x: &Tensor, p: f64, train: bool) -> Tensor {
    if !train || p == 0.0 {
        return x.shallow_clone();
    }
    if x.device() != Device::Cpu {
        return x.dropout(p, true);
    }
    let mask = next_mask(p);
    if native::takes(x) {
        native::drop(x, mask)
    } else {
        x * filled(&x.size(), mask).to_kind(x.kind())
    }
}

/// The mask of one dropout with probability `p`, from this thread's generator.
pub(super) fn next_mask(p: f64) -> DropMask {
    let threshold = (p * 65536.0).round().min(65535.0) as u32;
    DropMask {
        seed: MASKS.with(|rng| rng.borrow_mut().next_u64()),
        threshold,
        kept: (65536.0 / (65536.0 - f64::from(threshold))) as f32,
    }
}

/// The mask as an fp32 tensor of shape `size`.
fn filled(size: &[i64], mask: DropMask) -> Tensor {
    let len: i64 = size.iter().product();
    let of = |index| {
        if draw(mask.seed, index) < mask.threshold {
            0.0
        } else {
            mask.kept
        }
    };
    let values: Vec<f32> = (0..len as u64).map(of).collect();
    Tensor::from_slice(&values).view(size)
}

/// Sixteen bits for element `index`: the rule of `draw` in `native/kernels.cpp`.
fn draw(seed: u64, index: u64) -> u32 {
    let high = ((seed >> 32) as u32).wrapping_add(((index >> 32) as u32).wrapping_mul(0x9e37_79b9));
    let mut x = index as u32 ^ seed as u32;
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_add(high).wrapping_mul(0x846c_a68b);
    (x ^ (x >> 16)) & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn keeps_the_share_and_the_mean() {
        seed_dropout(1);
        let x = Tensor::ones([1000, 301], (Kind::Float, Device::Cpu));
        let y = dropout(&x, 0.1, true);
        let zeros = f64::try_from(y.eq(0.0).to_kind(Kind::Double).mean(Kind::Double)).unwrap();
        assert!((zeros - 0.1).abs() < 2e-3, "{zeros}");
        assert!((f64::try_from(y.mean(Kind::Double)).unwrap() - 1.0).abs() < 3e-3);
        assert!(dropout(&x, 0.1, false).equal(&x) && dropout(&x, 0.0, true).equal(&x));
    }

    #[test]
    fn the_same_seed_gives_the_same_mask() {
        let x = Tensor::ones([7, 5], (Kind::Float, Device::Cpu));
        let draw = |seed| {
            seed_dropout(seed);
            dropout(&x, 0.5, true)
        };
        assert!(draw(3).equal(&draw(3)));
        assert!(!draw(3).equal(&draw(4)));
    }

    #[test]
    fn the_node_has_the_same_mask_as_the_plain_rule() {
        let mask = DropMask {
            seed: 0x0123_4567_89ab_cdef,
            threshold: 20_000,
            kept: 1.5,
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            let x = Tensor::ones([40, 1234], (kind, Device::Cpu));
            let expected = filled(&x.size(), mask).to_kind(kind);
            assert!(native::drop(&x, mask).equal(&expected));
        }
    }
}
