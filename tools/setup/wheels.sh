# shellcheck shell=bash
# Pinned wheels, unpacked into .deps/NAME from deps/NAME.txt. Sourced after common.sh.
#
# A set is complete or absent: it grows in NAME.partial and is renamed at the end, with the checksum
# of its requirements file beside it, so a changed pin installs anew. A download that breaks off is
# resumed, and wheels that were complete are kept for the next call.

# portable_wheel_options PYTHON_VERSION: pip options, one a line. Sets for C++ take the wheels of
# Python 3.11, whatever python3 this machine has: only their headers and libraries are used.
portable_wheel_options() {
  local version=$1 minor
  local options=(--python-version "$version" --implementation cp --abi "cp${version/./}")
  for minor in $(seq 28 -1 5); do options+=(--platform "manylinux_2_${minor}_x86_64"); done
  options+=(--platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64)
  printf '%s\n' "${options[@]}"
}

set_checksum() {
  sha256sum "$SWATH_HOME/deps/$1.txt" | cut -d ' ' -f 1
}

set_is_current() {
  local stamp=$deps_dir/$1/.stamp
  [[ -f $stamp && $(<"$stamp") == "$(set_checksum "$1")" ]]
}

# install_set NAME: nothing when it is there already.
install_set() {
  local name=$1
  ! set_is_current "$name" || return 0
  take_setup_lock
  ! set_is_current "$name" || return 0
  require_supported_platform "$name"
  say "installing $(sed -n '1s/^# *//p' "$SWATH_HOME/deps/$name.txt")"

  local target=$deps_dir/$name
  rm -rf "$target.partial"
  mkdir -p "$target.partial"
  case $name in
    pip) pip_install python3 "$name" ;;
    peer | peer-*)
      ensure_pip
      install_peer "$name"
      ;;
    *)
      local options
      ensure_pip
      mapfile -t options < <(portable_wheel_options 3.11)
      pip_install python3 "$name" "${options[@]}"
      ;;
  esac
  trim_set "$name"
  set_checksum "$name" >"$target.partial/.stamp"
  rm -rf "$target"
  mv "$target.partial" "$target"
}

require_supported_platform() {
  [[ $(uname -sm) == "Linux x86_64" ]] || fail \
    "the pinned wheels ('$1') are for Linux on x86_64, this is $(uname -sm)." \
    "point SWATH_TORCH_DIR to an installed torch."
}

# Our own pip: the platform's may be too old to resume a download.
ensure_pip() {
  python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip." \
    "install python3-pip, or 'python3 -m ensurepip --user'."
  install_set pip
}

# pip_install PYTHON NAME [OPTION...]: downloads into .deps/downloads/NAME, unpacks into
# NAME.partial, then deletes the downloads. Options say which wheels fit, where not those of PYTHON.
pip_install() {
  local python=$1 name=$2
  local downloads=$deps_dir/downloads/$name options=(--no-deps --only-binary=:all: "${@:3}")
  # pip unpacks in TMPDIR first, which on many clusters is too small for LibTorch.
  rm -rf "$deps_dir/tmp"
  mkdir -p "$deps_dir/tmp" "$downloads"
  split_requirements "$name" "$downloads"
  local requirement
  for requirement in "$downloads"/*.requirement; do
    [[ ! -f $requirement.done ]] || continue
    say "  downloading $(sed -n '1s/ .*//p' "$requirement")"
    run_pip "$python" "$name" download "${options[@]}" --require-hashes --dest "$downloads" \
      --requirement "$requirement" || pip_failed "$name" "complete downloads are kept"
    touch "$requirement.done"
  done
  say "  unpacking"
  run_pip "$python" "$name" install "${options[@]}" --require-hashes --no-compile --no-index \
    --find-links "$downloads" --target "$deps_dir/$name.partial" \
    --requirement "$SWATH_HOME/deps/$name.txt" || {
    # A damaged download must not stand in the way of the next attempt.
    rm -rf "$downloads"
    pip_failed "$name" "all is downloaded anew"
  }
  rm -rf "$deps_dir/tmp" "$downloads"
}

# One file for each requirement, named by its content: what was complete when a later download broke
# off need not be fetched again, and a changed pin is another file.
split_requirements() {
  local name=$1 downloads=$2 block number
  rm -f "$downloads"/*.requirement
  for ((number = 1; ; number++)); do
    block=$(awk -v number="$number" '/^#/ { next } /^[^ ]/ { n++ } n == number' "$SWATH_HOME/deps/$name.txt")
    [[ -n $block ]] || break
    printf '%s\n' "$block" >"$downloads/$(sha256sum <<<"$block" | cut -c 1-16).requirement"
  done
}

# run_pip PYTHON NAME ARGUMENT...: mirrors and certificates come from the user's pip configuration.
run_pip() {
  local python=$1 name=$2 options=(--disable-pip-version-check --no-input)
  shift 2
  # Where nobody watches, a progress bar is noise.
  [[ -t 2 ]] || options+=(--quiet)
  if [[ $name != pip && $1 == download ]]; then options+=(--resume-retries 20); fi
  TMPDIR=$deps_dir/tmp PYTHONPATH=$deps_dir/pip PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore \
    "$python" -m pip "$1" "${options[@]}" "${@:2}" >&2
}

pip_failed() {
  fail "pip could not install '$1' (deps/$1.txt); its message is above." \
    "check network and disk, then run the same command again: $2. Mirrors and proxies belong into pip's own configuration."
}

# What C++ never opens is deleted: about a quarter of the unpacked wheel.
trim_set() {
  local partial=$deps_dir/$1.partial
  case $1 in
    torch-cpu | torch-cuda)
      find "$partial/torch" -mindepth 1 -maxdepth 1 ! -name include ! -name lib ! -name share \
        -exec rm -rf {} +
      rm -rf "$partial/functorch" "$partial/torchgen"
      ;;
    cuda-headers) find "$partial" -type d -path '*/nvidia/*/lib' -prune -exec rm -rf {} + ;;
  esac
}

# The Python peers of the long tests run, so they need wheels of a Python that is here. They get a
# launcher of their own: .deps/peer/bin/python sees exactly this set.
install_peer() {
  local name=$1 python
  python=$(peer_python) || fail "the long tests need Python 3.11 or 3.12, this machine has neither." \
    "install python3.11 or python3.12."
  pip_install "$python" "$name"
  mkdir -p "$deps_dir/$name.partial/bin"
  cat >"$deps_dir/$name.partial/bin/python" <<TEXT
#!/usr/bin/env bash
# Python with the packages of this folder and no others of the user.
PYTHONPATH=\$(cd -- "\$(dirname -- "\${BASH_SOURCE[0]}")/.." && pwd)\${PYTHONPATH:+:\$PYTHONPATH}
export PYTHONPATH PYTHONNOUSERSITE=1
exec $python "\$@"
TEXT
  chmod +x "$deps_dir/$name.partial/bin/python"
}

peer_python() {
  local candidate
  for candidate in python3 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}
