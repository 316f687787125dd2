// DeBERTa's attention (He et al., 2021) over packed rows. The score of a query i and a key j is
//   scale (q_i k_j + q_i PK[c] + k_j PQ[c]),  c = at[i - j],
// with the projected position embeddings PK and PQ, either of which may be missing. As in attention.cpp, no score is stored.
#include <torch/csrc/autograd/custom_function.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "attention.h"

namespace lora {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Relative : Shape {
  std::vector<int32_t> at;  // for the distances 1 - width .. width - 1 of the longest row
  float scale = 1;

  int32_t of(int64_t distance) const { return at[static_cast<size_t>(distance + k_width - 1)]; }
};

struct Tensors {
  at::Tensor q, k, v, pk, pq;  // pk, pq [W, heads * w]: undefined where missing
};

// One head of one row: its slices, and the part of PK and PQ that the row's distances reach.
struct Head {
  const Relative& s;
  int64_t row, head, queries, keys, width, first, reach;
  Slice query, key, value;
  std::vector<float> room_pk, room_pq;
  const float *pk = nullptr, *pq = nullptr;
  int64_t pk_stride = 0, pq_stride = 0;

  Head(const Relative& s, const Tensors& t, Room& r, int64_t row, int64_t head)
      : s(s),
        row(row),
        head(head),
        queries(s.q_len[row]),
        keys(s.k_len[row]),
        width(s.width),
        first(s.of(1 - keys)),
        reach(s.of(keys - 1) - first + 1),
        query(t.q, s.q_at[row], queries, head, width, r.q),
        key(t.k, s.k_at[row], keys, head, width, r.k),
        value(t.v, s.k_at[row], keys, head, width, r.v) {
    if (t.pk.defined()) {
      const Slice all(t.pk, first, reach, head, width, room_pk);
      pk = all.at(0), pk_stride = all.stride();
    }
    if (t.pq.defined()) {
      const Slice all(t.pq, first, reach, head, width, room_pq);
      pq = all.at(0), pq_stride = all.stride();
    }
  }

  // k PQᵀ [keys, reach].
  void keys_to_positions(std::vector<float>& out) const {
    if (!pq) return;
    out.resize(static_cast<size_t>(keys * reach));
    product(false, true, keys, reach, width, 1, key.at(0), key.stride(), pq, pq_stride, 0, out.data(), reach);
  }

