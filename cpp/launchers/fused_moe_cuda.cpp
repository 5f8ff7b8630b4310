#include "launchers/fused_moe_cuda.hpp"

#include <algorithm>

#include "cuda/fp8_layout.hpp"
#include "cuda/gemm/decode_limits.hpp"
#include "cuda/gemm/narrow_limits.hpp"
#include "cuda/gemm/sm90_decode.hpp"
#include "cuda/kernels.hpp"
#include "support/layer_desc.hpp"
#include "support/round_up.hpp"

namespace moe4j::cuda {
namespace {

/** The caller's memory, cut up. */
struct Workspace {
  int32_t* ids;           // [T, k] routing from logits
  float* weights;         // [T, k]
  int32_t* chunk_counts;  // of the permutation
  int32_t* counters;      // NarrowLayer's: next_tile, then stored [experts]
  Permutation permutation;
  TiledRows x;          // [rows, H]
  TiledRows h;          // [rows, I]
  TiledRows fp8;        // FP8 tactics: x, then h, as E4M3
  float* token_scales;  // and its scales, [capacity]
  uint16_t* decode_h;   // [T, slots, I], the same memory: the decode kernels index it by pair
  float* exact_h;       // [rows, I] before it is quantized
  uint16_t* y;          // [rows, H]
  int64_t bytes;
};

Workspace carve(const moe4j_layer_desc& desc, bool fp8, int64_t tokens, void* memory) {
  auto* base = static_cast<uint8_t*>(memory);
  int64_t used = 0;
  const auto take = [&](auto*& pointer, int64_t count) {
    using Element = std::remove_reference_t<decltype(*pointer)>;
    pointer = reinterpret_cast<Element*>(base + used);
    used += round_up(count * static_cast<int64_t>(sizeof(Element)), MOE4J_ALIGNMENT);
  };
  const int64_t rows = max_rows(desc, tokens);
  const int64_t pairs = tokens * slots_per_token(desc);
  const bool quantizes = desc.activation_format != MOE4J_FORMAT_BF16 && !fp8;
  const int32_t experts = num_held_experts(desc);
  const int64_t capacity = storage_capacity(rows, experts);
  Workspace w = {};
  take(w.ids, tokens * desc.top_k);
  take(w.weights, tokens * desc.top_k);
  take(w.chunk_counts, int64_t{permute_chunks(tokens)} * experts);
  take(w.counters, 1 + experts);
  take(w.permutation.offsets, experts + 1);
  take(w.permutation.row_pair, rows);
  take(w.permutation.pair_row, pairs);
  take(w.permutation.pair_storage, pairs);
  take(w.permutation.next_tiles, kTileCounters);
  const auto take_tiled = [&](TiledRows& tiled, int64_t k, int64_t min_elements) {
    tiled.capacity = capacity;
    take(tiled.data, std::max(capacity * round_up(k, kTileK), min_elements) * 2);
  };
  if (fp8) {
    w.fp8.capacity = capacity;
    const int64_t longest = std::max(desc.hidden_size, desc.intermediate_size);
    take(w.fp8.data, capacity * round_up(longest, kFp8TileK));
    take(w.token_scales, capacity);
  } else {
    take_tiled(w.x, desc.hidden_size, 0);
  }
  take_tiled(w.h, desc.intermediate_size, pairs * desc.intermediate_size);
  w.decode_h = reinterpret_cast<uint16_t*>(w.h.data);
  take(w.exact_h, quantizes ? rows * desc.intermediate_size : 0);
  take(w.y, rows * desc.hidden_size);
  w.bytes = used;
  return w;
}

Routing describe_routing(const moe4j_layer_desc& desc, const moe4j_launch_args& args,
                         const Workspace& workspace) {
  Routing routing = {};
  routing.tokens = args.tokens;
  routing.top_k = desc.top_k;
  routing.shared = desc.num_fused_shared_experts;
  routing.num_experts = desc.num_experts;
  routing.local_offset = desc.local_expert_offset;
  routing.local_experts = desc.local_num_experts;
  switch (args.routing_mode) {
    case MOE4J_PACKED:
      routing.packed = args.topk_packed;
      break;
    case MOE4J_UNPACKED:
      routing.ids = args.topk_ids;
      routing.weights = args.topk_weights;
      routing.weights_are_bf16 = args.topk_weights_dtype == MOE4J_BF16;
      break;
    default:
      routing.ids = workspace.ids;
      routing.weights = workspace.weights;
  }
  return routing;
}

/** Everything of GEMM1's epilogue but its output. */
Epilogue gate_up_epilogue(const PreparedLayer& layer, const moe4j_launch_args& args,
                          const Permutation& permutation) {
  const moe4j_layer_desc& desc = layer.desc();
  Epilogue epilogue = {};
  epilogue.scalars = layer.scalars();
  epilogue.features = desc.intermediate_size;
  epilogue.activation = desc.activation;
  epilogue.gated = has_gate(desc.activation);
  epilogue.activation_scale = 1.0f;
  epilogue.bias = layer.gate_bias();
  epilogue.up_bias = layer.up_bias();
  epilogue.per_token_scale = args.per_token_scale;
  epilogue.lora_delta = static_cast<const uint16_t*>(args.gemm1_lora_delta);
  epilogue.row_pair = permutation.row_pair;
  epilogue.top_k = desc.top_k;
  epilogue.slots = slots_per_token(desc);
  return epilogue;
}

/** One launch: the arguments that its steps share. */
class FusedMoe {
 public:
  FusedMoe(CudaContext& context, const PreparedLayer& layer, const LaunchPlan& plan,
           const moe4j_launch_args& args)
      : layer_(layer),
        desc_(layer.desc()),
        plan_(plan),
        args_(args),
        workspace_(carve(layer.desc(), layer.is_fp8(), args.tokens, args.workspace)),
        routing_(describe_routing(desc_, args, workspace_)),
        context_(context) {
    if (args.do_finalize == 0) workspace_.permutation.pair_row = args.expanded_to_permuted;
  }

