//go:build linux

package node

import (
	"slices"
	"strings"
	"testing"
)

// TestPolicyRules: answers pass before anything is judged, so that kubelet's probes work whatever policies say, and
// the node's own connections to itself pass before the engine answers, which it needs to begin.
func TestPolicyRules(t *testing.T) {
	for chain, spared := range map[string]string{"FORWARD": "", "INPUT": "! -i lo "} {
		var have []string
		for _, argv := range policyRules() {
			if rest, is := strings.CutPrefix(strings.Join(argv, " "), "iptables-legacy -A "+chain+" "); is {
				have = append(have, rest)
			}
		}
		want := []string{"-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", spared + "-j NFQUEUE --queue-num 98"}
		if !slices.Equal(have, want) {
			t.Errorf("rules of %s: %q, want %q", chain, have, want)
		}
	}
}
