#!/usr/bin/env bash
# Set up .venv and run all checks: lint, format, types, all tests, docs.
# Further arguments are passed to pytest (such as -m "not slow", or a file); CI passes none.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
root=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash scripts/setup_venv.sh dev
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
bash scripts/build_docs.sh
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} PYTHONPATH="$root"
.venv/bin/python -m pytest -n 2 --dist worksteal "$@"
