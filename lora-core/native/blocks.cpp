// Products in blocks, by the kernels of oneDNN that libtorch hands out. On processors of other makers than Intel, MKL runs its AVX2
// kernels; where such a processor has AVX-512, these are faster: on Zen 4 with two threads 220 against 180 to 200 GFLOP/s for 930
// rows and weights of 768 x 768 and 768 x 3072.
#include <ATen/ops/empty.h>

#include <cstring>
#include <vector>

#include "native.h"
#ifdef LORA_X86
#include <ATen/native/CPUBlas.h>
#endif

namespace lora {

at::Tensor transposed(const at::Tensor& a) {
  const int64_t rows = a.size(0), cols = a.size(1), step = 128;
  at::Tensor to = at::empty({cols, rows}, a.options());
  const float* from = a.const_data_ptr<float>();
  float* out = to.mutable_data_ptr<float>();
  each((cols + step - 1) / step, [&](int64_t part) {
    const int64_t first = part * step, count = std::min(step, cols - first);
    kernels().transpose(from + first, a.stride(0), out + first * rows, rows, rows, count);
  });
  return to;
}

#ifdef LORA_X86
namespace {

// Columns of b that are packed together, and their greatest depth: 192 KiB, in the second-level cache of one core.
constexpr int64_t kColumns = 64, kDepth = 768;
constexpr int64_t kRows = 96;

bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}

// Rows of the next block. The kernel of each height is made when it is first met: few heights make few kernels.
int64_t height(int64_t rest) {
  for (const int64_t rows : {kRows, int64_t{64}, int64_t{32}, int64_t{16}, int64_t{8}})
    if (rest >= rows) return rows;
  return rest;
}

struct Factors {
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  bool tb;
  int64_t m, n, k;

  // Columns `column` to `column + width` of op(b), rows `from` to `from + depth`, as [depth, kColumns].
  void pack(int64_t column, int64_t width, int64_t from, int64_t depth, float* to) const {
    if (tb) return kernels().transpose(b + column * ldb + from, ldb, to, kColumns, width, depth);
    for (int64_t l = 0; l < depth; l++)
      std::memcpy(to + l * kColumns, b + (from + l) * ldb + column, static_cast<size_t>(width) * sizeof(float));
  }

  // The part of c of a panel of columns and of the rows from `begin` to `end`.
  void part(int64_t column, int64_t begin, int64_t end, bool accumulate, float* c, int64_t ldc) const {
    thread_local std::vector<float> room(kColumns * (kDepth + 16));
    const int64_t width = std::min(kColumns, n - column), parts = (k + kDepth - 1) / kDepth;
    const int64_t step = ((k + parts - 1) / parts + 15) / 16 * 16;
    for (int64_t from = 0; from < k; from += step) {
      const int64_t depth = std::min(step, k - from);
      pack(column, width, from, depth, room.data());
      for (int64_t row = begin, rows = 0; row < end; row += rows) {
        rows = height(end - row);
        at::native::cpublas::brgemm(rows, width, depth, lda, kColumns, ldc, accumulate || from > 0, a + row * lda + from,
                                    room.data(), c + row * ldc + column, false);
      }
    }
  }
};

}  // namespace

bool blocks_pay(int64_t m, int64_t n, int64_t k) {
  static const bool faster = has_avx512() && !__builtin_cpu_is("intel");
  return faster && m >= 32 && n > 64 && k >= 32;
}

void blocked_product(const at::Tensor& out, bool accumulate, const at::Tensor& a, const at::Tensor& b, bool tb) {
  const Factors factors{a.const_data_ptr<float>(), a.stride(0), b.const_data_ptr<float>(), b.stride(0), tb,
                        out.size(0), out.size(1), a.size(1)};
  float* c = out.mutable_data_ptr<float>();
  // Panels of columns are divided between the threads; where there are few, rows are divided too, at multiples of a block, so
  // that the number of threads changes no number.
  const int64_t panels = (factors.n + kColumns - 1) / kColumns, blocks = (factors.m + kRows - 1) / kRows;
  const int64_t threads = at::get_num_threads(), wanted = (2 * threads + panels - 1) / panels;
  const int64_t shares = std::min(wanted, blocks), step = (blocks + shares - 1) / shares * kRows;
  at::parallel_for(0, panels * shares, 1, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; item++) {
      const int64_t begin = item % shares * step, end = std::min(factors.m, begin + step);
      if (begin < end) factors.part(item / shares * kColumns, begin, end, accumulate, c, out.stride(0));
    }
  });
}
#else
bool blocks_pay(int64_t, int64_t, int64_t) { return false; }
void blocked_product(const at::Tensor&, bool, const at::Tensor&, const at::Tensor&, bool) {}
#endif

}  // namespace lora

// out (+)= a op(b) in blocks, whatever would be faster: for tests. Null without a message if this processor cannot.
extern "C" const at::Tensor* lora_blocked_product(at::Tensor* out, bool accumulate, const at::Tensor* a, const at::Tensor* b,
                                                  bool tb) {
#ifdef LORA_X86
  if (!lora::has_avx512()) return nullptr;
  return lora::guarded([&]() -> const at::Tensor* {
    lora::blocked_product(*out, accumulate, *a, *b, tb);
    return out;
  });
#else
  return nullptr;
#endif
}
