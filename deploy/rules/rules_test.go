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

// query is one look of a Diagnosis: a fenced PromQL block and the line about what it shows.
var query = regexp.MustCompile("(?s)```promql\n(.*?)```\n\n(Expected: `(?:==|!=|<|<=|>|>=) [0-9.]+`)?")

var sections = []string{"Meaning", "Impact", "Diagnosis", "Mitigation"}

// section returns the text under a second-level heading, "" if there is none.
func section(text, name string) string {
	_, after, ok := strings.Cut(text, "\n## "+name+"\n")
	if !ok {
		return ""
	}
	body, _, _ := strings.Cut(after, "\n## ")
	return strings.TrimSpace(body)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(runbooks, name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRunbooksHaveTheFourSections(t *testing.T) {
	for name := range alerts(t) {
		text := read(t, name)
		if !strings.HasPrefix(text, "# "+name+"\n") {
			t.Errorf("%s.md: the title is not the alert's name", name)
		}
		last := -1
		for _, s := range sections {
			at := strings.Index(text, "\n## "+s+"\n")
			if at <= last {
				t.Errorf("%s.md: section %q is missing or out of order", name, s)
			}
			last = at
			if section(text, s) == "" {
				t.Errorf("%s.md: section %q is empty", name, s)
			}
		}
		looks := query.FindAllStringSubmatch(section(text, "Diagnosis"), -1)
		if len(looks) == 0 || len(looks) != strings.Count(text, "```promql") {
			t.Errorf("%s.md: %d queries in its Diagnosis, %d in all", name, len(looks), strings.Count(text, "```promql"))
		}
		for _, l := range looks {
			if l[2] == "" {
				t.Errorf("%s.md: no line \"Expected: `> 0`\" after %s", name, l[1])
			}
		}
	}
}

// TestRunbookQueriesAreValid lets Prometheus parse what people are told to paste.
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
	for name := range alerts(t) {
		for i, q := range query.FindAllStringSubmatch(read(t, name), -1) {
			all = append(all, rule{fmt.Sprintf("%s:%d", name, i), q[1]})
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
