// Dropout, residual add with LayerNorm, and softmax cross-entropy over a large vocabulary, each as one autograd node.
#include <torch/csrc/autograd/custom_function.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <vector>

#include "native.h"

namespace lora {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements that one thread takes at a time.
constexpr int64_t kGrain = 16384;

const uint16_t* halves(const at::Tensor& t) { return reinterpret_cast<const uint16_t*>(t.const_data_ptr<at::BFloat16>()); }
uint16_t* halves_of(at::Tensor& t) { return reinterpret_cast<uint16_t*>(t.mutable_data_ptr<at::BFloat16>()); }

// A row in fp32: its own memory, or widened into `room`.
const float* row(const at::Tensor& t, int64_t at, int64_t n, float* room) {
  if (t.scalar_type() == at::kFloat) return t.const_data_ptr<float>() + at;
  kernels().widen(halves(t) + at, room, n);
  return room;
}

at::Tensor dropped(const at::Tensor& x, const Mask& mask) {
  at::Tensor y = at::empty_like(x);
  const bool half = x.scalar_type() == at::kBFloat16;
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (!half)
      return kernels().dropped(x.const_data_ptr<float>() + begin, y.mutable_data_ptr<float>() + begin, end - begin, mask,
                               static_cast<uint64_t>(begin));
    std::vector<float> room(1024);
    for (int64_t at = begin; at < end; at += 1024) {
      const int64_t n = std::min<int64_t>(1024, end - at);
      kernels().widen(halves(x) + at, room.data(), n);
      kernels().dropped(room.data(), room.data(), n, mask, static_cast<uint64_t>(at));
      kernels().narrow(room.data(), halves_of(y) + at, n);
    }
  });
  return y;
}

class Dropout : public torch::autograd::Function<Dropout> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, std::shared_ptr<Mask> mask) {
    const Timed timed(Operation::Dropout, "dropout");
    const at::Tensor y = dropped(x.contiguous(), *mask);
    ctx->saved_data["mask"] = hold(std::move(mask));
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list above) {
    const Timed timed(Operation::Dropout, "dropout, backward");
    return {dropped(above[0].contiguous(), held<Mask>(ctx->saved_data["mask"])), at::Tensor()};
  }
};

// y = LN(a + x); `sum` [T, d] and `stats` [T, 2] (mean, 1 / deviation) are filled if they are defined.
at::Tensor add_norm(const at::Tensor& a, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    float eps, at::Tensor& sum, at::Tensor& stats) {
  const int64_t rows = a.size(0), n = a.size(1);
  const bool half = a.scalar_type() == at::kBFloat16;
  const at::Tensor w = weight.to(at::kFloat), b = bias.to(at::kFloat);
  at::Tensor y = at::empty_like(a);
  float* pairs = stats.defined() ? stats.mutable_data_ptr<float>() : nullptr;
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    std::vector<float> room(static_cast<size_t>(half ? 4 * n : n));
    float unused[2];
    for (int64_t i = begin; i < end; i++) {
      float* room_a = room.data();
      const float* ra = row(a, i * n, n, room_a);
      const float* rx = row(x, i * n, n, half ? room_a + n : nullptr);
      float* out = half ? room_a + 2 * n : y.mutable_data_ptr<float>() + i * n;
      float* both = half ? room_a + 3 * n : (sum.defined() ? sum.mutable_data_ptr<float>() + i * n : room_a);
      float* pair = pairs ? pairs + 2 * i : unused;
      kernels().add_norm(ra, rx, w.const_data_ptr<float>(), b.const_data_ptr<float>(), both, out, n, eps, pair,
                         pair + 1);
      if (!half) continue;
      kernels().narrow(out, halves_of(y) + i * n, n);
      if (sum.defined()) kernels().narrow(both, halves_of(sum) + i * n, n);
    }
  });
  return y;
}

