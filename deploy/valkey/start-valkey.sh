#!/bin/sh
# Starts one of three Valkeys as what it may be: primary or replica (decide.sh has the
# rules). It waits until it knows, then becomes the server, so a signal reaches the server.
#
#   POD_NAME        e.g. valkey-0; the pod with ordinal 0 founds a new system
#   PEERS           all three, this one included: valkey-0=HOST,valkey-1=HOST,valkey-2=HOST
#   DATA_DIR        the pod's volume; shared with the sentinel of the same pod
#   BIND            addresses to listen on (default: all)
#   VALKEY_PORT     (6379)    SENTINEL_PORT (26379)    MASTER_NAME (seatrial)
#   APPENDFSYNC     (everysec) always costs a disk flush per write and saves the last second when
#                   all machines lose power at once
#   MAXMEMORY       (0: no limit)
#   PATIENCE        (60) seconds that the sentinels have to promote a replica before this one does, if it is the primary
#                   that waits for it; longer than the 30 s for which a sentinel that stood still does nothing
#   VALKEY_SERVER VALKEY_CLI    programs to run; found on the PATH if not set
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
[ -n "$me" ] || { echo "start-valkey: PEERS=$PEERS does not name $POD_NAME" >&2; exit 2; }
mkdir -p "$DATA_DIR"
# A pod that was deleted by force may still run when its successor starts, and two servers on one
# volume destroy what is on it. The second waits; the lock ends with the server, however that ends.
exec 9>"$DATA_DIR/valkey.lock"
if ! command -v flock >/dev/null; then
	echo "start-valkey: no flock here: nothing keeps a second server off $DATA_DIR" >&2
elif ! flock -n 9; then
	echo "start-valkey: another server still has $DATA_DIR; waits for its end" >&2
	flock 9
fi
conf=$DATA_DIR/valkey.conf
ANSWERS=$DATA_DIR/answers-valkey
rm -rf "$ANSWERS"
mkdir "$ANSWERS"

say() { echo "start-valkey: $POD_NAME: $*"; }

# volume tells whether this pod has ever held data.
volume() {
	if [ -e "$DATA_DIR/appendonlydir" ] || [ -e "$DATA_DIR/dump.rdb" ]; then echo data; else echo empty; fi
}

# promote POD makes a replica primary in the sentinels' place; they take note and do the rest.
promote() {
	said=$(cli "$(host "$1")" "$VALKEY_PORT" REPLICAOF NO ONE) || :
	say "the sentinels have promoted nobody for ${PATIENCE:-60} s; $1, which knows most, was told to be primary: ${said:-no answer}"
}

# await_role looks until decide gives a role, promotes whom it has to, and leaves the role in $role.
await_role() {
	began=$(date +%s)
	quiet=0
	told=""
	while :; do
		facts=$(survey "$POD_NAME")
		case $facts in *" master"* | *" slave "*) quiet=0 ;; *) quiet=$((quiet + 1)) ;; esac
		role=$(
			decide "$POD_NAME" "$(volume)" $(($(date +%s) - began)) "$quiet" "${PATIENCE:-60}" <<-FACTS
				$facts
			FACTS
		)
		case $role in wait* | promote*) ;; *) break ;; esac
		if [ "$role" != "$told" ]; then
			say "$role"
			nap=""
		fi
		case $role in promote*) promote "${role#promote }" ;; esac
		told=$role
		rest "$facts"
	done
	rmdir "$ANSWERS"
}

# configure PRIMARY_HOST|"" PRIORITY writes the configuration.
#
# Fencing: a primary that is cut off counts a replica as good for at most two seconds after its last
# sign of life, which it looks at once a second and replicas send once a second: it stops
# writing at most 4 s after the cut. Sentinels call it down 3 s after a ping was not answered, and a
# new primary needs a replica of its own before it may write, which takes it another second.
configure() {
	cat >"$conf" <<-CONF
		port $VALKEY_PORT
		bind ${BIND:-* -::*}
		protected-mode no
		dir $DATA_DIR
		daemonize no
		tcp-keepalive 10
		maxmemory ${MAXMEMORY:-0}
		maxmemory-policy noeviction
		shutdown-timeout 5

		# Every write is in the kernel's hands before it is answered, so a crash of the process loses
		# nothing; a crash of the machine may lose the last second of this one, not of its replicas.
		appendonly yes
		appendfsync ${APPENDFSYNC:-everysec}
		save ""

		min-replicas-to-write 1
		min-replicas-max-lag 2
		repl-ping-replica-period 1
		repl-timeout 5
		repl-diskless-sync yes
		repl-diskless-sync-delay 0
		repl-backlog-size 16mb
		replica-announce-ip $me
		replica-announce-port $VALKEY_PORT
		replica-priority $2
	CONF
	[ -z "$1" ] || echo "replicaof $1 $VALKEY_PORT" >>"$conf"
}

# qualify makes a replica that began empty promotable once it has all data. Before that, sentinels
# must not choose it: it would be an empty primary.
qualify() {
	nap=""
	while rest "" && kill -0 "$1" 2>/dev/null; do
		cli "$me" "$VALKEY_PORT" INFO replication | grep -q '^master_link_status:up' || continue
		cli "$me" "$VALKEY_PORT" CONFIG SET replica-priority 100 >/dev/null || continue
		say "in sync for the first time: may be promoted from now on"
		return
	done
}

await_role
case $role in
primary)
	say "comes up as primary"
	configure "" 100
	;;
*)
	primary=${role#replica }
	say "comes up as replica of $primary"
	if [ "$(volume)" = empty ]; then
		configure "$(host "$primary")" 0
		(qualify $$ 9>&- &) # a grandchild: init collects it, which the server would not
	else
		configure "$(host "$primary")" 100
	fi
	;;
esac
exec "${VALKEY_SERVER:-valkey-server}" "$conf"
