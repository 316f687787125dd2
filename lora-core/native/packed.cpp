// Weights in the layout that a library's products read, made once for many products with the same weight.
#include <ATen/core/dispatch/Dispatcher.h>

#include <ATen/ops/empty.h>
#include <cstdlib>
#include <memory>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "native.h"

// MKL's, inside libtorch; weak, since a libtorch without MKL lacks them.
extern "C" {
__attribute__((weak)) size_t sgemm_pack_get_size_(const char* which, const int* m, const int* n, const int* k);
__attribute__((weak)) void sgemm_pack_(const char* which, const char* trans, const int* m, const int* n, const int* k,
                                       const float* alpha, const float* from, const int* ld, float* to);
__attribute__((weak)) void sgemm_compute_(const char* ta, const char* tb, const int* m, const int* n, const int* k,
                                          const float* a, const int* lda, const float* b, const int* ldb,
                                          const float* beta, float* c, const int* ldc);
}

namespace lora {
namespace {

enum Engine : int32_t { kAuto = 0, kMkl = 1, kOneDnn = 2 };

// Rows of a product, where MKL chooses a layout by them: right for 1 to 650 rows, and the fastest for them.
const int kRows = 160;

bool has_mkl() { return sgemm_pack_get_size_ && sgemm_pack_ && sgemm_compute_; }

// Measured with libtorch 2.11: on Intel's processors MKL's packed products are the fastest in fp32; on others MKL runs
// its AVX2 kernels, and oneDNN's are faster.
Engine choose(at::ScalarType kind) {
#ifdef LORA_X86
  __builtin_cpu_init();
  if (kind == at::kFloat && has_mkl() && __builtin_cpu_is("intel")) return kMkl;
  return kOneDnn;
#else
  return kAuto;  // nothing was measured
#endif
}

c10::OperatorHandle operation(const char* name) { return c10::Dispatcher::singleton().findSchemaOrThrow(name, ""); }

at::Tensor reordered(const at::Tensor& weight) {
  static const c10::OperatorHandle reorder = operation("mkldnn::_reorder_linear_weight");
  torch::jit::Stack stack{weight, c10::IValue(static_cast<int64_t>(kRows))};
  reorder.callBoxed(stack);
  return stack[0].toTensor();
}

at::Tensor product_with(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  static const c10::OperatorHandle linear = operation("mkldnn::_linear_pointwise");
  torch::jit::Stack stack{x,
                          weight,
                          bias.defined() ? c10::IValue(bias) : c10::IValue(),
                          c10::IValue("none"),
                          c10::IValue(c10::List<std::optional<at::Scalar>>()),
                          c10::IValue("")};
  linear.callBoxed(stack);
  return stack[0].toTensor();
}

struct Freed {
  void operator()(float* memory) const { std::free(memory); }
};

}  // namespace

struct Packed {
  Engine engine;
  at::ScalarType kind;  // of the products
  int64_t out, in;
  std::unique_ptr<float, Freed> memory;  // MKL's
  at::Tensor weight;                     // oneDNN's

  // MKL's size counts room that it does not touch, so that it is no measure of the memory taken.
  void pack(const at::Tensor& from) {
    if (engine == kOneDnn) {
      weight = reordered(from);
      return;
    }
    const int m = static_cast<int>(out), k = static_cast<int>(in);
    const float one = 1;
    const size_t page = size_t{1} << 21, bytes = (sgemm_pack_get_size_("A", &m, &kRows, &k) + page - 1) / page * page;
    memory.reset(static_cast<float*>(std::aligned_alloc(page, bytes)));
    TORCH_CHECK(memory, "no memory for a packed weight of ", bytes, " bytes");
#ifdef __linux__
    madvise(memory.get(), bytes, MADV_HUGEPAGE);  // 5 % of the products' time
#endif
    sgemm_pack_("A", "T", &m, &kRows, &k, &one, from.const_data_ptr<float>(), &k, memory.get());
  }

  // x Wᵀ + bias for x [T, in], in the data type of the products.
  at::Tensor times(const at::Tensor& x, const at::Tensor& bias) const {
    const double flop = 2.0 * static_cast<double>(x.size(0)) * static_cast<double>(in) * static_cast<double>(out);
    const Timed timed(Operation::Product, "product with a packed weight", flop);
    const at::Tensor input = x.scalar_type() == kind ? x.contiguous() : x.to(kind);
    const at::Tensor shift = bias.defined() ? bias.to(kind) : bias;
    if (engine == kOneDnn) return product_with(input, weight, shift);
    at::Tensor y = at::empty({input.size(0), out}, input.options());
    if (shift.defined()) y.copy_(shift.expand({y.size(0), out}));
    const int m = static_cast<int>(out), n = static_cast<int>(y.size(0)), k = static_cast<int>(in);
    const float beta = shift.defined() ? 1.0f : 0.0f;
    if (n > 0)
      sgemm_compute_("P", "N", &m, &n, &k, memory.get(), &k, input.const_data_ptr<float>(), &k, &beta,
                     y.mutable_data_ptr<float>(), &m);
    return y;
  }
};

}  // namespace lora

// A packed copy of `weight` [out, in] for inputs in bf16 if `half`, otherwise fp32; null if there is nothing to gain or
// no library for it. `engine` 0 chooses one, 1 is MKL, 2 oneDNN.
extern "C" lora::Packed* lora_pack(const at::Tensor* weight, bool half, int32_t engine) {
  return lora::guarded([&]() -> lora::Packed* {
    const at::Tensor like = at::empty({0}, half ? at::kBFloat16 : at::kFloat);
    const at::ScalarType kind = half && !lora::widens(like) ? at::kBFloat16 : at::kFloat;
    const auto chosen = engine == lora::kAuto ? lora::choose(kind) : static_cast<lora::Engine>(engine);
    if (chosen == lora::kAuto || (chosen == lora::kMkl && (!lora::has_mkl() || kind != at::kFloat))) return nullptr;
    auto packed = std::make_unique<lora::Packed>();
    packed->engine = chosen;
    packed->kind = kind;
    packed->out = weight->size(0);
    packed->in = weight->size(1);
    packed->pack(weight->to(kind).contiguous());
    return packed.release();
  });
}

extern "C" void lora_pack_free(lora::Packed* packed) { delete packed; }

// x Wᵀ + bias for x [T, in], in the data type of x, or in that of the products if `wide`.
extern "C" at::Tensor* lora_packed_linear(const lora::Packed* packed, const at::Tensor* x, const at::Tensor* bias,
                                          bool wide) {
  return lora::guarded([&]() -> at::Tensor* {
    TORCH_CHECK(x->dim() == 2 && x->size(1) == packed->in, "a weight of ", packed->in, " inputs does not take ", x->sizes());
    const at::Tensor y = packed->times(*x, bias ? *bias : at::Tensor());
    return lora::handed(wide ? y : y.to(x->scalar_type()));
  });
}
