// How libmoe4j.so finds CUDA: it opens libmoe4j_cuda.so from its own folder and asks for this
// table.
#pragma once

#include <cstdint>
#include <memory>

#include "launchers/device.hpp"

namespace moe4j {

/** The one symbol of the plugin, of type `const DevicePlugin* (*)()`. */
inline constexpr char kPluginSymbol[] = "moe4j_device_plugin";

struct DevicePlugin {
  /** MOE4J_ABI_VERSION of the plugin's build; nothing else is read if it differs. */
  int32_t abi_version;
  /** How many devices there are; when 0, the status' message says why (its code stays OK). */
  Status (*count)(int32_t* count) noexcept;
  Status (*open)(int32_t index, std::unique_ptr<Device>* device) noexcept;
};

}  // namespace moe4j
