#!/usr/bin/env bash
# Puts the stripped libraries where JavaCPP's Loader looks for them: a folder named after the
# platform, in the package that the bindings' packages have in common. The GPU platform has a
# complete set of its own, so that one folder is all that a process needs.
#
# usage: place-natives.sh TARGET PLATFORM
set -euo pipefail

target=$1 platform=$2

place() { # place FOLDER LIBRARY...
  local folder=$1
  shift
  mkdir -p "$folder"
  for library in "$@"; do
    strip --strip-unneeded -o "$folder/$(basename "$library")" "$library"
  done
}

natives=("$target/cmake/lib/libmoe4j.so" "$target/jni/libjnimoe4j.so")
place "$target/classes/io/moe4j/$platform" "${natives[@]}"

cuda=$target/cmake/lib/libmoe4j_cuda.so
rm -rf "$target/gpu" "$target/classes/io/moe4j/$platform-gpu"
if [[ -e $cuda ]]; then
  place "$target/gpu/io/moe4j/$platform-gpu" "${natives[@]}" "$cuda"
  cp -Rl "$target/gpu/io" "$target/classes/"
fi
