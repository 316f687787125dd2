#include "profile.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "native.h"

namespace lora {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<bool> profiling{false};

struct Total {
  double seconds;
  int64_t calls;
  double gflop;
};

struct Event {
  char name[48];
  int64_t operation;
  int64_t thread;
  double start_us;
  double length_us;
};

// What a profile gathers; `lock` guards all but `since`, which does not change while one runs.
struct Gathered {
  std::mutex lock;
  std::array<Total, static_cast<size_t>(Operation::Count)> totals{};
  std::vector<Event> events;
  size_t limit = 0;
  int64_t left_out = 0;
  Clock::time_point since;
  at::CallbackHandle callback = 0;
};

Gathered& gathered() {
  static Gathered all;
  return all;
}

double now_us() { return std::chrono::duration<double, std::micro>(Clock::now() - gathered().since).count(); }

int64_t thread_number() {
  static std::atomic<int64_t> next{0};
  thread_local const int64_t number = next++;
  return number;
}

struct Frame {
  Operation operation;
  const char* name;
  double flop;
  double start_us;
  double inner_us;
};

std::vector<Frame>& frames() {
  thread_local std::vector<Frame> stack;
  return stack;
}

void enter(Operation operation, const char* name, double flop) {
  frames().push_back({operation, name, flop, now_us(), 0});
}

void leave() {
  auto& stack = frames();
  if (stack.empty()) return;
  const Frame frame = stack.back();
  stack.pop_back();
  const double length = now_us() - frame.start_us;
  const bool outermost = stack.empty() || stack.back().operation != frame.operation;
  if (!stack.empty()) stack.back().inner_us += length;
  Gathered& all = gathered();
  const std::lock_guard<std::mutex> guard(all.lock);
  Total& total = all.totals[static_cast<size_t>(frame.operation)];
  total.seconds += (length - frame.inner_us) / 1e6;
  total.calls += outermost ? 1 : 0;
  total.gflop += frame.flop / 1e9;
  if (!outermost) return;
  if (all.events.size() >= all.limit) {
    all.left_out++;
    return;
  }
  Event event{};
  std::strncpy(event.name, frame.name, sizeof event.name - 1);
  event.operation = static_cast<int64_t>(frame.operation);
  event.thread = thread_number();
  event.start_us = frame.start_us;
  event.length_us = length;
  all.events.push_back(event);
}

struct Known {
  std::string_view beginning;
  Operation operation;
};

// The first whose beginning an operator's name has, behind its namespace and underscores.
constexpr Known KNOWN[] = {{"mm", Operation::Product},
                           {"addmm", Operation::Product},
                           {"bmm", Operation::Product},
                           {"baddbmm", Operation::Product},
                           {"addbmm", Operation::Product},
                           {"matmul", Operation::Product},
                           {"linear", Operation::Product},
                           {"mv", Operation::Product},
                           {"addmv", Operation::Product},
                           {"conv", Operation::Product},
                           {"scaled_dot_product", Operation::Attention},
                           {"softmax", Operation::Attention},
                           {"layer_norm", Operation::Norm},
                           {"native_layer_norm", Operation::Norm},
                           {"rms_norm", Operation::Norm},
                           {"gelu", Operation::Activation},
                           {"silu", Operation::Activation},
                           {"relu", Operation::Activation},
                           {"tanh", Operation::Activation},
                           {"dropout", Operation::Dropout},
                           {"native_dropout", Operation::Dropout},
                           {"bernoulli", Operation::Dropout},
                           {"log_softmax", Operation::Loss},
                           {"nll_loss", Operation::Loss},
                           {"cross_entropy", Operation::Loss},
                           {"mse_loss", Operation::Loss},
                           {"fused_adamw", Operation::Optimiser},
                           {"empty", Operation::Memory},
                           {"zero", Operation::Memory},
                           {"fill", Operation::Memory},
                           {"copy", Operation::Memory},
                           {"to", Operation::Memory},
                           {"clone", Operation::Memory},
                           {"contiguous", Operation::Memory},
                           {"cat", Operation::Memory},
                           {"stack", Operation::Memory},
                           {"index", Operation::Memory},
                           {"gather", Operation::Memory},
                           {"embedding", Operation::Memory}};

Operation classed(std::string_view name) {
  const size_t space = name.find("::");
  if (space != std::string_view::npos) name.remove_prefix(space + 2);
  while (!name.empty() && name.front() == '_') name.remove_prefix(1);
  for (const Known& known : KNOWN)
    if (name.substr(0, known.beginning.size()) == known.beginning) return known.operation;
  return Operation::Other;
}

// The additions and multiplications of mm(a, b), addmm(_, a, b), bmm(a, b) and baddbmm(_, a, b), in place or not; 0 for others,
// which call these.
double flop(const at::RecordFunction& call) {
  std::string_view name = call.name();
  if (name.back() == '_') name.remove_suffix(1);
  const bool two = name == "aten::mm" || name == "aten::bmm";
  const bool three = name == "aten::addmm" || name == "aten::baddbmm";
  if (!two && !three) return 0;
  const auto inputs = call.inputs();  // which other calls may not have
  const size_t first = two ? 0 : 1;
  if (inputs.size() < first + 2 || !inputs[first].isTensor() || !inputs[first + 1].isTensor()) return 0;
  const at::Tensor &a = inputs[first].toTensor(), &b = inputs[first + 1].toTensor();
  return 2.0 * static_cast<double>(a.numel()) * static_cast<double>(b.size(-1));
}

std::unique_ptr<at::ObserverContext> operator_starts(const at::RecordFunction& call) {
  enter(classed(call.name()), call.name(), flop(call));
  return nullptr;
}

void operator_ends(const at::RecordFunction&, at::ObserverContext*) { leave(); }

}  // namespace

Timed::Timed(Operation operation, const char* name, double flop) : on_(profiling.load(std::memory_order_relaxed)) {
  if (on_) enter(operation, name, flop);
}

Timed::~Timed() {
  if (on_) leave();
}

}  // namespace lora

// Starts a profile that keeps at most `limit` events.
extern "C" void lora_profile_start(int64_t limit) {
  using namespace lora;
  Gathered& all = gathered();
  const std::lock_guard<std::mutex> guard(all.lock);
  all.totals = {};
  all.events.clear();
  all.limit = static_cast<size_t>(limit);
  all.left_out = 0;
  all.since = Clock::now();
  all.callback = at::addGlobalCallback(
      at::RecordFunctionCallback(operator_starts, operator_ends).scopes({at::RecordScope::FUNCTION}).needsInputs(true));
  profiling = true;
}

// Ends it and returns the number of events kept; `left_out` becomes that of the others, and `totals` has one element a class.
extern "C" int64_t lora_profile_stop(lora::Total* totals, int64_t* left_out) {
  using namespace lora;
  profiling = false;
  Gathered& all = gathered();
  at::removeCallback(all.callback);
  const std::lock_guard<std::mutex> guard(all.lock);
  std::copy(all.totals.begin(), all.totals.end(), totals);
  *left_out = all.left_out;
  return static_cast<int64_t>(all.events.size());
}

// Copies the events of the profile that has ended, `count` of them.
extern "C" void lora_profile_events(lora::Event* events, int64_t count) {
  using namespace lora;
  Gathered& all = gathered();
  const std::lock_guard<std::mutex> guard(all.lock);
  std::copy_n(all.events.begin(), std::min<size_t>(count, all.events.size()), events);
}

// Microseconds since the profile started, and the number of this thread.
extern "C" double lora_profile_now() { return lora::now_us(); }
extern "C" int64_t lora_profile_thread() { return lora::thread_number(); }
