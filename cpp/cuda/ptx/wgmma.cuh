// wgmma of Hopper: D[64, N] += A[64, 16] (registers) * B[N, 16] (shared memory) in BF16, or 32 K in
// E4M3, all of one warpgroup. Warp w of the warpgroup holds rows 16w..16w+15 of A and D, each laid
// out as in mma.cuh; d[4j..4j+3] belong to columns 8j..8j+7.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** Before the first wgmma, and after ordinary writes to its registers. */
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/** Keeps the compiler from reading accumulators before the wgmma_wait() above it. */
template <int kCount>
__device__ __forceinline__ void wgmma_pin(float* d) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/**
 * Keeps registers of an A operand from being reused before this point: place it after the
 * wgmma_wait() that ends the reads. The compiler does not know that wgmma reads them late.
 */
__device__ __forceinline__ void wgmma_pin_operand(uint32_t (&a)[4]) {
  asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory");
}

/**
 * Describes rows of 128 bytes (64 BF16 or 128 E4M3), 128-byte swizzled, groups of 8 rows 1024 bytes
 * apart; `address` is aligned to 1024.
 */
__device__ __forceinline__ uint64_t wgmma_descriptor(uint32_t address) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kGroupStride = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kUnusedStride = 1 << 16;
  return kSwizzle128 | kGroupStride | kUnusedStride | address >> 4;
}

/**
 * A descriptor plus this describes what is `bytes` further on: a multiple of 1024, plus the K
 * offset, 32 bytes an instruction. The machine adds 64 bits for a whole warp in one instruction.
 */
__device__ __forceinline__ constexpr uint64_t wgmma_offset(uint32_t bytes) { return bytes >> 4; }

/** `d` has kTokens / 2 accumulators. */
template <int kTokens>
__device__ void wgmma_m64k16(float* d, const uint32_t (&a)[4], uint64_t b);

template <int kTokens>
__device__ void wgmma_m64k32_e4m3(float* d, const uint32_t (&a)[4], uint64_t b);

