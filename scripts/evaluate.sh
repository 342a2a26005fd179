#!/usr/bin/env bash
# The evaluator of a run of this folder, with the flags of that run:
#   ./scripts/evaluate.sh omniglot_1shot_v1 --data_numpy_dir=./data_numpy_dir --train_log_dir=./logs [further flags]
# It evaluates every checkpoint that appears in --train_log_dir; see eval/results.jsonl there, and TensorBoard.
set -euo pipefail
here=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=${1:-}
name=${name%.sh}
if [[ ! $name =~ ^([a-z]+_[0-9]shot_v1|continual_[a-z_]+)$ || ! -f $here/$name.sh ]]; then
  echo "error: '$name' is no run of scripts/; expected one of: $(cd "$here" && echo continual_*.sh *_v1.sh | sed 's/\.sh//g')." >&2
  exit 2
fi
shift
HYPERTRANSFORMER_PROGRAM=evaluate_model exec bash "$here/$name.sh" "$@"
