#include "api/cuda_plugin.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <string>

#include "api/checks.hpp"
#include "launchers/plugin.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

constexpr char kFileName[] = "libmoe4j_cuda.so";

/** The plugin's table, or why there is none. Settled once a process; the plugin is never unloaded.
 */
struct Plugin {
  const DevicePlugin* table = nullptr;
  std::string why_not;
};

/** The folder that this library was loaded from, with a slash; "" if that is unknown. */
std::string own_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&moe4j_abi_version), &info) == 0) return {};
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

Plugin load_plugin() {
  const std::string path = own_folder() + kFileName;
  if (access(path.c_str(), F_OK) != 0) {
    return {nullptr, "CUDA: found no " + path +
                         ", expected it beside libmoe4j.so; the artifact with the classifier "
                         "linux-x86_64-gpu and builds with nvcc have it"};
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {nullptr, "CUDA: cannot load " + path + ": " + dlerror()};

  const auto get_table = reinterpret_cast<const DevicePlugin* (*)()>(dlsym(library, kPluginSymbol));
  if (get_table == nullptr) {
    return {nullptr, "CUDA: found no symbol " + std::string(kPluginSymbol) + " in " + path +
                         ", expected a library of this version of moe4j"};
  }
  const DevicePlugin* table = get_table();
  if (table->abi_version != MOE4J_ABI_VERSION) {
    return {nullptr, "CUDA: found ABI version " + std::to_string(table->abi_version) + " in " +
                         path + ", expected " + std::to_string(MOE4J_ABI_VERSION) +
                         ": take both libraries from the same version of moe4j"};
  }
  return {table, {}};
}

const Plugin& plugin() {
  static const Plugin loaded = load_plugin();
  return loaded;
}

}  // namespace

Status cuda_device_count(int32_t* count) noexcept {
  *count = 0;
  try {
    if (plugin().table == nullptr) return {MOE4J_OK, plugin().why_not};
    return plugin().table->count(count);
  } catch (const std::exception& exception) {
    return failure(MOE4J_OUT_OF_MEMORY, "CUDA: cannot look for devices: %s", exception.what());
  }
}

Status open_cuda_device(int32_t index, std::unique_ptr<Device>* device) noexcept {
  int32_t count = 0;
  Status status = cuda_device_count(&count);
  if (!status.is_ok()) return status;
  if (count == 0) return failure(MOE4J_DEVICE_UNAVAILABLE, "%s", status.message().c_str());
  MOE4J_RETURN_IF_ERROR(check_range("index", index, 0, count - 1));
  return plugin().table->open(index, device);
}

}  // namespace moe4j
