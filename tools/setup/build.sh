# shellcheck shell=bash
# Configures and compiles build/cpu or build/cuda. Sourced after common.sh, system.sh, wheels.sh.
#
# Stamps in the build directory:
#   .swath-configuring   present while CMake configures anew; left behind, it did not finish
#   .swath-configured    the settings it was configured with
#   .swath-built-TARGET  the settings TARGET was built with; its time is the start of that build

# What a build depends on. A directory's own time changes when a file in it comes or goes.
source_roots() {
  local root
  for root in CMakeLists.txt cmake deps recipes src third_party; do
    [[ ! -e $SWATH_HOME/$root ]] || printf '%s\n' "$SWATH_HOME/$root"
  done
}

# ensure_built TARGET: swath (the program and, where asked for, the CUDA plugin) or all (also the
# tests, which need GoogleTest). Costs a few milliseconds when nothing changed.
ensure_built() {
  local target=$1
  is_up_to_date "$target" && return
  [[ -f $SWATH_HOME/CMakeLists.txt ]] || fail "this checkout has no CMakeLists.txt."
  take_setup_lock
  if ! is_up_to_date "$target"; then
    ensure_configured "$target"
    install_set report
    compile "$target"
  fi
  release_setup_lock
}

# ensure_configured TARGET: everything a compiler or clang-tidy needs, without compiling.
ensure_configured() {
  take_setup_lock
  local groups=(build)
  ((with_gdal == 0)) || groups+=(gdal)
  [[ $1 != all ]] || groups+=(test)
  ensure_system_packages "${groups[@]}"
  [[ -z $torch_set ]] || install_set "$torch_set"
  [[ $(cuda_headers_origin) != wheels ]] || install_set cuda-headers
  configure "$1"
}

is_up_to_date() {
  local stamp roots
  program_exists || return 1
  # Results name the commit: one that changed no file must reach the program, too.
  [[ $(current_commit) == $(cat "$build_dir/.swath-commit" 2>/dev/null) ]] || return 1
  # Building all includes the program.
  for stamp in "$build_dir/.swath-built-$1" "$build_dir/.swath-built-all"; do
    [[ -f $stamp && $(<"$stamp") == "$(build_settings)" ]] || continue
    mapfile -t roots < <(source_roots)
    [[ -n $(find "${roots[@]}" -newer "$stamp" -print -quit) ]] || return 0
  done
  return 1
}

current_commit() {
  git -C "$SWATH_HOME" rev-parse HEAD 2>/dev/null || true
}

build_settings() {
  printf '%s\n' "build_type=$build_type" "torch=$torch_dir" "gdal=$with_gdal" \
    "plugin=$with_plugin" "cuda_includes=$(cuda_include_dirs)" "cxx=${CXX:-}"
}

# --- CUDA headers -------------------------------------------------------------------------------

# Where the plugin's headers come from: empty (no plugin), torch (the full set brings them), toolkit
# or wheels. A toolkit serves only with CUDA 13 and an nccl.h of the release that LibTorch embeds:
# another nccl.h changes the layout of ProcessGroupNCCL's options.
cuda_headers_origin() {
  if ((with_plugin == 0)); then
    echo ""
  elif [[ $torch_set == torch-cuda ]]; then
    echo torch
  elif toolkit_include_dir >/dev/null; then
    echo toolkit
  else
    echo wheels
  fi
}

toolkit_include_dir() {
  local compiler include
  compiler=$(command -v nvcc) || return 1
  include=$(dirname -- "$(dirname -- "$(readlink -f -- "$compiler")")")/include
  grep -q '#define CUDA_VERSION 130' "$include/cuda.h" 2>/dev/null || return 1
  grep -q 'define NCCL_MAJOR 2$' "$include/nccl.h" 2>/dev/null || return 1
  grep -q 'define NCCL_MINOR 28$' "$include/nccl.h" || return 1
  echo "$include"
}

# A CMake list.
cuda_include_dirs() {
  local root
  case $(cuda_headers_origin) in
    toolkit) toolkit_include_dir ;;
    torch) root=$deps_dir/torch-cuda/nvidia ;;&
    wheels) root=$deps_dir/cuda-headers/nvidia ;;&
    torch | wheels) echo "$root/cu13/include;$root/nccl/include" ;;
  esac
}

# --- Configure and compile ----------------------------------------------------------------------

