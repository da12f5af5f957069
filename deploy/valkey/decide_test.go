package valkey_test

import (
	"os/exec"
	"strings"
	"testing"
)

// decide runs the pure part of the scripts, as the shell runs it.
func decide(t *testing.T, scripts, me, volume, waited, quiet, facts string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", `. ./decide.sh; decide "$@"`, "sh", me, volume, waited, quiet, "60")
	cmd.Dir = scripts
	cmd.Stdin = strings.NewReader(facts)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("decide: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

const (
	allFresh   = "sentinel v-0 none\nsentinel v-1 none\nsentinel v-2 none\n"
	allName0   = "sentinel v-0 names 3 v-0\nsentinel v-1 names 3 v-0\nsentinel v-2 names 3 v-0\n"
	noneAnswer = "sentinel v-0 silent\nsentinel v-1 silent\nsentinel v-2 silent\n"
)

func TestDecide(t *testing.T) {
	scripts := unpack(t, "valkey")
	for _, c := range []struct {
		name, me, volume, waited, quiet string
		facts, want                     string
	}{
		{"a new system is founded by the first pod", "v-0", "empty", "1", "9", allFresh + "valkey v-1 silent\nvalkey v-2 silent", "primary"},
		{"not by another one", "v-1", "empty", "1", "9", allFresh + "valkey v-0 silent\nvalkey v-2 silent", "wait a new system"},
		{"nor while a sentinel is silent", "v-0", "empty", "99", "9", "sentinel v-0 none\nsentinel v-1 none\nsentinel v-2 silent\n", "wait no sentinel names"},
		{"nor while all are", "v-0", "empty", "99", "9", noneAnswer, "wait no sentinel names"},
		{"founder that crashed before it was watched", "v-0", "data", "1", "2", allFresh, "primary"},
		{"an empty pod joins a primary that is not watched yet", "v-1", "empty", "1", "0", allFresh + "valkey v-0 master", "replica v-0"},
		{"a pod with data does not", "v-1", "data", "1", "0", allFresh + "valkey v-0 master", "wait v-0 is primary"},
		{"two primaries that no sentinel vouches for", "v-1", "empty", "1", "0", allFresh + "valkey v-0 master\nvalkey v-2 master", "wait"},

		{"join the named primary", "v-1", "data", "0", "0", allName0 + "valkey v-0 master\nvalkey v-2 slave 100", "replica v-0"},
		{"a failover is under way", "v-1", "data", "99", "0", allName0 + "valkey v-0 slave 100", "wait sentinels name v-0, which is a replica"},
		{"the named primary is not there yet", "v-1", "data", "14", "9", allName0 + "valkey v-0 silent", "wait for v-0"},
		{"it stays away", "v-1", "data", "15", "9", allName0 + "valkey v-0 silent", "replica v-0"},
		{"the newest decision counts", "v-0", "data", "0", "9", "sentinel v-0 names 3 v-0\nsentinel v-1 names 4 v-2\nsentinel v-2 names 3 v-0\nvalkey v-2 master", "replica v-2"},
		{"epochs are numbers", "v-0", "data", "0", "9", "sentinel v-0 names 9 v-0\nsentinel v-1 names 10 v-2\nvalkey v-2 master", "replica v-2"},

		{"a restarted primary gives way to a replica that lives", "v-0", "data", "99", "0", allName0 + "valkey v-1 slave 100\nvalkey v-2 silent", "wait sentinels name me, but v-1 lives"},
		{"and leaves it to the sentinels to promote one", "v-0", "data", "59", "0", allName0 + "valkey v-1 slave 100 7\nvalkey v-2 slave 100 9", "wait sentinels name me, but v-2 lives"},
		{"for a minute", "v-0", "data", "60", "0", allName0 + "valkey v-1 slave 100 70000000009\nvalkey v-2 slave 100 70000000010", "promote v-2"},
		{"offsets are numbers, and the first of two equals is taken", "v-0", "data", "60", "0", allName0 + "valkey v-2 slave 100 10\nvalkey v-1 slave 100 10", "promote v-1"},
		{"with an empty volume, too", "v-0", "empty", "60", "0", allName0 + "valkey v-1 slave 100 10\nvalkey v-2 slave 100 9", "promote v-1"},
		{"but not while one is silent that may know more", "v-0", "data", "600", "0", allName0 + "valkey v-1 slave 100 10\nvalkey v-2 silent", "wait sentinels name me, but v-1 lives"},
		{"nor while one is not in sync", "v-0", "data", "600", "0", allName0 + "valkey v-1 slave 100 10\nvalkey v-2 slave 0 0", "wait sentinels name me, but v-1 lives"},
		{"nor by one that is cut off from the sentinels", "v-0", "data", "600", "0", "sentinel v-0 names 3 v-0\nsentinel v-1 silent\nsentinel v-2 silent\nvalkey v-1 slave 100 10\nvalkey v-2 slave 100 9", "wait my own sentinel"},
		{"nor by one that they do not name", "v-1", "data", "600", "0", allName0 + "valkey v-0 silent\nvalkey v-2 slave 100 9", "replica v-0"},
		{"nor a second time", "v-0", "data", "61", "0", allName0 + "valkey v-1 slave 100 10\nvalkey v-2 master", "wait sentinels still name me, but v-2 is primary already"},
		{"but not to one that never had the data", "v-0", "data", "3", "2", allName0 + "valkey v-1 slave 0\nvalkey v-2 silent", "primary"},
		{"nor beside a new primary", "v-0", "data", "3", "0", allName0 + "valkey v-1 master", "wait sentinels still name me"},
		{"everything was down: look twice", "v-0", "data", "0", "1", allName0 + "valkey v-1 silent\nvalkey v-2 silent", "wait sentinels name me; looking"},
		{"everything was down: the named one is primary", "v-0", "data", "1", "2", allName0 + "valkey v-1 silent\nvalkey v-2 silent", "primary"},
		{"only the own sentinel speaks: cut off", "v-0", "data", "99", "99", "sentinel v-0 names 3 v-0\nsentinel v-1 silent\nsentinel v-2 silent", "wait my own sentinel"},
		{"a primary that lost its volume", "v-0", "empty", "99", "99", allName0 + "valkey v-1 silent\nvalkey v-2 silent", "wait sentinels name me, but my volume is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decide(t, scripts, c.me, c.volume, c.waited, c.quiet, c.facts)
			if c.want == "primary" && got != "primary" || !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
