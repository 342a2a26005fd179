#!/usr/bin/env bash
# Runs a program with the flags of a run of this folder: with_flags_of.sh PROGRAM NAME [further
#   flags]
# (scripts/evaluate.sh calls it).
set -euo pipefail
here=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$1
name=${2:-}
name=${name%.sh}
if [[ ! $name =~ ^([a-z]+_[0-9]shot_v[0-9]+|continual_[a-z_]+)$ || ! -f $here/$name.sh ]]; then
  runs=$(cd "$here" && echo continual_*.sh *_v[0-9].sh | sed 's/\.sh//g')
  echo "error: '$name' is no run of scripts/; expected one of: $runs." >&2
  exit 2
fi
shift 2
HYPERTRANSFORMER_PROGRAM=$program exec bash "$here/$name.sh" "$@"
