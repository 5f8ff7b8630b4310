// The operation in double, written from its definition: number formats by their formulas, matrix
// products by three loops. Shares no code with the library.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "moe4j/moe4j.h"

namespace moe4j::test {

// ---- number formats
// ------------------------------------------------------------------------------

inline double oracle_e2m1(int code) {
  static constexpr double values[] = {0,    0.5,  1,  1.5,  2,  3,  4,  6,
                                      -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};
  return values[code & 15];
}

inline double oracle_e4m3(int code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<double>::quiet_NaN();
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

inline double oracle_ue8m0(int code) { return std::ldexp(1.0, code - 127); }

inline double oracle_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

/** The nearest of the codes 0 .. largest of a sign-magnitude format; a tie goes to the even code,
 *  beyond the largest is the largest. */
template <class Decode>
int oracle_nearest(double value, int largest, int sign_bit, const Decode& decode) {
  int best = 0;
  for (int code = 1; code <= largest; ++code) {
    const double gain =
        std::abs(std::abs(value) - decode(best)) - std::abs(std::abs(value) - decode(code));
    if (gain > 0 || (gain == 0 && code % 2 == 0)) best = code;
  }
  return std::signbit(value) ? best | sign_bit : best;
}

/** What is left of a row after quantization: code * block scale, without the tensor scale. */
inline std::vector<double> oracle_fake_quantize(int32_t format, std::vector<double> row,
                                                double tensor_scale) {
  const size_t block = format == MOE4J_FORMAT_NVFP4           ? 16
                       : format == MOE4J_FORMAT_FP8_PER_TOKEN ? row.size()
                                                              : 32;
  for (size_t first = 0; first < row.size(); first += block) {
    double amax = 0;
    for (size_t i = first; i < first + block; ++i) amax = std::max(amax, std::abs(row[i]));
    if (format == MOE4J_FORMAT_INT8) {
      const auto scale = static_cast<float>(amax / 127);
      for (size_t i = first; i < first + block; ++i) {
        const double code = std::nearbyint(static_cast<float>(row[i] / scale));
        row[i] = scale == 0 ? 0 : scale * std::max(-127.0, std::min(127.0, code));
      }
    } else if (format == MOE4J_FORMAT_NVFP4) {
      const double scale =
          oracle_e4m3(oracle_nearest(amax / 6 / tensor_scale, 0x7E, 0x80, oracle_e4m3));
      for (size_t i = first; i < first + block; ++i) {
        row[i] = scale == 0 ? 0
                            : scale * oracle_e2m1(oracle_nearest(row[i] / (scale * tensor_scale), 7,
                                                                 8, oracle_e2m1));
      }
    } else {
      int exponent = 0;
      while (448 * oracle_ue8m0(exponent) < amax) ++exponent;
      const double scale = oracle_ue8m0(exponent);
      for (size_t i = first; i < first + block; ++i) {
        row[i] = scale * oracle_e4m3(oracle_nearest(row[i] / scale, 0x7E, 0x80, oracle_e4m3));
      }
    }
  }
  return row;
}

// ---- the operation
// -------------------------------------------------------------------------------

using Matrix = std::vector<std::vector<double>>;

/** A row of codes with its block scales, tensor scale not applied. */
inline void oracle_decode_row(int32_t format, const uint8_t* codes, const uint8_t* scales,
                              std::vector<double>* row) {
  const size_t block = format == MOE4J_FORMAT_NVFP4 ? 16 : 32;
  for (size_t first = 0; first < row->size(); first += block) {
    const double scale = format == MOE4J_FORMAT_BF16    ? 1
                         : format == MOE4J_FORMAT_NVFP4 ? oracle_e4m3(scales[first / block])
                                                        : oracle_ue8m0(scales[first / block]);
    for (size_t i = first; i < std::min(first + block, row->size()); ++i) {
      const int nibble = i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4;
      (*row)[i] = scale * (format == MOE4J_FORMAT_BF16
                               ? oracle_bf16(reinterpret_cast<const uint16_t*>(codes)[i])
                           : format == MOE4J_FORMAT_MXFP8 ? oracle_e4m3(codes[i])
                                                          : oracle_e2m1(nibble));
    }
  }
}

/** A matrix of codes with linear block scales, tensor scale not applied. */
inline Matrix oracle_decode(int32_t format, int64_t rows, int64_t k, const uint8_t* codes,
                            int64_t row_stride, const uint8_t* scales, int64_t scale_row_stride) {
  Matrix matrix(static_cast<size_t>(rows), std::vector<double>(static_cast<size_t>(k)));
  for (int64_t r = 0; r < rows; ++r) {
    oracle_decode_row(format, codes + r * row_stride, scales + r * scale_row_stride,
                      &matrix[static_cast<size_t>(r)]);
  }
  return matrix;
}

inline double oracle_dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sums[4] = {};  // four chains of additions: an order of summation means little in double
  for (size_t i = 0; i < a.size(); ++i) sums[i % 4] += a[i] * b[i];
  return sums[0] + sums[1] + sums[2] + sums[3];
}

/** One projection of one expert: decoded once if it `keeps` its values, else with each product. */
class OracleProjection {
 public:
  OracleProjection(int32_t format, int64_t rows, int64_t k, const moe4j_matrix& matrix, bool keeps)
      : format_(format), rows_(matrix.codes == nullptr ? 0 : rows), k_(k), matrix_(matrix) {
    if (!keeps) return;
    kept_.resize(static_cast<size_t>(rows_), std::vector<double>(static_cast<size_t>(k_)));
    for (int64_t r = 0; r < rows_; ++r) decode(r, &kept_[static_cast<size_t>(r)]);
  }

