//! Bindings of `native/packed.cpp` and `native/decode.cpp`: what generation on the CPU uses.

use super::native::{self, fail, tensor};
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;
use tch::{Kind, Tensor};
use torch_sys::C_tensor;

#[repr(C)]
struct CachePtrs {
    keys: *const C_tensor,
    values: *const C_tensor,
    own_keys: *const C_tensor,
    own_values: *const C_tensor,
    reach: *const i64,
    table: *const i32,
    table_step: i64,
    beams: i64,
    heads: i64,
    kv_heads: i64,
    written: i64,
}

unsafe extern "C" {
    fn lora_native_error() -> *const c_char;
    fn lora_pack(weight: *const C_tensor, half: bool, engine: i32) -> *mut c_void;
    fn lora_pack_free(packed: *mut c_void);
    fn lora_packed_linear(
        packed: *const c_void,
        x: *const C_tensor,
        bias: *const C_tensor,
        wide: bool,
    ) -> *mut C_tensor;
    fn lora_attend(
        cache: *const CachePtrs,
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
    ) -> *mut C_tensor;
    #[allow(clippy::too_many_arguments)]
    fn lora_candidates(
        logits: *const C_tensor,
        beams: i64,
        sums: *const f32,
        banned: *const i64,
        bans: i64,
        before: bool,
        count: i64,
        totals: *mut f32,
        cells: *mut i64,
    ) -> *const c_void;
}

/// The library whose products read a packed weight.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(super) enum Engine {
    /// The faster one on this processor.
    Auto = 0,
    #[cfg(test)]
    Mkl = 1,
    #[cfg(test)]
    OneDnn = 2,
}

/// A copy of a weight in the layout that a library's products read.
#[derive(Debug)]
pub(super) struct Packed(NonNull<c_void>);

// SAFETY: it owns its memory and has no state beside it.
unsafe impl Send for Packed {}

impl Packed {
    /// Of `weight` `[out, in]`, for inputs in `kind`. None where no library has such products or nothing is gained.
    pub(super) fn new(weight: &Tensor, kind: Kind, engine: Engine) -> Option<Packed> {
        // SAFETY: a living tensor; a result that is not null belongs to nothing else.
        NonNull::new(unsafe { lora_pack(weight.as_ptr(), kind == Kind::BFloat16, engine as i32) }).map(Packed)
    }

    /// x Wᵀ + bias for `x` `[T, in]`, in its data type, or in that of the products if `wide`.
    pub(super) fn linear(&self, x: &Tensor, bias: Option<&Tensor>, wide: bool) -> Tensor {
        let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
        // SAFETY: living tensors and a living packed weight.
        tensor(unsafe { lora_packed_linear(self.0.as_ptr(), x.as_ptr(), bias, wide) })
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        // SAFETY: made by `lora_pack`, and freed once.
        unsafe { lora_pack_free(self.0.as_ptr()) }
    }
}

/// One block's cache for [`attend`].
pub(super) struct Cached<'a> {
    /// Keys and values of the prompts, `[B, H, W, w]`.
    pub(super) prompts: [&'a Tensor; 2],
    /// Of the generated tokens, `[capacity, B * beams, H * w]`.
    pub(super) own: [&'a Tensor; 2],
    /// Filled columns of each prompt.
    pub(super) reach: &'a [i64],
    /// `[B * beams, table_step]`: the beam of the same prompt that holds a row's token of a step.
    pub(super) table: &'a [i32],
    pub(super) table_step: usize,
    pub(super) beams: i64,
    pub(super) heads: i64,
    pub(super) kv_heads: i64,
    pub(super) written: i64,
}

/// Attention of one more token a row, whose keys and values it stores: `q` `[B * beams, heads * w]`, `k` and `v` `[B *
/// beams, kv_heads * w]`.
pub(super) fn attend(cache: &Cached, [q, k, v]: [&Tensor; 3]) -> Tensor {
    let rows = cache.reach.len() * cache.beams as usize;
    assert!(
        cache.table.len() >= rows * cache.table_step
            && (cache.written as usize) < cache.table_step
            && q.size()[0] == rows as i64
            && cache.own[0].size()[0] > cache.written,
        "a cache of other rows"
    );
    let pointers = CachePtrs {
        keys: cache.prompts[0].as_ptr(),
        values: cache.prompts[1].as_ptr(),
        own_keys: cache.own[0].as_ptr(),
        own_values: cache.own[1].as_ptr(),
        reach: cache.reach.as_ptr(),
        table: cache.table.as_ptr(),
        table_step: cache.table_step as i64,
        beams: cache.beams,
        heads: cache.heads,
        kv_heads: cache.kv_heads,
        written: cache.written,
    };
    // SAFETY: living tensors, and lists of the lengths checked above.
    tensor(unsafe { lora_attend(&pointers, q.as_ptr(), k.as_ptr(), v.as_ptr()) })
}

/// The cells of logits that are excluded from the candidates.
pub(crate) struct Banned<'a> {
    /// row * vocab + token, rows ascending.
    pub(crate) cells: &'a [i64],
    /// Whether they are excluded from the softmax too.
    pub(crate) before: bool,
}

