// The 32-bit words of FP4 weights in weight_layout.hpp: eight codes, and four block scales.
//
// Eight codes. Unpacked they are four registers of BF16 pairs, as mma.cuh's A operand wants them,
// with the sign of a code in BF16's sign, its exponent in the low bits of BF16's exponent and its
// mantissa in the high bit of BF16's: the code times 2^-126, subnormals included. So registers have
// codes in the bits of kCodeBits and zeros elsewhere:
//
//   bits of a half   15  14 .. 9  8 7 6  5 .. 0        register 0 = w
//   code             s            e e m                         1 = w rotated left by 12
//                                                               2 = w << 6
//                                                               3 = w >> 6 ^ w << 2
//
// and the word w is
//
//   bit   31  30  29  28 27 26  25  24 23 22  21  20  19  18 17 16
//   of     0   3'  3   1* 1* 1*  2   0  0  0   3'  3'  1*  2  2  2   register, high half (odd K)
//          s   e   s   e  e  m   s   e  e  m   e   m   s   e  e  m
//
//   bit   15  14  13  12 11 10   9   8  7  6   5   4   3   2  1  0
//   of     0   3'  3'  1* 1* 1*  2   0  0  0   3'  3'  1*  2  2  2   register, low half (even K)
//          s   e   s   e  e  m   s   e  e  m   e   m   s   e  e  m
//
// where 3' is XORed with what the other of the two shifts brings there, and 1* is of the other
// half. Masks take the XOR along: six instructions of the logic pipe, and two left shifts, which
// are multiplications to the machine. Less does not do. Three shifts or rotations would have to
// tile 16 bits with 15, 8, 7, 6, which they cannot. Nor do three instructions of shifts, rotations
// and products with a power of two that keep both words, of w and of each other, with an XOR in
// each mask: all were tried. A product that adds two shifts maps different codes to one register.
//
// Four scales of rows g and g + 8, each for two steps along K of one block (16 or 32 K): bytes
// (g, first), (g, second), (g + 8, first), (g + 8, second), rotated left by scale_shift() so that
// the mask alone puts the first step's two where BF16 has them, one in each half, and a rotation by
// a byte the second step's.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/host_device.hpp"

namespace moe4j::cuda {

inline constexpr uint32_t kCodeBits = 0x81C081C0u;

/** Eight codes as four BF16 pairs (low half: even K), each 2^-126 too small. */
MOE4J_HOST_DEVICE inline void unpack_fp4(uint32_t word, uint32_t (&registers)[4]) {
  registers[0] = word & kCodeBits;
  registers[1] = (word << 12 | word >> 20) & kCodeBits;
  registers[2] = word << 6 & kCodeBits;
  registers[3] = (word >> 6 ^ word << 2) & kCodeBits;
}

/** The word that unpack_fp4() makes `registers` from; they have no bits outside kCodeBits. */
MOE4J_HOST_DEVICE inline uint32_t pack_fp4(const uint32_t (&registers)[4]) {
  const uint32_t word =
      registers[0] | (registers[1] >> 12 | registers[1] << 20) | registers[2] >> 6;
  // What the bits that are left shall contribute to register 3.
  const uint32_t rest = registers[3] ^ ((word >> 6 ^ word << 2) & kCodeBits);
  // Bits 31, 23, 15, 7 of it: word bits 29, 29 ^ 21, 21 ^ 13, 13 ^ 5.
  uint32_t chain = rest >> 2 & 0x20202020u;
  chain ^= chain >> 8;
  chain ^= chain >> 16;
  // Bits 24 and 8 by the right shift alone, 22 and 6 by the left one.
  return word | chain | (rest & 0x01000100u) << 6 | (rest & 0x00400040u) >> 2;
}

/** By how many bits a word of scales is rotated. */
MOE4J_HOST_DEVICE constexpr int scale_shift(int32_t format) {
  return format == MOE4J_FORMAT_NVFP4 ? 4 : 7;
}

template <int kFormat>
MOE4J_HOST_DEVICE inline uint32_t pack_scales(uint32_t bytes) {
  constexpr int kShift = scale_shift(kFormat);
  return bytes << kShift | bytes >> (32 - kShift);
}

/** Inverse of pack_scales(). */
template <int kFormat>
MOE4J_HOST_DEVICE inline uint32_t scale_bytes(uint32_t word) {
  constexpr int kShift = scale_shift(kFormat);
  return word >> kShift | word << (32 - kShift);
}

/** The bits of a step's two scales. */
template <int kFormat>
inline constexpr uint32_t kScaleBits = 0x00FF00FFu << scale_shift(kFormat);

/**
 * The BF16 scales of step 0 or 1, row g's in the low half: NVFP4's e5m3 under the exponent bits
 * 14..12, 2^(97 + e) * (1 + m / 8); MXFP4's exponents. `mask` is kScaleBits: an instruction has
 * room for one constant, and NVFP4 needs one instruction less where the mask is in a register.
 */
template <int kFormat, int kStep>
MOE4J_HOST_DEVICE inline uint32_t unpack_scales(uint32_t word,
                                                uint32_t mask = kScaleBits<kFormat>) {
  const uint32_t shifted = kStep == 0 ? word : word >> 8 | word << 24;
  return (shifted & mask) | (kFormat == MOE4J_FORMAT_NVFP4 ? 0x70007000u : 0u);
}

}  // namespace moe4j::cuda
