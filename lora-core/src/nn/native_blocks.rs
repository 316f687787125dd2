//! The products of `native/blocks.cpp` against libtorch's own, whichever of the two this processor would take.

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn lora_blocked_product(
        out: *mut C_tensor,
        accumulate: bool,
        a: *const C_tensor,
        b: *const C_tensor,
        tb: bool,
    ) -> *const C_tensor;
}

#[test]
fn products_in_blocks_are_libtorchs() {
    tch::manual_seed(3);
    let random = |sizes: [i64; 2]| Tensor::randn(sizes, (Kind::Float, tch::Device::Cpu));
    // Heights of every kind of block, several depths, last panels that are narrow and odd.
    for (m, n, k) in [
        (1, 1, 1),
        (7, 65, 17),
        (96, 64, 768),
        (231, 200, 769),
        (103, 130, 1600),
        (40, 1000, 33),
    ] {
        let (a, b) = (random([m, k]), random([n, k]));
        // Rows with a stride of their own.
        let wide = random([m, n + 5]);
        let (reference, before) = (
            a.to_kind(Kind::Double).matmul(&b.tr().to_kind(Kind::Double)),
            wide.copy(),
        );
        for (second, tb) in [(&b, true), (&b.tr().contiguous(), false)] {
            for accumulate in [false, true] {
                let all = before.copy();
                let mut out = all.narrow(1, 0, n);
                let done = {
                    // SAFETY: living tensors in fp32 whose rows are contiguous, of sizes that fit.
                    unsafe { lora_blocked_product(out.as_mut_ptr(), accumulate, a.as_ptr(), second.as_ptr(), tb) }
                };
                if done.is_null() {
                    // Null is a failure too.
                    #[cfg(target_arch = "x86_64")]
                    assert!(!std::arch::is_x86_feature_detected!("avx512dq"), "the product failed");
                    testing::skipped("this processor has no AVX-512");
                    return;
                }
                let wanted = match accumulate {
                    true => &reference + before.narrow(1, 0, n).to_kind(Kind::Double),
                    false => reference.shallow_clone(),
                };
                let most = (out.to_kind(Kind::Double) - &wanted).abs().max().double_value(&[]);
                let scale = (k as f64).sqrt();
                assert!(
                    most < 1e-5 * scale,
                    "{m} x {n} x {k}, transposed {tb}, accumulated {accumulate}: {most}"
                );
                assert_eq!(
                    all.narrow(1, n, 5),
                    before.narrow(1, n, 5),
                    "what lies beside the product"
                );
            }
        }
    }
}
