#!/usr/bin/env bash
# Set up .venv and build the pages of docs/ into site/ (open site/index.html). A broken link is an
# error. Further arguments are passed to mkdocs, such as --site-dir=DIRECTORY. Do not pass --quiet:
# it hides the warnings that --strict counts.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
root=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash scripts/setup_venv.sh docs
export NO_MKDOCS_2_WARNING=1  # an announcement of the theme, unrelated to these pages
exec .venv/bin/python -m mkdocs build --strict --clean "$@"
