// Compiled with -DLORA_ISA=name for each instruction set, each in a namespace of its own.
#include "kernels.h"

#include <cmath>
#include <cstring>

#define LORA_JOIN2(a, b) a##b
#define LORA_JOIN(a, b) LORA_JOIN2(a, b)

namespace lora {
namespace LORA_ISA {
namespace {

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline uint32_t to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// exp(x) to about 1 ulp: 2^n e^r with |r| <= ln 2 / 2 and a Taylor polynomial of degree 7 in r. 0 below -87.
inline float exponential(float x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float below = x < -87.0f ? 0.0f : 1.0f;
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  float shifted = x * 1.44269504088896341f + magic;
  float n = shifted - magic;
  float r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float p = 1.9841270e-4f;
  p = p * r + 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t scale = (to_bits(shifted) - to_bits(magic) + 127u) << 23;
  return p * from_bits(scale) * below;
}

// Sixteen bits that depend on all bits of the seed and the index.
inline uint32_t draw(uint32_t low, uint32_t high, uint32_t index) {
  uint32_t x = index ^ low;
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x += high;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x & 0xffffu;
}

// The two words of a seed for the indices around `start`: the upper half of a long index changes the second.
inline uint32_t upper(const Mask& mask, uint64_t index) {
  return static_cast<uint32_t>(mask.seed >> 32) + static_cast<uint32_t>(index >> 32) * 0x9e3779b9u;
}

inline float factor(const Mask& mask, uint32_t low, uint32_t high, uint32_t index) {
  return draw(low, high, index) < mask.threshold ? 0.0f : mask.kept;
}

// out = in times the mask; a run of indices does not cross a multiple of 2^32 except between calls of the inner loop.
inline void masked(const float* in, float* out, int64_t n, const Mask& mask, uint64_t start) {
  start += mask.first;
  const uint32_t low = static_cast<uint32_t>(mask.seed);
  while (n > 0) {
    const uint64_t room = 0x100000000ull - (start & 0xffffffffull);
    const int64_t now = static_cast<uint64_t>(n) < room ? n : static_cast<int64_t>(room);
    const uint32_t high = upper(mask, start), first = static_cast<uint32_t>(start);
    for (int64_t i = 0; i < now; i++) out[i] = in[i] * factor(mask, low, high, first + static_cast<uint32_t>(i));
    in += now;
    out += now;
    n -= now;
    start += static_cast<uint64_t>(now);
  }
}

int64_t seen(int64_t row, int64_t cols, int64_t limit) {
  if (limit <= 0) return cols;
  return limit + row < cols ? limit + row : cols;
}

void softmax(float* s, int64_t rows, int64_t cols, int64_t ld, int64_t limit, float* lse, int64_t lse_step) {
  for (int64_t i = 0; i < rows; i++) {
    float* row = s + i * ld;
    const int64_t n = seen(i, cols, limit);
    float highest = row[0];
#pragma omp simd reduction(max : highest)
    for (int64_t j = 0; j < n; j++) highest = row[j] > highest ? row[j] : highest;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
      row[j] = exponential(row[j] - highest);
      sum += row[j];
    }
    const float share = 1.0f / sum;
#pragma omp simd
    for (int64_t j = 0; j < n; j++) row[j] *= share;
    for (int64_t j = n; j < cols; j++) row[j] = 0;
    lse[i * lse_step] = highest + std::log(sum);
  }
}

void probabilities(float* s, int64_t rows, int64_t cols, int64_t ld, int64_t limit, const float* lse,
                   int64_t lse_step) {
  for (int64_t i = 0; i < rows; i++) {
    float* row = s + i * ld;
    const int64_t n = seen(i, cols, limit);
    const float all = lse[i * lse_step];
#pragma omp simd
    for (int64_t j = 0; j < n; j++) row[j] = exponential(row[j] - all);
    for (int64_t j = n; j < cols; j++) row[j] = 0;
  }
}

void drop(float* x, int64_t rows, int64_t cols, int64_t ld, Mask mask, uint64_t start, uint64_t width) {
  for (int64_t i = 0; i < rows; i++)
    masked(x + i * ld, x + i * ld, cols, mask, start + static_cast<uint64_t>(i) * width);
}

void score_gradient(const float* p, float* d, int64_t rows, int64_t cols, int64_t ld, const float* delta,
                    int64_t delta_step, float scale) {
  for (int64_t i = 0; i < rows; i++) {
    const float* row = p + i * ld;
    float* out = d + i * ld;
    const float own = delta[i * delta_step];
#pragma omp simd
    for (int64_t j = 0; j < cols; j++) out[j] = row[j] * (out[j] - own) * scale;
  }
}

float dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

// In tiles of 16 x 16, which a compiler keeps in registers.
void transpose(const float* from, int64_t ld, float* to, int64_t ld_to, int64_t rows, int64_t cols) {
  const int64_t tile = 16;
  for (int64_t i = 0; i < rows; i += tile) {
    for (int64_t j = 0; j < cols; j += tile) {
      const float* source = from + i * ld + j;
      float* target = to + j * ld_to + i;
      if (i + tile > rows || j + tile > cols) {
        for (int64_t c = 0; c < cols - j && c < tile; c++)
          for (int64_t r = 0; r < rows - i && r < tile; r++) target[c * ld_to + r] = source[r * ld + c];
        continue;
      }
      float block[tile][tile];
      for (int64_t r = 0; r < tile; r++)
        for (int64_t c = 0; c < tile; c++) block[c][r] = source[r * ld + c];
      for (int64_t c = 0; c < tile; c++) std::memcpy(target + c * ld_to, block[c], sizeof block[c]);
    }
  }
}

void widen(const uint16_t* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = from_bits(static_cast<uint32_t>(from[i]) << 16);
}

void narrow(const float* from, uint16_t* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const uint32_t bits = to_bits(from[i]);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    // A NaN stays one: rounding could carry its bits away.
    to[i] = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
  }
}

void dropped(const float* x, float* y, int64_t n, Mask mask, uint64_t start) { masked(x, y, n, mask, start); }

void add_norm(const float* a, const float* x, const float* weight, const float* bias, float* sum, float* y, int64_t n,
              float eps, float* mean, float* rstd) {
  for (int64_t i = 0; i < n; i++) sum[i] = a[i] + x[i];
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; i++) total += sum[i];
  const float middle = total / static_cast<float>(n);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; i++) squares += (sum[i] - middle) * (sum[i] - middle);
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; i++) y[i] = (sum[i] - middle) * inverse * weight[i] + bias[i];
  *mean = middle;
  *rstd = inverse;
}

