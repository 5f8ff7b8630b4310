#!/usr/bin/env bash
# Configures and builds the native libraries into BUILD/lib; what the tools say goes to a log, which
# is shown when they fail.
#
# usage: cmake.sh SOURCE BUILD SKIP_TESTS [CMAKE_OPTION...]
set -euo pipefail

source=$1 build=$2 skip_tests=$3
shift 3

mkdir -p "$build"
log=$build/build.log
trap 'cat "$log" >&2' ERR

generator=()
if [[ ! -e $build/CMakeCache.txt ]]; then
  echo "Building the native libraries, which takes minutes the first time (log: $log)"
  if command -v ninja > /dev/null; then
    generator=(-G Ninja)
  fi
fi
tests=ON
if [[ $skip_tests == true ]]; then
  tests=OFF
fi
cmake -S "$source" -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$build/lib" -DMOE4J_TESTS=$tests "$@" > "$log" 2>&1
sed -n 's/^-- \(libmoe4j_cuda\.so .*\)/\1/p' "$log"
cmake --build "$build" --parallel "$(nproc)" >> "$log" 2>&1
