#include "cuda/gemm/sm90_decode.cuh"

namespace moe4j::cuda {

template <int kFormat>
Sm90DecodeInstance sm90_decode_instance() {
  return {sm90_decode_gate_up<kFormat>, sm90_decode_down<kFormat>};
}

template Sm90DecodeInstance sm90_decode_instance<MOE4J_INSTANCE_FORMAT>();

}  // namespace moe4j::cuda
