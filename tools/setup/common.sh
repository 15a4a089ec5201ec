# shellcheck shell=bash
# Messages, settings and the facts about this machine that every part of set-up needs. Sourced.

# Everything about set-up goes to stderr: standard output belongs to the program.
say() {
  printf 'swath: %s\n' "$*" >&2
}

# fail MESSAGE [HINT]: ends with 1, the code for a failure at run time.
fail() {
  printf 'swath: %s\n' "$1" >&2
  [[ -z ${2:-} ]] || printf 'HINT: %s\n' "$2" >&2
  exit 1
}

# wrong_usage MESSAGE [HINT]: ends with 2, the code for wrong usage or configuration.
wrong_usage() {
  printf 'swath: %s\n' "$1" >&2
  [[ -z ${2:-} ]] || printf 'HINT: %s\n' "$2" >&2
  exit 2
}

# --- Settings -----------------------------------------------------------------------------------

# Sets from the environment: build_type, with_cuda, with_gdal, with_plugin, torch_dir, build_dir,
# program and deps_dir. Wrong values stop here, before any work.
read_settings() {
  deps_dir=$SWATH_HOME/.deps
  build_type=${SWATH_BUILD_TYPE:-Release}
  case $build_type in
    Release | Debug | RelWithDebInfo) ;;
    *) wrong_usage "SWATH_BUILD_TYPE is '$build_type'; it is Release, Debug or RelWithDebInfo." ;;
  esac
  with_gdal=${SWATH_GDAL:-1}
  with_cuda=${SWATH_CUDA:-$(has_nvidia_gpu && echo 1 || echo 0)}
  # Compiling the plugin needs no GPU: continuous integration asks for it on its own.
  with_plugin=${SWATH_CUDA_COMPILE:-$with_cuda}
  require_flag SWATH_GDAL "$with_gdal"
  require_flag SWATH_CUDA "$with_cuda"
  require_flag SWATH_CUDA_COMPILE "$with_plugin"
  if ((with_cuda)); then build_dir=$SWATH_HOME/build/cuda; else build_dir=$SWATH_HOME/build/cpu; fi
  program=$build_dir/bin/swath
  read_torch_dir
}

require_flag() {
  [[ $2 == 0 || $2 == 1 ]] || wrong_usage "$1 is '$2'; it is 0 or 1."
}

# torch_set names the wheels to install; it is empty when SWATH_TORCH_DIR brings its own LibTorch.
read_torch_dir() {
  if [[ -n ${SWATH_TORCH_DIR:-} ]]; then
    torch_set=
    torch_dir=$(readlink -f -- "$SWATH_TORCH_DIR" || true)
    local file
    for file in include/torch/csrc/api/include/torch/torch.h lib/libtorch_cpu.so; do
      [[ -f $torch_dir/$file ]] || wrong_usage "SWATH_TORCH_DIR is '$SWATH_TORCH_DIR', which has no $file." \
        "python3 -c 'import torch; print(torch.__path__[0])' prints the directory of an installed torch."
    done
    return
  fi
  torch_set=torch-cpu
  ((with_cuda == 0)) || torch_set=torch-cuda
  torch_dir=$deps_dir/$torch_set/torch
}

has_nvidia_gpu() {
  compgen -G '/dev/nvidia[0-9]*' >/dev/null && return
  # Device files may appear with the first call only, or not at all on a virtual machine.
  command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU '
}

# --- Ranks --------------------------------------------------------------------------------------

# Prints the variable that says this process is one of several ranks; fails when it is none.
rank_evidence() {
  # Steps from 4294967280 on are not ranks: Slurm numbers a batch script or a login shell so.
  if [[ -n ${SLURM_PROCID:-} && ${SLURM_STEP_ID:-} =~ ^[0-9]+$ ]] && ((SLURM_STEP_ID < 4294967280)); then
    echo "SLURM_PROCID=$SLURM_PROCID"
  elif [[ -n ${RANK:-} && -n ${WORLD_SIZE:-} ]]; then
    echo "RANK=$RANK"
  elif [[ -n ${OMPI_COMM_WORLD_RANK:-} ]]; then
    echo "OMPI_COMM_WORLD_RANK=$OMPI_COMM_WORLD_RANK"
  elif [[ -n ${PMI_RANK:-} ]]; then
    echo "PMI_RANK=$PMI_RANK"
  else
    return 1
  fi
}

started_as_rank() {
  rank_evidence >/dev/null
}

# Thousands of ranks must never install or build at once: a rank runs what is there.
refuse_setup_by_rank() {
  started_as_rank || return 0
  fail "a rank ($(rank_evidence)) may not install or build." \
    "run './swath build' once in a plain shell, before the job starts."
}

require_program() {
  program_exists && return
  local settings=""
  ((with_cuda == 0)) || settings="SWATH_CUDA=1 "
  fail "the program is not built (${program#"$SWATH_HOME"/}), and a rank ($(rank_evidence)) may not build it." \
    "run '${settings}./swath build' once in a plain shell, before the job starts."
}

# --- Small helpers ------------------------------------------------------------------------------

program_exists() {
  [[ -x $program ]]
}

source_version() {
  sed -n 's/^project(swath VERSION \([0-9.]*\).*/\1/p' "$SWATH_HOME/CMakeLists.txt" 2>/dev/null || true
}

# One set-up at a time for this checkout. The lock ends with the process that holds it.
take_setup_lock() {
  [[ -z ${setup_lock:-} ]] || return 0
  mkdir -p "$deps_dir"
  exec {setup_lock}>"$deps_dir/.lock"
  if ! flock --nonblock "$setup_lock"; then
    say "another swath is setting up or building here; waiting for it ..."
    flock "$setup_lock"
  fi
}

release_setup_lock() {
  [[ -n ${setup_lock:-} ]] || return 0
  exec {setup_lock}>&-
  setup_lock=
}
