// What both kinds of attention share: the rows of a packed batch, and heads as fp32 matrices.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "native.h"

namespace lora {

// Queries computed together: their scores stay in the cache.
constexpr int64_t kBlock = 128;

struct Shape {
  std::vector<int64_t> q_len, k_len;  // tokens of each row
  std::vector<int64_t> q_at, k_at;    // first token of each row
  int64_t heads = 0, kv_heads = 0, width = 0;
  bool causal = false;
  Mask mask;
  int64_t q_width = 0, k_width = 0;  // the longest row
  int64_t q_grid = 0, k_grid = 0;    // the mask's index is that of this padded grid

  int64_t rows() const { return static_cast<int64_t>(q_len.size()); }
  int64_t group() const { return heads / kv_heads; }
  // Tokens that the first query of a causal row sees before a block that starts at `from`; 0: all.
  int64_t limit(int64_t from) const { return causal ? from + 1 : 0; }
  uint64_t index(int64_t row, int64_t head, int64_t query) const {
    return static_cast<uint64_t>(((row * heads + head) * q_grid + query) * k_grid);
  }
};

// Floats of a head of some tokens: the tensor's own memory in fp32, a widened copy in bf16.
class Slice {
 public:
  Slice(const at::Tensor& t, int64_t token, int64_t tokens, int64_t head, int64_t width, std::vector<float>& room) {
    const int64_t stride = t.stride(0), at = token * stride + head * width;
    if (t.scalar_type() == at::kFloat) {
      data_ = t.const_data_ptr<float>() + at;
      stride_ = stride;
      return;
    }
    room.resize(static_cast<size_t>(tokens * width));
    const auto* from = reinterpret_cast<const uint16_t*>(t.const_data_ptr<at::BFloat16>()) + at;
    for (int64_t i = 0; i < tokens; i++) kernels().widen(from + i * stride, room.data() + i * width, width);
    data_ = room.data();
    stride_ = width;
  }
  const float* at(int64_t token) const { return data_ + token * stride_; }
  int64_t stride() const { return stride_; }

 private:
  const float* data_;
  int64_t stride_;
};

// As `Slice`, to write: `flush` rounds to bf16.
class Target {
 public:
  Target(at::Tensor& t, int64_t token, int64_t tokens, int64_t head, int64_t width, std::vector<float>& room)
      : width_(width), tokens_(tokens) {
    t_stride_ = t.stride(0);
    const int64_t at = token * t_stride_ + head * width;
    if (t.scalar_type() == at::kFloat) {
      data_ = t.mutable_data_ptr<float>() + at;
      stride_ = t_stride_;
      return;
    }
    room.resize(static_cast<size_t>(tokens * width));
    data_ = room.data();
    stride_ = width;
    half_ = reinterpret_cast<uint16_t*>(t.mutable_data_ptr<at::BFloat16>()) + at;
  }
  float* at(int64_t token) const { return data_ + token * stride_; }
  int64_t stride() const { return stride_; }
  void flush() const {
    if (!half_) return;
    for (int64_t i = 0; i < tokens_; i++) kernels().narrow(data_ + i * stride_, half_ + i * t_stride_, width_);
  }

 private:
  float* data_;
  int64_t stride_, t_stride_, width_, tokens_;
  uint16_t* half_ = nullptr;
};

// One thread's memory.
struct Room {
  std::vector<float> q, k, v, out, grad, dq, dk, dv, scores, other, delta;
};

inline Room& room() {
  thread_local Room own;
  return own;
}

inline at::Tensor rowwise(const at::Tensor& t) { return t.stride(1) == 1 ? t : t.contiguous(); }

// Fills the rows of `s` and its mask, that of a grid `[rows, heads, grid[0], grid[1]]`; fails if the rows do not add up to
// the tokens.
inline void set_rows(Shape& s, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const int64_t* q_len,
                     const int64_t* k_len, int64_t rows, const Mask* mask, const int64_t* grid) {
  s.mask = *mask;
  s.q_grid = grid[0];
  s.k_grid = grid[1];
  int64_t q_at = 0, k_at = 0;
  for (int64_t i = 0; i < rows; i++) {
    s.q_len.push_back(q_len[i]);
    s.k_len.push_back(k_len[i]);
    s.q_at.push_back(q_at);
    s.k_at.push_back(k_at);
    q_at += q_len[i];
    k_at += k_len[i];
    s.q_width = std::max(s.q_width, q_len[i]);
    s.k_width = std::max(s.k_width, k_len[i]);
  }
  TORCH_CHECK(q.dim() == 2 && q.size(0) == q_at && k.size(0) == k_at && v.size(0) == k_at,
              "attention: the rows do not add up to the tokens");
  TORCH_CHECK(s.q_width <= s.q_grid && s.k_width <= s.k_grid, "attention: a row is longer than the mask's grid");
}

}  // namespace lora
