#!/usr/bin/env bash
# Makes sure that the tools of the native build are there. Root on a Debian-like machine gets what is
# missing as packages; everybody else gets one sentence, on standard error, that names them.
#
# usage: prerequisites.sh SKIP_TESTS   (true: what only the tests need may be missing)
set -euo pipefail

skip_tests=$1
missing=()

has() { command -v "$1" > /dev/null; }
has g++ || missing+=(g++)
has cmake || missing+=(cmake)
has ninja || has make || missing+=(ninja-build)
if [[ $skip_tests != true ]]; then
  [[ -e /usr/include/gtest/gtest.h || -e /usr/local/include/gtest/gtest.h ]] || missing+=(libgtest-dev)
  has clang-format || missing+=(clang-format)
fi
if ((${#missing[@]} == 0)); then
  exit 0
fi

if [[ $(id -u) == 0 ]] && has apt-get; then
  echo "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  install=(apt-get install -qq -y --no-install-recommends "${missing[@]}")
  # Package lists may be absent or stale: they are fetched when the first try fails.
  if { "${install[@]}" || { apt-get update -qq && "${install[@]}"; }; } > /dev/null 2>&1; then
    exit 0
  fi
fi
echo "The native build needs packages that are missing: apt-get install ${missing[*]}" >&2
