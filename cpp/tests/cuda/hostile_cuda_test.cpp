// Contents of device memory that a host cannot check: what they may cost, and what they must not.
#include <deque>
#include <limits>
#include <string>
#include <type_traits>

#include "cuda/fused_moe_cuda.hpp"

namespace moe4j::test {
namespace {

constexpr int64_t kTokenCounts[] = {1, 8, 70};

class HostileCuda : public FusedMoeCuda {
 protected:
  /** `args` with precomputed routing instead of its own. */
  static moe4j_launch_args with_routing(moe4j_launch_args args, const std::vector<int32_t>& ids,
                                        const std::vector<float>& weights) {
    args.routing_logits = nullptr;
    args.topk_packed = nullptr;
    args.routing_mode = MOE4J_UNPACKED;
    args.topk_ids = ids.data();
    args.topk_weights_dtype = MOE4J_F32;
    args.topk_weights = weights.data();
    return args;
  }

  /** Values of the output where slots with ids that are no local expert, or repeated, are absent.
   */
  static std::vector<double> present_slots(const RandomLayer& drawn, const moe4j_launch_args& args,
                                           const std::vector<int32_t>& ids,
                                           const std::vector<float>& weights) {
    const Oracle oracle(drawn);
    const moe4j_layer_desc& desc = drawn.desc;
    const auto h = static_cast<size_t>(desc.hidden_size);
    const Matrix x = oracle_hidden_states(desc, args);
    std::vector<double> expected(static_cast<size_t>(args.tokens) * h);
    for (int64_t t = 0; t < args.tokens; ++t) {
      double* sum = expected.data() + static_cast<size_t>(t) * h;
      for (size_t i = 0; i < h && args.addend != nullptr; ++i) {
        sum[i] = args.addend[static_cast<size_t>(t) * h + i];
      }
      for (int64_t s = 0; s < desc.top_k; ++s) {
        const auto slot = static_cast<size_t>(t * desc.top_k + s);
        const auto begin = ids.begin() + t * desc.top_k;
        const bool repeated = std::find(begin, begin + s, ids[slot]) != begin + s;
        if (ids[slot] < 0 || ids[slot] >= desc.num_experts || repeated) continue;
        const auto y = oracle.slot_output(args, x, t, s, ids[slot]);
        for (size_t i = 0; i < y.size(); ++i) sum[i] += static_cast<double>(weights[slot]) * y[i];
      }
    }
    return expected;
  }

  void expect_values(const RandomLayer& drawn, const moe4j_launch_args& args,
                     const std::vector<double>& expected) {
    const Layer layer = drawn.load(device());
    DeviceRun run(device(), layer, drawn.desc, args);
    for (const auto& [name, id] : named_tactics(device(), layer, args.tokens)) {
      SCOPED_TRACE(name + " tokens " + std::to_string(args.tokens));
      run.poison();
      run.launch(id);
      expect_near_oracle(drawn.desc, name, run.values(), expected);
    }
  }
};

/** Their weights do not count either, even where they are NaN. */
TEST_F(HostileCuda, IdsOutOfRangeOrRepeatedContributeNothing) {
  Random random(17);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 128, 128, 7, 4);
  for (const int64_t tokens : kTokenCounts) {
    const RandomInputs inputs(random, drawn, tokens);
    std::vector<int32_t> ids;
    std::vector<float> weights;
    for (int64_t i = 0; i < tokens * 4; ++i) {
      ids.push_back(random.one_of({0, 1, 2, 3, 4, 5, 6, 7, -1, 99, 0x7FFFFFFF, -0x7FFFFFFF - 1}));
      const bool hostile = ids.back() < 0 || ids.back() >= 7;
      weights.push_back(hostile ? std::nanf("") : random.real(0.1, 1));
    }
    const moe4j_launch_args args = with_routing(inputs.args, ids, weights);
    expect_values(drawn, args, present_slots(drawn, args, ids, weights));
  }
}

TEST_F(HostileCuda, PackedIdsOutOfRangeOrRepeatedContributeNothing) {
  Random random(18);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 128, 128, 7, 4);
  for (const int64_t tokens : kTokenCounts) {
    const RandomInputs inputs(random, drawn, tokens);
    std::vector<int32_t> ids, packed;
    std::vector<float> weights;
    for (int64_t i = 0; i < tokens * 4; ++i) {
      ids.push_back(random.one_of({0, 1, 2, 3, 4, 5, 6, 7, -1, 99, 0x7FFF, -0x8000}));
      const uint16_t weight = random.bf16(random.real(0.1, 1));
      weights.push_back(static_cast<float>(oracle_bf16(weight)));
      packed.push_back(static_cast<int32_t>(static_cast<uint32_t>(ids.back()) << 16 | weight));
    }
    moe4j_launch_args args = with_routing(inputs.args, ids, weights);
    const std::vector<double> expected = present_slots(drawn, args, ids, weights);
    args.topk_ids = nullptr;
    args.topk_weights = nullptr;
    args.routing_mode = MOE4J_PACKED;
    args.topk_packed = packed.data();
    expect_values(drawn, args, expected);
  }
}

