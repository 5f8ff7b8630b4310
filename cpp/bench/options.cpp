#include "bench/options.hpp"

#include <charconv>
#include <sstream>
#include <stdexcept>

namespace moe4j::bench {
namespace {

int64_t parse_integer(const std::string& option, const std::string& text, int64_t low,
                      int64_t high) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    throw std::invalid_argument(option + ": found \"" + text + "\", expected an integer from " +
                                std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

LayerCase parse_layer(const std::string& name) {
  std::string known;
  for (const LayerCase& layer : kLayers) {
    if (name == layer.name) return layer;
    known += std::string(known.empty() ? "" : ", ") + layer.name;
  }
  throw std::invalid_argument("--layer: found \"" + name + "\", expected one of " + known);
}

void parse_device(const std::string& text, Options* options) {
  if (text == "cpu") {
    options->device = MOE4J_CPU;
  } else if (text.rfind("cuda:", 0) == 0) {
    options->device = MOE4J_CUDA;
    options->device_index =
        static_cast<int32_t>(parse_integer("--device", text.substr(5), 0, 1023));
  } else {
    throw std::invalid_argument("--device: found \"" + text + "\", expected cpu or cuda:N");
  }
}

int32_t parse_activations(const std::string& text) {
  if (text == "bf16") return MOE4J_FORMAT_BF16;
  if (text == "fp8_per_token") return MOE4J_FORMAT_FP8_PER_TOKEN;
  if (text == "int8") return MOE4J_FORMAT_INT8;
  throw std::invalid_argument("--activations: found \"" + text +
                              "\", expected bf16, fp8_per_token or int8");
}

Skew parse_skew(const std::string& text) {
  if (text == "uniform") return Skew::kUniform;
  if (text == "zipf") return Skew::kZipf;
  throw std::invalid_argument("--routing: found \"" + text + "\", expected uniform or zipf");
}

}  // namespace

const char kUsage[] =
    "moe4j_bench [--layer NAME[,NAME]] [--tokens N[,N]] [--device cpu|cuda:N] [--threads N]\n"
    "            [--max-instruction-set NAME] [--activations bf16|fp8_per_token|int8]\n"
    "            [--tactic default|all|NAME] [--routing uniform|zipf] [--from-logits]\n"
    "            [--callers N] [--runs N] [--csv FILE] [--ceilings]\n";

Options parse_options(int argc, char** argv) {
  Options options;
  std::string layers = "gpt-oss-20b,Qwen3-30B-A3B";
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--ceilings") {
      options.only_ceilings = true;
      continue;
    }
    if (option == "--from-logits") {
      options.from_logits = true;
      continue;
    }
    if (i + 1 == argc) throw std::invalid_argument(option + ": unknown, or without its value");
    const std::string value = argv[++i];
    if (option == "--layer") {
      layers = value;
    } else if (option == "--tokens") {
      options.tokens.clear();
      for (const std::string& part : split(value)) {
        options.tokens.push_back(parse_integer(option, part, 1, 1 << 20));
      }
    } else if (option == "--device") {
      parse_device(value, &options);
    } else if (option == "--threads") {
      options.threads = static_cast<int32_t>(parse_integer(option, value, 0, 4096));
    } else if (option == "--max-instruction-set") {
      options.max_instruction_set = value;
    } else if (option == "--activations") {
      options.activation_format = parse_activations(value);
    } else if (option == "--tactic") {
      options.tactic = value;
    } else if (option == "--routing") {
      options.skew = parse_skew(value);
    } else if (option == "--callers") {
      options.callers = static_cast<int32_t>(parse_integer(option, value, 1, 64));
    } else if (option == "--runs") {
      options.runs = static_cast<int32_t>(parse_integer(option, value, 10, 100000));
    } else if (option == "--csv") {
      options.csv = value;
    } else {
      throw std::invalid_argument(option + ": unknown option");
    }
  }
  if (options.callers > 0 && options.device != MOE4J_CPU) {
    throw std::invalid_argument("--callers: found " + std::to_string(options.callers) +
                                ", expected none on CUDA devices");
  }
  for (const std::string& name : split(layers)) options.layers.push_back(parse_layer(name));
  return options;
}

}  // namespace moe4j::bench
