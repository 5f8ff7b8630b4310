#include "cuda/gemm/sm90_narrow.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {
namespace {

template <int kFormat, class Config>
NarrowInstance narrow_instance_of() {
  using Ring = NarrowRing<kFormat, Config>;
  return {sm90_narrow<kFormat, Config>,
          Config::kThreads,
          Config::kBlocks,
          Config::kStages,
          Ring::kStageBytes,
          Ring::kFixedBytes};
}

}  // namespace

template <int kFormat>
NarrowInstance sm90_narrow_instance(int row) {
#define MOE4J_SM90_NARROW(name, ...) narrow_instance_of<kFormat, NarrowConfig<__VA_ARGS__>>(),
  static const NarrowInstance instances[] = {
#include "tactics/sm90_narrow.def"
  };
  return instances[row];
}

template NarrowInstance sm90_narrow_instance<MOE4J_INSTANCE_FORMAT>(int);

}  // namespace moe4j::cuda