configure() {
  local target=$1 settings gdal=OFF plugin=OFF tests=OFF fresh=(--fresh) log=$build_dir/configure.log
  settings=$(build_settings)
  if [[ -f $build_dir/.swath-configuring ]]; then
    say "the last configuration of ${build_dir#"$SWATH_HOME"/} did not finish: starting it anew"
  elif [[ -f $build_dir/build.ninja && $(cat "$build_dir/.swath-configured" 2>/dev/null) == "$settings" ]]; then
    if [[ $target != all ]] || has_tests; then return; fi
    fresh=()  # only the tests are new: what is compiled stays
  fi

  ((with_gdal == 0)) || gdal=ON
  ((with_plugin == 0)) || plugin=ON
  if [[ $target == all ]] || gtest_is_installed; then tests=ON; fi
  local options=("${fresh[@]}" --no-warn-unused-cli -G Ninja -S "$SWATH_HOME" -B "$build_dir"
    "-DCMAKE_BUILD_TYPE=$build_type" "-DSWATH_TORCH_DIR=$torch_dir" "-DSWATH_WITH_GDAL=$gdal"
    "-DSWATH_WITH_CUDA_PLUGIN=$plugin" "-DSWATH_CUDA_INCLUDE_DIRS=$(cuda_include_dirs)"
    "-DSWATH_BUILD_TESTS=$tests")
  if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  say "configuring ${build_dir#"$SWATH_HOME"/} ($build_type, LibTorch in ${torch_dir#"$SWATH_HOME"/})"
  mkdir -p "$build_dir"
  if ((${#fresh[@]})); then
    # What was built with other settings is not up to date when they come back.
    rm -f "$build_dir"/.swath-built-*
    touch "$build_dir/.swath-configuring"
  fi
  if ! cmake "${options[@]}" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    fail "CMake could not configure; its last lines are above, the rest is in ${log#"$SWATH_HOME"/}."
  fi
  grep -A 3 '^CMake Warning' "$log" >&2 || true
  printf '%s\n' "$settings" >"$build_dir/.swath-configured"
  rm -f "$build_dir/.swath-configuring"
}

has_tests() {
  grep -qx 'SWATH_BUILD_TESTS:BOOL=ON' "$build_dir/CMakeCache.txt"
}

gtest_is_installed() {
  command -v dpkg-query >/dev/null && [[ -z $(missing_packages test) ]]
}

compile() {
  local target=$1 targets jobs started
  case $target in
    swath) targets=(swath) ;;
    all) targets=(all) ;;
  esac
  if ((with_plugin)) && [[ $target == swath ]]; then targets+=(swath_cuda); fi
  jobs=$(compile_jobs)
  # An edit during the build must count as newer than it.
  started=$build_dir/.swath-started-$target
  build_settings >"$started"
  say "compiling ${targets[*]} with $jobs jobs (the first time takes minutes; log: ${build_dir#"$SWATH_HOME"/}/build.log)"
  # A precompiled header differs in time stamps alone: without this ccache never reuses one.
  export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros,include_file_mtime,include_file_ctime}
  cmake --build "$build_dir" --parallel "$jobs" --target "${targets[@]}" 2>&1 |
    tee "$build_dir/build.log" | show_build_progress ||
    fail "the build failed; the compiler's message is above and in ${build_dir#"$SWATH_HOME"/}/build.log."
  mv "$started" "$build_dir/.swath-built-$target"
  current_commit >"$build_dir/.swath-commit"
}

# Ninja's lines in, on stderr: one line for each tenth of the work, and everything that is not mere
# progress (warnings, errors).
show_build_progress() {
  awk '
    match($0, /^\[[0-9]+\/[0-9]+\] /) {
      split(substr($0, 2, RLENGTH - 3), done, "/")
      tenth = int(10 * done[1] / done[2])
      if (tenth > shown) { printf "swath:   %d of %d\n", done[1], done[2]; fflush(); shown = tenth }
      next
    }
    /^ninja: (Entering directory|no work to do)/ { next }
    { print; fflush() }' >&2
}

# One compiler with all of LibTorch in its header takes up to 2 GB.
compile_jobs() {
  local cores jobs available_bytes limit_bytes
  cores=$(nproc)
  if [[ -n ${SWATH_JOBS:-} ]]; then
    [[ $SWATH_JOBS =~ ^[1-9][0-9]*$ ]] || wrong_usage "SWATH_JOBS is '$SWATH_JOBS'; it is a positive number."
    echo "$SWATH_JOBS"
    return
  fi
  available_bytes=$(awk '/^MemAvailable:/ {printf "%.0f", $2 * 1024}' /proc/meminfo)
  limit_bytes=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)
  if [[ $limit_bytes =~ ^[0-9]+$ ]] && ((limit_bytes < available_bytes)); then available_bytes=$limit_bytes; fi
  jobs=$((available_bytes / 2000000000))
  ((jobs <= cores)) || jobs=$cores
  ((jobs >= 1)) || jobs=1
  echo "$jobs"
}
