// Linear layers on one input with low-rank branches, as one autograd node: y_i = x W_iᵀ + b_i, and for each slot
// y_i[:, start..] += scale (x Aᵀ) Bᵀ. Nothing is saved twice, and the gradient of x is one buffer that all products add to.
#include <torch/csrc/autograd/custom_function.h>

#include <ATen/ops/empty.h>
#include <array>
#include <vector>

#include "native.h"

namespace lora {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Slot {
  int64_t start, len;
  float scale;
  size_t a, b, input;  // places in the node's list; input 0 is x
};

struct Layer {
  size_t weight, bias;  // bias 0: none
  std::vector<Slot> slots;
};

struct Plan {
  std::vector<Layer> layers;
  size_t inputs = 1;  // x, then of each layer W and b, and of each slot A, B and an input of its own (x after dropout)
};

// Memory of this thread: see `scratch`.
enum { kInput = 0, kWeight = 1, kOutput = 2, kFactor = 3 };

// The matrices of one node in the data type of its products.
struct Operands {
  bool wide;          // bf16, computed in fp32
  at::ScalarType kind;  // fp32, or bf16 where the processor multiplies it fast

  explicit Operands(const at::Tensor& x)
      : wide(widens(x)), kind(wide ? at::kFloat : x.scalar_type()) {}

  at::Tensor of(const at::Tensor& t, int slot) const {
    if (t.scalar_type() == kind) return t;
    return kind == at::kFloat ? widened(t, slot) : t.to(kind);
  }

  // out (+)= alpha op(a) op(b); `out` may be fp32 where a and b are bf16.
  void add(at::Tensor out, bool accumulate, float alpha, const at::Tensor& a, bool ta, const at::Tensor& b, bool tb) const {
    if (kind == at::kFloat) return product(out, accumulate, alpha, a, ta, b, tb);
    const at::Tensor left = ta ? a.t() : a, right = tb ? b.t() : b;
    if (out.scalar_type() == kind) {
      out.addmm_(left, right, accumulate ? 1 : 0, alpha);
      return;
    }
    const at::Tensor made = left.mm(right);
    if (accumulate)
      out.add_(made, alpha);
    else
      out.copy_(made).mul_(alpha);
  }
};

// y of one layer.
at::Tensor output(const Operands& o, const Layer& layer, at::TensorList t, const at::Tensor& x,
                  variable_list& lows) {
  const at::Tensor& weight = t[layer.weight];
  at::Tensor y = at::empty({t[0].size(0), weight.size(0)}, t[0].options());
  at::Tensor sum = o.wide ? scratch(kOutput, y.size(0), y.size(1)) : y;
  if (layer.bias) sum.copy_(t[layer.bias].expand({sum.size(0), sum.size(1)}));
  o.add(sum, layer.bias != 0, 1, x, false, o.of(weight, kWeight), true);
  for (const Slot& slot : layer.slots) {
    at::Tensor low = at::empty({y.size(0), t[slot.a].size(0)}, sum.options());
    const at::Tensor input = slot.input ? o.of(t[slot.input], kFactor) : x;
    o.add(low, false, slot.scale, input, false, o.of(t[slot.a], kWeight), true);
    o.add(sum.narrow(1, slot.start, slot.len), true, 1, low, false, o.of(t[slot.b], kWeight), true);
    lows.push_back(low);
  }
  if (o.wide) y.copy_(sum);
  return y;
}

variable_list outputs(const Plan& plan, at::TensorList t, const at::Tensor& x, variable_list& lows) {
  const Operands o(x);
  const at::Tensor operand = o.of(x, kInput);
  variable_list made;
  for (const Layer& layer : plan.layers) made.push_back(output(o, layer, t, operand, lows));
  return made;
}

class Linears : public torch::autograd::Function<Linears> {
 public:
  static variable_list forward(AutogradContext* ctx, at::TensorList t, std::shared_ptr<Plan> plan) {
    variable_list lows, saved(t.begin(), t.end());
    saved[0] = t[0].contiguous();
    variable_list made = outputs(*plan, t, saved[0], lows);
    keep_needed(ctx, *plan, saved);
    saved.insert(saved.end(), lows.begin(), lows.end());
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["plan"] = hold(std::move(plan));
    ctx->set_materialize_grads(false);
    return made;
  }

  static variable_list backward(AutogradContext* ctx, variable_list above) {
    const auto t = ctx->get_saved_variables();
    const Plan& plan = held<Plan>(ctx->saved_data["plan"]);
    variable_list d(plan.inputs + 1);  // one more for the plan
    size_t low = plan.inputs;
    for (size_t i = 0; i < plan.layers.size(); i++) {
      if (above[i].defined()) layer_gradients(ctx, plan.layers[i], t, above[i].contiguous(), low, d);
      low += plan.layers[i].slots.size();
    }
    if (d[0].defined()) d[0] = d[0].to(kind_above(above));
    return d;
  }

 private:
  // Forgets x and the branches' inputs where no gradient needs them, and the biases.
  static void keep_needed(AutogradContext* ctx, const Plan& plan, variable_list& saved) {
    bool x = false;
    for (const Layer& layer : plan.layers) {
      x = x || ctx->needs_input_grad(layer.weight);
      if (layer.bias) saved[layer.bias] = at::Tensor();
      for (const Slot& slot : layer.slots) {
        const bool needed = ctx->needs_input_grad(slot.a);
        if (!slot.input) x = x || needed;
        if (slot.input && !needed) saved[slot.input] = at::Tensor();
      }
    }
    if (!x) saved[0] = at::Tensor();
  }

