#!/usr/bin/env bash
# Run a program with the flags of a recipe, a file in hypertransformer/recipes/:
#   with_flags_of.sh PROGRAM RECIPE [further flags], where PROGRAM is as for run.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
here=$(CDPATH= cd "$(dirname "$0")" && pwd)
recipes=$(dirname "$here")/hypertransformer/recipes
name=${2:-}
name=${name%.sh}
if [[ $name == */* || ! -f $recipes/$name.flags ]]; then
  known=$(cd "$recipes" && echo *.flags)
  echo "error: '$name' is not a recipe; expected one of: ${known//.flags/}." >&2
  exit 2
fi
exec bash "$here/run.sh" "$1" --flagfile="$recipes/$name.flags" "${@:3}"
