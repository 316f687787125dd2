//! Dropout with a fast mask on the CPU.
//!
//! libtorch draws CPU masks from one serial Mersenne twister at about 10 ns per element (except on Intel processors),
//! which costs more than the matrix products of a small encoder. Here sixteen random bits decide each element.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

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
    x * mask(&x.size(), p).to_kind(x.kind())
}

/// A random fp32 mask of shape `size` with the values 0 and 1 / (1 - p).
fn mask(size: &[i64], p: f64) -> Tensor {
    let dropped = (p * 65536.0).round().min(65535.0) as u32;
    let kept = (65536.0 / (65536.0 - f64::from(dropped))) as f32;
    let values = [kept, 0.0];
    let mask = Tensor::empty(size, (Kind::Float, Device::Cpu));
    let len = mask.numel();
    // SAFETY: `mask` is new: contiguous, fp32, on the CPU, with `len` elements and no other reference.
    let out = unsafe { std::slice::from_raw_parts_mut(mask.data_ptr().cast::<f32>(), len) };
    MASKS.with(|rng| {
        let mut rng = rng.borrow_mut();
        for chunk in out.chunks_mut(4) {
            let mut bits = rng.next_u64();
            for value in chunk {
                *value = values[usize::from((bits as u16 as u32) < dropped)];
                bits >>= 16;
            }
        }
    });
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
