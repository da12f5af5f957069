# shellcheck shell=sh
# decide reads what a starting Valkey has learnt and says what it may be. It is pure:
# no network, no clock, no files; start-valkey.sh looks and acts.
#
#   decide ME VOLUME WAITED QUIET PATIENCE <facts
#
#   ME      own pod name; the one that ends in -0 founds a new system
#   VOLUME  empty | data
#   WAITED  seconds since the start
#   QUIET   how many looks in a row found no other Valkey answering
#   PATIENCE  how many seconds the sentinels have to put another in the place of a primary that waits
#
# Facts, one a line:
#
#   sentinel POD silent             did not answer
#   sentinel POD none               answers, and was never told of a primary
#   sentinel POD names EPOCH POD    names a primary, by a decision of that epoch
#   valkey POD silent               (other pods only)
#   valkey POD master
#   valkey POD slave PRIORITY OFFSET    priority 0: not in sync since its start, may not be promoted;
#                                       offset: how many bytes of its primary it knows
#
# The answer is one line: "primary", "replica POD", "promote POD" (and look again) or "wait WHY".
#
# Why these rules:
#
#   - The newest decision of the sentinels counts; a stale sentinel is outvoted by epoch.
#   - Founding needs all three sentinels to say that they never knew a primary. Silence is
#     not an answer: a silent one may know of data that an empty primary would wipe out.
#   - A primary that restarts gives way while another Valkey lives. With appendfsync everysec it
#     may come back without the last second, which its replicas have and have acknowledged;
#     as primary it would make them forget it. Whoever waits is found down by the sentinels,
#     which promote the replica that knows most. Waiting costs freshness, never a task:
#     the queue keeps what has no recorded effect.
#   - Sentinels may refuse for ever. They take no replica that lost the primary more than ten times
#     down-after before they themselves saw it down, and they see late when they stood still or were
#     down meanwhile. After PATIENCE, if all other Valkeys live, the replica that knows most is promoted without them:
#     a primary writes only while a replica keeps up, so one of them has what was written. It can write
#     only once the sentinels have given it a replica, and they do as soon as it calls itself primary.
#   - When everything was down, nobody remembers more than the primary's own disk: once it
#     is certain that no other Valkey runs, the one that the sentinels name is the primary.
#     Replicas wait for it, because after a restart sentinels cannot tell which replica knows
#     more. They stop waiting after 15 s, so that a primary that is gone can be replaced.
#   - A primary whose volume is empty never comes back as one.
decide() {
	awk -v me="$1" -v volume="$2" -v waited="$3" -v quiet="$4" -v patience="$5" '
	function say(answer) { print answer; done = 1; exit }
	$1 == "sentinel" && $3 != "silent" { answered++; if ($2 != me) others++ }
	$1 == "sentinel" && $3 == "none" { fresh++ }
	$1 == "sentinel" && $3 == "names" && (named == "" || $4 + 0 > epoch) { named = $5; epoch = $4 + 0 }
	$1 == "sentinel" { total++ }
	$1 == "valkey" { role[$2] = $3; valkeys++ }
	$1 == "valkey" && $3 == "master" { masters++; master = $2 }
	$1 == "valkey" && $3 == "slave" && $4 != 0 {
		heirs++
		if (heir == "" || $5 + 0 > offset || ($5 + 0 == offset && $2 < heir)) { heir = $2; offset = $5 + 0 }
	}
	END {
		if (named == "") say(found())
		if (named == me) say(return_as_primary())
		if (role[named] == "master") say("replica " named)
		if (role[named] == "slave") say("wait sentinels name " named ", which is a replica: a failover is under way")
		if (waited >= 15) say("replica " named)
		say("wait for " named ", the primary by epoch " epoch ", to answer")
	}
	function found() {
		if (masters == 1 && volume == "empty") return "replica " master
		if (masters > 0) return "wait " master " is primary, but no sentinel says so yet"
		if (fresh < total) return "wait no sentinel names a primary, and only " fresh " of " total " say that there never was one"
		if (me !~ /-0$/) return "wait a new system: the first pod founds it"
		return "primary"
	}
	function return_as_primary() {
		if (others == 0) return "wait my own sentinel names me, no other one answers"
		if (masters > 0) return "wait sentinels still name me, but " master " is primary already"
		if (heirs > 0 && heirs == valkeys && waited >= patience) return "promote " heir
		if (volume == "empty") return "wait sentinels name me, but my volume is empty: a replica has to take over"
		if (heir != "") return "wait sentinels name me, but " heir " lives and may know more: it has to take over"
		if (quiet < 2) return "wait sentinels name me; looking once more whether another Valkey lives"
		return "primary"
	}'
}