TEST_F(HostileCuda, AllTokensMayChooseOneExpert) {
  Random random(19);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 128, 64, 64, 1);
  for (const int64_t tokens : {1, 8, 700}) {
    const RandomInputs inputs(random, drawn, tokens);
    const std::vector<int32_t> ids(static_cast<size_t>(tokens), 41);
    const std::vector<float> weights(static_cast<size_t>(tokens), 0.5f);
    expect_oracle_output(drawn, with_routing(inputs.args, ids, weights));
  }
}

/** Tiles of all widths in one launch, which kernels of a tactic may share: 10 to 800 tokens. */
TEST_F(HostileCuda, SomeExpertsMayBeFarMorePopular) {
  Random random(24);
  constexpr int64_t kTokens = 2000;
  constexpr int32_t kExperts = 40;
  for (const auto& [weight_format, activation_format] :
       {std::pair{MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16},
        std::pair{MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16},
        std::pair{MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN},
        std::pair{MOE4J_FORMAT_BF16, MOE4J_FORMAT_BF16}}) {
    const RandomLayer drawn =
        sized_layer(random, weight_format, activation_format, MOE4J_SWIGLU, 448, 192, kExperts, 1);
    const RandomInputs inputs(random, drawn, kTokens);
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < kTokens; ++t) {
      const double u = random.real(0, 1);
      ids.push_back(std::min(static_cast<int32_t>(kExperts * u * u * u * u), kExperts - 1));
    }
    const std::vector<float> weights(static_cast<size_t>(kTokens), 0.5f);
    expect_oracle_output(drawn, with_routing(inputs.args, ids, weights));
  }
}

/** Another device holds every expert that was chosen: this one adds nothing. */
TEST_F(HostileCuda, AllExpertsMayBeElsewhere) {
  Random random(20);
  RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 128, 64, 4, 2);
  drawn.desc.num_experts = 64;
  drawn.desc.local_expert_offset = 32;
  const Layer layer = drawn.load(device());
  for (const int64_t tokens : kTokenCounts) {
    RandomInputs inputs(random, drawn, tokens);
    inputs.args.addend = nullptr;
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < tokens; ++t) ids.insert(ids.end(), {31, 36});  // around 32..35
    const std::vector<float> weights(ids.size(), 0.5f);
    DeviceRun run(device(), layer, drawn.desc, with_routing(inputs.args, ids, weights));
    const PoisonedBuffer rows(device(), tokens * 2 * 128 * 2);
    const PoisonedBuffer expert_weights(device(), tokens * 2 * 4);
    const PoisonedBuffer permuted(device(), tokens * 2 * 4);
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name);
      run.poison();
      run.launch(id);
      for (const double v : run.values()) ASSERT_EQ(v, 0);
    }
    run.args.do_finalize = 0;
    run.args.output = nullptr;
    run.args.permuted_output = rows.data();
    run.args.expert_weights = static_cast<float*>(expert_weights.data());
    run.args.expanded_to_permuted = static_cast<int32_t*>(permuted.data());
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name);
      permuted.poison();
      run.launch(id);
      for (const int32_t row : permuted.read<int32_t>()) ASSERT_EQ(row, -1);
    }
  }
}

