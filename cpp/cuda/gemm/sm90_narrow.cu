#include "cuda/gemm/sm90_narrow.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {

template <int kFormat>
NarrowInstance sm90_narrow_instance(int row) {
#define MOE4J_SM90_NARROW(name, ...)                                                     \
  {sm90_narrow<kFormat, NarrowConfig<__VA_ARGS__>>, NarrowConfig<__VA_ARGS__>::kThreads, \
   NarrowRing<kFormat, NarrowConfig<__VA_ARGS__>>::kSharedBytes},
  static const NarrowInstance instances[] = {
#include "tactics/sm90_narrow.def"
  };
  return instances[row];
}

template NarrowInstance sm90_narrow_instance<MOE4J_INSTANCE_FORMAT>(int);

}  // namespace moe4j::cuda
