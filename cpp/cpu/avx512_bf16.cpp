// Kernels for AVX-512 with BF16 dot products: two multiplications a lane, activations in BF16.
#include "cpu/avx512_panel.hpp"
#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/swiglu.hpp"

namespace moe4j {
namespace {

/** The BF16 values of E2M1's 16 codes, twice: an index is the low five bits of a word. */
alignas(64) constexpr uint16_t kE2m1AsBf16[32] = {
    0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040, 0x4080, 0x40C0, 0x8000, 0xBF00, 0xBF80,
    0xBFC0, 0xC000, 0xC040, 0xC080, 0xC0C0, 0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040,
    0x4080, 0x40C0, 0x8000, 0xBF00, 0xBF80, 0xBFC0, 0xC000, 0xC040, 0xC080, 0xC0C0};

/** A step is a pair of K: one dot product of two. */
struct PairDot {
  static constexpr ActivationLayout kLayout = ActivationLayout::kBf16;
  static constexpr int kSteps = 4;
  static constexpr int kBf16Steps = 1;

  const __m512i table = _mm512_load_si512(kE2m1AsBf16);

  static __m512i indices(__m512i codes, int step) {
    return step == 0 ? codes : _mm512_srli_epi16(codes, 4 * step);
  }

  __m512bh weights(__m512i indices) const {
    return reinterpret_cast<__m512bh>(_mm512_permutexvar_epi16(indices, table));
  }

  static __m512 add(__m512 sum, __m512bh weights, const uint8_t* elements, int group, int step) {
    return dot(sum, weights, elements + (group * 4 + step) * 4);
  }

  static __m512bh bf16_weights(__m512i codes, int) { return reinterpret_cast<__m512bh>(codes); }

  static __m512 add_bf16(__m512 sum, __m512bh weights, const uint8_t* elements, int) {
    return dot(sum, weights, elements);
  }

  /** GCC 12 broadcasts with an instruction of its own, and then instructions, not multiplications,
   *  are what a tile of tokens waits for. */
  static __m512 dot(__m512 sum, __m512bh weights, const uint8_t* pair) {
    using Pair __attribute__((may_alias, aligned(1))) = int32_t;
    asm("vdpbf16ps %2%{1to16%}, %1, %0"
        : "+v"(sum)
        : "v"(weights), "m"(*reinterpret_cast<const Pair*>(pair)));
    return sum;
  }
};

}  // namespace

const Kernels kAvx512Bf16Kernels = {
    InstructionSet::kAvx512Bf16,
    {ActivationLayout::kBf16,
     {multiply<ExactTile<PairDot>, Bf16Weights>, multiply<ExactTile<PairDot>, Nvfp4>,
      multiply<ExactTile<PairDot>, Mxfp4>}},
    {},
    moe4j_quantize_int8,
    moe4j_swiglu,
    moe4j_dot_f64,
};

}  // namespace moe4j
