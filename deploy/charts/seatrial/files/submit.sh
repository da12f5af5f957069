#!/bin/sh
# Submits a Task through the API and waits until it is done.
#
#   submit.sh API_URL [SECONDS]
#
# A Task that was perhaps accepted is submitted again with the same id: it is done once all the same.
set -eu
api=$1
id=helm-test-$(date +%s)-$$
end=$(($(date +%s) + ${2:-60}))

# try WORD... runs a command until it succeeds or time is up.
try() {
	until "$@"; do
		[ "$(date +%s)" -lt "$end" ] || { echo "time is up: $*" >&2; exit 1; }
		sleep 1
	done
}

fetch() { timeout 5 wget -q -O - "$@"; } # with -T, some busyboxes crash
submit() { fetch --header 'Content-Type: application/json' --post-data "{\"id\":\"$id\",\"payload\":\"helm test\"}" "$api/task"; }
is_done() { fetch "$api/task/$id" | grep -q '"status" *: *"done"'; }

try submit
try is_done
echo "task $id is done"
