// Layers and launches drawn at random, with the memory that they borrow.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "launchers/oracle.hpp"
#include "moe4j/moe4j.hpp"

namespace moe4j::test {

/** A seeded source of what tests need. Reproducible on every platform. */
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t bits() { return engine_(); }
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<int64_t>(values.size()) - 1)];
  }
  /** Uniform in [low, high). */
  float real(double low, double high) {
    return static_cast<float>(low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53);
  }
  /** About normal, standard deviation 1. */
  float normal() { return (real(-3, 3) + real(-3, 3) + real(-3, 3)) / 3; }
  uint16_t bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return static_cast<uint16_t>(bits >> 16);
  }
  std::vector<int32_t> distinct(int32_t count, int32_t limit) {
    std::vector<int32_t> all(static_cast<size_t>(limit));
    std::iota(all.begin(), all.end(), 0);
    for (int32_t i = 0; i < count; ++i) {
      std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(between(i, limit - 1))]);
    }
    all.resize(static_cast<size_t>(count));
    return all;
  }

 private:
  std::mt19937_64 engine_;
};

/** Bytes that live as long as the case they belong to. */
class Storage {
 public:
  template <class T>
  T* make(int64_t count) {
    pieces_.emplace_back(static_cast<size_t>(count) * sizeof(T) / sizeof(uint64_t) + 1);
    return reinterpret_cast<T*>(pieces_.back().data());
  }

 private:
  std::deque<std::vector<uint64_t>> pieces_;
};

inline int64_t block_of(int32_t format) {
  if (format == MOE4J_FORMAT_NVFP4) return 16;
  return format == MOE4J_FORMAT_BF16 || format == MOE4J_FORMAT_FP8_PER_TOKEN ? 1 : 32;
}

/** Codes and scales of [rows, K], with rows `stride` rows apart. */
inline moe4j_matrix random_matrix(Random& random, Storage& storage, int32_t format, int64_t rows,
                                  int64_t k, int64_t stride) {
  moe4j_matrix matrix = {};
  matrix.bias_stride = stride;
  matrix.tensor_scale = 1;
  if (format == MOE4J_FORMAT_BF16) {
    auto* codes = storage.make<uint16_t>(rows * stride * k);
    const float spread = 1 / std::sqrt(static_cast<float>(k));
    for (int64_t i = 0; i < rows * stride * k; ++i)
      codes[i] = random.bf16(random.normal() * spread);
    matrix.codes = codes;
    matrix.row_stride = stride * k * 2;
  } else {
    auto* codes = storage.make<uint8_t>(rows * stride * k / 2);
    for (int64_t i = 0; i < rows * stride * k / 2; ++i) {
      codes[i] = static_cast<uint8_t>(random.between(0, 255));
    }
    const int64_t blocks = k / block_of(format);
    auto* scales = storage.make<uint8_t>(rows * stride * blocks);
    for (int64_t i = 0; i < rows * stride * blocks; ++i) {
      int64_t scale =
          format == MOE4J_FORMAT_NVFP4 ? random.between(0x30, 0x48) : random.between(120, 124);
      if (format == MOE4J_FORMAT_NVFP4 && random.chance(10)) {
        scale = random.between(0, 0x50) | (random.chance(50) ? 0x80 : 0);  // subnormal, negative
      }
      scales[i] = static_cast<uint8_t>(scale);
    }
    matrix.codes = codes;
    matrix.row_stride = stride * k / 2;
    matrix.scales = scales;
    matrix.scale_row_stride = stride * blocks;
    if (format == MOE4J_FORMAT_NVFP4) {
      matrix.tensor_scale = random.real(0.2, 0.6) / std::sqrt(static_cast<float>(k));
    }
  }
  return matrix;
}

inline void add_random_bias(Random& random, Storage& storage, int64_t rows, moe4j_matrix* matrix) {
  const int64_t count = rows * matrix->bias_stride;
  matrix->bias_dtype = random.one_of({MOE4J_F32, MOE4J_BF16});
  if (matrix->bias_dtype == MOE4J_F32) {
    auto* bias = storage.make<float>(count);
    for (int64_t i = 0; i < count; ++i) bias[i] = random.normal();
    matrix->bias = bias;
  } else {
    auto* bias = storage.make<uint16_t>(count);
    for (int64_t i = 0; i < count; ++i) bias[i] = random.bf16(random.normal());
    matrix->bias = bias;
  }
}

/** A description and the weights of all experts it holds. */
struct RandomLayer {
  /** Draws the weights alone. */
  RandomLayer(Random& random, const moe4j_layer_desc& fixed) : desc(fixed) { draw_experts(random); }

