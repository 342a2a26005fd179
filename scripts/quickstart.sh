#!/usr/bin/env bash
# Train a HyperTransformer from scratch in a few minutes: set up .venv, generate the dataset
# `strokes` (handwritten-like characters), train on 5-way 1-shot tasks, evaluate, and print accuracy
# next to chance and a nearest-neighbor baseline on pixels. If it was interrupted, the same command
# resumes. Further flags are passed on, such as --train_steps=20000 (with --train_log_dir=logs/longer
# if a shorter run has finished).
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
root=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash scripts/setup_venv.sh report
unset PYTHON
logs=logs/quickstart
flags=(quickstart "$@")
echo "Training (Ctrl-C saves a checkpoint; the same command resumes from it)"
bash scripts/with_flags_of.sh train "${flags[@]}"
echo "Evaluating"
bash scripts/with_flags_of.sh evaluate_model "${flags[@]}" --eval_once
for word in "$@"; do [[ $word != --train_log_dir=* ]] || logs=${word#*=}; done
bash scripts/run.sh report "$logs"
cat <<EOF

Learning curves:  $root/.venv/bin/tensorboard --logdir=$root/$logs
The published runs are scripts/*_v1.sh; see README.md.
EOF
