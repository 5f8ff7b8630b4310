// Memory movement: streaming loads, asynchronous 16-byte copies, bulk copies.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** The address of shared memory as PTX wants it. */
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/** Loads of memory that is read once and never written while the kernel runs: weights. */
__device__ __forceinline__ uint4 load_streaming_16(const uint8_t* source) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(source));
  return v;
}

/** Loads of memory that is read once, but was written not long ago. */
__device__ __forceinline__ uint4 load_once_16(const void* source) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(source)
               : "memory");
  return v;
}

__device__ __forceinline__ uint2 load_streaming_8(const uint8_t* source) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.x), "=r"(v.y)
               : "l"(source));
  return v;
}

__device__ __forceinline__ uint32_t load_streaming_4(const uint8_t* source) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(source));
  return v;
}

/** Copies 16 bytes to shared memory, or writes zeros there without reading if `valid` is false. */
__device__ __forceinline__ void copy_async_16(uint32_t destination, const void* source,
                                              bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
               "r"(valid ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/** Waits until at most `kPending` of this thread's latest groups are under way. */
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace moe4j::cuda
