#!/usr/bin/env bash
# Everything that only a GPU can show, in one call on a machine that has one and no network: builds the library, runs the
# operators' tests on CUDA, the transfer that uses it, NVIDIA's sanitizer where it is there, and the benchmarks, and prints
# a short table. A part that fails does not hide the others, but the exit status tells. Under ten minutes.
#
#   python_tests/gpu_check.sh                            everything
#   python_tests/gpu_check.sh build tests                only these of: build tests benchmarks memory transfer sanitizer
#
# Needs nvcc, cmake, ninja and a Python with the modules that it names when one is missing. PYTHON names another Python,
# SALT_ARCHITECTURES other architectures than 90. Nothing is installed outside a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly python=${PYTHON:-python3}
readonly modules=(torch numpy scikit_build_core pybind11 pytest)
readonly companions=(huggingface_hub rich safetensors tokenizers transformers typer)
readonly all=(build tests benchmarks memory transfer sanitizer)
readonly time_limit=590
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$scratch/site" PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export SALT_CUDA=ON SALT_WERROR=ON CMAKE_CUDA_ARCHITECTURES=${SALT_ARCHITECTURES:-90}

lines=()
failures=0

part() { # part NAME SECONDS COMMAND...: runs the command, which may take so long, and notes how it ended
  local name=$1 limit=$2 begin=$SECONDS result=ok status=0
  shift 2
  if ((limit > time_limit - SECONDS)); then
    limit=$((time_limit - SECONDS))
  fi
  if ((limit < 10)); then
    skip "$name" "no time is left"
    failures=$((failures + 1))
    return
  fi
  printf '\n=== %s\n' "$name"
  timeout --kill-after=10 "$limit" "$@" || status=$?
  if ((status != 0)); then
    result="failed, exit status $status"
    ((status != 124)) || result="stopped after $limit s"
    failures=$((failures + 1))
  fi
  lines+=("$(printf '| %s | %s | %d |' "$name" "$result" $((SECONDS - begin)))")
}

skip() { # skip NAME WHY
  printf '\n=== %s: left out, %s\n' "$1" "$2"
  lines+=("| $1 | left out: $2 | |")
}

has_module() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }

need() { # need: stops where commands or modules are missing, and names them
  local missing=() what
  for what in nvcc cmake ninja; do
    command -v "$what" >/dev/null || missing+=("$what")
  done
  for what in "${modules[@]}"; do
    has_module "$what" || missing+=("Python module $what")
  done
  if ((${#missing[@]} > 0)); then
    printf 'missing on this machine: %s\n' "${missing[@]}"
    exit 2
  fi
}

wanted() { # wanted PART: whether the command line asks for it
  local name
  for name in "${parts[@]}"; do
    [[ $name != "$1" ]] || return 0
  done
  return 1
}

sanitize() { # sanitize TOOL: our kernels only, on the parity tests in float32
  # Without torch's cache every tensor is an allocation of its own, so that a step beyond its end is seen.
  part "compute-sanitizer $1" 100 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
    compute-sanitizer --tool "$1" --kernel-name kns=salt --target-processes application-only --error-exitcode 9 \
    "$python" -m pytest python_tests/ops/test_devices.py -q -k "cuda and float32"
}

parts=("$@")
(($# > 0)) || parts=("${all[@]}")
for name in "${parts[@]}"; do
  if [[ " ${all[*]} " != *" $name "* ]]; then
    printf 'unknown part %s, expected some of: %s\n' "$name" "${all[*]}"
    exit 2
  fi
done
export PATH="$PATH:/usr/local/cuda/bin"
need
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
nvcc --version | tail -n 2
"$python" -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__)'

# Every other part runs what this one builds.
part build 300 "$python" -m pip install --no-build-isolation --no-deps --no-index --quiet --target "$scratch/site" .
if ((failures > 0)); then
  printf '\nthe build failed: nothing else can run\n'
  exit 1
fi
part "the library is there" 60 "$python" -c '
import salt_ext
cuda = salt_ext.backends()["cuda"]
print(cuda)
raise SystemExit(not cuda.available)'

if wanted tests; then
  selection=cuda
  if ! has_module expecttest; then
    skip "opcheck on CUDA" "Python module expecttest is missing"
    selection="cuda and not opcheck"
  fi
  workers=()
  ! has_module xdist || workers=(-n 4)
  part "operators on CUDA" 180 "$python" -m pytest python_tests/ops -q -k "$selection" "${workers[@]}"
fi
if wanted benchmarks; then
  # A script's own folder must be on the path here.
  part benchmarks 180 env PYTHONSAFEPATH= "$python" python_tests/benchmarks/gpu.py >"$scratch/figures"
  cat "$scratch/figures"
fi
if wanted memory; then
  part "memory and 64-bit sizes" 60 "$python" -m pytest python_tests/ops/test_cuda.py -q -m perf
fi
if wanted transfer; then
  absent=()
  for module in "${companions[@]}"; do
    has_module "$module" || absent+=("$module")
  done
  if ((${#absent[@]} > 0)); then
    skip "transfer of a model" "Python modules missing: ${absent[*]}"
  else
    part "transfer of a model" 60 "$python" -m pytest python_tests/pipeline/test_device.py -q
  fi
fi
if wanted sanitizer; then
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
      sanitize "$tool"
    done
  else
    skip compute-sanitizer "it is not on this machine"
  fi
fi

printf '\n=== in short\n| part | result | s |\n|---|---|---|\n'
printf '%s\n' "${lines[@]}"
printf '\nall of it: %d s\n' "$SECONDS"
((failures == 0))
