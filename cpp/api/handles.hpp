// The opaque handles of the C ABI. A handle owns what it stands for.
#pragma once

#include <memory>

#include "launchers/device.hpp"
#include "moe4j/moe4j.h"

struct moe4j_device {
  int32_t kind;
  std::unique_ptr<moe4j::Device> impl;
};

struct moe4j_layer {
  int32_t device_kind;
  std::unique_ptr<moe4j::Layer> impl;
};
