// Kernels for AVX-512 without BF16 instructions: activations in F32, products by FMA.
#include "cpu/avx512_panel.hpp"
#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/swiglu.hpp"

namespace moe4j {
namespace {

/** A step is one K; those below 4 are even, those above odd. */
struct SingleDot {
  static constexpr ActivationLayout kLayout = ActivationLayout::kF32;
  static constexpr int kSteps = 8;
  static constexpr int kBf16Steps = 2;

  const __m512 table = _mm512_load_ps(kE2m1AsF32);

  static __m512i indices(__m512i codes, int step) {
    return step == 0 ? codes : _mm512_srli_epi32(codes, 4 * step);
  }

  __m512 weights(__m512i indices) const { return _mm512_permutexvar_ps(indices, table); }

  static __m512 add(__m512 sum, __m512 weights, const uint8_t* elements, int group, int step) {
    return fma(sum, weights, elements + (group * 8 + step % 4 * 2 + step / 4) * 4);
  }

  static __m512 bf16_weights(__m512i codes, int step) {
    return _mm512_castsi512_ps(step == 0 ? _mm512_slli_epi32(codes, 16)
                                         : _mm512_and_epi32(codes, _mm512_set1_epi32(-0x10000)));
  }

  static __m512 add_bf16(__m512 sum, __m512 weights, const uint8_t* elements, int step) {
    return fma(sum, weights, elements + step * 4);
  }

  static __m512 fma(__m512 sum, __m512 weights, const uint8_t* element) {
    float value;
    __builtin_memcpy(&value, element, sizeof(value));
    return _mm512_fmadd_ps(weights, _mm512_set1_ps(value), sum);
  }
};

}  // namespace

const Kernels kAvx512Kernels = {
    InstructionSet::kAvx512,
    {ActivationLayout::kF32,
     {multiply<ExactTile<SingleDot>, Bf16Weights>, multiply<ExactTile<SingleDot>, Nvfp4>,
      multiply<ExactTile<SingleDot>, Mxfp4>}},
    {},
    moe4j_quantize_int8,
    moe4j_swiglu,
    moe4j_dot_f64,
};

}  // namespace moe4j
