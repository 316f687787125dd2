// Where the time of a process goes, by classes of operations.
#pragma once
#include <cstdint>

namespace lora {

// The order is that of `OPERATIONS` in src/profile.rs.
enum class Operation : int { Product, Attention, Norm, Activation, Dropout, Loss, Optimiser, Memory, Other, Count };

// While it lives, the time belongs to `operation`, except what an inner one takes. Nothing happens unless a profile runs.
class Timed {
 public:
  Timed(Operation operation, const char* name, double flop = 0);
  ~Timed();
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  bool on_;
};

}  // namespace lora
