// What the files with autograd nodes share: errors for Rust, matrix products, work for threads.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <torch/custom_class.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <string>

#include "kernels.h"
#include "profile.h"

namespace lora {

// The message of this thread's last failure, for `lora_native_error`.
std::string& last_error();

// Runs `work`; a failure gives null and a message.
template <typename Work>
auto guarded(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception& e) {
    last_error() = e.what();
  } catch (...) {
    last_error() = "an unknown failure";
  }
  return nullptr;
}

inline at::Tensor* handed(at::Tensor t) { return new at::Tensor(std::move(t)); }

// c [m, n] = alpha op(a) op(b) + beta c in fp32, row-major with the given row strides. `ta`: a is stored [k, m]; `tb`: b is
// stored [n, k].
void product(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
             const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

// Whether `blocked_product` is faster than BLAS for an fp32 product of this size on this processor.
bool blocks_pay(int64_t m, int64_t n, int64_t k);

// The transpose of an fp32 matrix of contiguous rows, made by all threads; libtorch's copy takes one.
at::Tensor transposed(const at::Tensor& a);

// out (+)= a op(b) for fp32 matrices of contiguous rows; `tb`: b is stored [n, k].
void blocked_product(const at::Tensor& out, bool accumulate, const at::Tensor& a, const at::Tensor& b, bool tb);

// As `product`, on fp32 matrices of contiguous rows.
void product(at::Tensor& out, bool accumulate, float alpha, const at::Tensor& a, bool ta, const at::Tensor& b, bool tb);

// Whether bf16 products are computed in fp32, from widened copies: where the processor multiplies bf16 more slowly.
bool widens(const at::Tensor& x);

// A part of this thread's memory number `slot` as an fp32 matrix, until its next use.
at::Tensor scratch(int slot, int64_t rows, int64_t cols);

// `t` in fp32: itself, or a copy in scratch memory.
at::Tensor widened(const at::Tensor& t, int slot);

// Whether a node on these tensors has to be recorded.
inline bool records(at::TensorList tensors) {
  if (!at::GradMode::is_enabled()) return false;
  for (const at::Tensor& t : tensors)
    if (t.defined() && t.requires_grad()) return true;
  return false;
}

// Something that an autograd node keeps.
template <typename T>
struct Held : torch::CustomClassHolder {
  explicit Held(std::shared_ptr<T> own) : value(std::move(own)) {}
  std::shared_ptr<T> value;
};

template <typename T>
c10::IValue hold(std::shared_ptr<T> value) {
  return c10::IValue::make_capsule(c10::make_intrusive<Held<T>>(std::move(value)));
}

template <typename T>
const T& held(const c10::IValue& value) {
  return *static_cast<Held<T>*>(value.toCapsule().get())->value;
}

// Calls `work(item)` for each of `items`, in the order of their numbers, on whichever thread is free.
template <typename Work>
void each(int64_t items, const Work& work) {
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), items);
  if (threads <= 1) {
    for (int64_t item = 0; item < items; item++) work(item);
    return;
  }
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unused = begin; unused < end; unused++)
      for (int64_t item = next++; item < items; item = next++) work(item);
  });
}

}  // namespace lora
