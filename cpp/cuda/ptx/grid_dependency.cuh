// Programmatic dependent launch: a kernel may start while the one before it in the stream drains.
//
// Every kernel of a launch calls wait() before it reads what an earlier kernel wrote, and
// launch_dependents() only after wait(): so a kernel that has started may read, even before its own
// wait(), whatever the kernel before the previous one wrote. The exception is the second of two
// kernels that share a GEMM: it waits at its end, so the next one may start while the first still
// writes, and reads nothing of either before its own wait().
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
