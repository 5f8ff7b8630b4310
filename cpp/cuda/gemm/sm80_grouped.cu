#include "cuda/gemm/sm80_grouped.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {

template <int kFormat>
GroupedInstance sm80_grouped_instance(int row, Projection projection) {
#define MOE4J_SM80_GROUPED(name, ...)                                                            \
  {{sm80_grouped_gemm<kFormat, Projection::kGateUp, Sm80Config<__VA_ARGS__>>,                    \
    Sm80Config<__VA_ARGS__>::kThreads, Sm80Config<__VA_ARGS__>::shared_bytes()},                 \
   {sm80_grouped_gemm<kFormat, Projection::kDown, Sm80Config<__VA_ARGS__>>,                      \
    Sm80Config<__VA_ARGS__>::kThreads, Sm80Config<__VA_ARGS__>::shared_bytes()}},
  static const GroupedInstance instances[][2] = {
#include "tactics/sm80.def"
  };
  return instances[row][projection == Projection::kGateUp ? 0 : 1];
}

template GroupedInstance sm80_grouped_instance<MOE4J_INSTANCE_FORMAT>(int, Projection);

}  // namespace moe4j::cuda
