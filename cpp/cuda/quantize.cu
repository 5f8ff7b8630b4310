// Block formats on the device: activations on their way to a matrix unit, and the quantizers, scale
// layouts and dequantizers of the C ABI. Rounding is that of formats/, bit for bit.
#include "cuda/bf16.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/storage_rows.cuh"
#include "formats/block_format.hpp"
#include "formats/block_scale.hpp"
#include "formats/scale_layout.hpp"
#include "support/limits.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kThreads = 128;

/** How quantize.cpp divides: by the exact product of both scales, in F64. */
struct BlockQuantizer {
  BlockFormat format;
  uint8_t scale;
  double divisor;

  __device__ BlockQuantizer(const BlockFormat& block_format, float amax, float tensor_scale)
      : format(block_format), scale(encode_block_scale(block_format, amax, tensor_scale)) {
    divisor = static_cast<double>(decode_block_scale(format, scale)) *
              (format.has_tensor_scale ? static_cast<double>(tensor_scale) : 1.0);
  }

  __device__ uint8_t code(float value) const {
    const double quotient = divisor == 0 ? 0.0 : static_cast<double>(value) / divisor;
    return format.code_bits == 4 ? e2m1_encode(quotient) : e4m3_encode(quotient);
  }

  __device__ float decoded(float value) const {
    const uint8_t c = code(value);
    return (format.code_bits == 4 ? e2m1_decode(c) : e4m3_decode(c)) *
           decode_block_scale(format, scale);
  }
};

/** The expert whose rows include `row`. */
__device__ int32_t expert_of_row(const int32_t* offsets, int32_t experts, int64_t row) {
  int32_t low = 0;
  int32_t high = experts - 1;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (row < offsets[middle + 1]) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/** What a row's conversion needs to know. */
struct RowSource {
  int64_t row;
  float scale;  // the tensor's or the token's, where the format has one
};

/** FP8_PER_TOKEN: the scale of a row, NaN if an element is not finite. By all threads of a block.
 */
__device__ float token_scale(const FillTokens& args, int64_t row) {
  __shared__ uint32_t warp_largest[kThreads / 32];
  uint32_t largest = 0;
  for (int32_t k = static_cast<int32_t>(threadIdx.x); k < args.k; k += kThreads) {
    const float value = load_element(args.source, !args.source_f32, row * args.k + k);
    largest = max(largest, __float_as_uint(value) & 0x7FFFFFFFu);
  }
  largest = __reduce_max_sync(0xFFFFFFFFu, largest);
  if (threadIdx.x % 32 == 0) warp_largest[threadIdx.x / 32] = largest;
  __syncthreads();
  for (const uint32_t of_warp : warp_largest) largest = max(largest, of_warp);
  const float amax = __uint_as_float(largest);
  return isfinite(amax) ? ue8m0_decode(ue8m0_smallest_scale(amax, kE4m3Max))
                        : __int_as_float(0x7FC00000);
}

/** A chunk's eight elements, zeros past the end of the row. */
__device__ void convert_chunk(const FillTokens& args, const BlockFormat& format,
                              const RowSource& from, int32_t k, float (&values)[8]) {
  const int64_t row = from.row * args.k;
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] = 0;
  if (k >= args.k) return;
  if (format.has_token_scale) {  // a power of two: quotients and products are exact
    for (int i = 0; i < 8 && k + i < args.k; ++i) {
      const float value = load_element(args.source, !args.source_f32, row + k + i);
      values[i] = e4m3_decode(e4m3_encode(value / from.scale)) * from.scale;
    }
    return;
  }
  if (!format.has_scales) {
    for (int i = 0; i < 8 && k + i < args.k; ++i) {
      values[i] = load_element(args.source, !args.source_f32, row + k + i);
    }
    return;
  }
  const int32_t block = k / format.block;
  if (args.are_codes) {
    const auto* codes =
        static_cast<const uint8_t*>(args.source) + from.row * format.code_bytes(args.k);
    const float scale =
        decode_block_scale(format, args.scales[from.row * format.scale_bytes(args.k) + block]);
    for (int i = 0; i < 8; ++i) {
      values[i] = (format.code_bits == 4 ? e2m1_decode(e2m1_unpack(codes, k + i))
                                         : e4m3_decode(codes[k + i])) *
                  scale;
    }
    return;
  }
  // Each chunk of a block finds the block's scale for itself: no chunk waits for another.
  float amax = 0;
  bool finite = true;
  for (int32_t i = 0; i < format.block; ++i) {
    const float v = load_element(args.source, !args.source_f32, row + block * format.block + i);
    finite = finite && isfinite(v);
    amax = fmaxf(amax, fabsf(v));
  }
  const BlockQuantizer quantizer(format, finite ? amax : 0.0f, from.scale);
  for (int i = 0; i < 8; ++i) {
    // A NaN or infinity spoils its block, so that the damage stays visible.
    values[i] = finite ? quantizer.decoded(load_element(args.source, !args.source_f32, row + k + i))
                       : __int_as_float(0x7FC00000);
  }
}