class AddNorm : public torch::autograd::Function<AddNorm> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& a, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, double eps) {
    const Timed timed(Operation::Norm, "add and norm");
    at::Tensor sum = at::empty_like(a), stats = at::empty({a.size(0), 2}, a.options().dtype(at::kFloat));
    const at::Tensor y = add_norm(a, x, weight, bias, static_cast<float>(eps), sum, stats);
    ctx->save_for_backward({sum, stats, weight});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list above) {
    const Timed timed(Operation::Norm, "add and norm, backward");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &sum = saved[0], &stats = saved[1], w = saved[2].to(at::kFloat), dy = above[0].contiguous();
    const int64_t rows = sum.size(0), n = sum.size(1);
    const bool half = sum.scalar_type() == at::kBFloat16;
    const bool weights = ctx->needs_input_grad(2), biases = ctx->needs_input_grad(3);
    at::Tensor dsum = at::empty_like(sum), dweight, dbias;
    // A part for each of a fixed number of row ranges, so that the sum's order does not depend on the threads.
    const int64_t parts = std::min<int64_t>(16, rows);
    if (weights) dweight = at::zeros({parts, n}, w.options());
    if (biases) dbias = at::zeros({parts, n}, w.options());
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> room(static_cast<size_t>(half ? 3 * n : 0));
      for (int64_t part = begin; part < end; part++) {
        float* dw = weights ? dweight.mutable_data_ptr<float>() + part * n : nullptr;
        float* db = biases ? dbias.mutable_data_ptr<float>() + part * n : nullptr;
        for (int64_t i = rows * part / parts; i < rows * (part + 1) / parts; i++) {
          const float* g = row(dy, i * n, n, room.data());
          const float* both = row(sum, i * n, n, half ? room.data() + n : nullptr);
          float* out = half ? room.data() + 2 * n : dsum.mutable_data_ptr<float>() + i * n;
          const float* pair = stats.const_data_ptr<float>() + 2 * i;
          kernels().norm_gradient(g, both, w.const_data_ptr<float>(), out, n, pair[0], pair[1], dw, db);
          if (half) kernels().narrow(out, halves_of(dsum) + i * n, n);
        }
      }
    });
    return {dsum, dsum, weights ? dweight.sum(0) : at::Tensor(), biases ? dbias.sum(0) : at::Tensor(), at::Tensor()};
  }
};

// Rows of logits that are computed together.
constexpr int64_t kLogits = 256;

struct LossSettings {
  float smoothing, scale;  // scale: of the sum over rows
};

// The sum of `scale` times the cross-entropy of each row of h Wᵀ. Gradients, where asked for, are formed with the loss:
// that of h into `dh` (fp32), that of W into `dw` (fp32, added to).
double cross_entropy(const at::Tensor& h, const at::Tensor& w, const at::Tensor& targets, const LossSettings& s,
                     at::Tensor& dh, at::Tensor& dw) {
  const int64_t rows = h.size(0), vocab = w.size(0);
  const bool gradients = dh.defined() || dw.defined();
  const bool narrow = h.scalar_type() == at::kBFloat16 && !widens(h);
  const at::Tensor hidden = narrow ? h : h.to(at::kFloat);
  const at::Tensor weight = narrow ? w.to(at::kBFloat16) : w.to(at::kFloat);
  const int64_t* wanted = targets.const_data_ptr<int64_t>();
  TORCH_CHECK(targets.numel() == rows, "as many targets as rows are needed");
  for (int64_t i = 0; i < rows; i++)
    TORCH_CHECK(0 <= wanted[i] && wanted[i] < vocab, "target ", wanted[i], " is beyond the vocabulary of ", vocab);
  std::vector<double> losses(static_cast<size_t>(rows));
  for (int64_t from = 0; from < rows; from += kLogits) {
    const int64_t n = std::min(kLogits, rows - from);
    at::Tensor logits = scratch(0, n, vocab);
    const at::Tensor part = hidden.narrow(0, from, n);
    if (narrow)
      logits.copy_(part.mm(weight.t()));
    else
      product(logits, false, 1, part, false, weight, true);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++)
        losses[from + i] = kernels().cross_entropy(logits.mutable_data_ptr<float>() + i * vocab, vocab, wanted[from + i],
                                                   s.smoothing, gradients ? s.scale : 0);
    });
    if (!gradients) continue;
    const at::Tensor d = narrow ? logits.to(at::kBFloat16) : logits;
    if (dh.defined()) {
      at::Tensor out = dh.narrow(0, from, n);
      if (narrow)
        out.copy_(d.mm(weight));
      else
        product(out, false, 1, d, false, weight, false);
    }
    if (dw.defined()) {
      if (narrow)
        dw.add_(d.t().mm(part));
      else
        product(dw, true, 1, d, true, part, false);
    }
  }
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return sum * s.scale;
}

