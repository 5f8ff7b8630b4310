#include "cuda/gemm/sm80_grouped.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {

template <int kFormat, Projection kProjection>
GroupedInstance sm80_grouped_instance(int row) {
#define MOE4J_SM80_GROUPED(name, ...)                                \
  {sm80_grouped_gemm<kFormat, kProjection, Sm80Config<__VA_ARGS__>>, \
   Sm80Config<__VA_ARGS__>::kThreads, Sm80Config<__VA_ARGS__>::shared_bytes()},
  static const GroupedInstance instances[] = {
#include "tactics/sm80.def"
  };
  return instances[row];
}

template GroupedInstance
sm80_grouped_instance<MOE4J_INSTANCE_FORMAT, Projection::MOE4J_INSTANCE_PROJECTION>(int);

}  // namespace moe4j::cuda
