//! The autograd nodes of `native/`, for tensors on the CPU in fp32 or bf16.
//!
//! Each has a plain composition of libtorch's operators beside it, in the layer that calls it: the reference that tests
//! compare with, and the way on other devices. [`use_fused`] switches between them.

use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicU8, Ordering};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

#[repr(C)]
struct LayerPtrs {
    weight: *const C_tensor,
    bias: *const C_tensor,
    slots: i64,
}

#[repr(C)]
struct SlotPtrs {
    a: *const C_tensor,
    b: *const C_tensor,
    input: *const C_tensor,
    start: i64,
    len: i64,
    scale: f64,
}

unsafe extern "C" {
    fn lora_native_error() -> *const c_char;
    #[allow(clippy::too_many_arguments)]
    fn lora_attention(
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        q_len: *const i64,
        k_len: *const i64,
        rows: i64,
        heads: i64,
        kv_heads: i64,
        causal: bool,
        mask: *const DropMask,
        grid: *const i64,
    ) -> *mut C_tensor;
    #[allow(clippy::too_many_arguments)]
    fn lora_disentangled(
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        pk: *const C_tensor,
        pq: *const C_tensor,
        at: *const i64,
        q_len: *const i64,
        k_len: *const i64,
        rows: i64,
        heads: i64,
        scale: f64,
        mask: *const DropMask,
        grid: *const i64,
    ) -> *mut C_tensor;
    fn lora_linears(
        x: *const C_tensor,
        layers: *const LayerPtrs,
        count: i64,
        slots: *const SlotPtrs,
        outputs: *mut *mut C_tensor,
    ) -> *const c_void;
    fn lora_dropout(x: *const C_tensor, mask: *const DropMask) -> *mut C_tensor;
    fn lora_add_norm(
        a: *const C_tensor,
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        eps: f64,
    ) -> *mut C_tensor;
    fn lora_adamw(params: *const ParamPtrs, count: i64, adam: *const AdamUpdate) -> *const c_void;
    #[allow(clippy::too_many_arguments)]
    fn lora_fused_adamw(
        params: *const ParamPtrs,
        count: i64,
        lr: f64,
        beta1: f64,
        beta2: f64,
        decay: f64,
        eps: f64,
        step: i64,
    ) -> *const c_void;
    fn lora_vocabulary_loss(
        h: *const C_tensor,
        w: *const C_tensor,
        targets: *const C_tensor,
        smoothing: f64,
        scale: f64,
    ) -> *mut C_tensor;
}

/// 0: not asked yet, 1: fused, 2: plain.
static WAY: AtomicU8 = AtomicU8::new(0);

/// Chooses between the autograd nodes of `native/` (the default) and the plain compositions of libtorch's operators, for
/// the whole process: to find out which of the two a difference comes from. The environment variable `LORA_FUSED=0`
/// chooses the latter at the start.
pub fn use_fused(fused: bool) {
    WAY.store(if fused { 1 } else { 2 }, Ordering::Relaxed);
}

/// Whether the nodes are used.
pub fn is_fused() -> bool {
    match WAY.load(Ordering::Relaxed) {
        0 => {
            use_fused(std::env::var_os("LORA_FUSED").is_none_or(|value| value != "0"));
            is_fused()
        }
        way => way == 1,
    }
}

/// Whether the nodes take `x`.
pub(crate) fn takes(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::BFloat16) && is_fused()
}

/// A dropout mask: element i is dropped if a hash of `seed` and `first` + i is below `threshold`. The same struct is in
/// `native/kernels.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct DropMask {
    pub(super) seed: u64,
    /// Of 65536; 0 for no dropout.
    pub(super) threshold: u32,
    /// The factor of the elements that stay.
    pub(super) kept: f32,
    /// The index of the first element, which may lie in a larger tensor.
    pub(super) first: u64,
}

impl DropMask {
    pub(super) const NONE: DropMask = DropMask {
        seed: 0,
        threshold: 0,
        kept: 1.0,
        first: 0,
    };
}

/// A low-rank branch of a [`Layer`].
pub(super) struct Slot<'a> {
    /// The first output that it adds to.
    pub(super) start: i64,
    /// The number of outputs.
    pub(super) len: i64,
    /// `[r, in]`.
    pub(super) a: &'a Tensor,
    /// `[len, r]`.
    pub(super) b: &'a Tensor,
    pub(super) scale: f64,
    /// `[T, in]`; the layer's input if none.
    pub(super) input: Option<Tensor>,
}