  static at::ScalarType kind_above(const variable_list& above) {
    for (const at::Tensor& t : above)
      if (t.defined()) return t.scalar_type();
    return at::kFloat;
  }

  static void layer_gradients(AutogradContext* ctx, const Layer& layer, const variable_list& t,
                              const at::Tensor& above, size_t low, variable_list& d) {
    const Operands o(above);
    const at::Tensor dy = o.of(above, kOutput);
    const bool whole = ctx->needs_input_grad(0);
    if (whole) add_to(o, d[0], 1, dy, o.of(t[layer.weight], kWeight));
    if (ctx->needs_input_grad(layer.weight)) d[layer.weight] = outer(o, dy, o.of(t[0], kInput), t[layer.weight]);
    if (layer.bias && ctx->needs_input_grad(layer.bias)) d[layer.bias] = dy.sum(0, false, at::kFloat);
    for (const Slot& slot : layer.slots) {
      const at::Tensor part = dy.narrow(1, slot.start, slot.len), lowered = t[low++];
      if (ctx->needs_input_grad(slot.b)) d[slot.b] = outer(o, part, lowered, t[slot.b]);
      const bool further = slot.input ? ctx->needs_input_grad(slot.input) : whole;
      if (!ctx->needs_input_grad(slot.a) && !further) continue;
      at::Tensor dlow = at::empty({dy.size(0), t[slot.b].size(1)}, dy.options());
      o.add(dlow, false, slot.scale, part, false, o.of(t[slot.b], kWeight), false);
      if (ctx->needs_input_grad(slot.a)) {
        const at::Tensor& input = t[slot.input];
        d[slot.a] = outer(o, dlow, o.of(input, kInput), t[slot.a]);
      }
      if (!further) continue;
      add_to(o, d[slot.input], 1, dlow, o.of(t[slot.a], kWeight));
      if (slot.input) d[slot.input] = d[slot.input].to(above.scalar_type());
    }
  }

  // d (+)= alpha a b, where `d` is created by its first product.
  static void add_to(const Operands& o, at::Tensor& d, float alpha, const at::Tensor& a, const at::Tensor& b) {
    const bool first = !d.defined();
    if (first) d = at::empty({a.size(0), b.size(1)}, a.options());
    o.add(d, !first, alpha, a, false, b, false);
  }

  // dyᵀ x for the variable `of`: added to its gradient in place where there is one, otherwise returned.
  static at::Tensor outer(const Operands& o, const at::Tensor& dy, const at::Tensor& x, const at::Tensor& of) {
    at::Tensor grad = of.is_leaf() ? of.grad() : at::Tensor();
    const bool there = grad.defined() && grad.is_contiguous() && grad.scalar_type() == at::kFloat;
    if (!there) grad = at::empty({dy.size(1), x.size(1)}, x.options().dtype(at::kFloat));
    o.add(grad, there, 1, dy, true, x, false);
    return there ? at::Tensor() : grad;
  }
};

}  // namespace
}  // namespace lora

// A layer for `lora_linears`: its weight [out, in], bias [out] or null, and `slots` entries of the list of slots.
extern "C" struct LoraLayer {
  const at::Tensor* weight;
  const at::Tensor* bias;
  int64_t slots;
};

// A branch: A [r, in] and B [len, r], added to the outputs from `start` on; `input` [T, in] or null for the layer's.
extern "C" struct LoraSlot {
  const at::Tensor* a;
  const at::Tensor* b;
  const at::Tensor* input;
  int64_t start, len;
  double scale;
};

// The outputs of `count` layers for `x` [T, in], fp32 or bf16 on the CPU, into `outputs`. Not null on success.
extern "C" const void* lora_linears(const at::Tensor* x, const LoraLayer* layers, int64_t count, const LoraSlot* slots,
                                    at::Tensor** outputs) {
  return lora::guarded([&]() -> const void* {
    auto plan = std::make_shared<lora::Plan>();
    std::vector<at::Tensor> t{*x};
    auto add = [&t](const at::Tensor* tensor) -> size_t {
      if (!tensor) return 0;
      t.push_back(*tensor);
      return t.size() - 1;
    };
    for (const LoraLayer* layer = layers; layer < layers + count; layer++) {
      lora::Layer l{add(layer->weight), add(layer->bias), {}};
      for (int64_t i = 0; i < layer->slots; i++, slots++)
        l.slots.push_back({slots->start, slots->len, static_cast<float>(slots->scale), add(slots->a), add(slots->b),
                           add(slots->input)});
      plan->layers.push_back(std::move(l));
    }
    plan->inputs = t.size();
    lora::variable_list made, lows;
    if (lora::records(t))
      made = lora::Linears::apply(at::TensorList(t), std::move(plan));
    else
      made = lora::outputs(*plan, t, t[0].contiguous(), lows);
    for (int64_t i = 0; i < count; i++) outputs[i] = lora::handed(made[static_cast<size_t>(i)]);
    return x;
  });
}
