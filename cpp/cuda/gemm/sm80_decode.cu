#include "cuda/gemm/sm80_decode.cuh"

#include "cuda/gemm/instances.hpp"

namespace moe4j::cuda {

template <int kFormat>
DecodeKernel decode_gate_up_instance(int row) {
#define MOE4J_DECODE(name, split) decode_gate_up<kFormat, split>,
  static const DecodeKernel kernels[] = {
#include "tactics/sm80.def"
  };
  return kernels[row];
}

template <int kFormat>
DecodeKernel decode_down_instance() {
  return decode_down<kFormat>;
}

template DecodeKernel decode_gate_up_instance<MOE4J_INSTANCE_FORMAT>(int);
template DecodeKernel decode_down_instance<MOE4J_INSTANCE_FORMAT>();

}  // namespace moe4j::cuda
