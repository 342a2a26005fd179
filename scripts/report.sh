#!/usr/bin/env bash
# Prints the report of runs, or writes it to a file:
#   ./scripts/report.sh ./logs [MORE_LOG_DIRS] [--output=report.html]
exec bash "$(dirname "$0")/run.sh" report "$@"