  int64_t rows() const { return rows_; }

  /** x . W^T */
  std::vector<double> multiply(const std::vector<double>& x) const {
    std::vector<double> products;
    std::vector<double> row(static_cast<size_t>(k_));
    for (int64_t r = 0; r < rows_; ++r) {
      if (kept_.empty()) decode(r, &row);
      products.push_back(oracle_dot(x, kept_.empty() ? row : kept_[static_cast<size_t>(r)]) *
                         matrix_.tensor_scale);
    }
    return products;
  }

 private:
  void decode(int64_t r, std::vector<double>* row) const {
    oracle_decode_row(format_, static_cast<const uint8_t*>(matrix_.codes) + r * matrix_.row_stride,
                      static_cast<const uint8_t*>(matrix_.scales) + r * matrix_.scale_row_stride,
                      row);
  }

  int32_t format_;
  int64_t rows_, k_;
  moe4j_matrix matrix_;
  Matrix kept_;
};

struct OracleExpert {
  OracleExpert(const moe4j_layer_desc& desc, const moe4j_expert_weights& w, bool keeps = true)
      : weights(w),
        gate(desc.weight_format, desc.intermediate_size, desc.hidden_size, w.gate, keeps),
        up(desc.weight_format, desc.intermediate_size, desc.hidden_size, w.up, keeps),
        down(desc.weight_format, desc.hidden_size, desc.intermediate_size, w.down, keeps) {}

