#!/usr/bin/env bash
# The committed bindings must be what JavaCPP makes of moe4j.h today.
#
# usage: compare-bindings.sh GENERATED COMMITTED REFRESH   (REFRESH true: take the generated ones)
set -euo pipefail

generated=$1 committed=$2 refresh=$3

if [[ $refresh == true ]]; then
  rm -rf "$committed"
  cp -R "$generated" "$committed"
elif ! diff -r "$committed" "$generated"; then
  echo "src/gen/java differs from what JavaCPP makes of moe4j.h:" \
    "run 'mvn -pl moe-native -am compile -Dmoe4j.generate=true' and commit the result" >&2
  exit 1
fi