  // The scores [n, keys] of the queries from `from` on; `cp` is memory for [n, reach].
  void scores(int64_t from, int64_t n, const std::vector<float>& pc, std::vector<float>& cp, float* out) const {
    product(false, true, n, keys, width, 1, query.at(from), query.stride(), key.at(0), key.stride(), 0, out, keys);
    if (pk) {
      cp.resize(static_cast<size_t>(n * reach));
      product(false, true, n, reach, width, 1, query.at(from), query.stride(), pk, pk_stride, 0, cp.data(), reach);
    }
    for (int64_t i = 0; i < n; i++) {
      const int32_t* at = s.at.data() + (from + i + s.k_width - 1);
      kernels().relative(out + i * keys, keys, at, static_cast<int32_t>(first), pk ? cp.data() + i * reach : nullptr,
                         pq ? pc.data() : nullptr, reach, s.scale);
    }
  }
};

void forward_head(const Relative& s, const Tensors& t, at::Tensor& out, float* lse, int64_t row, int64_t head) {
  Room& r = room();
  thread_local std::vector<float> pc, cp;
  const Head h(s, t, r, row, head);
  const Target target(out, s.q_at[row], h.queries, head, s.width, r.out);
  h.keys_to_positions(pc);
  r.scores.resize(static_cast<size_t>(std::min(kBlock, h.queries) * h.keys));
  float* scores = r.scores.data();
  for (int64_t from = 0; from < h.queries; from += kBlock) {
    const int64_t n = std::min(kBlock, h.queries - from), m = h.keys;
    h.scores(from, n, pc, cp, scores);
    kernels().softmax(scores, n, m, m, 0, lse + (s.q_at[row] + from) * s.heads + head, s.heads);
    if (s.mask.threshold)
      kernels().drop(scores, n, m, m, s.mask, s.index(row, head, from), static_cast<uint64_t>(s.k_grid));
    product(false, false, n, s.width, m, 1, scores, m, h.value.at(0), h.value.stride(), 0, target.at(from),
            target.stride());
  }
  target.flush();
}

// The gradients of q, k, v, and in fp32 of PK and PQ where they are defined.
void backward_head(const Relative& s, const Tensors& t, const at::Tensor& out, const at::Tensor& dout, const float* lse,
                   Tensors& d, int64_t row, int64_t head) {
  Room& r = room();
  thread_local std::vector<float> pc, cp, dpc, dcp;
  const Head h(s, t, r, row, head);
  const int64_t w = s.width, m = h.keys;
  const Slice output(out, s.q_at[row], h.queries, head, w, r.out), above(dout, s.q_at[row], h.queries, head, w, r.grad);
  const Target dquery(d.q, s.q_at[row], h.queries, head, w, r.dq);
  const Target dkey(d.k, s.k_at[row], m, head, w, r.dk), dvalue(d.v, s.k_at[row], m, head, w, r.dv);
  const size_t block = static_cast<size_t>(std::min(kBlock, h.queries) * m);
  r.scores.resize(block);
  r.other.resize(block);
  r.delta.resize(static_cast<size_t>(std::min(kBlock, h.queries)));
  float *p = r.scores.data(), *dp = r.other.data();
  h.keys_to_positions(pc);
  if (h.pq) dpc.assign(static_cast<size_t>(m * h.reach), 0.0f);
  auto position = [&](at::Tensor& g) { return g.mutable_data_ptr<float>() + h.first * g.stride(0) + head * w; };
  for (int64_t from = 0; from < h.queries; from += kBlock) {
    const int64_t n = std::min(kBlock, h.queries - from);
    const float once = from == 0 ? 0.0f : 1.0f;
    const uint64_t index = s.index(row, head, from), width = static_cast<uint64_t>(s.k_grid);
    for (int64_t i = 0; i < n; i++) r.delta[i] = kernels().dot(output.at(from + i), above.at(from + i), w);
    h.scores(from, n, pc, cp, p);
    kernels().probabilities(p, n, m, m, 0, lse + (s.q_at[row] + from) * s.heads + head, s.heads);
    product(false, true, n, m, w, 1, above.at(from), above.stride(), h.value.at(0), h.value.stride(), 0, dp, m);
    if (s.mask.threshold) kernels().drop(dp, n, m, m, s.mask, index, width);
    kernels().score_gradient(p, dp, n, m, m, r.delta.data(), 1, s.scale);
    if (s.mask.threshold) kernels().drop(p, n, m, m, s.mask, index, width);
    product(true, false, m, w, n, 1, p, m, above.at(from), above.stride(), once, dvalue.at(0), dvalue.stride());
    product(true, false, m, w, n, 1, dp, m, h.query.at(from), h.query.stride(), once, dkey.at(0), dkey.stride());
    product(false, false, n, w, m, 1, dp, m, h.key.at(0), h.key.stride(), 0, dquery.at(from), dquery.stride());
    if (h.pk) dcp.assign(static_cast<size_t>(n * h.reach), 0.0f);
    for (int64_t i = 0; i < n; i++) {
      const int32_t* at = s.at.data() + (from + i + s.k_width - 1);
      for (int64_t j = 0; j < m; j++) {
        const int64_t c = at[-j] - h.first;
        if (h.pk) dcp[static_cast<size_t>(i * h.reach + c)] += dp[i * m + j];
        if (h.pq) dpc[static_cast<size_t>(j * h.reach + c)] += dp[i * m + j];
      }
    }
    if (!h.pk) continue;
    product(false, false, n, w, h.reach, 1, dcp.data(), h.reach, h.pk, h.pk_stride, 1, dquery.at(from), dquery.stride());
    if (d.pk.defined())
      product(true, false, h.reach, w, n, 1, dcp.data(), h.reach, h.query.at(from), h.query.stride(), 1, position(d.pk),
              d.pk.stride(0));
  }
  if (h.pq) {
    product(false, false, m, w, h.reach, 1, dpc.data(), h.reach, h.pq, h.pq_stride, 1, dkey.at(0), dkey.stride());
    if (d.pq.defined())
      product(true, false, h.reach, w, m, 1, dpc.data(), h.reach, h.key.at(0), h.key.stride(), 1, position(d.pq),
              d.pq.stride(0));
  }
  dquery.flush();
  dkey.flush();
  dvalue.flush();
}

at::Tensor attend(const Relative& s, const Tensors& t, at::Tensor& lse) {
  at::Tensor out = at::empty({t.q.size(0), t.q.size(1)}, t.q.options());
  lse = at::empty({t.q.size(0), s.heads}, t.q.options().dtype(at::kFloat));
  float* sums = lse.mutable_data_ptr<float>();
  each(s.rows() * s.heads, [&](int64_t item) { forward_head(s, t, out, sums, item / s.heads, item % s.heads); });
  return out;
}

class Disentangled : public torch::autograd::Function<Disentangled> {
 public:
  static at::Tensor forward(AutogradContext* ctx, at::TensorList given, std::shared_ptr<Relative> shape) {
    const Timed timed(Operation::Attention, "disentangled attention");
    const Tensors t{given[0], given[1], given[2], given[3], given[4]};
    at::Tensor lse;
    const at::Tensor out = attend(*shape, t, lse);
    ctx->save_for_backward({t.q, t.k, t.v, t.pk, t.pq, out, lse});
    ctx->saved_data["shape"] = hold(std::move(shape));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list above) {
    const Timed timed(Operation::Attention, "disentangled attention, backward");
    const auto saved = ctx->get_saved_variables();
    const Relative& s = held<Relative>(ctx->saved_data["shape"]);
    const Tensors t{saved[0], saved[1], saved[2], saved[3], saved[4]};
    const at::Tensor dout = rowwise(above[0]);
    auto like = [](const at::Tensor& of) { return at::empty({of.size(0), of.size(1)}, of.options()); };
    auto wide = [](const at::Tensor& of) { return at::zeros({of.size(0), of.size(1)}, of.options().dtype(at::kFloat)); };
    Tensors d{like(t.q), like(t.k), like(t.v), at::Tensor(), at::Tensor()};
    if (t.pk.defined() && ctx->needs_input_grad(3)) d.pk = wide(t.pk);
    if (t.pq.defined() && ctx->needs_input_grad(4)) d.pq = wide(t.pq);
    const float* lse = saved[6].const_data_ptr<float>();
    // A head's rows one after the other: they add to the same position gradients.
    each(s.heads, [&](int64_t head) {
      for (int64_t row = 0; row < s.rows(); row++) backward_head(s, t, saved[5], dout, lse, d, row, head);
    });
    auto narrowed = [](const at::Tensor& g, const at::Tensor& of) { return g.defined() ? g.to(of.scalar_type()) : g; };
    return {d.q, d.k, d.v, narrowed(d.pk, t.pk), narrowed(d.pq, t.pq), at::Tensor()};
  }
};

}  // namespace
}  // namespace lora

