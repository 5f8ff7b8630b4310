// Runs two tokens through an MXFP4 layer of two experts whose result is known by heart.
//
// Every weight is 1 (code 2, scale 2^0) and the activation is the identity, so that with x = 1 the
// intermediate is H, an expert's output is H * I, and so is the weighted sum when the weights add
// up to 1.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "moe4j/moe4j.hpp"

namespace {

constexpr int32_t kHidden = 64;
constexpr int32_t kIntermediate = 32;
constexpr int64_t kTokens = 2;

moe4j_matrix matrix_of_ones(const std::vector<uint8_t>& codes, const std::vector<uint8_t>& scales,
                            int32_t k) {
  moe4j_matrix matrix{};
  matrix.codes = codes.data();
  matrix.row_stride = k / 2;
  matrix.scales = scales.data();
  matrix.scale_row_stride = k / 32;
  matrix.tensor_scale = 1;
  matrix.bias_stride = 1;
  return matrix;
}

int run() {
  const moe4j::Device device = moe4j::Device::cpu(2);
  moe4j_layer_desc desc = moe4j::default_layer_desc();
  desc.weight_format = MOE4J_FORMAT_MXFP4;
  desc.hidden_size = kHidden;
  desc.intermediate_size = kIntermediate;
  desc.num_experts = desc.local_num_experts = 2;
  desc.top_k = 2;
  desc.activation = MOE4J_IDENTITY;

  const std::vector<uint8_t> codes(kHidden * kIntermediate / 2, 0x22);
  const std::vector<uint8_t> scales(kHidden * kIntermediate / 32, 127);
  moe4j::Layer layer(device, desc);
  for (int32_t expert = 0; expert < 2; ++expert) {
    moe4j_expert_weights weights = moe4j::default_expert_weights();
    weights.gate = matrix_of_ones(codes, scales, kHidden);
    weights.down = matrix_of_ones(codes, scales, kIntermediate);
    layer.set_expert(expert, weights);
  }
  layer.seal();

  const std::vector<uint16_t> ones(kTokens * kHidden, 0x3F80);
  const std::vector<float> logits = {0, 1, 2, -3};
  const moe4j::Buffer hidden_states(device, ones.data(), kTokens * kHidden);
  const moe4j::Buffer routing_logits(device, logits.data(), kTokens * 2);
  const moe4j::Buffer output(device, kTokens * kHidden * 4);

  moe4j_launch_args args = moe4j::default_launch_args(kTokens);
  args.tactic = layer.tactics(kTokens).front();
  const moe4j::Buffer workspace(device, layer.workspace_bytes(args.tactic, kTokens));
  args.routing_logits = routing_logits.data();
  args.hidden_states = hidden_states.data();
  args.output = output.data();
  args.output_dtype = MOE4J_F32;
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.bytes();
  layer.launch(args);

  std::vector<float> result(kTokens * kHidden);
  output.copy_to_host(result.data(), kTokens * kHidden);
  for (const float value : result) {
    if (std::fabs(value - kHidden * kIntermediate) > 1) {
      std::fprintf(stderr, "found %g, expected %d\n", static_cast<double>(value),
                   kHidden * kIntermediate);
      return 1;
    }
  }
  std::printf("moe4j %s: %s on %s\n", moe4j_version(), device.tactic_name(args.tactic).c_str(),
              device.info().name);
  return 0;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const moe4j::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
