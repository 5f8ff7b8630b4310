#!/usr/bin/env bash
# Puts the stripped libraries where JavaCPP's Loader looks for them: a folder named after the
# platform, in the package that the bindings' packages have in common. The GPU platform has a
# complete set of its own, so that one folder is all that a process needs; and the terms of it.
#
# usage: place-natives.sh TARGET PLATFORM
set -euo pipefail

target=$1 platform=$2
here=$(dirname "${BASH_SOURCE[0]}")

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

# eula LIBRARY: the terms that the toolkit of a library has, as NVIDIA's installers and as its Python
# packages name them.
eula() {
  local folder text
  folder=$(dirname "$(realpath "$1")")
  while [[ $folder != / ]]; do
    for text in "$folder"/EULA.txt \
      "$folder"/{,dist-info/}nvidia_cuda_runtime*.dist-info/{,licenses/}License.txt; do
      if [[ -e $text ]]; then
        echo "$text"
        return
      fi
    done
    folder=$(dirname "$folder")
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
  terms=$target/gpu/META-INF
  rm -rf "$terms"
  mkdir "$terms"
  cp -p "$target/classes/META-INF/LICENSE" "$here/CUDA-NOTICE.txt" "$terms"
  text=$(eula "$runtime")
  if [[ -n $text ]]; then
    cp -p "$text" "$terms/CUDA-EULA.txt"
  fi
else
  rm -rf "$target/gpu" "$target/classes/io/moe4j/$platform-gpu"
fi
