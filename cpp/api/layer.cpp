// Layers, their tactics and launches.
#include "api/check_launch.hpp"
#include "api/check_layer.hpp"
#include "api/checks.hpp"
#include "api/guard.hpp"
#include "api/handles.hpp"
#include "moe4j/moe4j.h"
#include "support/limits.hpp"
#include "support/message.hpp"

using moe4j::check_pointer;
using moe4j::check_range;
using moe4j::guarded;
using moe4j::kMaxTokens;
using moe4j::Status;

namespace {

Status check_layer(const moe4j_layer* layer) { return check_pointer("layer", layer, 1); }

Status check_unsealed(const moe4j_layer* layer) {
  if (!layer->impl->sealed()) return Status::ok();
  return moe4j::invalid_argument("layer: found a sealed one, expected one still open to changes");
}

/** What a layer can do is known once all its weights are. */
Status check_sealed(const moe4j_layer* layer) {
  MOE4J_RETURN_IF_ERROR(check_layer(layer));
  if (layer->impl->sealed()) return Status::ok();
  return moe4j::invalid_argument(
      "layer: found one that is not sealed, expected moe4j_layer_seal() first");
}

}  // namespace

int32_t moe4j_layer_create(moe4j_device* device, const moe4j_layer_desc* desc,
                           moe4j_layer** layer) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_pointer("layer", layer, alignof(void*)));
    *layer = nullptr;
    MOE4J_RETURN_IF_ERROR(check_pointer("device", device, 1));
    MOE4J_RETURN_IF_ERROR(check_pointer("desc", desc, alignof(moe4j_layer_desc)));
    MOE4J_RETURN_IF_ERROR(moe4j::check_layer_desc(*desc));
    auto handle = std::make_unique<moe4j_layer>();
    handle->device_kind = device->kind;
    MOE4J_RETURN_IF_ERROR(device->impl->create_layer(*desc, &handle->impl));
    *layer = handle.release();
    return Status::ok();
  });
}

int32_t moe4j_layer_set_expert(moe4j_layer* layer, int32_t local_expert,
                               const moe4j_expert_weights* weights) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_layer(layer));
    MOE4J_RETURN_IF_ERROR(check_unsealed(layer));
    MOE4J_RETURN_IF_ERROR(check_pointer("weights", weights, alignof(moe4j_expert_weights)));
    MOE4J_RETURN_IF_ERROR(moe4j::check_expert(layer->impl->desc(), local_expert, *weights));
    return layer->impl->set_expert(local_expert, *weights);
  });
}

int32_t moe4j_layer_seal(moe4j_layer* layer) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_layer(layer));
    MOE4J_RETURN_IF_ERROR(check_unsealed(layer));
    return layer->impl->seal();
  });
}

void moe4j_layer_destroy(moe4j_layer* layer) { delete layer; }

int32_t moe4j_layer_bytes(const moe4j_layer* layer, int64_t* bytes) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_layer(layer));
    MOE4J_RETURN_IF_ERROR(check_pointer("bytes", bytes, alignof(int64_t)));
    *bytes = layer->impl->prepared_bytes();
    return Status::ok();
  });
}

int32_t moe4j_layer_tactics(const moe4j_layer* layer, int64_t tokens, int32_t* ids,
                            int32_t capacity, int32_t* count) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_sealed(layer));
    MOE4J_RETURN_IF_ERROR(check_range("tokens", tokens, 0, kMaxTokens));
    MOE4J_RETURN_IF_ERROR(check_range("capacity", capacity, 0, INT32_MAX));
    if (capacity > 0) MOE4J_RETURN_IF_ERROR(check_pointer("ids", ids, alignof(int32_t)));
    MOE4J_RETURN_IF_ERROR(check_pointer("count", count, alignof(int32_t)));
    *count = layer->impl->tactics(tokens, ids, capacity);
    return Status::ok();
  });
}

const char* moe4j_tactic_name(const moe4j_device* device, int32_t tactic) {
  const char* name = nullptr;
  guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_pointer("device", device, 1));
    name = device->impl->tactic_name(tactic);
    if (name != nullptr) return Status::ok();
    return moe4j::invalid_argument("tactic: found %d, expected an id from moe4j_layer_tactics()",
                                   tactic);
  });
  return name;
}

int32_t moe4j_tactic_table_hash(const moe4j_device* device, uint64_t* hash) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_pointer("device", device, 1));
    MOE4J_RETURN_IF_ERROR(check_pointer("hash", hash, alignof(uint64_t)));
    *hash = device->impl->tactic_table_hash();
    return Status::ok();
  });
}

int32_t moe4j_workspace_bytes(const moe4j_layer* layer, int32_t tactic, int64_t tokens,
                              int64_t* bytes) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_sealed(layer));
    MOE4J_RETURN_IF_ERROR(check_range("tokens", tokens, 0, kMaxTokens));
    MOE4J_RETURN_IF_ERROR(check_pointer("bytes", bytes, alignof(int64_t)));
    return layer->impl->workspace_bytes(tactic, tokens, bytes);
  });
}

int32_t moe4j_launch(const moe4j_layer* layer, const moe4j_launch_args* args) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_sealed(layer));
    MOE4J_RETURN_IF_ERROR(check_pointer("args", args, alignof(moe4j_launch_args)));
    MOE4J_RETURN_IF_ERROR(moe4j::check_launch(*layer->impl, layer->device_kind, *args));
    return args->tokens == 0 ? Status::ok() : layer->impl->launch(*args);
  });
}