void norm_gradient(const float* dy, const float* sum, const float* weight, float* dsum, int64_t n, float mean,
                   float rstd, float* dweight, float* dbias) {
  float plain = 0, along = 0;
#pragma omp simd reduction(+ : plain, along)
  for (int64_t i = 0; i < n; i++) {
    const float g = dy[i] * weight[i];
    plain += g;
    along += g * ((sum[i] - mean) * rstd);
  }
  if (dweight)
    for (int64_t i = 0; i < n; i++) dweight[i] += dy[i] * ((sum[i] - mean) * rstd);
  if (dbias)
    for (int64_t i = 0; i < n; i++) dbias[i] += dy[i];
  plain /= static_cast<float>(n);
  along /= static_cast<float>(n);
  for (int64_t i = 0; i < n; i++) dsum[i] = (dy[i] * weight[i] - plain - (sum[i] - mean) * rstd * along) * rstd;
}

float cross_entropy(float* logits, int64_t n, int64_t target, float smoothing, float scale) {
  float highest = logits[0], plain = 0;
#pragma omp simd reduction(max : highest) reduction(+ : plain)
  for (int64_t j = 0; j < n; j++) {
    highest = logits[j] > highest ? logits[j] : highest;
    plain += logits[j];
  }
  const float own = logits[target];
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; j++) {
    const float e = exponential(logits[j] - highest);
    logits[j] = e;
    sum += e;
  }
  const float lse = highest + std::log(sum);
  if (scale != 0.0f) {
    const float share = scale / sum, spread = scale * smoothing / static_cast<float>(n);
#pragma omp simd
    for (int64_t j = 0; j < n; j++) logits[j] = logits[j] * share - spread;
    logits[target] -= scale * (1.0f - smoothing);
  }
  return lse - (1.0f - smoothing) * own - smoothing * (plain / static_cast<float>(n));
}

void relative(float* s, int64_t keys, const int32_t* at, int32_t first, const float* cp, const float* pc, int64_t reach,
              float scale) {
  if (cp)
    for (int64_t j = 0; j < keys; j++) s[j] += cp[at[-j] - first];
  if (pc)
    for (int64_t j = 0; j < keys; j++) s[j] += pc[j * reach + (at[-j] - first)];
  for (int64_t j = 0; j < keys; j++) s[j] *= scale;
}

