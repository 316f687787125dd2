//! Dropout with a fast mask on the CPU.
//!
//! libtorch draws CPU masks from one serial Mersenne twister at about 10 ns per element (except on Intel processors),
//! which costs more than the matrix products of a small encoder. Here a hash of the element's index and a seed decides;
//! each call draws one seed. A fused node draws again in the backward pass instead of storing the mask.
//!
//! Where several ranks share a batch, an element's index is its index in the whole batch, so that masks do not depend on
//! how the batch is split. Every rank draws the same seeds.

use super::native::{self, DropMask};
use crate::batch::Layout;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use std::cell::{Cell, RefCell};
use tch::{Device, Tensor};

thread_local! {
    static MASKS: RefCell<Xoshiro256PlusPlus> = RefCell::new(Xoshiro256PlusPlus::seed_from_u64(0));
    static PART: Cell<Option<Part>> = const { Cell::new(None) };
}

/// The part of a batch that this rank computes.
#[derive(Clone, Copy)]
struct Part {
    rows: i64,
    tokens: i64,
    rows_before: i64,
    tokens_before: i64,
}

impl Part {
    /// The place of a tensor with `n` tokens or rows in that of the whole batch. A method may have inserted as many tokens
    /// into each row. A tensor of neither is the same on all ranks.
    fn before(self, n: i64) -> i64 {
        let inserted = n - self.tokens;
        match self {
            _ if inserted >= 0 && inserted % self.rows == 0 => {
                self.tokens_before + inserted / self.rows * self.rows_before
            }
            _ if n == self.rows => self.rows_before,
            _ => 0,
        }
    }
}

/// Seeds this thread's mask generator for a batch that is not split; see [`crate::seed::seed_step`].
pub(crate) fn seed_dropout(seed: u64) {
    MASKS.with(|rng| *rng.borrow_mut() = Xoshiro256PlusPlus::seed_from_u64(seed));
    PART.set(None);
}

/// Until the next [`seed_dropout`], masks are those of the rows of `layout` in the batch that they are a part of.
pub(crate) fn split_masks(layout: &Layout) {
    PART.set(Some(Part {
        rows: layout.rows,
        tokens: layout.lengths.iter().sum(),
        rows_before: layout.whole.rows_before,
        tokens_before: layout.whole.tokens_before,
    }));
}

/// Calls `compute`, whose dropout is on tensors that do not depend on the rows of the batch.
pub(crate) fn shared_by_rows<T>(compute: impl FnOnce() -> T) -> T {
    let part = PART.replace(None);
    let out = compute();
    PART.set(part);
    out
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
/// outside training. Of the dimensions of `x` the first is that of tokens or rows.
pub fn dropout(x: &Tensor, p: f64, train: bool) -> Tensor {
    if !train || p == 0.0 {
        return x.shallow_clone();
    }
    if x.device() != Device::Cpu {
        return x.dropout(p, true);
    }
    let mut mask = next_mask(p);
    if let (Some(part), [n, rest @ ..]) = (PART.get(), x.size().as_slice()) {
        mask.first = (part.before(*n) * rest.iter().product::<i64>()) as u64;
    }
    if native::takes(x) {
        native::drop(x, mask)
    } else {
        x * filled(&x.size(), mask).to_kind(x.kind())
    }
}

/// [`dropout`] in training of the probabilities `x` `[B, H, Q, K]` over the padded grid of `layout`, whose K may be preceded by
/// a method's keys.
pub(super) fn drop_probabilities(x: &Tensor, p: f64, layout: &Layout) -> Tensor {
    let size = x.size();
    let [_, heads, queries, keys] = size[..] else {
        return dropout(x, p, true);
    };
    let wide = |n: i64| n + layout.whole.width - layout.width;
    let first_only = queries == 1 && layout.width > 1;
    let grid = [if first_only { 1 } else { wide(queries) }, wide(keys)];
    if x.device() != Device::Cpu || (layout.whole.rows_before == 0 && grid == [queries, keys]) {
        // Without the place of rows, which is 0 here.
        return shared_by_rows(|| dropout(x, p, true));
    }
    let mask = next_mask(p).of_grid(layout, heads, grid);
    let mut values = Vec::with_capacity(x.numel());
    for row in 0..size[0] * heads {
        for query in 0..queries {
            let start = ((row * grid[0] + query) * grid[1]) as u64;
            values.extend((start..start + keys as u64).map(|index| mask.factor(index)));
        }
    }
    x * Tensor::from_slice(&values).view(size.as_slice()).to_kind(x.kind())
}

impl DropMask {
    /// The mask of the rows of `layout`, each with the grid `[heads, grid[0], grid[1]]`.
    pub(super) fn of_grid(self, layout: &Layout, heads: i64, grid: [i64; 2]) -> DropMask {
        let first = (layout.whole.rows_before * heads * grid[0] * grid[1]) as u64;
        DropMask { first, ..self }
    }

    /// What the mask multiplies element `index` with.
    fn factor(&self, index: u64) -> f32 {
        if draw(self.seed, self.first + index) < self.threshold {
            0.0
        } else {
            self.kept
        }
    }
}

/// The mask of one dropout with probability `p`, from this thread's generator.
pub(super) fn next_mask(p: f64) -> DropMask {
    let threshold = (p * 65536.0).round().min(65535.0) as u32;
    DropMask {
        seed: MASKS.with(|rng| rng.borrow_mut().next_u64()),
        threshold,
        kept: (65536.0 / (65536.0 - f64::from(threshold))) as f32,
        first: 0,
    }
}

/// The mask as an fp32 tensor of shape `size`.
fn filled(size: &[i64], mask: DropMask) -> Tensor {
    let len: i64 = size.iter().product();
    let values: Vec<f32> = (0..len as u64).map(|index| mask.factor(index)).collect();
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
            first: (1 << 32) - 1000,
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            let x = Tensor::ones([40, 1234], (kind, Device::Cpu));
            let expected = filled(&x.size(), mask).to_kind(kind);
            assert!(native::drop(&x, mask).equal(&expected));
        }
    }
}
