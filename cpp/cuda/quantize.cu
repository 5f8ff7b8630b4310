// Block formats on the device: activations on their way to a matrix unit, and the quantizers, scale
// layouts and dequantizers of the C ABI. Rounding is that of formats/, bit for bit.
#include <cuda_bf16.h>

#include "cuda/gemm/epilogue.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "formats/block_format.hpp"
#include "formats/block_scale.hpp"
#include "formats/scale_layout.hpp"

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

__device__ float load_element(const void* source, bool is_f32, int64_t index) {
  return is_f32 ? static_cast<const float*>(source)[index]
                : load_bf16(static_cast<const uint16_t*>(source) + index);
}

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

/** Block = row; thread = block of elements. */
__global__ void __launch_bounds__(kThreads) quantize_activations(const QuantizeActivations args) {
  grid_dependency_wait();
  grid_dependency_launch();
  const BlockFormat format = block_format(args.format);
  const int64_t row = blockIdx.x;
  float tensor_scale = 1;
  if (args.offsets != nullptr) {
    if (row >= args.offsets[args.experts]) return;
    if (format.has_tensor_scale) {
      const ExpertScalars& scalars = args.scalars[expert_of_row(args.offsets, args.experts, row)];
      tensor_scale = args.intermediate ? scalars.intermediate : scalars.input;
    }
  }
  const int64_t source_row =
      (args.row_source != nullptr ? args.row_source[row] : row) * int64_t{args.k};
  uint16_t* output = args.output + row * args.stride;
  for (int32_t b = static_cast<int32_t>(threadIdx.x); b * format.block < args.k; b += kThreads) {
    const int32_t k = b * format.block;
    if (!format.has_scales) {
      output[k] = round_bf16(load_element(args.source, args.source_f32, source_row + k));
      continue;
    }
    float amax = 0;
    bool finite = true;
    for (int32_t i = 0; i < format.block; ++i) {
      const float v = load_element(args.source, args.source_f32, source_row + k + i);
      finite = finite && isfinite(v);
      amax = fmaxf(amax, fabsf(v));
    }
    const BlockQuantizer quantizer(format, finite ? amax : 0.0f, tensor_scale);
    for (int32_t i = 0; i < format.block; ++i) {
      const float v = load_element(args.source, args.source_f32, source_row + k + i);
      // A NaN or infinity spoils its block, so that the damage stays visible.
      output[k + i] = round_bf16(finite ? quantizer.decoded(v) : __int_as_float(0x7FC00000));
    }
  }
}

__global__ void __launch_bounds__(kThreads) decode_activations(const DecodeActivations args) {
  grid_dependency_wait();
  grid_dependency_launch();
  const BlockFormat format = block_format(args.format);
  const int64_t row = blockIdx.x;
  const uint8_t* codes = args.codes + row * format.code_bytes(args.k);
  const uint8_t* scales = args.scales + row * format.scale_bytes(args.k);
  for (int32_t k = static_cast<int32_t>(threadIdx.x); k < args.k; k += kThreads) {
    const float code = format.code_bits == 4 ? e2m1_decode(e2m1_unpack(codes, k))
                                             : e4m3_decode(codes[k]);
    args.output[row * args.stride + k] =
        round_bf16(code * decode_block_scale(format, scales[k / format.block]));
  }
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
    amax = fmaxf(amax, fabsf(load_element(source, !source_bf16, first + i)));
  }
  // What is not finite is refused on the host only: here it saturates.
  const BlockQuantizer quantizer(format, fminf(amax, 3.402823466e38f), tensor_scale);
  scales[block] = quantizer.scale;
  for (int32_t i = 0; i < format.block; i += 2) {
    const uint8_t even = quantizer.code(load_element(source, !source_bf16, first + i));
    const uint8_t odd = quantizer.code(load_element(source, !source_bf16, first + i + 1));
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
  const int64_t tiles_across = scale_tiles(columns, kScaleTileColumns);
  const int64_t row = tile / tiles_across * kScaleTileRows + byte / 16 + byte % 16 / 4 * 32;
  const int64_t column = tile % tiles_across * kScaleTileColumns + byte % 4;
  destination[i] = row < rows && column < columns ? source[row * columns + column] : 0;
}

unsigned blocks_for(int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }

Status launched(const char* name) { return cuda_status(cudaGetLastError(), name); }

}  // namespace

void launch_quantize_activations(Chain& chain, const QuantizeActivations& args) {
  chain.launch("quantize_activations", quantize_activations,
               dim3(static_cast<unsigned>(args.rows)), kThreads, 0, args);
}

void launch_decode_activations(Chain& chain, const DecodeActivations& args) {
  chain.launch("decode_activations", decode_activations, dim3(static_cast<unsigned>(args.rows)),
               kThreads, 0, args);
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
  dequantize_elements<<<blocks_for(rows * k), kThreads, 0, stream>>>(format, rows * k, codes,
                                                                     scales, tensor_scale,
                                                                     destination);
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
