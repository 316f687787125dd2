// Generation: attention of one more token a row to a prompt and the row's own tokens, and the best continuations.
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "native.h"

// The cache of one block. Prompts: keys and values [B, H, W, w], of which `reach[b]` columns are filled. Own tokens:
// [capacity, B * beams, H * w]. Row r has its token of step t in row `table[r * table_step + t]` of its prompt's beams.
extern "C" struct LoraCache {
  const at::Tensor* keys;
  const at::Tensor* values;
  at::Tensor* own_keys;
  at::Tensor* own_values;
  const int64_t* reach;
  const int32_t* table;
  int64_t table_step;
  int64_t beams, heads, kv_heads;
  int64_t written;  // tokens of each row, the new one not counted
};

namespace lora {
namespace {

// Memory of one thread.
struct Room {
  std::vector<float> q, scores, out, wide, lse;
  static Room& of(int64_t rows, int64_t columns, int64_t width, int64_t prompt) {
    thread_local Room room;
    auto grow = [](std::vector<float>& v, int64_t n) {
      if (v.size() < static_cast<size_t>(n)) v.resize(static_cast<size_t>(n));
    };
    grow(room.q, rows * width);
    grow(room.scores, rows * columns);
    grow(room.out, rows * width);
    grow(room.wide, prompt * width);
    grow(room.lse, rows);
    return room;
  }
};

template <typename T>
struct Attend {
  const LoraCache& c;
  const T *q, *k, *v;
  int64_t q_step, k_step, v_step;
  T* out;
  int64_t width;

  int64_t group() const { return c.heads / c.kv_heads; }

  static const float* in_fp32(const float* from, std::vector<float>&, int64_t) { return from; }
  static const float* in_fp32(const uint16_t* from, std::vector<float>& room, int64_t n) {
    kernels().widen(from, room.data(), n);
    return room.data();
  }
  static void load(const float* from, float* to, int64_t n) { std::copy(from, from + n, to); }
  static void load(const uint16_t* from, float* to, int64_t n) { kernels().widen(from, to, n); }
  static void store(const float* from, float* to, int64_t n) { std::copy(from, from + n, to); }
  static void store(const float* from, uint16_t* to, int64_t n) { kernels().narrow(from, to, n); }

  // The queries of one prompt that read key head `head`, times 1 / sqrt(w): [beams * G, w].
  void queries(int64_t prompt, int64_t head, float* to) const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(width));
    const int64_t n = group() * width;
    for (int64_t b = 0; b < c.beams; b++, to += n) {
      load(q + (prompt * c.beams + b) * q_step + head * n, to, n);
      for (int64_t i = 0; i < n; i++) to[i] *= scale;
    }
  }

  void item(int64_t prompt, int64_t head) const {
    const int64_t wide = c.kv_heads * width, all = c.own_keys->size(1), first = prompt * c.beams;
    const int64_t rows = c.beams * group(), read = c.reach[prompt], own = c.written + 1, columns = read + own;
    Room& room = Room::of(rows, columns, width, read);
    T* own_k = static_cast<T*>(c.own_keys->mutable_data_ptr()) + first * wide + head * width;
    T* own_v = static_cast<T*>(c.own_values->mutable_data_ptr()) + first * wide + head * width;
    for (int64_t b = 0; b < c.beams; b++) {
      const T* key = k + (first + b) * k_step + head * width;
      const T* value = v + (first + b) * v_step + head * width;
      std::copy(key, key + width, own_k + c.written * all * wide + b * wide);
      std::copy(value, value + width, own_v + c.written * all * wide + b * wide);
    }
    const int64_t at = (prompt * c.kv_heads + head) * c.keys->size(2) * width;
    queries(prompt, head, room.q.data());
    const Own tokens{own_k,        own_v,          sizeof(T) == 2, width, all * wide, wide, c.table + first * c.table_step,
                     c.table_step, c.beams, group(), own};
    const float* keys = in_fp32(static_cast<const T*>(c.keys->const_data_ptr()) + at, room.wide, read * width);
    product(false, true, rows, read, width, 1, room.q.data(), width, keys, width, 0, room.scores.data(), columns);
    kernels().own_scores(tokens, room.q.data(), room.scores.data() + read, columns);
    kernels().softmax(room.scores.data(), rows, columns, columns, 0, room.lse.data(), 1);
    const float* values = in_fp32(static_cast<const T*>(c.values->const_data_ptr()) + at, room.wide, read * width);
    product(false, false, rows, width, read, 1, room.scores.data(), columns, values, width, 0, room.out.data(), width);
    kernels().own_values(tokens, room.scores.data() + read, columns, room.out.data());
    const int64_t n = group() * width;
    for (int64_t b = 0; b < c.beams; b++)
      store(room.out.data() + b * n, out + (first + b) * c.heads * width + head * n, n);
  }
};

