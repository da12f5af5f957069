package rules_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// inhibition is one of Alertmanager's inhibit_rules.
type inhibition struct {
	Source []string `json:"source_matchers"`
	Target []string `json:"target_matchers"`
	Equal  []string `json:"equal"`
}

func inhibitions(t *testing.T) []inhibition {
	t.Helper()
	text, err := os.ReadFile("alertmanager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Inhibit []inhibition `json:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Inhibit) == 0 {
		t.Fatal("no inhibit rules")
	}
	return config.Inhibit
}

var matcher = regexp.MustCompile(`^(\w+) (=~|=) "([^"]*)"$`)

// matches says whether an alert's labels satisfy all matchers, as Alertmanager reads them.
func matches(t *testing.T, matchers []string, labels map[string]string) bool {
	t.Helper()
	for _, m := range matchers {
		p := matcher.FindStringSubmatch(m)
		if p == nil {
			t.Fatalf("a matcher that this test cannot read: %s", m)
		}
		pattern := regexp.QuoteMeta(p[3])
		if p[2] == "=~" {
			pattern = p[3]
		}
		if !regexp.MustCompile("^(?:" + pattern + ")$").MatchString(labels[p[1]]) {
			return false
		}
	}
	return true
}

// silences says whether the alert source silences target by a rule.
func (i inhibition) silences(t *testing.T, source, target map[string]string) bool {
	t.Helper()
	if !matches(t, i.Source, source) || !matches(t, i.Target, target) || matches(t, i.Source, target) {
		return false
	}
	return !slices.ContainsFunc(i.Equal, func(l string) bool { return source[l] != target[l] })
}

// TestAlertsThatAreLeft: of what rings together, who is called about what. An alert is written as
// name/severity, or name/severity/job.
func TestAlertsThatAreLeft(t *testing.T) {
	all := inhibitions(t)
	used := map[int]bool{}
	for what, c := range map[string]struct{ ring, left string }{
		"the stream has no majority": {"NATSQuorumLost/page TaskAvailabilityBurn/page TaskLatencyHigh/page TaskFreshnessLow/page BacklogGrowing/ticket " +
			"NATSServerDown/ticket NATSPartition/ticket NATSLatencyHigh/ticket TrafficAbsent/ticket RolloutStuck/ticket", "NATSQuorumLost"},
		"Valkey has no primary": {"ValkeyNoPrimary/page TaskFreshnessLow/page BacklogGrowing/ticket ValkeyPrimaryChanged/ticket ValkeyLatencyHigh/ticket " +
			"RolloutStuck/ticket", "ValkeyNoPrimary"},
		"Valkey has two": {"ValkeySplitBrain/page ValkeyPrimaryChanged/ticket ValkeyLatencyHigh/ticket TaskFreshnessLow/page BacklogGrowing/ticket",
			"ValkeySplitBrain"},
		"Valkey has two, and neither may write": {"ValkeySplitBrain/page ValkeyNoPrimary/page", "ValkeyNoPrimary ValkeySplitBrain"},
		"Valkey has another primary":            {"ValkeyPrimaryChanged/ticket ValkeyLatencyHigh/ticket BacklogGrowing/ticket", "ValkeyPrimaryChanged"},
		"no worker": {"WorkerDown/page TaskFreshnessLow/page BacklogGrowing/ticket WorkerRestarting/ticket WorkerCPUStarved/ticket WorkerMemoryHigh/ticket",
			"WorkerDown"},
		"no worker, and users wait as well":    {"WorkerDown/page TaskLatencyHigh/page", "TaskLatencyHigh WorkerDown"},
		"a worker less":                        {"WorkerRestarting/ticket BacklogGrowing/ticket", "WorkerRestarting"},
		"a worker less, and users feel it":     {"WorkerRestarting/ticket TaskFreshnessLow/page", "TaskFreshnessLow WorkerRestarting"},
		"a starved worker":                     {"WorkerCPUStarved/ticket BacklogGrowing/ticket", "WorkerCPUStarved"},
		"a starved API":                        {"APICPUStarved/ticket/api-0 NATSLatencyHigh/ticket/api-0 ValkeyLatencyHigh/ticket/api-0", "APICPUStarved"},
		"a starved API, NATS is slow to both":  {"APICPUStarved/ticket/api-0 NATSLatencyHigh/ticket/api-1", "APICPUStarved NATSLatencyHigh"},
		"a slow Valkey":                        {"ValkeyLatencyHigh/ticket BacklogGrowing/ticket", "ValkeyLatencyHigh"},
		"a NATS server less":                   {"NATSServerDown/ticket NATSPartition/ticket NATSLatencyHigh/ticket BacklogGrowing/ticket", "NATSServerDown"},
		"a NATS server less, users feel it":    {"NATSServerDown/ticket TaskAvailabilityBurn/page", "NATSServerDown TaskAvailabilityBurn"},
		"a NATS server less, a worker as well": {"NATSServerDown/ticket WorkerRestarting/ticket", "NATSServerDown WorkerRestarting"},
		"a NATS server cut off":                {"NATSPartition/ticket NATSLatencyHigh/ticket BacklogGrowing/ticket", "NATSPartition"},
		"a bad release":                        {"ReleaseBad/page TaskAvailabilityBurn/page TaskLatencyHigh/page", "ReleaseBad"},
		"a bad release, stale tasks":           {"ReleaseBad/page TaskFreshnessLow/page", "ReleaseBad TaskFreshnessLow"},
		"a rollout of the API is stuck":        {"RolloutStuck/ticket/api APIDown/ticket/api", "RolloutStuck"},
		"a rollout of workers is stuck":        {"RolloutStuck/ticket/worker WorkerRestarting/ticket/worker APIDown/ticket/api", "APIDown RolloutStuck"},
		"page and ticket of a burn":            {"TaskAvailabilityBurn/page TaskAvailabilityBurn/ticket TaskLatencyHigh/ticket", "TaskAvailabilityBurn TaskLatencyHigh"},
		"nothing else":                         {"BacklogGrowing/ticket TrafficAbsent/ticket TaskFreshnessLow/page", "BacklogGrowing TaskFreshnessLow TrafficAbsent"},
	} {
		t.Run(what, func(t *testing.T) {
			if got := left(t, all, rings(t, c.ring), used); got != c.left {
				t.Errorf("left are %s, want %s", got, c.left)
			}
		})
	}
	for i, rule := range all {
		if !used[i] {
			t.Errorf("no case shows that %v silences %v", rule.Source, rule.Target)
		}
	}
}

