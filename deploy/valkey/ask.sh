# shellcheck shell=sh
# ask holds the questions that starting Valkeys and sentinels put to one another. No
# question takes longer than $within seconds; no answer is "silent", not an error.
#
# It reads PEERS (valkey-0=HOST,valkey-1=HOST,...), VALKEY_PORT, SENTINEL_PORT, MASTER_NAME, ANSWERS (an empty folder of the
# script's own) and, optionally, VALKEY_CLI.

# peers prints "POD HOST" a line.
peers() { echo "$PEERS" | tr ',' '\n' | sed -n 's/^ *\([^= ]*\)=\([^ ]*\) *$/\1 \2/p'; }

# host POD prints its address.
host() { peers | awk -v pod="$1" '$1 == pod { print $2 }'; }

within=2

# cli HOST PORT WORD... : a bound on the connection, and one on the answer.
cli() {
	_host=$1 _port=$2
	shift 2
	timeout $within "${VALKEY_CLI:-valkey-cli}" -t 1 -h "$_host" -p "$_port" "$@" 2>/dev/null
}

# survey ME prints what is known, as decide.sh wants it: of all sentinels, and of all Valkeys but that of the pod ME. Everyone is asked at
# once. Six scripts do this again and again while the processors have most to do, and what it costs is the start of
# programs, so it starts two a question and one for all answers.
survey() {
	_me=$1 _ifs=$IFS IFS=', '
	# shellcheck disable=SC2086 # it is to be split
	set -- $PEERS
	IFS=$_ifs
	for _peer in "$@"; do
		ask sentinel "$_peer" "$SENTINEL_PORT" SENTINEL MASTER "$MASTER_NAME"
		[ "${_peer%%=*}" = "$_me" ] || ask valkey "$_peer" "$VALKEY_PORT" INFO replication
	done
	wait
	facts_of "$ANSWERS"/*.*
	rm -f "$ANSWERS"/*.*
}

# ask KIND POD=HOST PORT WORD... leaves the answer in $ANSWERS/KIND.POD, soon.
ask() {
	_host=${2#*=} _port=$3 _answer=$ANSWERS/$1.${2%%=*}
	shift 3
	timeout $within "${VALKEY_CLI:-valkey-cli}" -t 1 -h "$_host" -p "$_port" "$@" >"$_answer" 2>/dev/null &
}

# facts_of FILE... makes a fact of each answer; of none, silence.
facts_of() {
	awk -v peers="$PEERS" '
		{ sub(/\r$/, "") }
		FILENAME ~ /\/sentinel\.[^\/]*$/ && /^ERR No such master/ { none[FILENAME] = 1 }
		FILENAME ~ /\/sentinel\.[^\/]*$/ { if (FNR % 2) key = $0; else is[FILENAME, key] = $0 }
		FILENAME ~ /\/valkey\.[^\/]*$/ { at = index($0, ":"); is[FILENAME, substr($0, 1, at - 1)] = substr($0, at + 1) }
		END {
			n = split(peers, p, /[, ]+/)
			for (i = 1; i <= n; i++) { at = index(p[i], "="); name[substr(p[i], at + 1)] = substr(p[i], 1, at - 1) }
			for (i = 1; i < ARGC; i++) {
				pod = ARGV[i]
				sub(/.*\./, "", pod)
				if (ARGV[i] ~ /\/sentinel\.[^\/]*$/) print "sentinel", pod, sentinel(ARGV[i])
				else print "valkey", pod, valkey(ARGV[i])
			}
		}
		function sentinel(f) {
			if (f in none) return "none"
			if (is[f, "ip"] in name) return "names " (is[f, "config-epoch"] + 0) " " name[is[f, "ip"]]
			return "silent"
		}
		function valkey(f) {
			if (is[f, "role"] == "master") return "master"
			if (is[f, "role"] == "slave") return sprintf("slave %d %.0f", is[f, "slave_priority"], is[f, "slave_repl_offset"])
			return "silent"
		}' "$@"
}

# rest FACTS sleeps until the next look, each time for longer; nap="" starts anew. Where not even the sentinel of the own pod answers,
# the machine may have no time, and looks that follow one another as fast as they can, and give each up before it has its
# answer, are what keeps it so: the next ones may take longer.
rest() {
	case $1 in
	*"sentinel $POD_NAME silent"*) [ $within -ge 8 ] || within=$((within * 2)) ;;
	*) within=2 ;;
	esac
	case ${nap:-} in "") nap=0.2 ;; 0.2) nap=0.4 ;; 0.4) nap=0.8 ;; 0.8) nap=1.2 ;; *) nap=2 ;; esac
	sleep "$nap"
}

# need NAME... ends the script if a variable is not set, and names all that miss.
need() {
	_missing=""
	for _v in "$@"; do
		eval "[ -n \"\${$_v:-}\" ]" || _missing="$_missing $_v"
	done
	[ -z "$_missing" ] || { echo "$0: not set:$_missing" >&2; exit 2; }
}
