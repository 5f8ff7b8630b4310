// How libmoe4j.so finds libmoe4j_cuda.so: each test loads a copy of the library from a folder with
// another plugin, or none, beside it.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "moe4j/moe4j.h"

namespace moe4j {
namespace {

namespace fs = std::filesystem;

class CudaPlugin : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::path(testing::TempDir()) /
             ("moe4j_plugin_" +
              std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder);
    fs::create_directories(folder);
    fs::copy_file(MOE4J_LIBRARY, folder / "libmoe4j.so");
  }

  void TearDown() override { fs::remove_all(folder); }

  /** Loads the copy, with the plugin that was built as `plugin` beside it ("" for none). */
  void load(const std::string& plugin) {
    if (!plugin.empty()) {
      fs::copy_file(fs::path(MOE4J_FAKE_PLUGINS) / plugin, folder / "libmoe4j_cuda.so");
    }
    library = dlopen((folder / "libmoe4j.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << dlerror();
  }

  template <class Function>
  Function* get(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(library, name));
  }
#define CALL(function) (*get<decltype(function)>(#function))

  void expect_no_cuda(const std::string& reason) {
    int32_t count = -1;
    EXPECT_EQ(CALL(moe4j_device_count)(MOE4J_CUDA, &count), MOE4J_OK);
    EXPECT_EQ(count, 0);
    EXPECT_NE(std::string(CALL(moe4j_last_error)()).find(reason), std::string::npos)
        << CALL(moe4j_last_error)();
    moe4j_device* device = nullptr;
    EXPECT_EQ(CALL(moe4j_device_open)(MOE4J_CUDA, 0, 0, nullptr, &device),
              MOE4J_DEVICE_UNAVAILABLE);
    EXPECT_EQ(device, nullptr);
    EXPECT_NE(std::string(CALL(moe4j_last_error)()).find(reason), std::string::npos)
        << CALL(moe4j_last_error)();
  }

  fs::path folder;
  void* library = nullptr;
};

TEST_F(CudaPlugin, MissingIsNamedWithWhereItWasExpected) {
  load("");
  expect_no_cuda("found no " + (folder / "libmoe4j_cuda.so").string());
}

TEST_F(CudaPlugin, WhatCannotBeLoadedIsExplained) {
  std::ofstream(folder / "libmoe4j_cuda.so") << "this is no library";
  load("");
  expect_no_cuda("cannot load " + (folder / "libmoe4j_cuda.so").string());
}

TEST_F(CudaPlugin, AnotherLibraryIsRefused) {
  load("libfake_without_symbol.so");
  expect_no_cuda("found no symbol moe4j_device_plugin");
}

TEST_F(CudaPlugin, AnotherAbiVersionIsRefused) {
  load("libfake_of_other_abi.so");
  expect_no_cuda("found ABI version " + std::to_string(MOE4J_ABI_VERSION + 1));
}

TEST_F(CudaPlugin, NoDevicesComeWithTheReasonOfThePlugin) {
  load("libfake_without_devices.so");
  expect_no_cuda("CUDA: found no driver");
}

TEST_F(CudaPlugin, ItsDevicesAreOpenedUsedAndClosed) {
  load("libfake_with_two_devices.so");
  int32_t count = 0;
  ASSERT_EQ(CALL(moe4j_device_count)(MOE4J_CUDA, &count), MOE4J_OK);
  EXPECT_EQ(count, 2);
  moe4j_device* device = nullptr;
  EXPECT_EQ(CALL(moe4j_device_open)(MOE4J_CUDA, 2, 0, nullptr, &device), MOE4J_INVALID_ARGUMENT);
  EXPECT_STREQ(CALL(moe4j_last_error)(), "index: found 2, expected 0 <= index <= 1");
  ASSERT_EQ(CALL(moe4j_device_open)(MOE4J_CUDA, 1, 0, nullptr, &device), MOE4J_OK);
  moe4j_device_info info{};
  EXPECT_EQ(CALL(moe4j_device_info_get)(device, &info), MOE4J_OK);
  EXPECT_EQ(info.index, 1);

  void* memory = nullptr;
  ASSERT_EQ(CALL(moe4j_allocate)(device, 16, &memory), MOE4J_OK);
  EXPECT_EQ(CALL(moe4j_device_close)(device), MOE4J_INVALID_ARGUMENT);
  char stream = 0;
  EXPECT_EQ(CALL(moe4j_synchronize)(device, &stream), MOE4J_DEVICE_ERROR) << "a stream is allowed";
  EXPECT_STREQ(CALL(moe4j_last_error)(), "fake: a launch failed");
  EXPECT_EQ(CALL(moe4j_free)(device, memory), MOE4J_OK);
  EXPECT_EQ(CALL(moe4j_device_close)(device), MOE4J_OK);
}

}  // namespace
}  // namespace moe4j
