#include "cuda/prepared_layer.hpp"

#include <algorithm>
#include <cmath>
#include <new>

#include "cuda/kernels.hpp"
#include "cuda/relaxed_capture.hpp"
#include "formats/bf16.hpp"
#include "formats/block_format.hpp"
#include "support/layer_desc.hpp"
#include "support/round_up.hpp"

namespace moe4j::cuda {
namespace {

enum Matrix { kGate, kUp, kDown, kMatrices };
constexpr const char* kMatrixNames[] = {"gate", "up", "down"};

/** Rows of bytes in host memory that may interleave with another matrix' rows. */
struct HostRows {
  const uint8_t* data;
  int64_t stride;
  int64_t row_bytes;
  int64_t rows;

  bool contiguous() const { return stride == row_bytes || rows <= 1; }
  bool followed_by(const HostRows& other) const {
    return stride == 2 * row_bytes && other.stride == stride && other.row_bytes == row_bytes &&
           other.rows == rows && other.data == data + row_bytes;
  }
};

Status copy_rows(uint8_t* destination, const HostRows& rows, cudaStream_t stream) {
  const auto bytes = static_cast<size_t>(rows.row_bytes);
  const auto count = static_cast<size_t>(rows.rows);
  if (rows.contiguous()) {
    return cuda_status(
        cudaMemcpyAsync(destination, rows.data, bytes * count, cudaMemcpyHostToDevice, stream),
        "copying weights to the device");
  }
  return cuda_status(
      cudaMemcpy2DAsync(destination, bytes, rows.data, static_cast<size_t>(rows.stride), bytes,
                        count, cudaMemcpyHostToDevice, stream),
      "copying weights to the device");
}

Status refuse_nan_scales(const moe4j_layer_desc& desc, const ScaleSurvey (&found)[kMatrices]) {
  for (int m = 0; m < kMatrices; ++m) {
    if (found[m].nan_complement == 0) continue;
    const auto place = static_cast<int64_t>(~found[m].nan_complement);
    const int64_t columns = (m == kDown ? desc.intermediate_size : desc.hidden_size) /
                            block_format(desc.weight_format).block;
    return invalid_argument("%s.scales: found NaN at [%lld, %lld], expected finite block scales",
                            kMatrixNames[m], static_cast<long long>(place / columns),
                            static_cast<long long>(place % columns));
  }
  return Status::ok();
}

/** What a layout leaves for the epilogue to multiply by, tensor scale included. */
float epilogue_factor(int32_t format, float tensor_scale, const ScaleSurvey& survey) {
  if (format == MOE4J_FORMAT_NVFP4) return tensor_scale * kNvfp4Residue;
  if (format != MOE4J_FORMAT_MXFP4) return 1.0f;
  // The largest scale 2^(b - 127) became 2^(254 - 127), times the codes' 2^-126.
  return std::ldexp(1.0f, static_cast<int>(survey.largest) - 128);
}

}  // namespace

/** Where an expert's linear matrices lie on the device. */
struct PreparedLayer::Staged {
  LinearMatrix matrices[kMatrices];
};

Status PreparedLayer::create(const moe4j_layer_desc& desc, bool wants_fp8) noexcept {
  desc_ = desc;
  wants_fp8_ = wants_fp8;
  gated_ = has_gate(desc.activation);
  const int32_t format = desc.weight_format;
  gate_up_layout_ = weight_layout(format, desc.intermediate_size, desc.hidden_size);
  // A gated strip has 8 features: round the features up, not the rows.
  if (gated_) gate_up_layout_.row_blocks = ceil_div(desc.intermediate_size, kTileRows / 2);
  down_layout_ = weight_layout(format, desc.hidden_size, desc.intermediate_size);
  try {
    is_set_.resize(static_cast<size_t>(experts()));
    host_bias_.resize(static_cast<size_t>(std::max(desc.hidden_size, desc.intermediate_size)));
  } catch (const std::bad_alloc&) {
    return failure(MOE4J_OUT_OF_MEMORY, "moe4j_layer_create: no host memory");
  }
  MOE4J_RETURN_IF_ERROR(gate_up_.allocate(experts() * gate_up_layout_.expert_bytes()));
  MOE4J_RETURN_IF_ERROR(down_.allocate(experts() * down_layout_.expert_bytes()));
  MOE4J_RETURN_IF_ERROR(scalars_.allocate(experts() * static_cast<int64_t>(sizeof(ExpertScalars))));
  MOE4J_RETURN_IF_ERROR(surveys_.allocate(kMatrices * sizeof(ScaleSurvey)));
  const RelaxedCapture relaxed;
  return cuda_status(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                     "creating a stream");
}

PreparedLayer::~PreparedLayer() {
  const RelaxedCapture relaxed;
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

int64_t PreparedLayer::bytes() const noexcept {
  return gate_up_.bytes() + down_.bytes() + scalars_.bytes() + gate_up_row_scales_.bytes() +
         down_row_scales_.bytes() + gate_bias_.bytes() + up_bias_.bytes() + down_bias_.bytes();
}

Status PreparedLayer::stage(const moe4j_expert_weights& weights, Staged* staged) noexcept {
  const BlockFormat format = block_format(desc_.weight_format);
  const int64_t h = desc_.hidden_size;
  const int64_t i = desc_.intermediate_size;
  const moe4j_matrix* sources[kMatrices] = {&weights.gate, &weights.up, &weights.down};
  HostRows codes[kMatrices];
  HostRows scales[kMatrices];
  int64_t needed = 0;
  for (int m = 0; m < kMatrices; ++m) {
    const int64_t rows = m == kDown ? h : m == kUp && !gated_ ? 0 : i;
    const int64_t k = m == kDown ? i : h;
    codes[m] = {static_cast<const uint8_t*>(sources[m]->codes), sources[m]->row_stride,
                format.code_bytes(k), rows};
    scales[m] = {static_cast<const uint8_t*>(sources[m]->scales), sources[m]->scale_row_stride,
                 format.scale_bytes(k), rows};
    needed += round_up(codes[m].row_bytes * rows, 256) + round_up(scales[m].row_bytes * rows, 256);
  }
  if (staging_.bytes() < needed) MOE4J_RETURN_IF_ERROR(staging_.allocate(needed));

  uint8_t* free = staging_.as();
  const auto copy = [&](const HostRows& first, const HostRows* second, const uint8_t** to_first,
                        const uint8_t** to_second, int64_t* stride) -> Status {
    if (first.rows == 0 || first.row_bytes == 0) return Status::ok();
    HostRows both = first;
    *stride = first.row_bytes;
    if (second != nullptr) {  // one contiguous copy of interleaved rows
      both.row_bytes = first.stride;
      *stride = first.stride;
      *to_second = free + first.row_bytes;
    }
    *to_first = free;
    MOE4J_RETURN_IF_ERROR(copy_rows(free, both, stream_));
    free += round_up(both.row_bytes * both.rows, 256);
    return Status::ok();
  };
  for (int m = 0; m < kMatrices; ++m) {
    LinearMatrix* to = staged->matrices;
    const bool pairs_codes = m == kGate && gated_ && codes[kGate].followed_by(codes[kUp]);
    const bool pairs_scales = m == kGate && gated_ && scales[kGate].followed_by(scales[kUp]);
    if (m != kUp || to[kUp].codes == nullptr) {
      MOE4J_RETURN_IF_ERROR(copy(codes[m], pairs_codes ? &codes[kUp] : nullptr, &to[m].codes,
                                 &to[kUp].codes, &to[m].row_stride));
      if (pairs_codes) to[kUp].row_stride = to[kGate].row_stride;
    }
    if (m != kUp || to[kUp].scales == nullptr) {
      MOE4J_RETURN_IF_ERROR(copy(scales[m], pairs_scales ? &scales[kUp] : nullptr, &to[m].scales,
                                 &to[kUp].scales, &to[m].scale_row_stride));
      if (pairs_scales) to[kUp].scale_row_stride = to[kGate].scale_row_stride;
    }
  }
  return Status::ok();
}

Status PreparedLayer::set_expert(int32_t local_expert,
                                 const moe4j_expert_weights& weights) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  const RelaxedCapture relaxed;
  if (sealed_)
    return invalid_argument("layer: found a sealed one, expected one still to be filled");
  const int32_t format = desc_.weight_format;
  const int64_t h = desc_.hidden_size;
  const int64_t i = desc_.intermediate_size;
  is_set_[static_cast<size_t>(local_expert)] = false;

  Staged staged = {};
  MOE4J_RETURN_IF_ERROR(stage(weights, &staged));
  CheckedStream stream(stream_);
  auto* surveys = surveys_.as<ScaleSurvey>();
  MOE4J_RETURN_IF_ERROR(cuda_status(
      cudaMemsetAsync(surveys, 0, kMatrices * sizeof(ScaleSurvey), stream_), "clearing memory"));
  if (block_format(format).has_scales) {
    for (int m = 0; m < kMatrices; ++m) {
      if (m == kUp && !gated_) continue;
      launch_survey_scales(stream, format, m == kDown ? h : i, m == kDown ? i : h,
                           staged.matrices[m], surveys + m);
    }
  }
  launch_prepare(stream, format, gate_up_layout_, i, h, staged.matrices[kGate],
                 gated_ ? &staged.matrices[kUp] : nullptr, surveys,
                 gate_up_.as() + local_expert * gate_up_layout_.expert_bytes());
  launch_prepare(stream, format, down_layout_, h, i, staged.matrices[kDown], nullptr,
                 surveys + kDown, down_.as() + local_expert * down_layout_.expert_bytes());
  MOE4J_RETURN_IF_ERROR(stream.status());

  ScaleSurvey found[kMatrices];
  MOE4J_RETURN_IF_ERROR(
      cuda_status(cudaMemcpyAsync(found, surveys, sizeof(found), cudaMemcpyDeviceToHost, stream_),
                  "reading scales"));
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaStreamSynchronize(stream_), "preparing weights"));
  MOE4J_RETURN_IF_ERROR(refuse_nan_scales(desc_, found));
  const ExpertScalars scalars = {
      epilogue_factor(format, weights.gate.tensor_scale, found[kGate]),
      gated_ ? epilogue_factor(format, weights.up.tensor_scale, found[kUp]) : 1.0f,
      epilogue_factor(format, weights.down.tensor_scale, found[kDown]),
      weights.input_scale,
      weights.intermediate_scale,
      weights.alpha,
      weights.beta,
      weights.limit};
  MOE4J_RETURN_IF_ERROR(set_biases(local_expert, weights));
  MOE4J_RETURN_IF_ERROR(
      cuda_status(cudaMemcpyAsync(scalars_.as<ExpertScalars>() + local_expert, &scalars,
                                  sizeof(scalars), cudaMemcpyHostToDevice, stream_),
                  "copying scales to the device"));
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaStreamSynchronize(stream_), "preparing weights"));
  is_set_[static_cast<size_t>(local_expert)] = true;
  return Status::ok();
}

