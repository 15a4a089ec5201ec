# shellcheck shell=bash
# What is installed, found and missing, before and besides the program's own `doctor`. Sourced after
# the other parts of tools/setup.

describe_setup() {
  echo "swath $(source_version), set-up:"
  # shellcheck source=/dev/null
  describe "system" "$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-unknown}"), $(uname -m), $(nproc) cores, $(memory_gib) GiB memory"
  describe "compiler" "$(first_line_of "${CXX:-g++}" --version)"
  describe "cmake" "$(first_line_of cmake --version)"
  describe "ninja" "$(first_line_of ninja --version)"
  describe "ccache" "$(first_line_of ccache --version) (optional)"
  describe "system packages" "$(packages_line)"
  describe "NVIDIA GPU" "$(has_nvidia_gpu && echo found || echo none)"
  describe "LibTorch" "$(torch_line)"
  local name
  for name in report demo-data cuda-headers peer peer-modis lint; do
    describe "$name" "$(set_line "$name")"
  done
  describe "program" "$(program_line)"
}

describe() {
  printf '  %-16s %s\n' "$1" "$2"
}

first_line_of() {
  if command -v "$1" >/dev/null; then
    # The whole output is read: a reader that leaves early would end a strict pipe.
    "$@" 2>/dev/null | awk 'NR == 1'
  else
    echo "missing"
  fi
}

memory_gib() {
  awk '/^MemTotal:/ {printf "%.0f", $2 / 1048576}' /proc/meminfo
}

packages_line() {
  local groups=(build) missing for_tests
  command -v dpkg-query >/dev/null || { echo "not checked (no dpkg here)"; return; }
  ((with_gdal == 0)) || groups+=(gdal)
  missing=$(missing_packages "${groups[@]}" | paste -s -d ' ')
  for_tests=$(missing_packages test | paste -s -d ' ')
  echo "${missing:+missing: }${missing:-complete}${for_tests:+; for ./swath test missing: $for_tests}"
}

torch_line() {
  local version
  version=$(torch_version)
  if [[ -n $version ]]; then
    echo "$version in ${torch_dir#"$SWATH_HOME"/}"
  else
    echo "missing: './swath build' installs $torch_set"
  fi
}

# Empty when there is none.
torch_version() {
  sed -n 's/^#define TORCH_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' \
    "$torch_dir/include/torch/headeronly/version.h" 2>/dev/null | paste -s -d .
}

set_line() {
  if set_is_current "$1"; then
    echo "installed in .deps/$1"
  elif [[ -d $deps_dir/$1 ]]; then
    echo "outdated: installed again when needed"
  else
    echo "not installed: $(sed -n '1s/^# *//p' "$SWATH_HOME/deps/$1.txt")"
  fi
}

program_line() {
  if ! program_exists; then
    echo "not built: ./swath build"
  elif is_up_to_date swath; then
    echo "built, ${program#"$SWATH_HOME"/}"
  else
    echo "built, but sources or settings changed since: the next command builds"
  fi
}

# For `doctor --json` while there is no program to answer.
describe_setup_json() {
  printf '{"version": "%s", "built": false, "libtorch": "%s", "cuda_gpu": %s}\n' \
    "$(source_version)" "$(torch_version)" "$(has_nvidia_gpu && echo true || echo false)"
}