/// A linear layer for [`linears`].
pub(super) struct Layer<'a> {
    pub(super) weight: &'a Tensor,
    pub(super) bias: Option<&'a Tensor>,
    pub(super) slots: Vec<Slot<'a>>,
}

/// Layers on the same input `x` `[T, in]`, as one node.
pub(super) fn linears(x: &Tensor, layers: &[Layer]) -> Vec<Tensor> {
    let of = |t: Option<&Tensor>| t.map_or(std::ptr::null(), Tensor::as_ptr);
    let slots: Vec<SlotPtrs> = layers
        .iter()
        .flat_map(|layer| &layer.slots)
        .map(|slot| SlotPtrs {
            a: slot.a.as_ptr(),
            b: slot.b.as_ptr(),
            input: of(slot.input.as_ref()),
            start: slot.start,
            len: slot.len,
            scale: slot.scale,
        })
        .collect();
    let pointers: Vec<LayerPtrs> = layers
        .iter()
        .map(|layer| LayerPtrs {
            weight: layer.weight.as_ptr(),
            bias: of(layer.bias),
            slots: layer.slots.len() as i64,
        })
        .collect();
    let mut outputs = vec![std::ptr::null_mut(); layers.len()];
    // SAFETY: the pointers are of living tensors, and as many as announced; on success every output is a new tensor.
    let done = unsafe {
        lora_linears(
            x.as_ptr(),
            pointers.as_ptr(),
            layers.len() as i64,
            slots.as_ptr(),
            outputs.as_mut_ptr(),
        )
    };
    if done.is_null() {
        fail();
    }
    outputs.into_iter().map(tensor).collect()
}

/// The rows of [`attention`].
pub(super) struct Rows<'a> {
    /// Queries of each row.
    pub(super) q_len: &'a [i64],
    /// Keys of each row.
    pub(super) k_len: &'a [i64],
    pub(super) heads: i64,
    pub(super) kv_heads: i64,
    pub(super) causal: bool,
    /// On the probabilities; the index is that of the padded grid `[B, H, grid[0], grid[1]]`.
    pub(super) mask: DropMask,
    /// The most queries and keys that a row may have.
    pub(super) grid: [i64; 2],
}

/// Attention of `q` `[Tq, heads · w]` to `k` and `v` `[Tk, kv_heads · w]` within rows: `[Tq, heads · w]`.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, rows: &Rows) -> Tensor {
    let Rows { q_len, k_len, mask, .. } = rows;
    // SAFETY: living tensors, and two lists of the length that is passed.
    tensor(unsafe {
        lora_attention(
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            q_len.as_ptr(),
            k_len.as_ptr(),
            q_len.len().min(k_len.len()) as i64,
            rows.heads,
            rows.kv_heads,
            rows.causal,
            mask,
            rows.grid.as_ptr(),
        )
    })
}

/// DeBERTa's terms of positions for [`disentangled`].
pub(crate) struct Relative<'a> {
    /// Position embeddings projected to keys, `[W, d]`.
    pub(crate) keys: Option<&'a Tensor>,
    /// Likewise to queries.
    pub(crate) queries: Option<&'a Tensor>,
    /// The row of these for the distances (query - key) from 1 - L to L - 1, not decreasing.
    pub(crate) at: &'a [i64],
    /// The factor of all terms.
    pub(crate) scale: f64,
}

/// DeBERTa's attention of `q` `[Tq, d]` to `k` and `v` `[Tk, d]` within rows (none causal, one key head a query head).
pub(super) fn disentangled(q: &Tensor, k: &Tensor, v: &Tensor, rows: &Rows, relative: &Relative) -> Tensor {
    let Rows { q_len, k_len, mask, .. } = rows;
    let longest = k_len.iter().copied().max().unwrap_or(0);
    assert_eq!(relative.at.len() as i64, 2 * longest - 1, "a row for every distance");
    let of = |t: Option<&Tensor>| t.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: living tensors, and lists of the lengths that are passed or checked above.
    tensor(unsafe {
        lora_disentangled(
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            of(relative.keys),
            of(relative.queries),
            relative.at.as_ptr(),
            q_len.as_ptr(),
            k_len.as_ptr(),
            q_len.len().min(k_len.len()) as i64,
            rows.heads,
            relative.scale,
            mask,
            rows.grid.as_ptr(),
        )
    })
}