// rings reads alerts as TestAlertsThatAreLeft writes them; each must be an alert.
func rings(t *testing.T, text string) (all []map[string]string) {
	t.Helper()
	known := alerts(t)
	for _, word := range strings.Fields(text) {
		p := append(strings.Split(word, "/"), "")
		a, ok := known[p[0]]
		if !ok {
			t.Fatalf("%s is no alert", p[0])
		}
		// In production burns are tickets too.
		if a.Severity != p[1] && !strings.HasPrefix(p[0], "Task") {
			t.Errorf("%s is a %s", word, a.Severity)
		}
		all = append(all, map[string]string{"alertname": p[0], "severity": p[1], "job": p[2], "pod": p[2]})
	}
	return all
}

// left names those that nothing silences, and notes which rules were used.
func left(t *testing.T, all []inhibition, ring []map[string]string, used map[int]bool) string {
	t.Helper()
	var names []string
	for _, target := range ring {
		silent := false
		for i, rule := range all {
			if slices.ContainsFunc(ring, func(source map[string]string) bool { return rule.silences(t, source, target) }) {
				silent, used[i] = true, true
			}
		}
		if !silent {
			names = append(names, target["alertname"])
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestCausesSilenceOnlyLesserThings: an inhibition must not hide a page behind a ticket, two alerts
// must not silence each other, and every name in it is an alert's.
func TestCausesSilenceOnlyLesserThings(t *testing.T) {
	known := alerts(t)
	silenced := map[string]bool{} // "A silences B"
	for _, rule := range inhibitions(t) {
		for _, m := range append(slices.Clone(rule.Source), rule.Target...) {
			if p := matcher.FindStringSubmatch(m); p == nil || p[1] != "alertname" {
				continue
			} else if _, strange := unknownNames(known, p[3]); strange != "" {
				t.Errorf("alertmanager.yaml names %s, which is no alert", strange)
			}
		}
		for _, source := range known {
			for _, target := range known {
				from := map[string]string{"alertname": source.Name, "severity": source.Severity}
				to := map[string]string{"alertname": target.Name, "severity": target.Severity}
				if !rule.silences(t, from, to) {
					continue
				}
				silenced[source.Name+" silences "+target.Name] = true
				if source.Severity != "page" && target.Severity == "page" {
					t.Errorf("%s (%s) silences %s (%s)", source.Name, source.Severity, target.Name, target.Severity)
				}
				if silenced[target.Name+" silences "+source.Name] {
					t.Errorf("%s and %s silence each other", source.Name, target.Name)
				}
			}
		}
	}
}

// unknownNames splits a pattern of alert names, and returns the first that is no alert's.
func unknownNames[T any](known map[string]T, pattern string) (names []string, strange string) {
	names = strings.Split(pattern, "|")
	for _, n := range names {
		if _, ok := known[n]; !ok && strange == "" {
			strange = n
		}
	}
	return names, strange
}

// TestRoutes asks amtool who is called for each alert.
func TestRoutes(t *testing.T) {
	amtool := tool(t, "amtool")
	for _, file := range ruleFiles {
		for _, a := range readRules(t, file).alerts() {
			out, err := exec.Command(amtool, "config", "routes", "test", "--config.file=alertmanager.yaml",
				"--verify.receivers="+a.Labels["severity"], "alertname="+a.Alert, "severity="+a.Labels["severity"]).CombinedOutput()
			if err != nil {
				t.Errorf("%s (%s): %v\n%s", a.Alert, a.Labels["severity"], err, out)
			}
		}
	}
}