// clang-format off
// Register names and operands, 8 accumulators (16 columns) a group; 40, 120 and 136 columns end with
// half of one.
#define MOE4J_N0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define MOE4J_N1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define MOE4J_N2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define MOE4J_N3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define MOE4J_N4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define MOE4J_N5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define MOE4J_N6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define MOE4J_N7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define MOE4J_N8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define MOE4J_N9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define MOE4J_N10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define MOE4J_N11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define MOE4J_N12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define MOE4J_N13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define MOE4J_N14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define MOE4J_N15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define MOE4J_D(i)                                                                             \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define MOE4J_HALF_N1 "%8, %9, %10, %11"
#define MOE4J_HALF_N2 "%16, %17, %18, %19"
#define MOE4J_HALF_N7 "%56, %57, %58, %59"
#define MOE4J_HALF_N8 "%64, %65, %66, %67"
#define MOE4J_HALF_D(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define MOE4J_NAMES_16 MOE4J_N0
#define MOE4J_NAMES_24 MOE4J_NAMES_16 ", " MOE4J_HALF_N1
#define MOE4J_NAMES_32 MOE4J_NAMES_16 ", " MOE4J_N1
#define MOE4J_NAMES_40 MOE4J_NAMES_32 ", " MOE4J_HALF_N2
#define MOE4J_NAMES_48 MOE4J_NAMES_32 ", " MOE4J_N2
#define MOE4J_NAMES_64 MOE4J_NAMES_48 ", " MOE4J_N3
#define MOE4J_NAMES_80 MOE4J_NAMES_64 ", " MOE4J_N4
#define MOE4J_NAMES_96 MOE4J_NAMES_80 ", " MOE4J_N5
#define MOE4J_NAMES_112 MOE4J_NAMES_96 ", " MOE4J_N6
#define MOE4J_NAMES_120 MOE4J_NAMES_112 ", " MOE4J_HALF_N7
#define MOE4J_NAMES_128 MOE4J_NAMES_112 ", " MOE4J_N7
#define MOE4J_NAMES_136 MOE4J_NAMES_128 ", " MOE4J_HALF_N8
#define MOE4J_NAMES_144 MOE4J_NAMES_128 ", " MOE4J_N8
#define MOE4J_NAMES_160 MOE4J_NAMES_144 ", " MOE4J_N9
#define MOE4J_NAMES_176 MOE4J_NAMES_160 ", " MOE4J_N10
#define MOE4J_NAMES_192 MOE4J_NAMES_176 ", " MOE4J_N11
#define MOE4J_NAMES_208 MOE4J_NAMES_192 ", " MOE4J_N12
#define MOE4J_NAMES_224 MOE4J_NAMES_208 ", " MOE4J_N13
#define MOE4J_NAMES_240 MOE4J_NAMES_224 ", " MOE4J_N14
#define MOE4J_NAMES_256 MOE4J_NAMES_240 ", " MOE4J_N15
#define MOE4J_OPERANDS_16 MOE4J_D(0)
#define MOE4J_OPERANDS_24 MOE4J_OPERANDS_16, MOE4J_HALF_D(8)
#define MOE4J_OPERANDS_32 MOE4J_OPERANDS_16, MOE4J_D(8)
#define MOE4J_OPERANDS_40 MOE4J_OPERANDS_32, MOE4J_HALF_D(16)
#define MOE4J_OPERANDS_48 MOE4J_OPERANDS_32, MOE4J_D(16)
#define MOE4J_OPERANDS_64 MOE4J_OPERANDS_48, MOE4J_D(24)
#define MOE4J_OPERANDS_80 MOE4J_OPERANDS_64, MOE4J_D(32)
#define MOE4J_OPERANDS_96 MOE4J_OPERANDS_80, MOE4J_D(40)
#define MOE4J_OPERANDS_112 MOE4J_OPERANDS_96, MOE4J_D(48)
#define MOE4J_OPERANDS_120 MOE4J_OPERANDS_112, MOE4J_HALF_D(56)
#define MOE4J_OPERANDS_128 MOE4J_OPERANDS_112, MOE4J_D(56)
#define MOE4J_OPERANDS_136 MOE4J_OPERANDS_128, MOE4J_HALF_D(64)
#define MOE4J_OPERANDS_144 MOE4J_OPERANDS_128, MOE4J_D(64)
#define MOE4J_OPERANDS_160 MOE4J_OPERANDS_144, MOE4J_D(72)
#define MOE4J_OPERANDS_176 MOE4J_OPERANDS_160, MOE4J_D(80)
#define MOE4J_OPERANDS_192 MOE4J_OPERANDS_176, MOE4J_D(88)
#define MOE4J_OPERANDS_208 MOE4J_OPERANDS_192, MOE4J_D(96)
#define MOE4J_OPERANDS_224 MOE4J_OPERANDS_208, MOE4J_D(104)
#define MOE4J_OPERANDS_240 MOE4J_OPERANDS_224, MOE4J_D(112)
#define MOE4J_OPERANDS_256 MOE4J_OPERANDS_240, MOE4J_D(120)

