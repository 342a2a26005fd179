#!/usr/bin/env bash
# Prints the report of runs, or writes it to a file:
#   ./scripts/report.sh ./logs [MORE_LOG_DIRS] [--output=report.html]
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" report "$@"
