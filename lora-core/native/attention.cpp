// Scaled dot-product attention over packed rows: nothing is padded and no score is stored. The forward pass keeps the
// logarithm of each softmax's sum, from which the backward pass computes the probabilities again (as in
// FlashAttention, Dao et al., 2022). All sums are in fp32, for bf16 too.
#include <torch/csrc/autograd/custom_function.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include "attention.h"

namespace lora {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t columns(const Shape& s, int64_t keys, int64_t from, int64_t count) {
  return s.causal ? std::min(keys, from + count) : keys;
}

void forward_head(const Shape& s, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& out,
                  float* lse, int64_t row, int64_t kv_head) {
  Room& r = room();
  const int64_t w = s.width, queries = s.q_len[row], keys = s.k_len[row];
  const float scale = 1.0f / std::sqrt(static_cast<float>(w));
  const Slice key(k, s.k_at[row], keys, kv_head, w, r.k), value(v, s.k_at[row], keys, kv_head, w, r.v);
  r.scores.resize(static_cast<size_t>(std::min(kBlock, queries) * keys));
  float* scores = r.scores.data();
  for (int64_t g = 0; g < s.group(); g++) {
    const int64_t head = kv_head * s.group() + g;
    const Slice query(q, s.q_at[row], queries, head, w, r.q);
    const Target target(out, s.q_at[row], queries, head, w, r.out);
    for (int64_t from = 0; from < queries; from += kBlock) {
      const int64_t n = std::min(kBlock, queries - from), m = columns(s, keys, from, n);
      product(false, true, n, m, w, scale, query.at(from), query.stride(), key.at(0), key.stride(), 0, scores, m);
      kernels().softmax(scores, n, m, m, s.limit(from), lse + (s.q_at[row] + from) * s.heads + head, s.heads);
      if (s.mask.threshold)
        kernels().drop(scores, n, m, m, s.mask, s.index(row, head, from), static_cast<uint64_t>(s.k_grid));
      product(false, false, n, w, m, 1, scores, m, value.at(0), value.stride(), 0, target.at(from), target.stride());
    }
    target.flush();
  }
}

struct Gradients {
  at::Tensor q, k, v;
};

void backward_head(const Shape& s, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& out, const at::Tensor& dout, const float* lse, Gradients& d, int64_t row,
                   int64_t kv_head) {
  Room& r = room();
  const int64_t w = s.width, queries = s.q_len[row], keys = s.k_len[row];
  const float scale = 1.0f / std::sqrt(static_cast<float>(w));
  const Slice key(k, s.k_at[row], keys, kv_head, w, r.k), value(v, s.k_at[row], keys, kv_head, w, r.v);
  const Target dkey(d.k, s.k_at[row], keys, kv_head, w, r.dk), dvalue(d.v, s.k_at[row], keys, kv_head, w, r.dv);
  const size_t block = static_cast<size_t>(std::min(kBlock, queries) * keys);
  r.scores.resize(block);
  r.other.resize(block);
  r.delta.resize(static_cast<size_t>(std::min(kBlock, queries)));
  float *p = r.scores.data(), *dp = r.other.data();
  // A block of causal queries leaves later keys untouched.
  for (int64_t i = 0; i < keys; i++) {
    std::fill_n(dkey.at(i), w, 0.0f);
    std::fill_n(dvalue.at(i), w, 0.0f);
  }
  for (int64_t g = 0; g < s.group(); g++) {
    const int64_t head = kv_head * s.group() + g;
    const Slice query(q, s.q_at[row], queries, head, w, r.q);
    const Slice output(out, s.q_at[row], queries, head, w, r.out), above(dout, s.q_at[row], queries, head, w, r.grad);
    const Target dquery(d.q, s.q_at[row], queries, head, w, r.dq);
    for (int64_t from = 0; from < queries; from += kBlock) {
      const int64_t n = std::min(kBlock, queries - from), m = columns(s, keys, from, n);
      const uint64_t index = s.index(row, head, from), width = static_cast<uint64_t>(s.k_grid);
      for (int64_t i = 0; i < n; i++) r.delta[i] = kernels().dot(output.at(from + i), above.at(from + i), w);
      product(false, true, n, m, w, scale, query.at(from), query.stride(), key.at(0), key.stride(), 0, p, m);
      kernels().probabilities(p, n, m, m, s.limit(from), lse + (s.q_at[row] + from) * s.heads + head, s.heads);
      product(false, true, n, m, w, 1, above.at(from), above.stride(), value.at(0), value.stride(), 0, dp, m);
      if (s.mask.threshold) kernels().drop(dp, n, m, m, s.mask, index, width);
      kernels().score_gradient(p, dp, n, m, m, r.delta.data(), 1, scale);
      if (s.mask.threshold) kernels().drop(p, n, m, m, s.mask, index, width);
      product(true, false, m, w, n, 1, p, m, above.at(from), above.stride(), 1, dvalue.at(0), dvalue.stride());
      product(true, false, m, w, n, 1, dp, m, query.at(from), query.stride(), 1, dkey.at(0), dkey.stride());
      product(false, false, n, w, m, 1, dp, m, key.at(0), key.stride(), 0, dquery.at(from), dquery.stride());
    }
    dquery.flush();
  }
  dkey.flush();
  dvalue.flush();
}

at::Tensor attend(const Shape& s, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& lse) {
  at::Tensor out = at::empty({q.size(0), q.size(1)}, q.options());
  lse = at::empty({q.size(0), s.heads}, q.options().dtype(at::kFloat));
  float* sums = lse.mutable_data_ptr<float>();
  each(s.rows() * s.kv_heads, [&](int64_t item) {
    forward_head(s, q, k, v, out, sums, item / s.kv_heads, item % s.kv_heads);
  });
  return out;
}

class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q0, const at::Tensor& k0, const at::Tensor& v0,
                            std::shared_ptr<Shape> shape) {
    const Timed timed(Operation::Attention, "attention");
    const at::Tensor q = rowwise(q0), k = rowwise(k0), v = rowwise(v0);
    at::Tensor lse;
    const at::Tensor out = attend(*shape, q, k, v, lse);
    ctx->save_for_backward({q, k, v, out, lse});
    ctx->saved_data["shape"] = hold(std::move(shape));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list above) {
    const Timed timed(Operation::Attention, "attention, backward");
    const auto saved = ctx->get_saved_variables();
    const Shape& s = held<Shape>(ctx->saved_data["shape"]);
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3];
    const at::Tensor dout = rowwise(above[0]);
    const float* lse = saved[4].const_data_ptr<float>();
    auto like = [](const at::Tensor& t) { return at::empty({t.size(0), t.size(1)}, t.options()); };
    Gradients d{like(q), like(k), like(v)};
    each(s.rows() * s.kv_heads, [&](int64_t item) {
      backward_head(s, q, k, v, out, dout, lse, d, item / s.kv_heads, item % s.kv_heads);
    });
    return {d.q, d.k, d.v, at::Tensor()};
  }

};

}  // namespace
}  // namespace lora

// `q` [Tq, heads * w], `k` and `v` [Tk, kv_heads * w], fp32 or bf16 on the CPU; row i has `q_len[i]` and `k_len[i]` tokens, at
// most `grid[0]` and `grid[1]`.
extern "C" at::Tensor* lora_attention(const at::Tensor* q, const at::Tensor* k, const at::Tensor* v,
                                      const int64_t* q_len, const int64_t* k_len, int64_t rows, int64_t heads,
                                      int64_t kv_heads, bool causal, const lora::Mask* mask, const int64_t* grid) {
  return lora::guarded([&] {
    auto s = std::make_shared<lora::Shape>();
    lora::set_rows(*s, *q, *k, *v, q_len, k_len, rows, mask, grid);
    s->heads = heads;
    s->kv_heads = kv_heads;
    s->width = q->size(1) / heads;
    s->causal = causal;
    if (lora::records({*q, *k, *v})) return lora::handed(lora::PackedAttention::apply(*q, *k, *v, std::move(s)));
    at::Tensor lse;
    return lora::handed(lora::attend(*s, lora::rowwise(*q), lora::rowwise(*k), lora::rowwise(*v), lse));
  });
}