TEST_F(HostileCuda, NanLogitsAreNeverChosen) {
  Random random(18);
  for (int32_t method = 0; method < 10; ++method) {
    RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 64,
                                    64, 6, method == MOE4J_ROUTING_LLAMA4 ? 1 : 3);
    drawn.desc.routing_method = method;
    const Layer layer = drawn.load(device());
    RandomInputs inputs(random, drawn, 3);
    std::vector<float> logits(18, std::nanf(""));
    logits[6 + 2] = 1;  // token 1 has one expert left
    for (size_t e = 12; e < 18; ++e) logits[e] = static_cast<float>(e % 5);
    logits[14] = std::nanf("");
    moe4j_launch_args args = with_logits(inputs.args, logits);
    args.addend = nullptr;
    DeviceRun run(device(), layer, drawn.desc, args);
    for (const auto& [name, id] : named_tactics(device(), layer, 3)) {
      SCOPED_TRACE(name + " method " + std::to_string(method));
      run.poison();
      run.launch(id);
      const auto ids = run.ids();
      const auto k = static_cast<size_t>(drawn.desc.top_k);
      for (size_t i = 0; i < k; ++i) EXPECT_EQ(ids[i], -1);
      EXPECT_EQ(ids[k], 2);
      for (size_t i = k + 1; i < 2 * k; ++i) EXPECT_EQ(ids[i], -1);
      for (size_t i = 2 * k; i < 3 * k; ++i) EXPECT_NE(ids[i], 2);
      const auto values = run.values();
      for (size_t i = 0; i < 64; ++i) EXPECT_EQ(values[i], 0);
      EXPECT_TRUE(all_finite(values));
    }
  }
}

/** Infinite logits: distinct experts in range, whatever they weigh. */
TEST_F(HostileCuda, InfiniteLogitsChooseDistinctExperts) {
  Random random(24);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int32_t method = 0; method < 10; ++method) {
    RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 64,
                                    64, 6, method == MOE4J_ROUTING_LLAMA4 ? 1 : 3);
    drawn.desc.routing_method = method;
    const Layer layer = drawn.load(device());
    const RandomInputs inputs(random, drawn, 20);
    std::vector<float> logits;
    for (int i = 0; i < 20 * 6; ++i) logits.push_back(random.one_of({kInfinity, -kInfinity, 0.5f}));
    DeviceRun run(device(), layer, drawn.desc, with_logits(inputs.args, logits));
    run.launch(layer.tactics(20)[0]);
    const auto ids = run.ids();
    const auto k = static_cast<size_t>(drawn.desc.top_k);
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_GE(ids[i], 0);
      EXPECT_LT(ids[i], 6);
      for (size_t before = i / k * k; before < i; ++before) EXPECT_NE(ids[before], ids[i]);
    }
  }
}

/** A token whose hidden states or weights are not finite harms nobody else. */
TEST_F(HostileCuda, NonFiniteTokensLeaveOtherTokensAlone) {
  Random random(25);
  for (const int32_t activations : {MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP8}) {
    const RandomLayer drawn =
        sized_layer(random, MOE4J_FORMAT_NVFP4, activations, MOE4J_SWIGLU, 192, 128, 5, 2);
    const Layer layer = drawn.load(device());
    for (const int64_t tokens : kTokenCounts) {
      RandomInputs inputs(random, drawn, tokens);
      std::vector<uint16_t> states(static_cast<size_t>(tokens) * 192);
      for (uint16_t& v : states) v = random.bf16(random.normal());
      std::vector<int32_t> ids;
      std::vector<float> weights;
      for (int64_t t = 0; t < tokens; ++t) {
        for (const int32_t id : random.distinct(2, 5)) ids.push_back(id);
        weights.insert(weights.end(), {0.25f, 0.5f});
      }
      moe4j_launch_args args = with_routing(inputs.args, ids, weights);
      args.hidden_states = states.data();
      args.hidden_states_format = MOE4J_FORMAT_BF16;
      args.hidden_states_scale = nullptr;
      args.hidden_states_tensor_scale = 1;
      DeviceRun clean(device(), layer, drawn.desc, args);
      const auto bad = [tokens](int64_t t) { return t % 3 == 1 || tokens == 1; };
      for (int64_t t = 0; t < tokens; ++t) {
        if (!bad(t)) continue;
        states[static_cast<size_t>(t * 192 + 5)] = t % 2 == 0 ? 0x7FC0 : 0xFF80;  // NaN, -infinity
        if (t % 2 == 0) weights[static_cast<size_t>(t) * 2] = std::nanf("");
      }
      DeviceRun hostile(device(), layer, drawn.desc, args);
      const size_t row = clean.bits().size() / static_cast<size_t>(tokens);
      for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
        SCOPED_TRACE(name + " " + describe(drawn.desc, tokens));
        clean.launch(id);
        hostile.launch(id);
        const auto expected = clean.bits();
        const auto actual = hostile.bits();
        for (int64_t t = 0; t < tokens; ++t) {
          if (bad(t)) continue;
          const auto first = static_cast<size_t>(t) * row;
          ASSERT_TRUE(std::equal(expected.begin() + first, expected.begin() + first + row,
                                 actual.begin() + first))
              << "token " << t;
        }
      }
    }
  }
}

