package rules_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"seatrial/deploy/rules"
	"seatrial/verifier/runbook"
)

const runbooks = "../../runbooks"

func alerts(t *testing.T) map[string]rules.Alert {
	t.Helper()
	all, err := rules.Alerts()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]rules.Alert{}
	for _, a := range all {
		byName[a.Name] = a
	}
	if len(all) == 0 || len(byName) != len(all) {
		t.Fatalf("%d alerts with %d names", len(all), len(byName))
	}
	return byName
}

// TestRunbooksAndAlertsBelongTogether reads both folders: neither may have more than the other.
func TestRunbooksAndAlertsBelongTogether(t *testing.T) {
	known := alerts(t)
	files, err := filepath.Glob(runbooks + "/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	var found []string
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".md")
		if name == "README" {
			continue
		}
		found = append(found, name)
		if _, ok := known[name]; !ok {
			t.Errorf("runbook %s.md belongs to no alert", name)
		}
	}
	for name := range known {
		if !slices.Contains(found, name) {
			t.Errorf("alert %s has no runbook", name)
		}
	}
}

// read reads every runbook; one with a mistake fails.
func read(t *testing.T) runbook.Set {
	t.Helper()
	set, err := runbook.Read(os.DirFS(runbooks))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestRunbookQueriesAreValid lets Prometheus parse what people are told to paste, and
// what trials ask of it.
func TestRunbookQueriesAreValid(t *testing.T) {
	promtool := tool(t, "promtool")
	all := ruleSet{}
	for name, b := range read(t) {
		steps := b.Diagnosis
		for _, c := range b.Causes {
			steps = append(steps, c.Steps...)
		}
		for _, s := range steps {
			if s.Kind != "promql" {
				continue
			}
			all = append(all, rule{Record: fmt.Sprintf("%s:%d", name, s.Line), Expr: s.Query})
			if s.Expectation != nil {
				all = append(all, rule{Record: fmt.Sprintf("%s:%d:holds", name, s.Line), Expr: s.Expectation.Holds(s.Query)})
			}
		}
	}
	recorded := readRules(t, trial)
	for _, p := range unexported(append(recorded, all...), exported(t)) {
		t.Errorf("runbook %s", p)
	}
	text, err := yaml.Marshal(map[string]any{"groups": []map[string]any{{"name": "runbooks", "rules": all}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "runbooks.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
