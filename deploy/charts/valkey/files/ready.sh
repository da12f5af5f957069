#!/bin/sh
# ready.sh: whether this Valkey is the primary, or a replica in touch with it.
#
# A primary is ready without its replicas too: to be not ready would let it be evicted
# although one of the three is gone already.
set -eu
case $(timeout 2 "${VALKEY_CLI:-valkey-cli}" -t 1 -p "${VALKEY_PORT:-6379}" INFO replication 2>&1) in
*role:master* | *master_link_status:up*) exit 0 ;;
esac
echo "neither primary nor in touch with it" >&2
exit 1
