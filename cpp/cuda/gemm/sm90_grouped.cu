#include "cuda/gemm/sm90_grouped.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {

template <int kFormat, Projection kProjection>
GroupedInstance sm90_grouped_instance(int row) {
#define MOE4J_SM90_GROUPED(name, ...) \
  sm90_instance<kProjection, Sm90Config<Bf16Operand<kFormat>, __VA_ARGS__>>(),
  static const GroupedInstance instances[] = {
#include "tactics/sm90.def"
  };
  return instances[row];
}

template GroupedInstance
sm90_grouped_instance<MOE4J_INSTANCE_FORMAT, Projection::MOE4J_INSTANCE_PROJECTION>(int);

}  // namespace moe4j::cuda
