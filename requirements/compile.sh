#!/usr/bin/env bash
# Locks versions and hashes for every supported Python and platform (no index address); needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
uv pip compile pyproject.toml --extra dev --extra hub --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file requirements/dev.txt "$@"
