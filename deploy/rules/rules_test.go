package rules_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	for name, a := range alerts(t) {
		if a.Severity != "page" && a.Severity != "ticket" {
			t.Errorf("%s: severity %q", name, a.Severity)
		}
		if a.Summary == "" {
			t.Errorf("%s has no summary", name)
		}
		if a.RunbookURL != "runbooks/"+name+".md" {
			t.Errorf("%s: runbook_url %q", name, a.RunbookURL)
		}
	}
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
	promtool, err := filepath.Abs("../../.deps/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(promtool); err != nil {
		t.Skipf("no promtool: run make deps (%v)", err)
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var all []rule
	for name, b := range read(t) {
		steps := b.Diagnosis
		for _, c := range b.Causes {
			steps = append(steps, c.Steps...)
		}
		for _, s := range steps {
			if s.Kind != "promql" {
				continue
			}
			all = append(all, rule{fmt.Sprintf("%s:%d", name, s.Line), s.Query})
			if s.Expectation != nil {
				all = append(all, rule{fmt.Sprintf("%s:%d:holds", name, s.Line), s.Expectation.Holds(s.Query)})
			}
		}
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

// TestCausesSilenceOnlyLesserThings: an inhibition must not hide a page behind a ticket.
func TestCausesSilenceOnlyLesserThings(t *testing.T) {
	text, err := os.ReadFile("alertmanager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Inhibit []struct {
			Source []string `json:"source_matchers"`
			Target []string `json:"target_matchers"`
		} `json:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	known, names := alerts(t), regexp.MustCompile(`"(.*)"`)
	list := func(matchers []string) (all []rules.Alert) {
		if len(matchers) != 1 {
			t.Fatalf("want one matcher, got %q", matchers)
		}
		for _, name := range strings.Split(names.FindStringSubmatch(matchers[0])[1], "|") {
			a, ok := known[name]
			if !ok {
				t.Errorf("alertmanager.yaml names %s, which is no alert", name)
			}
			all = append(all, a)
		}
		return all
	}
	if len(config.Inhibit) == 0 {
		t.Fatal("no inhibit rules")
	}
	for _, rule := range config.Inhibit {
		targets := list(rule.Target)
		for _, source := range list(rule.Source) {
			for _, target := range targets {
				if source.Severity != "page" && target.Severity == "page" {
					t.Errorf("%s (%s) silences %s (%s)", source.Name, source.Severity, target.Name, target.Severity)
				}
				if source.Name == target.Name {
					t.Errorf("%s silences itself", source.Name)
				}
			}
		}
	}
}
