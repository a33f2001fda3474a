#!/usr/bin/env bash
# build.sh FOLDER: llama.cpp's converter and tokenizer for test_llama_cpp.py, from the source package of
# llama-cpp-python; then SALT_LLAMA_CPP=FOLDER. About four minutes of one core.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
pip download --quiet --no-deps --no-binary :all: --no-build-isolation "llama-cpp-python==0.3.36"
tar -xzf llama_cpp_python-*.tar.gz --strip-components=2 --wildcards '*/vendor/llama.cpp/*'
rm llama_cpp_python-*.tar.gz
off=(-DLLAMA_CURL=OFF -DLLAMA_BUILD_{COMMON,TESTS,TOOLS,EXAMPLES,SERVER}=OFF)
cmake -S llama.cpp -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS=-O1 -DCMAKE_C_FLAGS=-O1 -DGGML_NATIVE=OFF \
  -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF -DGGML_CPU_REPACK=OFF "${off[@]}" >/dev/null
cmake --build build --target llama -j "${JOBS:-2}" >/dev/null
"${CXX:-g++}" -O1 -std=c++17 "$here/tokenize.cpp" -I llama.cpp/include -I llama.cpp/ggml/include -L build/bin \
  -lllama -lggml -lggml-base "-Wl,-rpath,$PWD/build/bin" -o tokenize
