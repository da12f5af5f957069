package architecture

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"seatrial/deploy/rules"
	"seatrial/experiments"
	"seatrial/features"
	"seatrial/runbooks"
	"seatrial/verifier/evidence"
	"seatrial/verifier/steps"
)

// suite is what features may name: the experiments and runbooks of this
// repository.
func suite(texts fs.FS) steps.Suite {
	return steps.Suite{
		Features: texts, Seed: 1, Target: "local",
		HasExperiment: func(name string) error { _, err := experiments.Embedded().Get(name); return err },
		HasRunbook:    func(name string) error { _, err := fs.Stat(runbooks.Files, name+".md"); return err },
	}
}

func plans(t *testing.T) []evidence.Plan {
	t.Helper()
	all, err := suite(features.Files).Plans(context.Background())
	if err != nil {
		t.Fatalf("a scenario names what is not there: %v", err)
	}
	return all
}

func text(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestScenariosExpectAlertsThatExist: the plans themselves are checked for
// runbooks and experiments. That alerts and runbooks belong together is for the
// tests of deploy/rules.
func TestScenariosExpectAlertsThatExist(t *testing.T) {
	all, err := rules.Alerts()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plans(t) {
		for _, a := range p.Alerts {
			if !slices.ContainsFunc(all, func(r rules.Alert) bool { return r.Name == a.Name }) {
				t.Errorf("scenario %q expects the alert %s, which deploy/rules does not have", p.Name, a.Name)
			}
		}
	}
}

// unused finds the experiments that docs/faults.md lists as used by no scenario, in a section
// that it has when there are such.
var unused = regexp.MustCompile("(?m)^- `([a-z0-9-]+)`: .+")

// TestExperimentsAreUsedAndDocumented: a manifest that no scenario uses rots.
func TestExperimentsAreUsedAndDocumented(t *testing.T) {
	doc := text(t, "docs", "faults.md")
	_, section, _ := strings.Cut(doc, "\n### Not used by a scenario\n")
	var listed []string
	for _, m := range unused.FindAllStringSubmatch(section, -1) {
		listed = append(listed, m[1])
	}
	used := map[string]bool{}
	for _, p := range plans(t) {
		for _, e := range p.Experiments {
			used[e] = true
		}
	}
	names := experiments.Embedded().Names()
	for _, name := range names {
		switch {
		case !used[name] && !slices.Contains(listed, name):
			t.Errorf("experiment %q is used by no scenario, and docs/faults.md does not say why under \"### Not used by a scenario\"", name)
		case used[name] && slices.Contains(listed, name):
			t.Errorf("docs/faults.md says that no scenario uses the experiment %q, and one does", name)
		}
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/faults.md does not tell of the experiment %q", name)
		}
	}
	for _, name := range listed {
		if !slices.Contains(names, name) {
			t.Errorf("docs/faults.md lists the experiment %q, which does not exist", name)
		}
	}
}

var gherkin = regexp.MustCompile("(?s)```gherkin\n(.*?)```")

// TestScenariosInDocumentsCanBeRun plans every scenario that a document shows.
func TestScenariosInDocumentsCanBeRun(t *testing.T) {
	for _, path := range []string{"README.md", "docs/features.md"} {
		blocks := gherkin.FindAllStringSubmatch(text(t, filepath.FromSlash(path)), -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no scenario", path)
		}
		for _, b := range blocks {
			if _, err := planned(b[1]); err != nil {
				t.Errorf("%s shows a scenario that cannot be run: %v", path, err)
			}
		}
	}
}

func planned(scenario string) ([]evidence.Plan, error) {
	feature := "Feature: as shown\n" + scenario
	return suite(fstest.MapFS{"shown.feature": {Data: []byte(feature)}}).Plans(context.Background())
}

// sentence finds the rows of the table of sentences.
var sentence = regexp.MustCompile(`(?m)^\| (Given|When|Then) (.*?) \|`)

// registration finds the sentences in the code.
var registration = regexp.MustCompile(`(?m)^\tsc\.(Given|When|Then)\(`)

// TestEverySentenceIsDocumented: each row of docs/features.md is understood,
// and there are as many as the code has.
func TestEverySentenceIsDocumented(t *testing.T) {
	rows := sentence.FindAllStringSubmatch(text(t, "docs", "features.md"), -1)
	known := registration.FindAllString(text(t, "verifier", "steps", "steps.go"), -1)
	if len(rows) != len(known) || len(known) == 0 {
		t.Errorf("docs/features.md lists %d sentences, verifier/steps has %d", len(rows), len(known))
	}
	fill := strings.NewReplacer("*N*", "10", "*time*", "5 seconds", "*window*", "fault", "*name*", "worker-kill", "*alert*", "WorkerDown")
	for _, row := range rows {
		said := row[1] + " " + fill.Replace(row[2])
		scenario := "@runbook:WorkerDown\nScenario: s\nGiven a steady load of 10 tasks per second\n" +
			"When the experiment \"worker-down\" is injected\n" + said + "\nThen every accepted task is done exactly once\n"
		if _, err := planned(scenario); err != nil {
			t.Errorf("docs/features.md: %s: %v", said, err)
		}
	}
}