  Status run() {
    const Tactic& chosen = tactic(args_.tactic);
    const bool is_narrow = chosen.family == Family::kSm90Narrow && narrow_can_run();
    const int32_t counters = is_narrow ? 1 + layer_.experts() : 0;
    if (args_.routing_mode == MOE4J_FROM_LOGITS) {
      route(counters);
    } else if (is_narrow) {
      launch_clear(chain_, workspace_.counters, counters);
    }
    if (chosen.family == Family::kDecode && decode_can_run()) {
      decode(chosen);
    } else if (chosen.family == Family::kSm90Decode && decode_can_run()) {
      sm90_decode(chosen);
    } else if (is_narrow) {
      narrow(chosen);
      if (args_.do_finalize != 0) finalize();
    } else {
      const bool falls_back = is_decode(chosen.family) || chosen.family == Family::kSm90Narrow;
      const int32_t id = falls_back ? fallback_tactic(chosen) : args_.tactic;
      launch_permute(chain_, routing_, workspace_.chunk_counts, workspace_.permutation);
      fill_x();
      grouped(id, Projection::kGateUp, gate_up());
      if (layer_.is_fp8()) {
        fill_fp8(nullptr, desc_.intermediate_size);
      } else if (quantizes()) {
        fill_h();
      }
      grouped(id, Projection::kDown, down());
      if (args_.do_finalize != 0) finalize();
    }
    export_routing();
    return context_.graphs->launch(static_cast<cudaStream_t>(args_.stream), chain_);
  }

 private:
  /** And zeroes so many counters for the narrow kernel. */
  void route(int32_t counters) {
    LogitRouting route = {};
    route.tokens = args_.tokens;
    route.logits = args_.routing_logits;
    route.logits_are_bf16 = args_.routing_logits_dtype == MOE4J_BF16;
    route.bias = args_.routing_bias;
    const RoutingMethod& method = routing_method(desc_);
    route.weighs = method.weighs;
    route.has_bias = method.has_bias;
    route.renormalizes = renormalizes(desc_);
    route.epsilon = static_cast<float>(method.epsilon);
    route.num_experts = desc_.num_experts;
    route.top_k = desc_.top_k;
    route.n_group = desc_.n_group;
    route.topk_group = desc_.topk_group;
    route.routed_scaling_factor = desc_.routed_scaling_factor;
    route.ids = workspace_.ids;
    route.weights = workspace_.weights;
    route.counters = workspace_.counters;
    route.counter_count = counters;
    launch_route(chain_, route);
  }

  bool decode_can_run() const {
    return args_.do_finalize != 0 && args_.hidden_states_format == MOE4J_FORMAT_BF16;
  }