void adamw(float* p, float* g, float* m, float* v, int64_t n, const Adam& a) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    m[i] += a.fresh1 * (g[i] - m[i]);
    v[i] = v[i] * a.beta2 + g[i] * g[i] * a.fresh2;
    p[i] = (p[i] * a.before + a.rate * m[i] / (std::sqrt(v[i]) / a.root + a.eps)) * a.after;
    g[i] = 0;
  }
}

inline float number(const float* x, int64_t i) { return x[i]; }
inline float number(const uint16_t* x, int64_t i) { return from_bits(static_cast<uint32_t>(x[i]) << 16); }

// The width of a head as a constant for the compiler (0: any).
template <int64_t Width, typename T>
void scores_of(const Own& own, const T* keys, const float* q, float* scores, int64_t ld) {
  const int64_t width = Width ? Width : own.width;
  for (int64_t t = 0; t < own.count; t++) {
    for (int64_t b = 0; b < own.beams; b++) {
      const T* key = keys + t * own.step + own.table[b * own.table_step + t] * own.beam;
      for (int64_t row = b * own.group; row < (b + 1) * own.group; row++) {
        const float* query = q + row * width;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++) sum += query[i] * number(key, i);
        scores[row * ld + t] = sum;
      }
    }
  }
}

void own_scores(const Own& own, const float* q, float* scores, int64_t ld) {
  if (own.half)
    scores_of<0>(own, static_cast<const uint16_t*>(own.keys), q, scores, ld);
  else if (own.width == 64)
    scores_of<64>(own, static_cast<const float*>(own.keys), q, scores, ld);
  else
    scores_of<0>(own, static_cast<const float*>(own.keys), q, scores, ld);
}

template <typename T>
void values_of(const Own& own, const T* values, const float* p, int64_t ld, float* out) {
  for (int64_t t = 0; t < own.count; t++) {
    for (int64_t b = 0; b < own.beams; b++) {
      const T* value = values + t * own.step + own.table[b * own.table_step + t] * own.beam;
      for (int64_t row = b * own.group; row < (b + 1) * own.group; row++) {
        const float share = p[row * ld + t];
        float* sum = out + row * own.width;
#pragma omp simd
        for (int64_t i = 0; i < own.width; i++) sum[i] += share * number(value, i);
      }
    }
  }
}

// As above for heads of 64 numbers: a row's sum stays in registers, and its tokens in the cache.
void values_of_64(const Own& own, const float* values, const float* p, int64_t ld, float* out) {
  typedef float Part __attribute__((vector_size(64)));
  for (int64_t b = 0; b < own.beams; b++) {
    const int32_t* from = own.table + b * own.table_step;
    for (int64_t row = b * own.group; row < (b + 1) * own.group; row++) {
      Part sum[4], part[4];
      std::memcpy(sum, out + row * 64, sizeof sum);
      for (int64_t t = 0; t < own.count; t++) {
        std::memcpy(part, values + t * own.step + from[t] * own.beam, sizeof part);
        const float share = p[row * ld + t];
        for (int i = 0; i < 4; i++) sum[i] += share * part[i];
      }
      std::memcpy(out + row * 64, sum, sizeof sum);
    }
  }
}

void own_values(const Own& own, const float* p, int64_t ld, float* out) {
  if (own.half)
    values_of(own, static_cast<const uint16_t*>(own.values), p, ld, out);
  else if (own.width == 64)
    values_of_64(own, static_cast<const float*>(own.values), p, ld, out);
  else
    values_of(own, static_cast<const float*>(own.values), p, ld, out);
}

float block_maxima(const float* x, int64_t n, int64_t block, float* maxima) {
  float all = -__builtin_inff();
  for (int64_t start = 0; start < n; start += block) {
    const int64_t len = n - start < block ? n - start : block;
    float highest = -__builtin_inff();
#pragma omp simd reduction(max : highest)
    for (int64_t i = 0; i < len; i++) highest = x[start + i] > highest ? x[start + i] : highest;
    *maxima++ = highest;
    all = highest > all ? highest : all;
  }
  return all;
}

double exp_sum(const float* x, int64_t n, float shift) {
  double all = 0;
  for (int64_t start = 0; start < n; start += 1024) {
    const int64_t len = n - start < 1024 ? n - start : 1024;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < len; i++) sum += exponential(x[start + i] - shift);
    all += static_cast<double>(sum);
  }
  return all;
}

}  // namespace

extern const Kernels table;
const Kernels table = {softmax,  probabilities, drop,          score_gradient, dot,        transpose,  widen,   narrow,  dropped,
                       add_norm, norm_gradient, cross_entropy, relative,       adamw,      own_scores,   own_values,
                       block_maxima, exp_sum};

}  // namespace LORA_ISA
}  // namespace lora