  moe4j_expert_weights weights;
  OracleProjection gate, up, down;
};

inline double oracle_bias(const moe4j_matrix& m, size_t row) {
  if (m.bias == nullptr) return 0;
  const size_t index = row * static_cast<size_t>(m.bias_stride);
  return m.bias_dtype == MOE4J_F32 ? static_cast<const float*>(m.bias)[index]
                                   : oracle_bf16(static_cast<const uint16_t*>(m.bias)[index]);
}

inline double oracle_activation(int32_t activation, const moe4j_expert_weights& w, double g,
                                double u) {
  const double limit = w.limit;
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const double clamped_g = std::min(g, limit);
  const double clamped_u = std::max(std::min(u, limit), -limit);
  switch (activation) {
    case MOE4J_SWIGLU:
      return clamped_g * sigmoid(w.alpha * clamped_g) * (clamped_u + w.beta);
    case MOE4J_GEGLU:
      return clamped_g / 2 * (1 + std::erf(clamped_g / std::sqrt(2.0))) * clamped_u;
    case MOE4J_RELU2:
      return std::max(g, 0.0) * std::max(g, 0.0);
    case MOE4J_IDENTITY:
      return g;
    default:
      return w.beta * std::tanh(u / w.beta) * w.alpha * std::tanh(g / w.alpha) * sigmoid(g);
  }
}

/** The hidden states of a launch as BF16 values, or decoded without their tensor scale. */
inline Matrix oracle_hidden_states(const moe4j_layer_desc& desc, const moe4j_launch_args& args) {
  const int64_t h = desc.hidden_size;
  const int32_t format = args.hidden_states_format;
  const int64_t row_bytes = format == MOE4J_FORMAT_BF16    ? h * 2
                            : format == MOE4J_FORMAT_NVFP4 ? h / 2
                                                           : h;
  const int64_t scale_bytes = format == MOE4J_FORMAT_NVFP4 ? h / 16 : h / 32;
  return oracle_decode(format, args.tokens, h, static_cast<const uint8_t*>(args.hidden_states),
                       row_bytes, static_cast<const uint8_t*>(args.hidden_states_scale),
                       scale_bytes);
}

/** GEMM2's output, bias included and not weighted, of one expert for one token and slot. `x` is the
 *  token's row of oracle_hidden_states(). */
inline std::vector<double> oracle_expert_output(const moe4j_layer_desc& desc,
                                                const moe4j_launch_args& args,
                                                const OracleExpert& expert, std::vector<double> x,
                                                int64_t token, int64_t slot) {
  const moe4j_expert_weights& w = expert.weights;
  double x_scale = 1;
  double h_scale = 1;
  if (args.hidden_states_format != MOE4J_FORMAT_BF16) {
    x_scale = args.hidden_states_tensor_scale;
  } else if (desc.activation_format != MOE4J_FORMAT_BF16) {
    if (desc.activation_format == MOE4J_FORMAT_NVFP4) x_scale = w.input_scale;
    x = oracle_fake_quantize(desc.activation_format, std::move(x), x_scale);
  }
  if (desc.activation_format == MOE4J_FORMAT_NVFP4) h_scale = w.intermediate_scale;
  if (args.per_token_scale != nullptr) x_scale *= args.per_token_scale[token];

  const bool gated = expert.up.rows() > 0;
  const auto delta = [&](size_t column) {
    if (args.gemm1_lora_delta == nullptr || slot >= desc.top_k) return 0.0;
    const int64_t columns = desc.intermediate_size * (gated ? 2 : 1);
    return oracle_bf16(
        static_cast<const uint16_t*>(args.gemm1_lora_delta)[(token * desc.top_k + slot) * columns +
                                                            static_cast<int64_t>(column)]);
  };
  std::vector<double> h = expert.gate.multiply(x);
  const std::vector<double> ups = expert.up.multiply(x);
  for (size_t i = 0; i < h.size(); ++i) {
    const double g = h[i] * x_scale + oracle_bias(w.gate, i) + delta(i);
    const double u = gated ? ups[i] * x_scale + oracle_bias(w.up, i) + delta(h.size() + i) : 0;
    h[i] = oracle_activation(desc.activation, w, g, u);
  }
  if (desc.activation_format != MOE4J_FORMAT_BF16) {
    h = oracle_fake_quantize(desc.activation_format, std::move(h), h_scale);
  }
  std::vector<double> y = expert.down.multiply(h);
  for (size_t i = 0; i < y.size(); ++i) y[i] = y[i] * h_scale + oracle_bias(w.down, i);
  return y;
}

/** |actual - expected| / |expected|, over all elements. */
inline double relative_l2(const std::vector<double>& actual, const std::vector<double>& expected) {
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return norm == 0 ? std::sqrt(error) : std::sqrt(error / norm);
}

}  // namespace moe4j::test