Status PreparedLayer::set_biases(int32_t expert, const moe4j_expert_weights& weights) noexcept {
  const bool gate_up = weights.gate.bias != nullptr || (gated_ && weights.up.bias != nullptr);
  if (gate_up || gate_bias_.bytes() > 0) {
    MOE4J_RETURN_IF_ERROR(set_bias(expert, weights.gate, desc_.intermediate_size, gate_bias_));
    if (gated_) {
      MOE4J_RETURN_IF_ERROR(set_bias(expert, weights.up, desc_.intermediate_size, up_bias_));
    }
  }
  if (weights.down.bias == nullptr && down_bias_.bytes() == 0) return Status::ok();
  return set_bias(expert, weights.down, desc_.hidden_size, down_bias_);
}

Status PreparedLayer::set_bias(int32_t expert, const moe4j_matrix& matrix, int32_t rows,
                               DeviceBuffer& buffer) noexcept {
  if (buffer.bytes() == 0) {  // experts without a bias have one of zeros
    MOE4J_RETURN_IF_ERROR(buffer.allocate(static_cast<int64_t>(experts()) * rows *
                                          static_cast<int64_t>(sizeof(float))));
    MOE4J_RETURN_IF_ERROR(
        cuda_status(cudaMemsetAsync(buffer.as(), 0, static_cast<size_t>(buffer.bytes()), stream_),
                    "clearing memory"));
  }
  for (int32_t r = 0; r < rows; ++r) {
    const int64_t at = r * matrix.bias_stride;
    host_bias_[static_cast<size_t>(r)] =
        matrix.bias == nullptr ? 0.0f
        : matrix.bias_dtype == MOE4J_BF16
            ? bf16_to_f32(static_cast<const uint16_t*>(matrix.bias)[at])
            : static_cast<const float*>(matrix.bias)[at];
  }
  MOE4J_RETURN_IF_ERROR(cuda_status(
      cudaMemcpyAsync(buffer.as<float>() + static_cast<int64_t>(expert) * rows, host_bias_.data(),
                      static_cast<size_t>(rows) * sizeof(float), cudaMemcpyHostToDevice, stream_),
      "copying a bias to the device"));
  return cuda_status(cudaStreamSynchronize(stream_), "copying a bias to the device");
}

