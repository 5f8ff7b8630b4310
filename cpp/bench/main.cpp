// Times whole layers with caches cold, and routing precomputed unless asked for; README.md has the
// commands.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <thread>

#include "bench/bench_layer.hpp"
#include "bench/ceilings.hpp"
#include "bench/launch_timer.hpp"
#include "bench/options.hpp"

namespace moe4j::bench {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

/** Launches differ in routing and rotate: what one leaves in the caches, the next does not need. */
constexpr int kLaunches = 8;

/** A processor is watched for so many seconds at least: its neighbours disturb it for tens of
 * milliseconds. */
constexpr double kLeastCpuSeconds = 0.1;

/** How often a caller makes all launches, so that starting its thread is little of it. */
constexpr size_t kCallerRounds = 8;

Device open_device(const Options& options) {
  if (options.device == MOE4J_CUDA) return Device::cuda(options.device_index);
  return Device::cpu(options.threads, options.max_instruction_set.c_str());
}

const char* units(const moe4j_device_info& info) {
  return info.kind == MOE4J_CPU ? "threads" : "multiprocessors";
}

struct Measurement {
  int64_t tokens;
  std::string tactic;
  double median;  // seconds
  double minimum;
  double active_experts;
};

class Report {
 public:
  Report(const Options& options, const moe4j_device_info& info, const Ceilings& ceilings)
      : options_(options),
        info_(info),
        ceilings_(ceilings),
        multiplier_(ceilings.best(options.activation_format == MOE4J_FORMAT_INT8)) {
    if (options.csv.empty()) return;
    const bool fresh = !std::ifstream(options.csv).good();
    csv_.open(options.csv, std::ios::app);
    if (!csv_) throw std::runtime_error("--csv: cannot write " + options.csv);
    if (fresh) {
      csv_ << "impl,format,layer,tokens,us,active_experts,weight_bytes,GB_s,TFLOP_s,"
              "fraction_of_floor,tactic,min_us,threads,routing,device,ceiling_GB_s,"
              "ceiling_TFLOP_s\n";
    }
  }

  void begin(const LayerCase& layer, double prepare_seconds) const {
    std::printf("\n%s, %s, %d %s, %s routing, prepared in %.2f s\n", layer.name,
                format_name(layer.weight_format), info_.compute_units, units(info_), routing_name(),
                prepare_seconds);
    std::printf("%7s %10s %10s %8s %8s %9s %7s  %s\n", "tokens", "median us", "min us", "experts",
                "GB/s", "GFLOP/s", "floor", "tactic");
  }

  void add(const LayerCase& layer, const Measurement& m) {
    const double bytes = m.active_experts * expert_bytes(layer);
    const double flops = layer_flops(layer, m.tokens);
    const double floor = std::max(bytes / ceilings_.read_bytes_per_second,
                                  flops / multiplier_.operations_per_second);
    std::printf("%7lld %10.1f %10.1f %8.1f %8.1f %9.1f %6.0f%%  %s\n",
                static_cast<long long>(m.tokens), m.median * 1e6, m.minimum * 1e6, m.active_experts,
                bytes / m.median * 1e-9, flops / m.median * 1e-9, floor / m.median * 100,
                m.tactic.c_str());
    std::fflush(stdout);
    if (!csv_.is_open()) return;
    csv_ << "moe4j," << format_name(layer.weight_format) << ',' << layer.name << ',' << m.tokens
         << ',' << m.median * 1e6 << ',' << m.active_experts << ',' << bytes << ','
         << bytes / m.median * 1e-9 << ',' << flops / m.median * 1e-12 << ',' << floor / m.median
         << ',' << m.tactic << ',' << m.minimum * 1e6 << ',' << info_.compute_units << ','
         << routing_name() << ',' << info_.name << ',' << ceilings_.read_bytes_per_second * 1e-9
         << ',' << multiplier_.operations_per_second * 1e-12 << std::endl;
  }

 private:
  const char* routing_name() const { return options_.skew == Skew::kUniform ? "uniform" : "zipf"; }

