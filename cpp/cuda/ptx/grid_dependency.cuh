// Programmatic dependent launch: a kernel may start while the one before it in the stream drains.
//
// Kernels of a launch call launch_dependents() after wait(). So a kernel that has started may read,
// even before its own wait(), what the kernel before the previous one wrote; and what the previous
// one wrote, then fenced, before launch_dependents(): counters, the narrow kernel's pair_row. The
// second of two kernels that share a GEMM waits at its end: the next may start while the first
// still writes, and reads nothing of either before its own wait(). All else is read after wait().
#pragma once

namespace moe4j::cuda {

/** Blocks until all kernels before this one have finished and their writes are visible. */
__device__ __forceinline__ void grid_dependency_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/** Lets the next kernel start as soon as every block of this one has said so (or ended). */
__device__ __forceinline__ void grid_dependency_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace moe4j::cuda
