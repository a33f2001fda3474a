#!/usr/bin/env bash
# Everything that only a GPU can show, on a machine that has one and no network: builds the library, runs the operators'
# tests on CUDA, the benchmarks, the transfer that uses it, and NVIDIA's sanitizer where it is there. In two calls, since
# each ends by itself within nine minutes, whatever hangs:
#
#   python_tests/gpu_check.sh build tests benchmarks memory transfer
#   python_tests/gpu_check.sh build sanitizer
#   python_tests/gpu_check.sh --dry-run PART...   what would run; no GPU needed, only the benchmarks' trial is run
#
# Everything printed is also written, at that moment, to a file per part in the folder OUT (a temporary one that stays
# where it is not set), and so is the table of parts. A part that fails does not hide the others, but the exit status
# tells. Needs nvcc, cmake, ninja and a Python with the modules that it names when one is missing. PYTHON names another
# Python, SALT_ARCHITECTURES other architectures than 90, SALT_SECONDS another end. Installs nothing for good.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly python=${PYTHON:-python3}
readonly modules=(torch numpy scikit_build_core pybind11 pytest)
readonly companions=(huggingface_hub rich safetensors tokenizers transformers typer)
readonly all=(build tests benchmarks memory transfer sanitizer)
readonly usual=525 deadline=${SALT_SECONDS:-525}
# Of the usual seconds those that are kept for each; what a part leaves is the next ones'.
declare -A kept=([build]=140 [tests]=150 [benchmarks]=110 [memory]=40 [transfer]=60 [sanitizer]=330)

if [[ -z ${SALT_GPU_CHECK_UNDER_TIMEOUT:-} ]]; then
  # A process that even SIGKILL does not end keeps its own time limit waiting: this one then ends the script alone.
  export SALT_GPU_CHECK_UNDER_TIMEOUT=1
  exec timeout --foreground --kill-after=5 $((deadline + 3 + deadline / 60)) "$0" "$@"
fi

dry=
if [[ ${1:-} == --dry-run ]]; then
  dry=1
  shift
fi
parts=("$@")
for name in "${parts[@]}"; do
  [[ " ${all[*]} " == *" $name "* ]] || parts=()