/** Like slices of larger tensors. Only what the copy engine moves must begin at 16 bytes. */
TEST_F(HostileCuda, TensorsMayBeginAtAnyElement) {
  Random random(30);
  for (const int32_t dtype : {MOE4J_BF16, MOE4J_F32}) {
    const RandomLayer drawn =
        sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 256, 128, 6, 2);
    const Layer layer = drawn.load(device());
    for (const int64_t tokens : kTokenCounts) {
      RandomInputs inputs(random, drawn, tokens);
      std::vector<uint16_t> delta(static_cast<size_t>(tokens * 2 * 2 * 128));
      for (uint16_t& v : delta) v = random.bf16(random.normal());
      const std::vector<float> addend(static_cast<size_t>(tokens * 256), 0.5f);
      const std::vector<float> scales(static_cast<size_t>(tokens), 1.5f);
      inputs.args.gemm1_lora_delta = delta.data();
      inputs.args.addend = addend.data();
      inputs.args.per_token_scale = scales.data();
      inputs.args.output_dtype = dtype;
      DeviceRun run(device(), layer, drawn.desc, inputs.args);
      std::deque<Buffer> moved;
      const auto move = [&](auto*& pointer, int64_t bytes, int64_t element) {
        if (pointer == nullptr) return;
        moved.emplace_back(device(), bytes + element);
        uint8_t* begin = moved.back().as<uint8_t>() + element;
        ASSERT_EQ(cudaMemcpy(begin, pointer, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice),
                  cudaSuccess);
        pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(begin);
      };
      const int64_t element = dtype == MOE4J_F32 ? 4 : 2;
      const int64_t bytes = tokens * 256 * element;
      const PoisonedBuffer output(device(), bytes + element);
      const int64_t chosen = tokens * 2;
      const int64_t weight = run.args.topk_weights_dtype == MOE4J_F32 ? 4 : 2;
      moe4j_launch_args args = run.args;
      move(args.routing_logits, tokens * 6 * 4, 4);
      move(args.topk_packed, chosen * 4, 4);
      move(args.topk_ids, chosen * 4, 4);
      move(args.topk_weights, chosen * weight, weight);
      move(args.per_token_scale, tokens * 4, 4);
      move(args.gemm1_lora_delta, chosen * 2 * 128 * 2, 2);
      move(args.addend, tokens * 256 * 4, 4);
      args.output = static_cast<uint8_t*>(output.data()) + element;
      args.topk_ids_out = nullptr;
      args.topk_weights_out = nullptr;
      args.routing_replay_out = nullptr;
      for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
        SCOPED_TRACE(name + " tokens " + std::to_string(tokens));
        run.poison();
        run.launch(id);
        output.poison();
        args.tactic = id;
        ASSERT_EQ(moe4j_launch(layer.get(), &args), MOE4J_OK) << moe4j_last_error();
        const auto whole = output.read<uint8_t>();
        EXPECT_EQ(std::vector<uint8_t>(whole.begin() + element, whole.end()), run.bits());
      }
      args.hidden_states = static_cast<const uint8_t*>(args.hidden_states) + 2;
      EXPECT_EQ(moe4j_launch(layer.get(), &args), MOE4J_INVALID_ARGUMENT);
      EXPECT_EQ(std::string(moe4j_last_error()).substr(0, 14), "hidden_states:");
    }
  }
}

TEST_F(HostileCuda, NanBlockScalesAreRefusedByTheirPlace) {
  Random random(21);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 320, 320, 1, 1);
    Layer layer(device(), drawn.desc);
    auto* scales = static_cast<uint8_t*>(const_cast<void*>(drawn.experts[0].down.scales));
    const int64_t stride = drawn.experts[0].down.scale_row_stride;
    const uint8_t kept[] = {scales[317 * stride + 4], scales[300 * stride + 7]};
    scales[317 * stride + 4] = 0xFF;
    scales[300 * stride + 7] = 0xFF;
    EXPECT_EQ(moe4j_layer_set_expert(layer.get(), 0, &drawn.experts[0]), MOE4J_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(moe4j_last_error()),
              "down.scales: found NaN at [300, 7], expected finite block scales");
    EXPECT_EQ(moe4j_layer_seal(layer.get()), MOE4J_INVALID_ARGUMENT);
    scales[317 * stride + 4] = kept[0];
    scales[300 * stride + 7] = kept[1];
    layer.set_expert(0, drawn.experts[0]);
    layer.seal();
  }
}

}  // namespace
}  // namespace moe4j::test
