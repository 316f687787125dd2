#include "native.h"

#include <ATen/ops/empty.h>
#ifdef LORA_X86
#include <cpuid.h>
#endif

// MKL's or OpenBLAS's, inside libtorch; weak, since a libtorch may keep it to itself.
extern "C" __attribute__((weak)) void sgemm_(const char* ta, const char* tb, const int* m, const int* n, const int* k,
                                             const float* alpha, const float* a, const int* lda, const float* b,
                                             const int* ldb, const float* beta, float* c, const int* ldc);

namespace lora {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

void product(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
             const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  if (sgemm_) {
    // Column-major BLAS sees the transposes: cᵀ = op(b)ᵀ op(a)ᵀ.
    const int columns = static_cast<int>(n), rows = static_cast<int>(m), inner = static_cast<int>(k);
    const int sa = static_cast<int>(lda), sb = static_cast<int>(ldb), sc = static_cast<int>(ldc);
    sgemm_(tb ? "T" : "N", ta ? "T" : "N", &columns, &rows, &inner, &alpha, b, &sb, a, &sa, &beta, c, &sc);
    return;
  }
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      float sum = 0;
      for (int64_t l = 0; l < k; l++) sum += (ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
      c[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
    }
  }
}

namespace {

// A product with few columns in one part a thread, which BLAS does not divide well.
void divided(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda, const float* b,
             int64_t ldb, float beta, float* c, int64_t ldc) {
  const int64_t parts = at::get_num_threads(), step = ((m + parts - 1) / parts + 15) / 16 * 16;
  if (parts == 1 || n > 64 || m < 64) return product(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; part++) {
      const int64_t from = part * step, count = std::min(step, m - from);
      if (count > 0)
        product(ta, tb, count, n, k, alpha, ta ? a + from : a + from * lda, lda, b, ldb, beta, c + from * ldc, ldc);
    }
  });
}

}  // namespace

void product(at::Tensor& out, bool accumulate, float alpha, const at::Tensor& a, bool ta, const at::Tensor& b, bool tb) {
  const int64_t m = out.size(0), n = out.size(1), k = ta ? a.size(0) : a.size(1);
  TORCH_CHECK((ta ? a.size(1) : a.size(0)) == m && (tb ? b.size(1) : b.size(0)) == k && (tb ? b.size(0) : b.size(1)) == n,
              "matrices of ", a.sizes(), " and ", b.sizes(), " do not make one of ", out.sizes());
  TORCH_CHECK(out.stride(1) == 1 && a.stride(1) == 1 && b.stride(1) == 1, "rows must be contiguous");
  if (m == 0 || n == 0) return;
  const Timed timed(Operation::Product, "product", 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
  if (alpha == 1 && blocks_pay(m, n, k)) return blocked_product(out, accumulate, ta ? transposed(a) : a, b, tb);
  divided(ta, tb, m, n, k, alpha, a.const_data_ptr<float>(), a.stride(0), b.const_data_ptr<float>(), b.stride(0),
          accumulate ? 1.0f : 0.0f, out.mutable_data_ptr<float>(), out.stride(0));
}

namespace {

// Measured with libtorch 2.11: Intel's AVX-512 multiplies bf16 at half of fp32's rate unless it has AMX, a processor
// without bf16 instructions slower still, and AMD's Zen 4 twice as fast.
bool slow_bf16() {
#ifdef LORA_X86
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return false;
  const bool intel = b == 0x756e6547u;  // "Genu"
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return true;
  if ((d >> 22) & 1u) return false;  // AMX-BF16
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return true;
  const bool bf16 = (a >> 5) & 1u;  // AVX512_BF16
  return intel || !bf16;
#else
  return false;
#endif
}

}  // namespace

bool widens(const at::Tensor& x) {
  static const bool slow = slow_bf16();
  return x.scalar_type() == at::kBFloat16 && slow;
}

at::Tensor scratch(int slot, int64_t rows, int64_t cols) {
  thread_local std::array<at::Tensor, 4> rooms;
  at::Tensor& room = rooms[slot];
  if (!room.defined() || room.numel() < rows * cols) room = at::empty({rows * cols}, at::kFloat);
  return room.narrow(0, 0, rows * cols).view({rows, cols});
}

at::Tensor widened(const at::Tensor& t, int slot) {
  if (t.scalar_type() == at::kFloat) return t;
  at::Tensor copy = scratch(slot, t.size(0), t.size(1));
  copy.copy_(t);
  return copy;
}

}  // namespace lora

extern "C" const char* lora_native_error() { return lora::last_error().c_str(); }
