#!/bin/sh
# ready-sentinel.sh: whether this sentinel knows who is primary.
set -eu
case $(timeout 2 "${VALKEY_CLI:-valkey-cli}" -t 1 -p "${SENTINEL_PORT:-26379}" SENTINEL GET-MASTER-ADDR-BY-NAME "${MASTER_NAME:-seatrial}" 2>&1) in
*[0-9]*) exit 0 ;;
esac
echo "knows of no primary" >&2
exit 1