class VocabularyLoss : public torch::autograd::Function<VocabularyLoss> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h, const at::Tensor& w, const at::Tensor& targets,
                            std::shared_ptr<LossSettings> settings) {
    const Timed timed(Operation::Loss, "vocabulary loss");
    const auto fp32 = h.options().dtype(at::kFloat);
    at::Tensor dh, dw;
    if (ctx->needs_input_grad(0)) dh = at::empty({h.size(0), h.size(1)}, fp32);
    if (ctx->needs_input_grad(1)) dw = at::zeros({w.size(0), w.size(1)}, fp32);
    const double loss = cross_entropy(h, w, targets, *settings, dh, dw);
    if (dh.defined()) dh = dh.to(h.scalar_type());
    ctx->save_for_backward({dh, dw});
    return at::empty({}, fp32).fill_(loss);
  }

  // The gradients times that of the loss, in place: the node is used once.
  static variable_list backward(AutogradContext* ctx, variable_list above) {
    auto saved = ctx->get_saved_variables();
    const double factor = above[0].item<double>();
    if (factor != 1)
      for (at::Tensor& d : saved)
        if (d.defined()) d = d.mul(factor);
    return {saved[0], saved[1], at::Tensor(), at::Tensor()};
  }
};

}  // namespace
}  // namespace lora

extern "C" at::Tensor* lora_dropout(const at::Tensor* x, const lora::Mask* mask) {
  return lora::guarded([&] {
    if (lora::records({*x})) return lora::handed(lora::Dropout::apply(*x, std::make_shared<lora::Mask>(*mask)));
    return lora::handed(lora::dropped(x->contiguous(), *mask));
  });
}

// LN(a + x) over the last dimension of `a` and `x` [T, d].
extern "C" at::Tensor* lora_add_norm(const at::Tensor* a, const at::Tensor* x, const at::Tensor* weight,
                                     const at::Tensor* bias, double eps) {
  return lora::guarded([&] {
    const at::Tensor left = a->contiguous(), right = x->contiguous();
    if (lora::records({left, right, *weight, *bias}))
      return lora::handed(lora::AddNorm::apply(left, right, *weight, *bias, eps));
    at::Tensor sum, stats;
    return lora::handed(lora::add_norm(left, right, *weight, *bias, static_cast<float>(eps), sum, stats));
  });
}

// `scale` times the sum of the cross-entropies of the rows of h Wᵀ: `h` [S, d], `w` [vocab, d], `targets` int64 [S].
extern "C" at::Tensor* lora_vocabulary_loss(const at::Tensor* h, const at::Tensor* w, const at::Tensor* targets,
                                            double smoothing, double scale) {
  return lora::guarded([&] {
    lora::LossSettings settings{static_cast<float>(smoothing), static_cast<float>(scale)};
    const at::Tensor hidden = h->contiguous(), wanted = targets->contiguous();
    if (lora::records({hidden, *w}))
      return lora::handed(
          lora::VocabularyLoss::apply(hidden, *w, wanted, std::make_shared<lora::LossSettings>(settings)));
    at::Tensor none;
    const double loss = lora::cross_entropy(hidden, *w, wanted, settings, none, none);
    return lora::handed(at::empty({}, hidden.options().dtype(at::kFloat)).fill_(loss));
  });
}