  /** Draws everything that is not given. */
  RandomLayer(Random& random, int32_t weight_format, int32_t activation_format, int32_t activation)
      : desc(default_layer_desc()) {
    desc.weight_format = weight_format;
    desc.activation_format = activation_format;
    desc.activation = activation;
    const int64_t block = std::max(block_of(weight_format), block_of(activation_format));
    const int64_t most = 200;
    desc.hidden_size = static_cast<int32_t>(random.between(1, most / block) * block);
    desc.intermediate_size = static_cast<int32_t>(random.between(1, most / block) * block);
    desc.num_experts = static_cast<int32_t>(random.between(1, 9));
    desc.top_k = static_cast<int32_t>(random.between(1, std::min(desc.num_experts, 4)));
    desc.local_num_experts = desc.num_experts;
    if (random.chance(25)) {
      desc.routing_method = MOE4J_ROUTING_DEEPSEEK_V3;
      desc.n_group = desc.topk_group = 1;
      desc.routed_scaling_factor = 2.5f;
      desc.num_fused_shared_experts = static_cast<int32_t>(random.between(0, 2));
    } else if (random.chance(30)) {
      desc.local_num_experts = static_cast<int32_t>(random.between(1, desc.num_experts));
      desc.local_expert_offset =
          static_cast<int32_t>(random.between(0, desc.num_experts - desc.local_num_experts));
    }
    draw_experts(random);
  }

  bool gated() const { return desc.activation != MOE4J_RELU2 && desc.activation != MOE4J_IDENTITY; }

  void draw_experts(Random& random) {
    const bool biases = random.chance(50);
    for (int32_t e = 0; e < desc.local_num_experts + desc.num_fused_shared_experts; ++e) {
      moe4j_expert_weights w = default_expert_weights();
      const int64_t i = desc.intermediate_size;
      const int64_t h = desc.hidden_size;
      const bool interleaved = gated() && random.chance(50);
      w.gate = random_matrix(random, storage, desc.weight_format, i, h, interleaved ? 2 : 1);
      if (biases) add_random_bias(random, storage, i, &w.gate);
      if (interleaved) {
        w.up = w.gate;
        w.up.codes = static_cast<const uint8_t*>(w.gate.codes) + w.gate.row_stride / 2;
        if (w.gate.scales != nullptr) {
          w.up.scales = static_cast<const uint8_t*>(w.gate.scales) + w.gate.scale_row_stride / 2;
        }
        if (w.gate.bias != nullptr) {
          w.up.bias =
              static_cast<const uint8_t*>(w.gate.bias) + (w.gate.bias_dtype == MOE4J_F32 ? 4 : 2);
        }
      } else if (gated()) {
        w.up = random_matrix(random, storage, desc.weight_format, i, h, 1);
        if (biases && random.chance(80)) add_random_bias(random, storage, i, &w.up);
      }
      if (desc.weight_format == MOE4J_FORMAT_NVFP4 && gated()) w.up.tensor_scale *= 3;
      w.down = random_matrix(random, storage, desc.weight_format, h, i, 1);
      if (biases) add_random_bias(random, storage, h, &w.down);
      w.input_scale = random.real(1e-3, 2e-3);
      w.intermediate_scale = random.real(1e-3, 4e-3);
      if (desc.activation == MOE4J_SWIGLU || desc.activation == MOE4J_SITU) {
        w.alpha = random.real(0.5, 2);
        w.beta = desc.activation == MOE4J_SITU ? random.real(0.5, 2) : random.real(-1, 1);
      }
      if ((desc.activation == MOE4J_SWIGLU || desc.activation == MOE4J_GEGLU) &&
          random.chance(50)) {
        w.limit = random.real(0.5, 2);
      }
      if (!gated()) w.up = {};
      experts.push_back(w);
    }
  }

  /** A sealed layer on a device. */
  Layer load(const Device& device) const {
    Layer layer(device, desc);
    for (size_t e = 0; e < experts.size(); ++e) {
      layer.set_expert(static_cast<int32_t>(e), experts[e]);
    }
    layer.seal();
    return layer;
  }

  int64_t slots() const { return desc.top_k + desc.num_fused_shared_experts; }

  moe4j_layer_desc desc;
  std::vector<moe4j_expert_weights> experts;
  Storage storage;
};

/** A layer of chosen sizes, with everything else as it is by default. */
inline RandomLayer sized_layer(Random& random, int32_t weight_format, int32_t activation_format,
                               int32_t activation, int32_t hidden_size, int32_t intermediate_size,
                               int32_t num_experts, int32_t top_k) {
  moe4j_layer_desc desc = default_layer_desc();
  desc.weight_format = weight_format;
  desc.activation_format = activation_format;
  desc.activation = activation;
  desc.hidden_size = hidden_size;
  desc.intermediate_size = intermediate_size;
  desc.num_experts = desc.local_num_experts = num_experts;
  desc.top_k = top_k;
  return RandomLayer(random, desc);
}