  DecodeLayer describe_decode() const {
    DecodeLayer decode = {};
    decode.routing = routing_;
    decode.routing_is_input = args_.routing_mode != MOE4J_FROM_LOGITS;
    decode.gate_up = layer_.gate_up();
    decode.down = layer_.down();
    decode.gate_up_layout = layer_.gate_up_layout();
    decode.down_layout = layer_.down_layout();
    decode.tokens = static_cast<const uint16_t*>(args_.hidden_states);
    decode.hidden = desc_.hidden_size;
    decode.intermediate = desc_.intermediate_size;
    decode.epilogue = gate_up_epilogue(layer_, args_, workspace_.permutation);
    decode.h = workspace_.decode_h;
    decode.down_bias = layer_.down_bias();
    decode.addend = args_.addend;
    decode.output = args_.output;
    decode.output_f32 = args_.output_dtype == MOE4J_F32;
    return decode;
  }

  void sm90_decode(const Tactic& chosen) {
    const Sm90DecodeInstance kernels = sm90_decode_kernels(desc_.weight_format);
    const auto tokens = static_cast<int32_t>(args_.tokens);
    const int32_t token_slots = slots_per_token(desc_);
    const int32_t units =
        std::min(tokens * token_slots, layer_.experts()) * layer_.gate_up_layout().row_blocks;
    Sm90DecodeLayer decode = {describe_decode(),
                              plan_gate_up(chosen, desc_, tokens).stages,
                              32 / token_slots,
                              Divider(token_slots),
                              Divider(layer_.gate_up_layout().row_blocks),
                              Divider(layer_.down_layout().k_blocks)};
    const int32_t blocks = std::min(units, plan_.decode_blocks(args_.tactic, tokens));
    const int32_t gate_up_bytes =
        gate_up_shared(desc_.weight_format, tokens, token_slots, desc_.hidden_size, decode.stages)
            .bytes;
    chain_.launch("sm90_decode_gate_up", kernels.gate_up, dim3(static_cast<unsigned>(blocks)),
                  kSm90DecodeThreads, gate_up_bytes, decode);
    const int32_t row_blocks = layer_.down_layout().row_blocks;
    const int32_t cluster = down_cluster(row_blocks, context_.multiprocessors);
    const int32_t down_blocks = row_blocks * cluster;
    decode.stages = down_stages(
        desc_.weight_format, tokens, token_slots, down_blocks, context_.multiprocessors,
        ceil_div(blocks, context_.multiprocessors) * (gate_up_bytes + kSm90BlockShared));
    chain_.launch_clusters(
        "sm90_decode_down", kernels.down, dim3(static_cast<unsigned>(down_blocks)), cluster,
        kSm90DecodeThreads,
        down_shared(desc_.weight_format, tokens, token_slots, decode.stages).bytes, decode);
  }

  void decode(const Tactic& chosen) {
    const DecodeLayer decode = describe_decode();
    const WeightLayout layout = layer_.gate_up_layout();
    const int64_t units =
        std::min<int64_t>(args_.tokens * slots_per_token(desc_), layer_.experts()) *
        layout.row_blocks * kStripsPerTile;
    const int64_t needed = ceil_div(units, kDecodeWarps / chosen.split);
    const auto blocks = static_cast<unsigned>(
        std::min<int64_t>(plan_.decode_blocks(args_.tactic, args_.tokens), needed));
    chain_.launch("decode_gate_up", decode_gate_up_kernel(chosen, desc_.weight_format),
                  dim3(blocks), kDecodeThreads,
                  decode_shared_bytes(args_.tokens, desc_.hidden_size), decode);
    chain_.launch("decode_down", decode_down_kernel(desc_.weight_format),
                  dim3(static_cast<unsigned>(ceil_div(desc_.hidden_size, kStripRows))),
                  kDecodeThreads, 0, decode);
  }

  /** Options that need the permutation in memory, or tokens other than the caller's rows. */
  bool narrow_can_run() const {
    return args_.hidden_states_format == MOE4J_FORMAT_BF16 && args_.per_token_scale == nullptr &&
           args_.gemm1_lora_delta == nullptr;
  }

  void narrow(const Tactic& chosen) {
    const NarrowInstance instance = narrow_instance(chosen, desc_.weight_format);
    NarrowLayer layer = {};
    layer.gate_up = gate_up();
    layer.down = down();
    layer.routing = routing_;
    layer.routing_is_input = args_.routing_mode != MOE4J_FROM_LOGITS;
    layer.rows = static_cast<const uint8_t*>(args_.hidden_states);
    layer.row_bytes = desc_.hidden_size * int64_t{2};
    layer.pair_row = workspace_.permutation.pair_row;
    layer.next_tile = workspace_.counters;
    layer.stored = workspace_.counters + 1;
    layer.stages = instance.stages(args_.tokens, layer_.experts());
    const int64_t tiles =
        max_tiles(chosen, layer_.gate_up_layout()) + max_tiles(chosen, layer_.down_layout());
    const int64_t blocks =
        std::min<int64_t>(plan_.narrow_blocks(args_.tactic, args_.tokens), tiles);
    chain_.launch(chosen.name, instance.kernel, dim3(static_cast<unsigned>(blocks)),
                  instance.threads, instance.shared_bytes(args_.tokens, layer_.experts()), layer);
  }

