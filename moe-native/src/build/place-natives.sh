#!/usr/bin/env bash
# Puts the stripped libraries where JavaCPP's Loader looks for them: a folder named after the
# platform, in the package that the bindings' packages have in common. The GPU platform has a
# complete set of its own, so that one folder is all that a process needs.
#
# usage: place-natives.sh TARGET PLATFORM
set -euo pipefail

target=$1 platform=$2

# place FOLDER LIBRARY...: a library that is there already keeps its time, by which JavaCPP's cache
# of extracted libraries knows it.
place() {
  local folder=$1
  shift
  mkdir -p "$folder"
  for library in "$@"; do
    local placed=$folder/${library##*/}
    strip --strip-unneeded -o "$placed.new" "$library"
    if cmp -s "$placed.new" "$placed"; then
      rm "$placed.new"
    else
      mv "$placed.new" "$placed"
    fi
  done
}

natives=("$target/cmake/lib/libmoe4j.so" "$target/jni/libjnimoe4j.so")
place "$target/classes/io/moe4j/$platform" "${natives[@]}"

cuda=$target/cmake/lib/libmoe4j_cuda.so
if [[ -e $cuda ]]; then
  runtime=$(sed -n 's/^CUDA_CUDART:FILEPATH=//p' "$target/cmake/CMakeCache.txt")
  # target/gpu is what the GPU jar is made of; target/classes serves the other modules' tests.
  for root in "$target/gpu" "$target/classes"; do
    place "$root/io/moe4j/$platform-gpu" "${natives[@]}" "$cuda"
    # The bindings of streams and graphs need the runtime as a shared library; its maker's terms
    # allow applications to carry it, unchanged.
    cp -pL "$runtime" "$root/io/moe4j/$platform-gpu/libcudart.so.13"
  done
else
  rm -rf "$target/gpu" "$target/classes/io/moe4j/$platform-gpu"
fi