// `q` [Tq, heads * w], `k` and `v` [Tk, heads * w], `pk` and `pq` [W, heads * w] or null; `at` has the rows of the latter
// two for the distances from 1 - width to width - 1, not decreasing, where width is the longest `k_len`.
extern "C" at::Tensor* lora_disentangled(const at::Tensor* q, const at::Tensor* k, const at::Tensor* v,
                                         const at::Tensor* pk, const at::Tensor* pq, const int64_t* at,
                                         const int64_t* q_len, const int64_t* k_len, int64_t rows, int64_t heads,
                                         double scale, const lora::Mask* mask, const int64_t* grid) {
  return lora::guarded([&] {
    auto s = std::make_shared<lora::Relative>();
    lora::set_rows(*s, *q, *k, *v, q_len, k_len, rows, mask, grid);
    s->at.assign(at, at + 2 * s->k_width - 1);
    s->heads = s->kv_heads = heads;
    s->width = q->size(1) / heads;
    s->scale = static_cast<float>(scale);
    for (const at::Tensor* positions : {pk, pq})
      TORCH_CHECK(!positions || (s->at.front() >= 0 && s->at.back() < positions->size(0)),
                  "attention: a distance has no position embedding");
    auto given = [](const at::Tensor* t) { return t ? lora::rowwise(*t) : at::Tensor(); };
    const std::vector<at::Tensor> t{given(q), given(k), given(v), given(pk), given(pq)};
    if (lora::records(t)) return lora::handed(lora::Disentangled::apply(at::TensorList(t), std::move(s)));
    at::Tensor lse;
    return lora::handed(lora::attend(*s, lora::Tensors{t[0], t[1], t[2], t[3], t[4]}, lse));
  });
}
