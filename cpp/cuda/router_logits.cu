// The router's dense projection: one warp a (token, expert), F32 products summed in a fixed order.
#include "cuda/bf16.cuh"
#include "cuda/kernels.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kWarps = 8;

__global__ void __launch_bounds__(kWarps * 32) router_logits(const RouterLogits args) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t output = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (output >= args.tokens * args.experts) return;
  const int64_t token = output / args.experts;
  const int64_t expert = output % args.experts;
  float sum = 0;
  for (int64_t h = lane; h < args.hidden; h += 32) {
    sum += load_element(args.hidden_states, args.hidden_bf16, token * args.hidden + h) *
           load_element(args.weight, args.weight_bf16, expert * args.hidden + h);
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
  if (lane == 0) {
    if (args.bias != nullptr) sum += load_element(args.bias, args.bias_bf16, expert);
    args.logits[output] = sum;
  }
}

}  // namespace

Status launch_router_logits(cudaStream_t stream, const RouterLogits& args) {
  const int64_t outputs = args.tokens * args.experts;
  if (outputs == 0) return Status::ok();
  router_logits<<<static_cast<unsigned>(ceil_div(outputs, kWarps)), kWarps * 32, 0, stream>>>(args);
  return cuda_status(cudaGetLastError(), "router_logits");
}

}  // namespace moe4j::cuda