// a0..a3 and b follow the N / 2 accumulators.
#define MOE4J_WGMMA(N, A0, A1, A2, A3, B)                                                         \
  template <>                                                                                     \
  __device__ __forceinline__ void wgmma_m64k16<N>(float* d, const uint32_t(&a)[4], uint64_t b) {  \
    asm volatile(                                                                                 \
        "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" MOE4J_NAMES_##N "}, {" A0    \
        ", " A1 ", " A2 ", " A3 "}, " B ", 1, 1, 1, 0;\n"                                         \
        : MOE4J_OPERANDS_##N                                                                      \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                    \
  }                                                                                               \
  template <>                                                                                     \
  __device__ __forceinline__ void wgmma_m64k32_e4m3<N>(float* d, const uint32_t(&a)[4],           \
                                                       uint64_t b) {                              \
    asm volatile(                                                                                 \
        "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {" MOE4J_NAMES_##N "}, {" A0    \
        ", " A1 ", " A2 ", " A3 "}, " B ", 1, 1, 1;\n"                                            \
        : MOE4J_OPERANDS_##N                                                                      \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                    \
  }

MOE4J_WGMMA(16, "%8", "%9", "%10", "%11", "%12")
MOE4J_WGMMA(24, "%12", "%13", "%14", "%15", "%16")
MOE4J_WGMMA(32, "%16", "%17", "%18", "%19", "%20")
MOE4J_WGMMA(40, "%20", "%21", "%22", "%23", "%24")
MOE4J_WGMMA(48, "%24", "%25", "%26", "%27", "%28")
MOE4J_WGMMA(64, "%32", "%33", "%34", "%35", "%36")
MOE4J_WGMMA(80, "%40", "%41", "%42", "%43", "%44")
MOE4J_WGMMA(120, "%60", "%61", "%62", "%63", "%64")
MOE4J_WGMMA(128, "%64", "%65", "%66", "%67", "%68")
MOE4J_WGMMA(136, "%68", "%69", "%70", "%71", "%72")
MOE4J_WGMMA(144, "%72", "%73", "%74", "%75", "%76")
MOE4J_WGMMA(160, "%80", "%81", "%82", "%83", "%84")
MOE4J_WGMMA(192, "%96", "%97", "%98", "%99", "%100")
MOE4J_WGMMA(224, "%112", "%113", "%114", "%115", "%116")
MOE4J_WGMMA(256, "%128", "%129", "%130", "%131", "%132")

#undef MOE4J_WGMMA
#undef MOE4J_D
#undef MOE4J_N0
#undef MOE4J_N1
#undef MOE4J_N2
#undef MOE4J_N3
#undef MOE4J_N4
#undef MOE4J_N5
#undef MOE4J_N6
#undef MOE4J_N7
#undef MOE4J_N8
#undef MOE4J_N9
#undef MOE4J_N10
#undef MOE4J_N11
#undef MOE4J_N12
#undef MOE4J_N13
#undef MOE4J_N14
#undef MOE4J_N15
#undef MOE4J_HALF_D
#undef MOE4J_HALF_N1
#undef MOE4J_HALF_N2
#undef MOE4J_HALF_N7
#undef MOE4J_HALF_N8
#undef MOE4J_NAMES_16
#undef MOE4J_OPERANDS_16
#undef MOE4J_NAMES_24
#undef MOE4J_OPERANDS_24
#undef MOE4J_NAMES_32
#undef MOE4J_OPERANDS_32
#undef MOE4J_NAMES_40
#undef MOE4J_NAMES_48
#undef MOE4J_OPERANDS_40
#undef MOE4J_OPERANDS_48
#undef MOE4J_NAMES_64
#undef MOE4J_OPERANDS_64
#undef MOE4J_NAMES_80
#undef MOE4J_OPERANDS_80
#undef MOE4J_NAMES_96
#undef MOE4J_OPERANDS_96
#undef MOE4J_NAMES_112
#undef MOE4J_OPERANDS_112
#undef MOE4J_NAMES_120
#undef MOE4J_OPERANDS_120
#undef MOE4J_NAMES_128
#undef MOE4J_OPERANDS_128
#undef MOE4J_NAMES_136
#undef MOE4J_OPERANDS_136
#undef MOE4J_NAMES_144
#undef MOE4J_OPERANDS_144
#undef MOE4J_NAMES_160
#undef MOE4J_OPERANDS_160
#undef MOE4J_NAMES_176
#undef MOE4J_OPERANDS_176
#undef MOE4J_NAMES_192
#undef MOE4J_OPERANDS_192
#undef MOE4J_NAMES_208
#undef MOE4J_OPERANDS_208
#undef MOE4J_NAMES_224
#undef MOE4J_OPERANDS_224
#undef MOE4J_NAMES_240
#undef MOE4J_OPERANDS_240
#undef MOE4J_NAMES_256
#undef MOE4J_OPERANDS_256
// clang-format on

}  // namespace moe4j::cuda
