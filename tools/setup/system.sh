# shellcheck shell=bash
# System packages through the platform's package manager. Sourced after common.sh.

# ensure_system_packages GROUP...: installs what deps/apt.txt lists under these groups and is
# missing, and the optional packages with it. Asks nothing: without the right to install it prints
# the command to run and stops.
ensure_system_packages() {
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here: the packages of deps/apt.txt are expected to be installed by other means"
    return
  fi
  [[ -n $(missing_packages "$@") ]] || return 0
  take_setup_lock
  local missing
  mapfile -t missing < <(missing_packages "$@")  # another set-up may have installed them meanwhile
  ((${#missing[@]})) || return 0
  say "system packages are missing: ${missing[*]}"
  local install=(install -y --no-install-recommends) as_root
  if [[ $(id -u) == 0 ]]; then
    as_root=(env DEBIAN_FRONTEND=noninteractive)
  elif command -v sudo >/dev/null && sudo -n true &>/dev/null; then
    as_root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
  else
    say "this user may not install them. Run:"
    printf '\n    sudo apt-get update && sudo apt-get %s\n\n' "${install[*]} ${missing[*]}" >&2
    if [[ " ${missing[*]} " == *" libgdal-dev "* ]]; then
      say "libgdal-dev can be left out: 'export SWATH_GDAL=0' builds without TIFF and GeoTIFF."
    fi
    exit 1
  fi
  mapfile -t missing < <(missing_packages "$@" optional)
  # apt-get refuses to work after an interrupted installation until this has run.
  run_apt "${as_root[@]}" dpkg --configure -a
  # The package lists of a fresh image are empty or old, so they are always refreshed first.
  run_apt "${as_root[@]}" apt-get update
  run_apt "${as_root[@]}" apt-get "${install[@]}" "${missing[@]}"
}

# missing_packages GROUP...: names, one a line.
missing_packages() {
  local installed package group proof
  installed=$(dpkg-query --show --showformat='${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p')
  while read -r package group proof _; do
    [[ $package != "#"* && -n $package && " $* " == *" $group "* ]] || continue
    [[ $proof != - ]] && command -v "$proof" >/dev/null && continue
    grep -qxF -- "$package" <<<"$installed" || echo "$package"
  done <"$SWATH_HOME/deps/apt.txt"
}

run_apt() {
  local log=$deps_dir/apt.log
  mkdir -p "$deps_dir"
  say "  $*"
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    fail "the package manager failed; its last lines are above, the rest is in ${log#"$SWATH_HOME"/}." \
      "check the network and the package sources, then run the same command again."
  fi
}
