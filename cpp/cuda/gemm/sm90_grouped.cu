#include "cuda/gemm/sm90_grouped.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {

template <int kFormat>
GroupedInstance sm90_grouped_instance(int row, Projection projection) {
  constexpr int kTileBytes = Fragment<kFormat>::kTileBytes;
#define MOE4J_SM90_GROUPED(name, ...)                                                            \
  {{sm90_grouped_gemm<kFormat, Projection::kGateUp, Sm90Config<kFormat, __VA_ARGS__>>,           \
    Sm90Config<kFormat, __VA_ARGS__>::kThreads,                                                  \
    Sm90Config<kFormat, __VA_ARGS__>::shared_bytes(kTileBytes)},                                 \
   {sm90_grouped_gemm<kFormat, Projection::kDown, Sm90Config<kFormat, __VA_ARGS__>>,             \
    Sm90Config<kFormat, __VA_ARGS__>::kThreads,                                                  \
    Sm90Config<kFormat, __VA_ARGS__>::shared_bytes(kTileBytes)}},
  static const GroupedInstance instances[][2] = {
#include "tactics/sm90.def"
  };
  return instances[row][projection == Projection::kGateUp ? 0 : 1];
}

template GroupedInstance sm90_grouped_instance<MOE4J_INSTANCE_FORMAT>(int, Projection);

}  // namespace moe4j::cuda
