// From MXFP4 weights in FP8 order to the A operand of wgmma m64nNk32 e4m3; the order is
// fp8_layout.hpp's.
//
// A block's eight magnitudes, times the block's power of two, are eight bytes in two registers: the
// codes' low bits are selectors of a byte permutation that looks four of them up at once.
#pragma once

#include <cstdint>

#include "cuda/weight_layout.hpp"

namespace moe4j::cuda {

/** A lane's share of one strip of one tile (16 rows x 64 K), of one block of 32 K a row. */
struct Fp8Fragment : StripPlace<MOE4J_FORMAT_MXFP4> {
  uint4 codes;      // words x, z of row g, y, w of row g + 8; x, y of the first instruction
  uint32_t scales;  // byte 0 of row g, 1 of row g + 8

  static constexpr uint32_t scales_offset(int strip, int lane) {
    return StripPlace::scales_offset(strip, lane) + (lane >> 1 & 1) * 2;
  }

  /** From the shared addresses of a lane's codes and scales. */
  static __device__ __forceinline__ Fp8Fragment load_shared(uint32_t codes, uint32_t scales) {
    return {{},
            *static_cast<const uint4*>(__cvta_shared_to_generic(codes)),
            *static_cast<const uint16_t*>(__cvta_shared_to_generic(scales))};
  }

  /** The A registers of instruction kStep. */
  template <int kStep>
  __device__ __forceinline__ void unpack(uint32_t (&a)[4]) const {
    look_up(kStep == 0 ? codes.x : codes.z, scales & 0xFF, a[0], a[2]);
    look_up(kStep == 0 ? codes.y : codes.w, scales >> 8, a[1], a[3]);
  }

 private:
  /** Eight codes, each times 2^(exponent - 5): an exponent step is 8 in E4M3's code. */
  static __device__ __forceinline__ void look_up(uint32_t word, uint32_t exponent, uint32_t& first,
                                                 uint32_t& second) {
    const uint32_t low = 0x14100800u + exponent * 0x08080800u;   // 0, 0.5, 1, 1.5
    const uint32_t high = 0x24201C18u + exponent * 0x08080808u;  // 2, 3, 4, 6
    constexpr uint32_t kSigns = 0x80808080u;
    const uint32_t selectors = word & 0x77777777u;
    first = select(low, high, selectors) | (word & kSigns);
    second = select(low, high, selectors >> 16) | ((word << 4) & kSigns);
  }

  /** __byte_perm() would mask the selectors again, each half by itself. */
  static __device__ __forceinline__ uint32_t select(uint32_t low, uint32_t high,
                                                    uint32_t selectors) {
    uint32_t bytes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "r"(high), "r"(selectors));
    return bytes;
  }
};

}  // namespace moe4j::cuda
