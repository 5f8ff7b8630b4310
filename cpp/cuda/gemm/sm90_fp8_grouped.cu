#include "cuda/gemm/sm90_grouped.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {

template <Projection kProjection>
GroupedInstance sm90_fp8_grouped_instance(int row) {
#define MOE4J_SM90_FP8(name, ...) sm90_instance<kProjection, Sm90Config<Fp8Operand, __VA_ARGS__>>(),
  static const GroupedInstance instances[] = {
#include "tactics/sm90_fp8.def"
  };
  return instances[row];
}

template GroupedInstance sm90_fp8_grouped_instance<Projection::MOE4J_INSTANCE_PROJECTION>(int);

}  // namespace moe4j::cuda