template <typename T>
at::Tensor attended(const LoraCache& c, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  at::Tensor out = at::empty({q.size(0), q.size(1)}, q.options());
  const Attend<T> attend{c,
                         static_cast<const T*>(q.const_data_ptr()),
                         static_cast<const T*>(k.const_data_ptr()),
                         static_cast<const T*>(v.const_data_ptr()),
                         q.stride(0),
                         k.stride(0),
                         v.stride(0),
                         static_cast<T*>(out.mutable_data_ptr()),
                         q.size(1) / c.heads};
  each(q.size(0) / c.beams * c.kv_heads,
       [&](int64_t item) { attend.item(item / c.kv_heads, item % c.kv_heads); });
  return out;
}

// The columns of a row of logits are searched in blocks: only those whose highest value is among the best are read again.
const int64_t kBlock = 128;

struct Candidate {
  float total;
  int64_t cell;  // beam * vocab + token
};

bool better(const Candidate& a, const Candidate& b) { return a.total != b.total ? a.total > b.total : a.cell < b.cell; }

struct Search {
  float* logits;
  int64_t vocab, count;
  bool before;  // bans precede the softmax
  const int64_t* banned;

  // The best `count` tokens of `row`, which is beam `beam` of its prompt and has the log-probability `sum`. `bans` is the
  // range of its cells in `banned`. False if a logit is not finite.
  bool row(int64_t row, int64_t beam, float sum, std::pair<size_t, size_t> bans, std::vector<Candidate>& best) const {
    float* x = logits + row * vocab;
    thread_local std::vector<float> maxima, sorted;
    const int64_t blocks = (vocab + kBlock - 1) / kBlock;
    maxima.resize(static_cast<size_t>(blocks));
    if (before) ban(row, bans);
    float highest = kernels().block_maxima(x, vocab, kBlock, maxima.data());
    const float log_sum = static_cast<float>(std::log(kernels().exp_sum(x, vocab, highest)));
    if (!std::isfinite(log_sum)) return false;
    if (!before && bans.first < bans.second) {
      ban(row, bans);
      kernels().block_maxima(x, vocab, kBlock, maxima.data());
    }
    // At least `count` values reach the count-th highest of the maxima.
    float least = -std::numeric_limits<float>::infinity();
    if (blocks >= count) {
      sorted = maxima;
      std::nth_element(sorted.begin(), sorted.begin() + (count - 1), sorted.end(), std::greater<float>());
      least = sorted[static_cast<size_t>(count - 1)];
    }
    best.clear();
    for (int64_t block = 0; block < blocks; block++) {
      if (!(maxima[static_cast<size_t>(block)] >= least)) continue;
      const int64_t end = std::min(vocab, (block + 1) * kBlock);
      for (int64_t token = block * kBlock; token < end; token++)
        if (x[token] >= least) best.push_back({(x[token] - highest - log_sum) + sum, beam * vocab + token});
    }
    const auto kept = std::min<size_t>(static_cast<size_t>(count), best.size());
    std::partial_sort(best.begin(), best.begin() + static_cast<int64_t>(kept), best.end(), better);
    best.resize(kept);
    return true;
  }

