#!/usr/bin/env bash
# Locks versions and hashes for every supported Python and platform (no index address); needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
  local file=$1
  shift
  uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file "requirements/$file" "$@"
}
lock dev.txt --extra dev --extra stream --extra hub --extra browser "$@"
lock prepare.txt --extra dev --extra stream --extra test-prepare --constraint requirements/dev.txt "$@"
lock docs.txt --extra docs --constraint requirements/dev.txt "$@"