  /** Whether h is quantized from F32, and decoded to BF16. */
  bool quantizes() const {
    return desc_.activation_format != MOE4J_FORMAT_BF16 && !layer_.is_fp8();
  }

  /** What only FP8 tactics read. */
  void add_fp8(GroupedGemm& gemm, const float* row_scales) const {
    if (!layer_.is_fp8()) return;
    gemm.tokens = workspace_.fp8;
    gemm.token_scales = workspace_.token_scales;
    gemm.epilogue.row_scales = row_scales;
    gemm.epilogue.weight_rows = int64_t{gemm.layout.row_blocks} * kTileRows;
  }

  /** What is the same for x and h. */
  FillTokens fill_tokens() const {
    FillTokens fill = {};
    fill.format = desc_.activation_format;
    fill.row_pair = workspace_.permutation.row_pair;
    fill.pair_storage = workspace_.permutation.pair_storage;
    fill.offsets = workspace_.permutation.offsets;
    fill.experts = layer_.experts();
    fill.max_rows = max_rows(desc_, args_.tokens);
    fill.scalars = layer_.scalars();
    fill.zeroed_k = -1;
    return fill;
  }

  /** FP8 tactics: x from the caller, or h (source NULL), which GEMM1 left in BF16. */
  void fill_fp8(const uint16_t* source, int32_t k) {
    FillFp8 fill = {};
    fill.source = source;
    fill.tiled_source = workspace_.h;
    fill.k = k;
    fill.tokens = args_.tokens;
    fill.slots = slots_per_token(desc_);
    fill.row_pair = workspace_.permutation.row_pair;
    fill.pair_storage = workspace_.permutation.pair_storage;
    fill.offsets = workspace_.permutation.offsets;
    fill.experts = layer_.experts();
    fill.max_rows = max_rows(desc_, args_.tokens);
    fill.output = workspace_.fp8;
    fill.token_scales = workspace_.token_scales;
    launch_fill_fp8(chain_, fill);
  }

  void fill_x() {
    if (layer_.is_fp8()) {
      fill_fp8(static_cast<const uint16_t*>(args_.hidden_states), desc_.hidden_size);
      return;
    }
    FillTokens fill = fill_tokens();
    fill.are_codes = args_.hidden_states_format != MOE4J_FORMAT_BF16;
    fill.k = desc_.hidden_size;
    fill.source = args_.hidden_states;
    fill.scales = static_cast<const uint8_t*>(args_.hidden_states_scale);
    fill.tokens = args_.tokens;
    fill.slots = slots_per_token(desc_);
    fill.output = workspace_.x;
    if (desc_.intermediate_size % kTileK != 0) {
      fill.zeroed = workspace_.h;
      fill.zeroed_k = desc_.intermediate_size / kTileK * kTileK;
    }
    launch_fill_tokens(chain_, fill);
  }

  /** GEMM1 left h in F32: quantize it. */
  void fill_h() {
    FillTokens fill = fill_tokens();
    fill.source_f32 = true;
    fill.k = desc_.intermediate_size;
    fill.source = workspace_.exact_h;
    fill.intermediate = true;
    fill.output = workspace_.h;
    launch_fill_tokens(chain_, fill);
  }

  GroupedGemm gate_up() const {
    GroupedGemm gemm = {};
    gemm.weights = layer_.gate_up();
    gemm.layout = layer_.gate_up_layout();
    gemm.experts = layer_.experts();
    gemm.offsets = workspace_.permutation.offsets;
    gemm.tokens = workspace_.x;
    gemm.next_tile = workspace_.permutation.next_tiles;
    gemm.epilogue = gate_up_epilogue(layer_, args_, workspace_.permutation);
    if (args_.hidden_states_format != MOE4J_FORMAT_BF16) {
      gemm.epilogue.activation_scale = args_.hidden_states_tensor_scale;
    } else {
      gemm.epilogue.expert_scales = desc_.activation_format == MOE4J_FORMAT_NVFP4;
    }
    gemm.epilogue.tiled_output = workspace_.h;
    gemm.epilogue.output = quantizes() ? workspace_.exact_h : nullptr;
    gemm.epilogue.output_f32 = quantizes();
    add_fp8(gemm, layer_.gate_up_row_scales());
    return gemm;
  }