done
if ((${#parts[@]} == 0)); then
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit 2
fi

out=${OUT:-$(mktemp -d -t salt-gpu-XXXXXX)}
mkdir -p "$out"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap give_up TERM
export PYTHONPATH="$scratch/site" PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Warnings of a compiler that nobody tried here are no reason to stop.
export SALT_CUDA=ON SALT_WERROR=OFF CMAKE_CUDA_ARCHITECTURES=${SALT_ARCHITECTURES:-90}
export CMAKE_BUILD_PARALLEL_LEVEL=$(nproc)
export PATH="$PATH:/usr/local/cuda/bin"
failures=0
job= # the part that runs

say() { printf '%s\n' "$*" | tee -a "$out/gpu_check.md"; }

note() { say "| $1 | $2 | ${3:-} |"; }

finish() {
  say ""
  say "$failures failures, $SECONDS s; files in $out"
  ((failures == 0)) || exit 1
  exit 0
}

give_up() { # what cannot be ended is left behind, but not with our output in its hands
  [[ -z $job ]] || pkill -KILL -P "$job" || true
  failures=$((failures + 1))
  note "the rest" "given up: something does not end"
  finish
}

wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

later() { # later PART: the seconds that are kept for the wanted parts behind it
  local sum=0 behind= name
  for name in "${all[@]}"; do
    [[ -z $behind ]] || ! wanted "$name" || sum=$((sum + kept[$name]))
    [[ $name != "$1" ]] || behind=1
  done
  printf '%d' $((sum * deadline / usual))
}

run() { # run NAME SECONDS COMMAND...: the command, which may take so long, and how it ended
  local name=$1 limit=$2 begin=$SECONDS result=ok status=0
  shift 2
  printf '\n=== %s, at most %d s\n' "$name" "$limit"
  if ((limit < 1)); then
    result="left out: no time is left" status=1
  elif [[ -n $dry && $name != benchmarks ]]; then
    printf '%q ' "$@" | tee "$out/$name.log"
    result="not run" && echo
  else
    # In the background, since bash heeds a signal while it waits and not while a command of its own runs.
    (timeout --kill-after=$((1 + deadline / 100)) "$limit" "$@" 2>&1 | tee "$out/$name.log") &
    job=$!
    wait "$job" || status=$?
    ((status == 0)) || result="failed, exit status $status"
    ((status != 124 && status != 137)) || result="stopped after $limit s"
  fi
  ((status == 0)) || failures=$((failures + 1))
  note "$name" "$result" "$((SECONDS - begin))"
  return 0
}

part() { # part NAME COMMAND...: run with all the time that the parts behind it leave
  local name=$1
  shift
  run "$name" $((deadline - SECONDS - $(later "$name"))) "$@"
}

missing_modules() { # missing_modules NAME...: those that Python does not find
  timeout 60 "$python" -c 'import importlib.util as u, sys; print(*(m for m in sys.argv[1:] if u.find_spec(m) is None))' "$@"
}

need() { # need: stops where commands or modules are missing, and names them
  local missing what
  missing=$(missing_modules "${modules[@]}")
  for what in nvcc cmake ninja; do
    command -v "$what" >/dev/null || missing+=" $what"
  done
  if [[ -n ${missing// /} && -z $dry ]]; then
    say "missing on this machine: $missing"
    exit 2
  fi
}

sanitize() { # sanitize TOOL OPTIONS...: the parity tests in float32
  local tool=$1 left=$((deadline - SECONDS))
  shift
  # Without torch's cache every tensor is an allocation of its own, so that a step beyond its end is seen.
  run "$tool" $((left < 110 ? left : 110)) env PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
    compute-sanitizer --tool "$tool" --target-processes application-only "$@" \
    "$python" -m pytest python_tests/ops/test_devices.py -q -k "cuda and float32"
}

judge_initcheck() { # initcheck must watch every kernel, or it takes what others wrote for unwritten: ours are sorted out
  local log="$out/initcheck.log" summary
  [[ -z $dry && -e $log ]] || return 0
  awk '/Uninitialized/ { pending = 1; next }
    pending && /^=========  *(at|in) / { sub(/^=========  *(at|in) /, ""); sub(/\+0x.*/, ""); count[$0]++; pending = 0 }
    END { for (kernel in count) printf "%8d %s\n", count[kernel], kernel }' "$log" | sort -rn >"$out/initcheck-kernels.txt"
  summary=$(grep -o 'ERROR SUMMARY: [0-9]* error' "$log" | tail -n 1 || true)
  if grep -q 'salt::' "$out/initcheck-kernels.txt"; then
    failures=$((failures + 1))
    note "initcheck" "failed: our kernels read what nothing wrote, see initcheck-kernels.txt"
    grep 'salt::' "$out/initcheck-kernels.txt" | head -n 20
  elif [[ -z $summary ]] || { [[ $summary != *" 0 error" ]] && [[ ! -s $out/initcheck-kernels.txt ]]; }; then
    failures=$((failures + 1))
    note "initcheck" "its report could not be read (${summary:-no summary}), see initcheck.log"
  else
    note "initcheck" "$summary, none of a kernel of ours"
  fi
}

need
say "$(timeout 30 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "no nvidia-smi")"
say "$(timeout 30 nvcc --version 2>&1 | tail -n 2 | head -n 1 || echo "no nvcc")"
say "$(timeout 100 "$python" -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__)')"
say ""
say "| part | result | s |"
say "|---|---|---|"

# Every other part runs what this one builds.
part build "$python" -m pip install --no-build-isolation --no-deps --no-index --quiet --target "$scratch/site" .
if ((failures == 0)); then
  run library 60 "$python" -c '
import salt_ext
cuda = salt_ext.backends()["cuda"]
print(cuda)
raise SystemExit(not cuda.available)'
fi
((failures == 0)) || finish

if wanted tests; then
  absent=$(missing_modules expecttest xdist) selection=cuda workers=(-n 4)
  [[ $absent != *expecttest* ]] || selection="cuda and not opcheck"
  [[ $absent != *xdist* ]] || workers=()
  [[ -z $absent ]] || note "modules of tests" "missing: $absent"
  part tests "$python" -m pytest python_tests/ops -q -k "$selection" "${workers[@]}"
fi
if wanted benchmarks; then
  # A script's own folder must be on the path here.
  trial=() && [[ -z $dry ]] || trial=(--small --device cpu --rounds 1)
  part benchmarks env PYTHONSAFEPATH= "$python" python_tests/benchmarks/gpu.py --out "$out" "${trial[@]}"
fi
if wanted memory; then
  part memory "$python" -m pytest python_tests/ops/test_cuda.py -q -s -m perf
fi
if wanted transfer; then
  absent=$(missing_modules "${companions[@]}")
  if [[ -n $absent ]]; then
    note transfer "left out: modules missing: $absent"
  else
    part transfer "$python" -m pytest python_tests/pipeline/test_device.py -q
  fi
fi
if wanted sanitizer; then
  if [[ -n $dry ]] || command -v compute-sanitizer >/dev/null; then
    # Our kernels only: torch's own are many, and none of our business.
    sanitize memcheck --kernel-name kns=salt --error-exitcode 9
    sanitize racecheck --kernel-name kns=salt --error-exitcode 9
    sanitize initcheck --print-limit 0
    judge_initcheck
  else
    note sanitizer "left out: compute-sanitizer is not on this machine"
  fi
fi
finish
