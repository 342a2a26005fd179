#!/usr/bin/env bash
# Sets up .venv and builds the pages of docs/ into site/ (open site/index.html). A broken link is an
# error. Further arguments go to mkdocs, such as --site-dir=DIRECTORY, but not --quiet: it hides the
# warnings that --strict counts.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash scripts/setup_venv.sh docs
export NO_MKDOCS_2_WARNING=1  # an announcement of the theme, not about these pages
exec .venv/bin/python -m mkdocs build --strict --clean "$@"
