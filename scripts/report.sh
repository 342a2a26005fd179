#!/usr/bin/env bash
# Print the report of runs, or write it to a file:
#   ./scripts/report.sh ./logs/v1 [MORE_LOG_DIRS] [--output=report.html]
exec bash "$(dirname "$0")/run.sh" report "$@"
