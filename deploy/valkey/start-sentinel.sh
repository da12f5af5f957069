#!/bin/sh
# Starts the sentinel beside a Valkey. What it has learnt (who is primary, its own id, epochs) is
# kept on the pod's volume and is the system's memory of its primary: a sentinel that has one
# starts from it; one that has none says so to whoever asks (founding a system needs
# that answer), and is told of the primary as soon as there is one.
#
#   POD_NAME PEERS DATA_DIR BIND VALKEY_PORT SENTINEL_PORT MASTER_NAME    as for start-valkey.sh
#   QUORUM          (2)      sentinels that must agree that the primary is down
#   DOWN_AFTER_MS   (3000)   longer than an isolated primary may go on writing; see start-valkey.sh
#   FAILOVER_MS     (3000)   a failover that has not ended by then is tried again after twice that: with one of three
#                            sentinels gone the votes of the other two are split now and then
#   VALKEY_SENTINEL VALKEY_CLI    programs to run; found on the PATH if not set
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=ask.sh
. "$here/ask.sh"
# shellcheck source=decide.sh
. "$here/decide.sh"

need POD_NAME PEERS DATA_DIR
VALKEY_PORT=${VALKEY_PORT:-6379}
SENTINEL_PORT=${SENTINEL_PORT:-26379}
MASTER_NAME=${MASTER_NAME:-seatrial}
me=$(host "$POD_NAME")
[ -n "$me" ] || { echo "start-sentinel: PEERS=$PEERS does not name $POD_NAME" >&2; exit 2; }
mkdir -p "$DATA_DIR"
# A pod that was deleted by force may still run when its successor starts, and two servers on one
# volume destroy what is on it. The second waits; the lock ends with the server, however that ends.
exec 9>"$DATA_DIR/sentinel.lock"
if ! command -v flock >/dev/null; then
	echo "start-sentinel: no flock here: nothing keeps a second server off $DATA_DIR" >&2
elif ! flock -n 9; then
	echo "start-sentinel: another server still has $DATA_DIR; waits for its end" >&2
	flock 9
fi
conf=$DATA_DIR/sentinel.conf
ANSWERS=$DATA_DIR/answers-sentinel
rm -rf "$ANSWERS"
mkdir "$ANSWERS"

say() { echo "start-sentinel: $POD_NAME: $*"; }

sentinel() { cli "$me" "$SENTINEL_PORT" SENTINEL "$@"; }

# primary FACTS prints the pod to monitor: the one the newest sentinel names, else the only
# Valkey that is primary. Nothing, if neither is there.
primary() {
	awk '
		$1 == "sentinel" && $3 == "names" && (named == "" || $4 + 0 > epoch) { named = $5; epoch = $4 + 0 }
		$1 == "valkey" && $3 == "master" { masters++; master = $2 }
		END { if (named != "") print named; else if (masters == 1) print master }' <<-FACTS
		$1
	FACTS
}

# replicas_online HOST counts them. Sentinels learn of replicas from the primary, and
# ask it once in ten seconds: told too early they could not fail over until then.
replicas_online() { cli "$1" "$VALKEY_PORT" INFO replication | grep -c 'state=online' || :; }

# introduce tells the sentinel with process id $1 who the primary is, unless it knows, and sets its limits. It asks the
# others only if its own says that it knows of none: while that is silent their answers would be of no use.
introduce() {
	patience=6
	nap=""
	silent="sentinel $POD_NAME silent"
	facts=""
	while rest "$facts" && kill -0 "$1" 2>/dev/null; do
		facts=$silent
		case $(sentinel MASTER "$MASTER_NAME") in
		name*) ;; # it knows one
		"ERR No such master"*)
			facts=$(survey nobody)
			pod=$(primary "$facts")
			[ -n "$pod" ] || continue
			at=$(host "$pod")
			[ $patience -lt 6 ] || nap=""
			patience=$((patience - 1))
			[ "$(replicas_online "$at")" -ge 2 ] || [ $patience -le 0 ] || continue
			[ "$(sentinel MONITOR "$MASTER_NAME" "$at" "$VALKEY_PORT" "${QUORUM:-2}")" = OK ] || continue
			say "watches $pod"
			;;
		*) continue ;; # it is silent
		esac
		facts=""
		sentinel SET "$MASTER_NAME" down-after-milliseconds "${DOWN_AFTER_MS:-3000}" \
			failover-timeout "${FAILOVER_MS:-3000}" parallel-syncs 1 quorum "${QUORUM:-2}" >/dev/null || continue
		break
	done
	rm -rf "$ANSWERS"
}

if [ ! -s "$conf" ]; then
	cat >"$conf" <<-CONF
		port $SENTINEL_PORT
		bind ${BIND:-* -::*}
		protected-mode no
		dir $DATA_DIR
		daemonize no
		sentinel announce-ip $me
		sentinel announce-port $SENTINEL_PORT
		sentinel deny-scripts-reconfig yes
	CONF
	case $PEERS in *=*[A-Za-z]*)
		if peers | awk '$2 !~ /^[0-9.]+$/ && $2 !~ /:/ { names = 1 } END { exit !names }'; then
			printf 'sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n' >>"$conf"
		fi
		;;
	esac
	say "knows of no primary yet"
else
	say "goes on with what it knew: $(grep '^sentinel monitor' "$conf" || echo 'no primary yet')"
fi
(introduce $$ 9>&- &) # a grandchild: init collects it, which the sentinel would not
exec "${VALKEY_SENTINEL:-valkey-sentinel}" "$conf"