  GroupedGemm down() const {
    GroupedGemm gemm = {};
    gemm.weights = layer_.down();
    gemm.layout = layer_.down_layout();
    gemm.experts = layer_.experts();
    gemm.offsets = workspace_.permutation.offsets;
    gemm.tokens = workspace_.h;
    gemm.next_tile = workspace_.permutation.next_tiles + kTileCounters / 2;
    gemm.epilogue.scalars = layer_.scalars();
    gemm.epilogue.features = desc_.hidden_size;
    gemm.epilogue.activation_scale = 1.0f;
    gemm.epilogue.expert_scales = desc_.activation_format == MOE4J_FORMAT_NVFP4;
    gemm.epilogue.bias = layer_.down_bias();
    gemm.epilogue.output = args_.do_finalize != 0 ? workspace_.y : args_.permuted_output;
    add_fp8(gemm, layer_.down_row_scales());
    return gemm;
  }

  void grouped(int32_t id, Projection projection, GroupedGemm gemm) {
    const Tactic& chosen = tactic(id);
    gemm.tiles = all_tiles(chosen.tokens);
    if (chosen.narrower < 0) {
      grouped_kernel(id, projection, gemm);
      return;
    }
    GroupedGemm narrow = gemm;
    gemm.tiles.above = narrow.tiles.up_to = tactic(chosen.narrower).tokens;
    ++narrow.next_tile;
    narrow.alongside = true;
    grouped_kernel(id, projection, gemm);
    grouped_kernel(chosen.narrower, projection, narrow);
  }

  void grouped_kernel(int32_t id, Projection projection, const GroupedGemm& gemm) {
    const Tactic& chosen = tactic(id);
    const GroupedInstance instance = grouped_instance(chosen, desc_.weight_format, projection);
    chain_.launch(chosen.name, instance.kernel, dim3(blocks_for(id, projection, gemm)),
                  instance.threads, instance.shared_bytes + schedule_bytes(layer_.experts()), gemm);
  }

  /** The most tiles that a GEMM can have. */
  int64_t max_tiles(const Tactic& chosen, const WeightLayout& layout) const {
    const int64_t rows = max_rows(desc_, args_.tokens);
    const int64_t token_tiles = std::min<int64_t>(rows, layer_.experts() + rows / chosen.tokens);
    return token_tiles * ceil_div(layout.row_blocks * kTileRows, chosen.rows);
  }

  /** Of a persistent kernel: no more than tiles there can be. */
  unsigned blocks_for(int32_t id, Projection projection, const GroupedGemm& gemm) const {
    return static_cast<unsigned>(std::min<int64_t>(plan_.grouped_blocks(id, projection),
                                                   max_tiles(tactic(id), gemm.layout)));
  }

  void finalize() {
    launch_finalize(chain_,
                    {routing_, workspace_.permutation.pair_row, workspace_.y, desc_.hidden_size,
                     args_.addend, args_.output, args_.output_dtype == MOE4J_F32});
  }

  void export_routing() {
    const RoutingOutputs outputs = {args_.routing_replay_out, args_.topk_ids_out,
                                    args_.topk_weights_out,
                                    args_.do_finalize == 0 ? args_.expert_weights : nullptr};
    if (outputs.replay != nullptr || outputs.ids != nullptr || outputs.weights != nullptr ||
        outputs.expert_weights != nullptr) {
      launch_export_routing(chain_, routing_, outputs);
    }
  }

  const PreparedLayer& layer_;
  const moe4j_layer_desc& desc_;
  const LaunchPlan& plan_;
  const moe4j_launch_args& args_;
  Workspace workspace_;
  Routing routing_;
  CudaContext& context_;
  Chain chain_;
};

}  // namespace

int64_t workspace_bytes(const moe4j_layer_desc& desc, int32_t tactic_id, int64_t tokens) noexcept {
  return carve(desc, tactic(tactic_id).family == Family::kSm90Fp8, tokens, nullptr).bytes;
}

Status launch_fused_moe(CudaContext& context, const PreparedLayer& layer, const LaunchPlan& plan,
                        const moe4j_launch_args& args) noexcept {
  return FusedMoe(context, layer, plan, args).run();
}

}  // namespace moe4j::cuda
