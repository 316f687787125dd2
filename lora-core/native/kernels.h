// Loops over plain memory. kernels.cpp is compiled once for each instruction set; `kernels()` returns the best that this
// processor runs. Nothing here knows of libtorch.
#pragma once
#include <cstdint>

namespace lora {

// Dropout by counter: element `index` of a tensor is dropped if a hash of `seed` and `index` falls below `threshold`
// of 2^16. The backward pass asks again instead of storing a mask. Rust's `nn::dropout` has the same rule, and the same
// struct.
struct Mask {
  uint64_t seed = 0;
  uint32_t threshold = 0;  // 0: nothing is dropped
  float kept = 1;          // the factor of elements that stay
  uint64_t first = 0;      // the index of the first element, which may lie in a larger tensor
};

// An update of AdamW: p = after (before p + rate m / (sqrt(v) / root + eps)) with m += fresh1 (g - m) and
// v = beta2 v + fresh2 g².
struct Adam {
  float fresh1, beta2, fresh2, rate, root, eps, before, after;
};

// Tokens that the beams of a prompt have generated, at one key head: the keys or values of step t and beam s are `width`
// numbers (bf16 if `half`, otherwise fp32) from `t * step + s * beam` on. At step t, beam b goes through beam
// `table[b * table_step + t]`.
struct Own {
  const void* keys;
  const void* values;
  bool half;
  int64_t width, step, beam;
  const int32_t* table;
  int64_t table_step, beams, group, count;
};

struct Kernels {
  // Softmax of the rows of `s` [rows, cols], row stride `ld`, in place. Row i reads the first `limit + i` columns if
  // `limit` > 0, otherwise all; the others become 0. `lse[i * lse_step]` receives log sum exp.
  void (*softmax)(float* s, int64_t rows, int64_t cols, int64_t ld, int64_t limit, float* lse, int64_t lse_step);
  // exp(s - lse) in place, with the same columns.
  void (*probabilities)(float* s, int64_t rows, int64_t cols, int64_t ld, int64_t limit, const float* lse,
                        int64_t lse_step);
  // x times the mask, whose element of row i and column j has the index `first + start + i * width + j`.
  void (*drop)(float* x, int64_t rows, int64_t cols, int64_t ld, Mask mask, uint64_t start, uint64_t width);
  // The gradient of scores in place: d = p (d - delta) scale.
  void (*score_gradient)(const float* p, float* d, int64_t rows, int64_t cols, int64_t ld, const float* delta,
                         int64_t delta_step, float scale);
  // Sum of a b over `n` elements.
  float (*dot)(const float* a, const float* b, int64_t n);
  // to [cols, rows] = the transpose of from [rows, cols], with these row strides.
  void (*transpose)(const float* from, int64_t ld, float* to, int64_t ld_to, int64_t rows, int64_t cols);
  // Conversions; bf16 as its bits, rounded to nearest even.
  void (*widen)(const uint16_t* from, float* to, int64_t n);
  void (*narrow)(const float* from, uint16_t* to, int64_t n);
  // y = x times the mask from index `first + start` on.
  void (*dropped)(const float* x, float* y, int64_t n, Mask mask, uint64_t start);
  // One row of LN(a + x): `sum` receives a + x, `y` the result, `mean` and `rstd` (1 / deviation) the statistics.
  void (*add_norm)(const float* a, const float* x, const float* weight, const float* bias, float* sum, float* y,
                   int64_t n, float eps, float* mean, float* rstd);
  // Its gradient: `dsum` receives that of the sum; `dweight` and `dbias`, if not null, are added to.
  void (*norm_gradient)(const float* dy, const float* sum, const float* weight, float* dsum, int64_t n, float mean,
                        float rstd, float* dweight, float* dbias);
  // One row of softmax cross-entropy over `n` logits with the target's share 1 - smoothing and smoothing / n for all:
  // returns the loss and replaces the logits by their gradient times `scale` (not if scale is 0).
  float (*cross_entropy)(float* logits, int64_t n, int64_t target, float smoothing, float scale);
  // One row of DeBERTa's scores: s[j] = scale (s[j] + cp[c] + pc[j * reach + c]) with c = at[-j] - first; cp, pc may be null.
  void (*relative)(float* s, int64_t keys, const int32_t* at, int32_t first, const float* cp, const float* pc,
                   int64_t reach, float scale);
  // An update of `n` parameters; the gradient becomes 0.
  void (*adamw)(float* p, float* g, float* m, float* v, int64_t n, const Adam& a);
  // The products of `q` [beams * group, width] with the keys: `scores` [beams * group, count], row stride `ld`.
  void (*own_scores)(const Own& own, const float* q, float* scores, int64_t ld);
  // out [beams * group, width] += p times the values, for `p` [beams * group, count], row stride `ld`.
  void (*own_values)(const Own& own, const float* p, int64_t ld, float* out);
  // The highest of each `block` values of `x`, and of all; NaN is passed over.
  float (*block_maxima)(const float* x, int64_t n, int64_t block, float* maxima);
  // Sum of exp(x - shift).
  double (*exp_sum)(const float* x, int64_t n, float shift);
};

const Kernels& kernels();

}  // namespace lora
