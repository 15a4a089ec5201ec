# shellcheck shell=bash
# System packages through the platform's package manager. Sourced after common.sh.

# ensure_system_packages GROUP...: installs what deps/apt.txt lists under these groups and is
# missing. Asks nothing: without the right to install it prints the command to run and stops.
ensure_system_packages() {
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here: the packages of deps/apt.txt are expected to be installed by other means"
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  say "system packages are missing: ${missing[*]}"
  local install=(install -y --no-install-recommends "${missing[@]}") as_root
  if ((EUID == 0)); then
    as_root=(env DEBIAN_FRONTEND=noninteractive)
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
  else
    say "this user may not install them. Run:"
    printf '\n    sudo apt-get update && sudo apt-get %s\n\n' "${install[*]}" >&2
    if [[ " ${missing[*]} " == *" libgdal-dev "* ]]; then
      say "libgdal-dev can be left out: SWATH_GDAL=0 builds without TIFF and GeoTIFF."
    fi
    exit 1
  fi
  # The package lists of a fresh image are empty or old, so they are always refreshed first.
  run_apt "${as_root[@]}" apt-get update
  run_apt "${as_root[@]}" apt-get "${install[@]}"
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
    fail "apt-get failed; its last lines are above, the rest is in ${log#"$SWATH_HOME"/}." \
      "check the network and the package sources, then run the same command again."
  fi
}
