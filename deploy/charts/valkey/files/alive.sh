#!/bin/sh
# alive.sh PORT: whether the Valkey or sentinel of this container has to be restarted.
#
# A start script may wait long for others before it becomes the server; being restarted would
# only make it wait again. A server that loads its data, or has lost its primary, answers with
# an error, and is alive.
set -eu
read -r first </proc/1/comm
case $first in *sh | start-*) exit 0 ;; esac
case $(timeout 4 "${VALKEY_CLI:-valkey-cli}" -t 3 -p "$1" PING 2>&1) in
PONG* | LOADING* | MASTERDOWN* | BUSY* | NOAUTH*) exit 0 ;;
esac
echo "no answer to PING on port $1" >&2
exit 1
