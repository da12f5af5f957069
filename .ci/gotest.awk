# Reads `go test -json` and prints what a person wants: a line a package, the whole output of what failed,
# and last how many tests passed, failed and were skipped. Exit status 1 if anything failed or nothing ran.
#
# The fields of an event stand in a fixed order, so no JSON parser is needed.

function field(name,    at, rest) {
	at = index($0, "\"" name "\":\"")
	if (!at) return ""
	rest = substr($0, at + length(name) + 4)
	match(rest, /^([^"\\]|\\.)*/)
	return substr(rest, 1, RLENGTH)
}

function plain(s) {
	gsub(/\\\\/, "\001", s)
	gsub(/\\n/, "\n", s); gsub(/\\t/, "\t", s); gsub(/\\"/, "\"", s)
	gsub(/\\u003c/, "<", s); gsub(/\\u003e/, ">", s); gsub(/\\u0026/, "\\&", s); gsub(/\\u001b\[[0-9;]*m/, "", s)
	gsub(/\001/, "\\", s)
	return s
}

# Lines that are no event: a tool that could not even start.
!/^\{/ { print; next }

{ action = field("Action"); package = field("Package"); test = field("Test"); key = package SUBSEP test }

action == "output" {
	text = plain(field("Output"))
	if (test != "") said[key] = said[key] text
	else if (text ~ /^(ok|FAIL|panic|---)/ || text ~ /no test files/) line[package] = text
	else loose[package] = loose[package] text
	next
}

action == "build-output" { printf "%s", plain(field("Output")); next }

action == "pass" && test != "" { passed++ }
action == "skip" && test != "" { skipped++; reason = said[key]; sub(/=== RUN[^\n]*\n/, "", reason); print "skipped: " package " " test ": " reason }

action == "fail" && test != "" {
	failed++; broken[package]++
	print "FAILED: " package " " test
	printf "%s", said[key]
}

test != "" && (action == "pass" || action == "skip" || action == "fail") { delete said[key] }

(action == "pass" || action == "fail") && test == "" {
	if (action == "fail" && !broken[package]) {
		failed++ # it did not build, panicked or ran out of time
		print "FAILED: " package
		printf "%s", loose[package]
		for (k in said) { split(k, part, SUBSEP); if (part[1] == package) printf "%s", said[k] }
	}
	if (line[package] !~ /no test files/) printf "%s", line[package]
	fflush()
}

END {
	printf "go test: %d passed, %d failed, %d skipped\n", passed, failed, skipped
	exit failed > 0 || passed == 0
}
