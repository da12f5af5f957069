#!/bin/sh
# Starts one of three NATS servers, with nats.conf beside this file.
#
#   POD_NAME        e.g. nats-0
#   PEERS           all three, this one included: nats-0=HOST,nats-1=HOST,nats-2=HOST
#   DATA_DIR        the pod's volume: what JetStream has acknowledged
#   BIND            (0.0.0.0)   address to listen on
#   NATS_PORT       (4222)  CLUSTER_PORT (6222)  MONITOR_PORT (8222)
#   MAX_FILE_STORE  (10GB)  how much of the volume streams may use
#   NATS_SERVER     program to run; found on the PATH if not set
set -eu

die() { echo "start-nats: $*" >&2; exit 2; }

[ -n "${POD_NAME:-}" ] && [ -n "${PEERS:-}" ] && [ -n "${DATA_DIR:-}" ] || die "POD_NAME, PEERS and DATA_DIR must be set"
BIND=${BIND:-0.0.0.0}
NATS_PORT=${NATS_PORT:-4222}
CLUSTER_PORT=${CLUSTER_PORT:-6222}
MAX_FILE_STORE=${MAX_FILE_STORE:-10GB}
MONITOR="$BIND:${MONITOR_PORT:-8222}"

peers() { echo "$PEERS" | tr ',' '\n' | sed -n 's/^ *\([^= ]*\)=\([^ ]*\) *$/\1 \2/p'; }
me=$(peers | awk -v pod="$POD_NAME" '$1 == pod { print $2 }')
[ -n "$me" ] || die "PEERS=$PEERS does not name $POD_NAME"
CLUSTER_ADVERTISE="$me:$CLUSTER_PORT"
# A route to oneself is noticed and dropped, so all servers could share a list; without it logs are quieter.
ROUTES=[$(peers | awk -v pod="$POD_NAME" -v port="$CLUSTER_PORT" '$1 != pod { printf "%s\"nats://%s:%s\"", sep, $2, port; sep = ", " }')]
export POD_NAME BIND NATS_PORT CLUSTER_PORT MONITOR DATA_DIR MAX_FILE_STORE CLUSTER_ADVERTISE ROUTES

mkdir -p "$DATA_DIR"
# A pod that was deleted by force may still run when its successor starts, and two servers on one
# volume destroy what is on it. The second waits; the lock ends with the server, however that ends.
exec 9>"$DATA_DIR/nats.lock"
if ! command -v flock >/dev/null; then
	echo "start-nats: no flock here: nothing keeps a second server off $DATA_DIR" >&2
elif ! flock -n 9; then
	echo "start-nats: another server still has $DATA_DIR; waits for its end" >&2
	flock 9
fi
exec "${NATS_SERVER:-nats-server}" --config "$(cd "$(dirname "$0")" && pwd)/nats.conf"
