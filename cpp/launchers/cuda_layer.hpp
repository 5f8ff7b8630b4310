// A layer on a CUDA device: `Layer` over prepared weights.
#pragma once

#include <memory>

#include "launchers/cuda_context.hpp"
#include "launchers/device.hpp"

namespace moe4j::cuda {

/** `context` outlives the layer. */
Status create_layer(CudaContext& context, const moe4j_layer_desc& desc,
                    std::unique_ptr<Layer>* layer) noexcept;

}  // namespace moe4j::cuda