/// `x` times the mask.
pub(super) fn drop(x: &Tensor, mask: DropMask) -> Tensor {
    // SAFETY: a living tensor.
    tensor(unsafe { lora_dropout(x.as_ptr(), &mask) })
}

/// LN(a + x) for `a` and `x` `[T, d]` and the LayerNorm with `weight` and `bias` `[d]`.
pub(super) fn add_norm(a: &Tensor, x: &Tensor, [weight, bias]: [&Tensor; 2], eps: f64) -> Tensor {
    // SAFETY: living tensors.
    tensor(unsafe { lora_add_norm(a.as_ptr(), x.as_ptr(), weight.as_ptr(), bias.as_ptr(), eps) })
}

/// `scale` times the summed cross-entropy of the rows of h Wᵀ, for `h` `[S, d]`, `w` `[vocab, d]` and `targets` `[S]`: a
/// scalar in fp32. The logits exist for some rows at a time only.
pub(crate) fn vocabulary_loss(h: &Tensor, w: &Tensor, targets: &Tensor, smoothing: f64, scale: f64) -> Tensor {
    // SAFETY: living tensors.
    tensor(unsafe { lora_vocabulary_loss(h.as_ptr(), w.as_ptr(), targets.as_ptr(), smoothing, scale) })
}

#[repr(C)]
struct ParamPtrs {
    param: *const C_tensor,
    gradient: *const C_tensor,
    mean: *const C_tensor,
    square: *const C_tensor,
    decays: bool,
}

/// A variable, its gradient and its two moments, for the optimiser.
pub(crate) struct Updated<'a> {
    pub(crate) param: &'a Tensor,
    pub(crate) gradient: Tensor,
    pub(crate) mean: &'a Tensor,
    pub(crate) square: &'a Tensor,
    pub(crate) decays: bool,
}

/// p = after · (before · p + rate · m / (sqrt(v) / root + eps)) with m += fresh1 · (g - m) and v = beta2 · v + fresh2 · g².
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamUpdate {
    pub(crate) fresh1: f32,
    pub(crate) beta2: f32,
    pub(crate) fresh2: f32,
    pub(crate) rate: f32,
    pub(crate) root: f32,
    pub(crate) eps: f32,
    /// Where a variable decays.
    pub(crate) before: f32,
    /// Likewise.
    pub(crate) after: f32,
}

fn pointers(updated: &[Updated]) -> Vec<ParamPtrs> {
    let of = |u: &Updated| ParamPtrs {
        param: u.param.as_ptr(),
        gradient: u.gradient.as_ptr(),
        mean: u.mean.as_ptr(),
        square: u.square.as_ptr(),
        decays: u.decays,
    };
    updated.iter().map(of).collect()
}

/// Updates variables on the CPU and sets their gradients to 0.
pub(crate) fn adamw(updated: &[Updated], adam: AdamUpdate) {
    let params = pointers(updated);
    // SAFETY: living tensors, as many as announced.
    if unsafe { lora_adamw(params.as_ptr(), params.len() as i64, &adam) }.is_null() {
        fail();
    }
}

/// PyTorch's form of AdamW by libtorch's fused kernel, for update number `step`; gradients become 0.
pub(crate) fn fused_adamw(updated: &[Updated], lr: f64, betas: (f64, f64), decay: f64, eps: f64, step: u64) {
    let params = pointers(updated);
    // SAFETY: living tensors, as many as announced.
    let done = unsafe {
        lora_fused_adamw(
            params.as_ptr(),
            params.len() as i64,
            lr,
            betas.0,
            betas.1,
            decay,
            eps,
            step as i64,
        )
    };
    if done.is_null() {
        fail();
    }
}

/// A new tensor from `native/`.
pub(super) fn tensor(pointer: *mut C_tensor) -> Tensor {
    if pointer.is_null() {
        fail();
    }
    // SAFETY: not null, so it is a new tensor that nothing else owns.
    unsafe { Tensor::from_ptr(pointer) }
}

/// Panics with libtorch's message, as tch's operators do; [`crate::device::guarded`] makes it an error.
#[allow(clippy::panic)]
pub(super) fn fail() -> ! {
    // SAFETY: the text lives until this thread's next failure.
    let text = unsafe { CStr::from_ptr(lora_native_error()) };
    panic!("{}", text.to_string_lossy())
}