  const Options& options_;
  const moe4j_device_info& info_;
  const Ceilings& ceilings_;
  const MultiplyRate multiplier_;
  std::ofstream csv_;
};

/** The tactics that the options ask for. */
std::vector<int32_t> choose_tactics(const Options& options, const Device& device,
                                    const Layer& layer, int64_t tokens) {
  std::vector<int32_t> tactics = layer.tactics(tokens);
  if (options.tactic == "all") return tactics;
  if (options.tactic == "default") return {tactics.front()};
  for (const int32_t id : tactics) {
    if (device.tactic_name(id) == options.tactic) return {id};
  }
  throw std::runtime_error("--tactic: found \"" + options.tactic + "\", which is not offered for " +
                           std::to_string(tokens) + " tokens");
}

/** Seconds a launch of callers at once, or of one that launches without a pause: the time of all
 *  launches over their number. Each caller has a workspace of its own and begins with another
 * launch, so that none finds its weights in the caches for another's sake. */
double time_callers(const Layer& layer, const std::vector<std::unique_ptr<BenchLaunch>>& launches,
                    int32_t tactic, const std::vector<Buffer>& workspaces, bool from_logits) {
  std::vector<std::thread> callers;
  const auto begin = std::chrono::steady_clock::now();
  for (size_t caller = 0; caller < workspaces.size(); ++caller) {
    callers.emplace_back([&, caller] {
      for (size_t i = 0; i < kCallerRounds * launches.size(); ++i) {
        layer.launch(launches[(caller + i) % launches.size()]->args(tactic, workspaces[caller],
                                                                    from_logits));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
  return all.count() / static_cast<double>(callers.size() * kCallerRounds * launches.size());
}

Measurement measure(const Options& options, const Device& device, const LaunchTimer& timer,
                    const Layer& layer, const std::vector<std::unique_ptr<BenchLaunch>>& launches,
                    int64_t tokens, int32_t tactic) {
  std::vector<Buffer> workspaces;
  for (int32_t i = 0; i < std::max(options.callers, 1); ++i) {
    workspaces.emplace_back(device, layer.workspace_bytes(tactic, tokens));
  }
  const Buffer& workspace = workspaces[0];
  double active = 0;
  for (const auto& launch : launches) {
    active += static_cast<double>(launch->active_experts()) / static_cast<double>(launches.size());
  }
  const bool from_logits = options.from_logits;
  // Workspace pages, sleeping threads.
  timer.time(layer, launches.back()->args(tactic, workspace, from_logits));
  std::vector<double> seconds;
  double left = options.device == MOE4J_CPU ? kLeastCpuSeconds : 0;
  for (size_t run = 0; run < static_cast<size_t>(options.runs) || left > 0; ++run) {
    if (options.callers > 0) {
      seconds.push_back(time_callers(layer, launches, tactic, workspaces, from_logits));
    } else {
      const BenchLaunch& launch = *launches[run % launches.size()];
      seconds.push_back(timer.time(layer, launch.args(tactic, workspace, from_logits)));
    }
    left -= seconds.back();
  }
  std::sort(seconds.begin(), seconds.end());
  return {tokens, device.tactic_name(tactic), seconds[seconds.size() / 2], seconds.front(), active};
}

void run(const Options& options) {
  const Device device = open_device(options);
  const moe4j_device_info info = device.info();
  const Ceilings ceilings = measure_ceilings(info);
  std::printf("%s, %d %s, %s\n", info.name, info.compute_units, units(info), info.instruction_sets);
  std::printf("ceilings: memory %.1f GB/s", ceilings.read_bytes_per_second * 1e-9);
  for (const MultiplyRate& rate : ceilings.multipliers) {
    std::printf(", %s %.1f G%s/s", rate.name.c_str(), rate.operations_per_second * 1e-9,
                rate.int8 ? "op" : "FLOP");
  }
  std::printf("\n");
  if (options.only_ceilings) return;

  const LaunchTimer timer(device);
  Report report(options, info, ceilings);
  for (const LayerCase& layer_case : options.layers) {
    const PreparedLayer prepared = make_layer(device, layer_case, options.activation_format);
    const Layer& layer = prepared.layer;
    report.begin(layer_case, prepared.seconds);
    for (const int64_t tokens : options.tokens) {
      RoutingSource routing(layer_case.num_experts, options.skew, 7);
      std::vector<std::unique_ptr<BenchLaunch>> launches;
      for (int i = 0; i < kLaunches; ++i) {
        launches.push_back(std::make_unique<BenchLaunch>(
            device, layer_case, routing.draw(tokens, layer_case.top_k), tokens, 100 + i));
      }
      for (const int32_t tactic : choose_tactics(options, device, layer, tokens)) {
        report.add(layer_case, measure(options, device, timer, layer, launches, tokens, tactic));
      }
    }
  }
}

}  // namespace
}  // namespace moe4j::bench

int main(int argc, char** argv) {
  using namespace moe4j::bench;
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
    std::printf("%s", kUsage);
    return 0;
  }
  try {
    run(parse_options(argc, argv));
    return 0;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "moe4j_bench: %s\n%s", error.what(), kUsage);
    return kExitUsage;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "moe4j_bench: %s\n", error.what());
    return kExitFailure;
  }
}