/// Whether [`best_continuations`] takes these logits.
pub(crate) fn takes_logits(logits: &Tensor) -> bool {
    native::takes(logits) && logits.kind() == Kind::Float
}

/// The best `count` continuations of each prompt, whose rows of `logits` `[B * beams, vocab]` follow one another: the
/// sums of `sums[row]` and the token's log-probability, and beam * vocab + token, each `[B * count]`, best first, of
/// equal ones the lower cell. None if a logit is not finite. The logits may be overwritten.
pub(crate) fn best_continuations(
    logits: &Tensor,
    sums: &[f32],
    beams: usize,
    banned: &Banned,
    count: usize,
) -> Option<(Vec<f32>, Vec<i64>)> {
    let logits = logits.contiguous();
    assert_eq!(logits.size()[0], sums.len() as i64, "a sum for each row");
    let all = sums.len() / beams * count;
    let (mut totals, mut cells) = (vec![0.0; all], vec![0; all]);
    // SAFETY: a living tensor, and lists of the lengths that are passed or made above.
    let done = unsafe {
        lora_candidates(
            logits.as_ptr(),
            beams as i64,
            sums.as_ptr(),
            banned.cells.as_ptr(),
            banned.cells.len() as i64,
            banned.before,
            count as i64,
            totals.as_mut_ptr(),
            cells.as_mut_ptr(),
        )
    };
    // SAFETY: the text lives until this thread's next failure.
    if done.is_null() && unsafe { *lora_native_error() } != 0 {
        fail();
    }
    (!done.is_null()).then_some((totals, cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        f64::try_from((a - b).abs().max()).unwrap()
    }

    #[test]
    fn packed_products_are_those_of_the_weight() {
        let _guard = tch::no_grad_guard();
        for (rows, inputs, outputs) in [(1, 5, 3), (3, 64, 97), (160, 96, 200), (301, 33, 64)] {
            let normal = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, tch::Device::Cpu));
            let (x, weight) = (normal([rows, inputs]), normal([outputs, inputs]));
            let bias = normal([1, outputs]).squeeze();
            for engine in [Engine::Auto, Engine::Mkl, Engine::OneDnn] {
                let Some(packed) = Packed::new(&weight, Kind::Float, engine) else {
                    continue;
                };
                assert!(difference(&packed.linear(&x, None, false), &x.linear(&weight, None::<&Tensor>)) < 1e-4);
                let expected = x.linear(&weight, Some(&bias));
                assert!(
                    difference(&packed.linear(&x, Some(&bias), false), &expected) < 1e-4,
                    "{engine:?}"
                );
                let Some(packed) = Packed::new(&weight, Kind::BFloat16, engine) else {
                    continue;
                };
                let y = packed.linear(&x.to_kind(Kind::BFloat16), Some(&bias), false);
                assert_eq!(y.kind(), Kind::BFloat16);
                assert!(difference(&y.to_kind(Kind::Float), &expected) < 0.3, "{engine:?}");
            }
        }
    }

    #[test]
    fn candidates_are_the_best_cells() {
        let _guard = tch::no_grad_guard();
        for (vocab, beams, count) in [(7, 3, 7), (1000, 4, 8), (50_257, 2, 20), (300, 1, 1)] {
            let rows = 2 * beams;
            let logits = Tensor::randn([rows, vocab], (Kind::Float, tch::Device::Cpu)) * 3.0;
            let sums: Vec<f32> = (0..rows).map(|row| -(row as f32) / 3.0).collect();
            let cells: Vec<i64> = (0..rows).map(|row| row * vocab + row % vocab).collect();
            for before in [true, false] {
                let fill = |t: &Tensor| {
                    let index = Tensor::from_slice(&cells);
                    t.view([-1])
                        .index_fill(0, &index, f64::NEG_INFINITY)
                        .view([rows, vocab])
                };
                let gained = match before {
                    true => fill(&logits).log_softmax(-1, Kind::Float),
                    false => fill(&logits.log_softmax(-1, Kind::Float)),
                };
                let expected = (gained + Tensor::from_slice(&sums).unsqueeze(-1)).view([2, -1]);
                let (best, at) = expected.topk(count, 1, true, true);
                let banned = Banned { cells: &cells, before };
                let found = best_continuations(&logits.copy(), &sums, beams as usize, &banned, count as usize);
                let (totals, found) = found.unwrap();
                assert_eq!(
                    found,
                    Vec::<i64>::try_from(at.reshape([-1])).unwrap(),
                    "{vocab} {before}"
                );
                assert!(difference(&Tensor::from_slice(&totals), &best.reshape([-1])) < 1e-5);
            }
            let _ = logits.get(1).get(3).fill_(f64::NAN);
            let banned = Banned {
                cells: &[],
                before: true,
            };
            assert!(best_continuations(&logits, &sums, beams as usize, &banned, count as usize).is_none());
        }
        // Equal totals: the lower cell first.
        let logits = Tensor::zeros([2, 500], (Kind::Float, tch::Device::Cpu));
        let banned = Banned {
            cells: &[0, 501],
            before: false,
        };
        let (_, found) = best_continuations(&logits, &[0.0, 0.0], 2, &banned, 3).unwrap();
        assert_eq!(found, [1, 2, 3]);
    }
}