/** The inputs of a launch. */
struct RandomInputs {
  RandomInputs(Random& random, const RandomLayer& layer, int64_t tokens)
      : args(default_launch_args(tokens)) {
    const moe4j_layer_desc& desc = layer.desc;
    draw_routing(random, desc);
    draw_hidden_states(random, desc);
    if (random.chance(30)) {
      auto* scales = storage.make<float>(tokens);
      for (int64_t t = 0; t < tokens; ++t) scales[t] = random.real(0.5, 2);
      args.per_token_scale = scales;
    }
    if (random.chance(30)) {
      const int64_t count = tokens * desc.top_k * desc.intermediate_size * (layer.gated() ? 2 : 1);
      auto* delta = storage.make<uint16_t>(count);
      for (int64_t i = 0; i < count; ++i) delta[i] = random.bf16(random.normal());
      args.gemm1_lora_delta = delta;
    }
    if (random.chance(30)) {
      auto* addend = storage.make<float>(tokens * desc.hidden_size);
      for (int64_t i = 0; i < tokens * desc.hidden_size; ++i) addend[i] = random.normal();
      args.addend = addend;
    }
    args.output_dtype = random.one_of({MOE4J_BF16, MOE4J_F32});
  }

  void draw_routing(Random& random, const moe4j_layer_desc& desc) {
    const int64_t chosen = args.tokens * desc.top_k;
    args.routing_mode = random.one_of({MOE4J_FROM_LOGITS, MOE4J_PACKED, MOE4J_UNPACKED});
    if (args.routing_mode == MOE4J_FROM_LOGITS) {
      auto* logits = storage.make<float>(args.tokens * desc.num_experts);
      for (int64_t i = 0; i < args.tokens * desc.num_experts; ++i) logits[i] = random.normal();
      args.routing_logits = logits;
      return;
    }
    auto* packed = storage.make<int32_t>(chosen);
    auto* chosen_ids = storage.make<int32_t>(chosen);
    auto* bf16_weights = storage.make<uint16_t>(chosen);
    auto* f32_weights = storage.make<float>(chosen);
    for (int64_t t = 0; t < args.tokens; ++t) {
      const std::vector<int32_t> ids = random.distinct(desc.top_k, desc.num_experts);
      for (int64_t i = 0; i < desc.top_k; ++i) {
        const int64_t slot = t * desc.top_k + i;
        chosen_ids[slot] = ids[static_cast<size_t>(i)];
        f32_weights[slot] = random.real(0.1, 1);
        bf16_weights[slot] = random.bf16(f32_weights[slot]);
        packed[slot] = chosen_ids[slot] << 16 | bf16_weights[slot];
      }
    }
    if (args.routing_mode == MOE4J_PACKED) {
      args.topk_packed = packed;
    } else {
      args.topk_ids = chosen_ids;
      args.topk_weights_dtype = random.one_of({MOE4J_F32, MOE4J_BF16});
      args.topk_weights = args.topk_weights_dtype == MOE4J_F32
                              ? static_cast<const void*>(f32_weights)
                              : bf16_weights;
    }
  }

  void draw_hidden_states(Random& random, const moe4j_layer_desc& desc) {
    const int64_t count = args.tokens * desc.hidden_size;
    const bool only_inside =
        block_of(desc.activation_format) == 1 || desc.activation_format == MOE4J_FORMAT_INT8;
    if (only_inside || random.chance(50)) {
      auto* states = storage.make<uint16_t>(count);
      for (int64_t i = 0; i < count; ++i) states[i] = random.bf16(random.normal());
      args.hidden_states = states;
      return;
    }
    const bool nvfp4 = desc.activation_format == MOE4J_FORMAT_NVFP4;
    const int64_t bytes = nvfp4 ? count / 2 : count;
    auto* codes = storage.make<uint8_t>(bytes);
    for (int64_t i = 0; i < bytes; ++i) {
      const int64_t code = random.between(0, 255);
      codes[i] = static_cast<uint8_t>(nvfp4 || (code & 0x7F) != 0x7F ? code : 0);
    }
    const int64_t blocks = count / block_of(desc.activation_format);
    auto* scales = storage.make<uint8_t>(blocks);
    for (int64_t i = 0; i < blocks; ++i) {
      scales[i] = static_cast<uint8_t>(nvfp4 ? random.between(0, 0x40) : random.between(115, 119));
    }
    args.hidden_states_format = desc.activation_format;
    args.hidden_states = codes;
    args.hidden_states_scale = scales;
    args.hidden_states_tensor_scale = nvfp4 ? 0.25f : 1.0f;
  }

  moe4j_launch_args args;
  Storage storage;
};

}  // namespace moe4j::test
