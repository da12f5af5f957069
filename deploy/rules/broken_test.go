package rules_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"seatrial/verifier/lack"
)

// What is wrong with rules, each thing found in the real files (none may be) and in broken ones.

const trial, production = "seatrial.rules.yaml", "production.rules.yaml"

var ruleFiles = []string{trial, production}

// tests are the unit tests of a rule file.
var tests = map[string][]string{
	trial:      {"seatrial.test.yaml"},
	production: {"production.test.yaml", "production-days.test.yaml"},
}

// rule is a recording or an alerting rule.
type rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type ruleSet []rule

func (s ruleSet) alerts() ruleSet {
	return slices.DeleteFunc(slices.Clone(s), func(r rule) bool { return r.Alert == "" })
}

func parseRules(t *testing.T, text []byte) (all ruleSet) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules ruleSet `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

func slurp(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readRules(t *testing.T, file string) ruleSet { t.Helper(); return parseRules(t, slurp(t, file)) }

// tool returns the path of a program in .deps, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../.deps/bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		lack.Of(t, "no %s: run make deps (%v)", name, err)
	}
	return path
}

// replaced breaks a text; what is to be replaced must be there.
func replaced(t *testing.T, text []byte, old, by string) []byte {
	t.Helper()
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("the file does not hold %q", old)
	}
	return bytes.ReplaceAll(text, []byte(old), []byte(by))
}

// lacking says what an alert does not tell whoever is called: severity, summary, a runbook that is there.
func lacking(all ruleSet, found func(path string) bool) (problems []string) {
	for _, a := range all.alerts() {
		say := func(format string, args ...any) {
			problems = append(problems, a.Alert+": "+fmt.Sprintf(format, args...))
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			say("severity %q", s)
		}
		if a.Annotations["summary"] == "" {
			say("no summary")
		}
		url := a.Annotations["runbook_url"]
		if !strings.HasSuffix(url, "/"+a.Alert+".md") {
			say("runbook_url %q does not end in its name", url)
		} else if !found(url) {
			say("runbook_url %q leads nowhere", url)
		}
	}
	return problems
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	found := func(path string) bool { _, err := os.Stat(filepath.Join("../..", path)); return err == nil }
	for _, file := range ruleFiles {
		for _, p := range lacking(readRules(t, file), found) {
			t.Errorf("%s: %s", file, p)
		}
		for want, change := range map[string][2]string{
			`WorkerDown: runbook_url "runbook/WorkerDown.md" leads nowhere`:          {"runbooks/WorkerDown.md", "runbook/WorkerDown.md"},
			`WorkerDown: runbook_url "runbooks/Workers.md" does not end in its name`: {"runbooks/WorkerDown.md", "runbooks/Workers.md"},
			`WorkerDown: severity "critical"`:                                        {"severity: page", "severity: critical"},
			`WorkerRestarting: runbook_url "" does not end in its name`:              {"runbook_url: runbooks/WorkerRestarting.md", "runbook: none"},
			`WorkerDown: no summary`:                                                 {"summary: 'no worker", "title: 'no worker"},
		} {
			problems := lacking(parseRules(t, replaced(t, slurp(t, file), change[0], change[1])), found)
			if !slices.Contains(problems, want) {
				t.Errorf("%s: %q is not said, but:\n%s", file, want, strings.Join(problems, "\n"))
			}
		}
	}
}

// unitTests is promtool's language, as far as it says which alerts ring and which do not.
type unitTests struct {
	Tests []struct {
		Name   string `json:"name"`
		PromQL []struct {
			Expr    string `json:"expr"`
			Samples []struct {
				Labels string  `json:"labels"`
				Value  float64 `json:"value"`
			} `json:"exp_samples"`
		} `json:"promql_expr_test"`
	} `json:"tests"`
}

// unfired names the alerts that no unit test wants to see firing, a burn for each of its windows.
func unfired(t *testing.T, all ruleSet, texts ...[]byte) (names []string) {
	t.Helper()
	fires := map[string]bool{}
	for _, text := range texts {
		var u unitTests
		if err := yaml.Unmarshal(text, &u); err != nil {
			t.Fatal(err)
		}
		for _, test := range u.Tests {
			for _, q := range test.PromQL {
				if !strings.Contains(q.Expr, `alertstate="firing"`) {
					continue
				}
				for _, s := range q.Samples {
					fires[label(s.Labels, "alertname")+" "+label(s.Labels, "window")] = s.Value > 0
				}
			}
		}
	}
	for _, a := range all.alerts() {
		if name := a.Alert + " " + a.Labels["window"]; !fires[name] {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// label returns the value of a label in {a="b", c="d"}.
func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// TestEveryAlertIsSeenFiring: one that has never fired in a test may be one that never can.
func TestEveryAlertIsSeenFiring(t *testing.T) {
	for file, names := range tests {
		var texts, blind [][]byte
		for _, name := range names {
			text := slurp(t, name)
			texts = append(texts, text)
			blind = append(blind, bytes.ReplaceAll(text, []byte(`alertname="WorkerDown"`), []byte(`alertname="WorkerUp"`)))
		}
		if names := unfired(t, readRules(t, file), texts...); len(names) > 0 {
			t.Errorf("%s: no test sees these firing: %s", file, strings.Join(names, ", "))
		}
		if names := unfired(t, readRules(t, file), blind...); !slices.Equal(names, []string{"WorkerDown"}) {
			t.Errorf("%s: without a test of WorkerDown, what is said is %v", file, names)
		}
	}
}

// TestBrokenRulesFailTheirTests breaks one rule at a time, as somebody might, and lets promtool judge by the
// unit test that is to see it.
func TestBrokenRulesFailTheirTests(t *testing.T) {
	promtool := tool(t, "promtool")
	judge := func(text []byte, test string) ([]byte, error) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{trial: text, "test.yaml": slurp(t, "seatrial.test.yaml")} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return exec.Command(promtool, "test", "rules", "--run=^"+test+"$", filepath.Join(dir, "test.yaml")).CombinedOutput()
	}
	whole := slurp(t, trial)
	for what, c := range map[string]struct{ test, old, by string }{
		"a renamed metric":               {"slow answers, stale tasks", "worker_task_age_seconds_count", "worker_age_seconds_count"},
		"a threshold that is always met": {"a few tasks more wait each second", "seatrial:backlog:length > 50", "seatrial:backlog:length > -1"},
		"a job that is called otherwise": {"no worker answers, and the backlog grows until they are back", `sum(up{job="worker"}) == 0`, `sum(up{job="workers"}) == 0`},
		"every release is the newest": {"the newer of two APIs refuses a third, then both do",
			"seatrial:release:start == on (job) group_left () max by (job) (seatrial:release:start)", "seatrial:release:start"},
	} {
		if !bytes.Contains(slurp(t, "seatrial.test.yaml"), []byte("- name: "+c.test+"\n")) {
			t.Errorf("%s: there is no test %q", what, c.test)
		}
		if out, err := judge(whole, c.test); err != nil {
			t.Errorf("%s, unbroken: %v\n%s", c.test, err, out)
		}
		if out, err := judge(replaced(t, whole, c.old, c.by), c.test); err == nil {
			t.Errorf("%s: promtool says that all is well:\n%s", what, out)
		}
	}
}

// seeing returns the file and the name of the first unit test that wants to see an alert firing.
func seeing(t *testing.T, a rule, files []string) (file, name string) {
	t.Helper()
	for _, file := range files {
		var u unitTests
		if err := yaml.Unmarshal(slurp(t, file), &u); err != nil {
			t.Fatal(err)
		}
		for _, test := range u.Tests {
			for _, q := range test.PromQL {
				for _, s := range q.Samples {
					if strings.Contains(q.Expr, `alertstate="firing"`) && label(s.Labels, "alertname") == a.Alert && label(s.Labels, "window") == a.Labels["window"] {
						return file, test.Name
					}
				}
			}
		}
	}
	return "", "" // TestEveryAlertIsSeenFiring says so
}

// never returns a rule file in which the alert a cannot fire.
func never(t *testing.T, text []byte, a rule) []byte {
	t.Helper()
	var file struct {
		Groups []map[string]any `json:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, g := range file.Groups {
		for _, r := range g["rules"].([]any) {
			if r := r.(map[string]any); r["alert"] == a.Alert && r["expr"] == a.Expr {
				r["expr"], found = "("+a.Expr+") and on () (vector(1) < 0)", found+1
			}
		}
	}
	broken, err := yaml.Marshal(file)
	if err != nil || found != 1 {
		t.Fatalf("%s was found %d times (%v)", a.Alert, found, err)
	}
	return broken
}

// TestAlertsThatNeverFireFailTheirTests makes a threshold of each alert in turn one that is never met; the unit test that
// wants to see it must say so. (That it is content with the alert as it is, make check-rules says.)
func TestAlertsThatNeverFireFailTheirTests(t *testing.T) {
	promtool := tool(t, "promtool")
	for _, file := range ruleFiles {
		whole := slurp(t, file)
		for _, a := range readRules(t, file).alerts() {
			test, name := seeing(t, a, tests[file])
			if test == "" {
				continue
			}
			dir := t.TempDir()
			for name, data := range map[string][]byte{file: never(t, whole, a), test: slurp(t, test)} {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			run := exec.CommandContext(t.Context(), promtool, "test", "rules", "--run=^"+regexp.QuoteMeta(name)+"$", filepath.Join(dir, test))
			if out, err := run.CombinedOutput(); err == nil || !strings.Contains(string(out), a.Alert) {
				t.Errorf("%s: %s %s can never fire, and of %q promtool says: %v\n%s", file, a.Alert, a.Labels["window"], name, err, out)
			}
		}
	}
}
