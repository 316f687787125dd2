// AdamW over many tensors in one call.
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>

#include <vector>

#include "native.h"

namespace lora {
namespace {

// Elements that one thread takes at a time.
constexpr int64_t kPiece = 1 << 16;

struct Piece {
  float *p, *g, *m, *v;
  int64_t n;
  bool decays;
};

}  // namespace
}  // namespace lora

// One tensor for `lora_adamw`: a parameter, its gradient and its two moments, fp32 and contiguous on the CPU.
extern "C" struct LoraParam {
  const at::Tensor *param, *gradient, *mean, *square;
  bool decays;
};

// Updates the parameters and sets the gradients to 0. `before` and `after` apply where a parameter decays. Not null on
// success.
extern "C" const void* lora_adamw(const LoraParam* params, int64_t count, const lora::Adam* adam) {
  return lora::guarded([&]() -> const void* {
    const lora::Timed timed(lora::Operation::Optimiser, "AdamW");
    std::vector<lora::Piece> pieces;
    for (const LoraParam* one = params; one < params + count; one++) {
      for (const at::Tensor* t : {one->param, one->gradient, one->mean, one->square})
        TORCH_CHECK(t->is_contiguous() && t->scalar_type() == at::kFloat && t->numel() == one->param->numel(),
                    "AdamW: tensors must be contiguous, in fp32 and of one size");
      auto at = [](const at::Tensor* t) { return static_cast<float*>(t->data_ptr()); };
      for (int64_t from = 0; from < one->param->numel(); from += lora::kPiece)
        pieces.push_back({at(one->param) + from, at(one->gradient) + from, at(one->mean) + from, at(one->square) + from,
                          std::min(lora::kPiece, one->param->numel() - from), one->decays});
    }
    lora::Adam plain = *adam;
    plain.before = plain.after = 1;
    lora::each(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
      const lora::Piece& piece = pieces[static_cast<size_t>(i)];
      lora::kernels().adamw(piece.p, piece.g, piece.m, piece.v, piece.n, piece.decays ? *adam : plain);
    });
    return adam;
  });
}

// The same by libtorch's fused kernel, for GPUs, after `step` updates, this one included. `eps` is relative to the corrected
// root; decay follows PyTorch's form.
extern "C" const void* lora_fused_adamw(const LoraParam* params, int64_t count, double lr, double beta1, double beta2,
                                        double decay, double eps, int64_t step) {
  return lora::guarded([&]() -> const void* {
    const lora::Timed timed(lora::Operation::Optimiser, "fused AdamW");
    for (const bool decays : {true, false}) {
      std::vector<at::Tensor> p, g, m, v, steps;
      for (const LoraParam* one = params; one < params + count; one++) {
        if (one->decays != decays) continue;
        p.push_back(one->param->detach());
        g.push_back(*one->gradient);
        m.push_back(*one->mean);
        v.push_back(*one->square);
      }
      if (p.empty()) continue;
      const at::Tensor counted = at::full({}, static_cast<double>(step), p[0].options());
      steps.assign(p.size(), counted);
      at::_fused_adamw_(p, g, m, v, {}, steps, lr, beta1, beta2, decays ? decay : 0.0, eps, false, false);
      for (at::Tensor& gradient : g) gradient.zero_();
    }
    return params;
  });
}