Status PreparedLayer::seal() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (sealed_) return invalid_argument("layer: found a sealed one, expected one not yet sealed");
  const RelaxedCapture relaxed;
  for (int32_t e = 0; e < experts(); ++e) {
    if (!is_set_[static_cast<size_t>(e)]) {
      return invalid_argument(
          "layer: found no weights of local expert %d, expected those of all %d", e, experts());
    }
  }
  if (wants_fp8_) MOE4J_RETURN_IF_ERROR(pack_fp8());
  staging_.release();
  surveys_.release();
  sealed_ = true;
  return Status::ok();
}

Status PreparedLayer::pack_fp8() noexcept {
  const auto row_bytes = [&](const WeightLayout& layout) {
    return static_cast<int64_t>(experts()) * layout.row_blocks * kTileRows *
           static_cast<int64_t>(sizeof(float));
  };
  MOE4J_RETURN_IF_ERROR(gate_up_row_scales_.allocate(row_bytes(gate_up_layout_)));
  MOE4J_RETURN_IF_ERROR(down_row_scales_.allocate(row_bytes(down_layout_)));
  auto* device_fits = surveys_.as<int32_t>();
  int32_t fits = 1;
  MOE4J_RETURN_IF_ERROR(cuda_status(
      cudaMemcpyAsync(device_fits, &fits, sizeof(fits), cudaMemcpyHostToDevice, stream_),
      "surveying scales"));
  CheckedStream stream(stream_);
  launch_survey_rows(stream, gate_up_.as(), gate_up_layout_, experts(),
                     gate_up_row_scales_.as<float>(), device_fits);
  launch_survey_rows(stream, down_.as(), down_layout_, experts(), down_row_scales_.as<float>(),
                     device_fits);
  MOE4J_RETURN_IF_ERROR(stream.status());
  MOE4J_RETURN_IF_ERROR(cuda_status(
      cudaMemcpyAsync(&fits, device_fits, sizeof(fits), cudaMemcpyDeviceToHost, stream_),
      "surveying scales"));
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaStreamSynchronize(stream_), "surveying scales"));
  if (fits == 0) {
    gate_up_row_scales_.release();
    down_row_scales_.release();
    return Status::ok();
  }
  launch_pack_fp8(stream, gate_up_.as(), gate_up_layout_, experts(),
                  gate_up_row_scales_.as<float>());
  launch_pack_fp8(stream, down_.as(), down_layout_, experts(), down_row_scales_.as<float>());
  MOE4J_RETURN_IF_ERROR(stream.status());
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaStreamSynchronize(stream_), "packing weights"));
  is_fp8_ = true;
  return Status::ok();
}

}  // namespace moe4j::cuda
