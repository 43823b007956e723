# What the scripts share; sourced, not run. Sets `root` and makes the places of caches certain.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by the scripts that source this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Services and containers often start without HOME; npm, ccache and CMake all want one.
if [[ -z ${HOME:-} ]]; then
  HOME=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6 || true)
  if [[ -z $HOME || ! -w $HOME ]]; then HOME=${TMPDIR:-/tmp}/caiexport-home-$(id -u); fi
  mkdir -p "$HOME"
  export HOME
fi

# cmake/FindDuckDB.cmake looks in the same place.
if [[ -z ${XDG_CACHE_HOME:-} ]]; then export XDG_CACHE_HOME=$HOME/.cache; fi

# shellcheck disable=SC2034
duckdb_folder=$XDG_CACHE_HOME/caiexport/duckdb-1.4.4

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
complain() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  complain "$*"
  exit 1
}

# Prints the comment at the head of the calling script.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

cores() { printf '%s\n' "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc 2>/dev/null || echo 2)}"; }
