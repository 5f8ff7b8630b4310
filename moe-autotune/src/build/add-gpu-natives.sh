#!/usr/bin/env bash
# Adds the GPU platform's libraries to the application's jar, where this build made some: their
# artifact is absent where there is no nvcc, so that it cannot be a dependency like the CPU's.
#
# usage: add-gpu-natives.sh JAR FOLDER
set -euo pipefail

jar=$1 folder=$2

if [[ -d $folder ]]; then
  "${JAVA_HOME:+$JAVA_HOME/bin/}jar" --update --file "$jar" -C "$folder" .
fi
