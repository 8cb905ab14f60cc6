#!/usr/bin/env bash
# Compile the locked requirement files: hashes, and no address of any index.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${1:-uv}"
compile() {
  local out="$1"
  shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate "$@" --output-file "requirements/$out.txt"
}
compile base pyproject.toml
compile server pyproject.toml --extra server --extra kafka --extra auth --extra otel
compile dev pyproject.toml --extra server --extra kafka --extra auth --extra direct --extra otel --group dev
compile uv requirements/uv.in
compile gymnasium-1.0 pyproject.toml --extra server --extra direct --group dev --override requirements/gymnasium-1.0.in
compile peers requirements/peers.in