/** Block = row of the permutation; thread = chunks of 8 elements. */
__global__ void __launch_bounds__(kThreads) fill_tokens(const FillTokens args) {
  grid_dependency_wait();
  grid_dependency_launch();
  const int64_t row = blockIdx.x;
  if (row >= args.offsets[args.experts]) return;
  const BlockFormat format = block_format(args.format);
  const int32_t pair = args.row_pair[row];
  const int64_t storage = args.pair_storage[pair];
  RowSource from = {args.slots > 0 ? pair / args.slots : row, 1.0f};
  if (format.has_tensor_scale && !args.are_codes) {
    const ExpertScalars& scalars = args.scalars[expert_of_row(args.offsets, args.experts, row)];
    from.scale = args.intermediate ? scalars.intermediate : scalars.input;
  }
  if (format.has_token_scale) from.scale = token_scale(args, from.row);
  const int32_t padded_k = round_up(args.k, kTileK);
  for (int32_t k = static_cast<int32_t>(threadIdx.x) * 8; k < padded_k; k += kThreads * 8) {
    float values[8];
    convert_chunk(args, format, from, k, values);
    *reinterpret_cast<uint4*>(args.output.chunk(storage, k)) = round_bf16_chunk(values);
  }
  if (args.zeroed_k >= 0 && threadIdx.x < 8) {
    *reinterpret_cast<uint4*>(args.zeroed.chunk(
        storage, args.zeroed_k + static_cast<int32_t>(threadIdx.x) * 8)) = make_uint4(0, 0, 0, 0);
  }
}

constexpr int kSpreadWarps = 4;
constexpr int kPieceElements = 32 * 8;  // of a token, that a warp takes

/**
 * BF16 as it is: a token's elements are read once and written to all of its rows. Warp = piece of a
 * token. The same pieces of all tokens follow one another, so that the pages of memory that are
 * being written are few, and soon full.
 */
__global__ void __launch_bounds__(kSpreadWarps * 32) spread_tokens(const FillTokens args) {
  const auto groups = static_cast<unsigned>(ceil_div(args.tokens, kSpreadWarps));
  const auto lane = static_cast<int32_t>(threadIdx.x) % 32;
  const int64_t token = int64_t{blockIdx.x % groups} * kSpreadWarps + threadIdx.x / 32;
  const auto piece = static_cast<int32_t>(blockIdx.x / groups);
  const int32_t k = piece * kPieceElements + lane * 8;
  const bool has_token = token < args.tokens;
  uint4 chunk = make_uint4(0, 0, 0, 0);
  if (has_token && k < args.k) {
    chunk = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(args.source) +
                                            token * args.k + k);
  }
  grid_dependency_wait();  // tokens are older than the kernel before this one
  grid_dependency_launch();
  if (!has_token) return;
  const bool has_chunk = k < round_up(args.k, kTileK);
  const int32_t* const storage = args.pair_storage + token * args.slots;
  for_each_storage_row(storage, args.slots, lane, [&](int32_t row) {
    if (has_chunk) *reinterpret_cast<uint4*>(args.output.chunk(row, k)) = chunk;
    if (args.zeroed_k >= 0 && piece == 0 && lane < 8) {
      *reinterpret_cast<uint4*>(args.zeroed.chunk(row, args.zeroed_k + lane * 8)) =
          make_uint4(0, 0, 0, 0);
    }
  });
}