  void ban(int64_t row, std::pair<size_t, size_t> bans) const {
    for (size_t i = bans.first; i < bans.second; i++) logits[banned[i]] = -std::numeric_limits<float>::infinity();
  }
};

}  // namespace
}  // namespace lora

// Attention for one more token a row: q [rows, heads * w], k and v [rows, kv_heads * w], which are stored in the cache.
// fp32 or bf16, computed in fp32.
extern "C" at::Tensor* lora_attend(const LoraCache* cache, const at::Tensor* q, const at::Tensor* k, const at::Tensor* v) {
  return lora::guarded([&]() -> at::Tensor* {
    const lora::Timed timed(lora::Operation::Attention, "attention of one token");
    for (const at::Tensor* t : {q, k, v})
      TORCH_CHECK(t->stride(1) == 1 && t->scalar_type() == cache->keys->scalar_type(), "the cache does not take ", t->toString());
    if (q->scalar_type() == at::kBFloat16) return lora::handed(lora::attended<uint16_t>(*cache, *q, *k, *v));
    return lora::handed(lora::attended<float>(*cache, *q, *k, *v));
  });
}

// The best `count` continuations of each prompt, whose `beams` rows of `logits` [rows, vocab] (fp32, changed in place)
// follow one another: `totals` and `cells` [prompts, count] receive the sum of `sums[row]` and the token's
// log-probability, and beam * vocab + token; of equal totals the lower cell is first. The cells `banned` (row * vocab +
// token, ascending rows) are excluded, also from the softmax if `before`. Null if a logit is not finite (with an empty
// message) and on failure.
extern "C" const void* lora_candidates(at::Tensor* logits, int64_t beams, const float* sums, const int64_t* banned,
                                       int64_t bans, bool before, int64_t count, float* totals, int64_t* cells) {
  lora::last_error().clear();
  return lora::guarded([&]() -> const void* {
    const lora::Timed timed(lora::Operation::Other, "candidates");
    TORCH_CHECK(logits->is_contiguous() && logits->scalar_type() == at::kFloat, "logits must be contiguous in fp32");
    const int64_t rows = logits->size(0), vocab = logits->size(1);
    std::vector<size_t> starts(static_cast<size_t>(rows) + 1, static_cast<size_t>(bans));
    for (int64_t i = bans - 1; i >= 0; i--) starts[static_cast<size_t>(banned[i] / vocab)] = static_cast<size_t>(i);
    for (int64_t row = rows - 1; row >= 0; row--)
      starts[static_cast<size_t>(row)] = std::min(starts[static_cast<size_t>(row)], starts[static_cast<size_t>(row) + 1]);
    const lora::Search search{logits->mutable_data_ptr<float>(), vocab, count, before, banned};
    std::vector<std::vector<lora::Candidate>> of_rows(static_cast<size_t>(rows));
    std::atomic<bool> finite{true};
    lora::each(rows, [&](int64_t row) {
      const auto r = static_cast<size_t>(row);
      if (!search.row(row, row % beams, sums[row], {starts[r], starts[r + 1]}, of_rows[r])) finite = false;
    });
    if (!finite) return nullptr;
    for (int64_t prompt = 0; prompt < rows / beams; prompt++) {
      std::vector<lora::Candidate> all;
      for (int64_t b = 0; b < beams; b++) {
        const auto& part = of_rows[static_cast<size_t>(prompt * beams + b)];
        all.insert(all.end(), part.begin(), part.end());
      }
      TORCH_CHECK(static_cast<int64_t>(all.size()) >= count, count, " candidates of a vocabulary of ", vocab);
      std::partial_sort(all.begin(), all.begin() + count, all.end(), lora::better);
      for (int64_t i = 0; i < count; i++) {
        totals[prompt * count + i] = all[static_cast<size_t>(i)].total;
        cells[prompt * count + i] = all[static_cast<size_t>(i)].cell;
      }
    }
    return logits;
  });
}
