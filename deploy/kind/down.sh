#!/bin/sh
# Takes away what up.sh made:
#
#   deploy/kind/down.sh      (make kind-down)
#
# Images stay in Docker.
set -eu
command -v kind >/dev/null || { echo "kind: error: no kind on the PATH" >&2; exit 2; }
kind delete cluster --name seatrial