/** Thread = block of elements. */
__global__ void __launch_bounds__(kThreads)
    quantize_blocks(int32_t format_id, int64_t blocks, bool source_bf16, const void* source,
                    float tensor_scale, uint8_t* codes, uint8_t* scales) {
  const BlockFormat format = block_format(format_id);
  const int64_t block = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (block >= blocks) return;
  const int64_t first = block * format.block;
  float amax = 0;
  for (int32_t i = 0; i < format.block; ++i) {
    amax = fmaxf(amax, fabsf(load_element(source, source_bf16, first + i)));
  }
  // What is not finite is refused on the host only: here it saturates.
  const BlockQuantizer quantizer(format, fminf(amax, 3.402823466e38f), tensor_scale);
  scales[block] = quantizer.scale;
  for (int32_t i = 0; i < format.block; i += 2) {
    const uint8_t even = quantizer.code(load_element(source, source_bf16, first + i));
    const uint8_t odd = quantizer.code(load_element(source, source_bf16, first + i + 1));
    if (format.code_bits == 4) {
      codes[(first + i) / 2] = e2m1_pack(even, odd);
    } else {
      codes[first + i] = even;
      codes[first + i + 1] = odd;
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    dequantize_elements(int32_t format_id, int64_t elements, const uint8_t* codes,
                        const uint8_t* scales, float tensor_scale, float* destination) {
  const BlockFormat format = block_format(format_id);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= elements) return;
  const float code =
      format.code_bits == 4 ? e2m1_decode(e2m1_unpack(codes, i)) : e4m3_decode(codes[i]);
  const double scale = static_cast<double>(decode_block_scale(format, scales[i / format.block])) *
                       (format.has_tensor_scale ? static_cast<double>(tensor_scale) : 1.0);
  destination[i] = static_cast<float>(static_cast<double>(code) * scale);
}

/** Thread = byte of the destination. */
__global__ void __launch_bounds__(kThreads)
    swizzle(int64_t rows, int64_t columns, const uint8_t* source, uint8_t* destination,
            bool to_swizzled) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (!to_swizzled) {
    if (i < rows * columns) {
      destination[i] = source[swizzled_scale_offset(i / columns, i % columns, columns)];
    }
    return;
  }
  if (i >= swizzled_scale_bytes(rows, columns)) return;
  const int64_t tile = i / kScaleTileBytes;
  const int64_t byte = i % kScaleTileBytes;
  const int64_t tiles_across = ceil_div(columns, kScaleTileColumns);
  const int64_t row = tile / tiles_across * kScaleTileRows + byte / 16 + byte % 16 / 4 * 32;
  const int64_t column = tile % tiles_across * kScaleTileColumns + byte % 4;
  destination[i] = row < rows && column < columns ? source[row * columns + column] : 0;
}

unsigned blocks_for(int64_t items) { return static_cast<unsigned>(ceil_div(items, kThreads)); }

Status launched(const char* name) { return cuda_status(cudaGetLastError(), name); }

}  // namespace

void launch_fill_tokens(Chain& chain, const FillTokens& args) {
  const bool plain = args.format == MOE4J_FORMAT_BF16 && args.slots > 0 && args.k % 8 == 0;
  if (plain) {
    const int64_t blocks = ceil_div(args.tokens, kSpreadWarps) * ceil_div(args.k, kPieceElements);
    chain.launch("fill_tokens", spread_tokens, dim3(static_cast<unsigned>(blocks)),
                 kSpreadWarps * 32, 0, args);
  } else {
    chain.launch("fill_tokens", fill_tokens, dim3(static_cast<unsigned>(args.max_rows)), kThreads,
                 0, args);
  }
}

Status launch_quantize(cudaStream_t stream, int32_t format, int64_t rows, int64_t k,
                       bool source_bf16, const void* source, float tensor_scale, uint8_t* codes,
                       uint8_t* scales) {
  const int64_t blocks = rows * (k / block_format(format).block);
  if (blocks == 0) return Status::ok();
  quantize_blocks<<<blocks_for(blocks), kThreads, 0, stream>>>(format, blocks, source_bf16, source,
                                                               tensor_scale, codes, scales);
  return launched("quantize");
}

Status launch_dequantize(cudaStream_t stream, int32_t format, int64_t rows, int64_t k,
                         const uint8_t* codes, const uint8_t* scales, float tensor_scale,
                         float* destination) {
  if (rows * k == 0) return Status::ok();
  dequantize_elements<<<blocks_for(rows * k), kThreads, 0, stream>>>(
      format, rows * k, codes, scales, tensor_scale, destination);
  return launched("dequantize");
}

Status launch_swizzle_scales(cudaStream_t stream, int64_t rows, int64_t columns,
                             const uint8_t* source, uint8_t* destination, bool to_swizzled) {
  const int64_t bytes = to_swizzled ? swizzled_scale_bytes(rows, columns) : rows * columns;
  if (bytes == 0) return Status::ok();
  swizzle<<<blocks_for(bytes), kThreads, 0, stream>>>(rows, columns, source, destination,
                                                      to_swizzled);
  return launched("swizzle_scales");
}

}  // namespace moe4j::cuda
