//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// A bug is a mistake that somebody could make in the services, and what a
// trial must say of it. docs/bugs.md tells their stories.
type bug struct {
	name     string
	program  string // the command that has it
	edits    []edit
	scenario string // tag
	broke    string // the guarantee that must be broken
	count    func(*evidence.Scenario) int
}

// edit replaces a text that must stand exactly once in a file of the services.
type edit struct{ file, old, new string }

var bugs = []bug{
	{
		name: "acknowledged before it is recorded", program: "worker", scenario: "@primary-kill",
		edits: []edit{{"services/worker/record.go", "	var failed error\n", "	for _, o := range group {\n		_ = o.delivery.Ack()\n	}\n	var failed error\n"}},
		broke: "an accepted task is done exactly once", count: lost,
	},
	{
		name: "accepted although nothing acknowledged it", program: "api", scenario: "@quorum-lost",
		edits: []edit{{"services/api/submit.go", "		a.notAccepted(t.ID, err).write(w)\n		return\n", "		writeAccepted(w, t.ID)\n		return\n"}},
		broke: "an accepted task is done exactly once", count: lost,
	},
	{
		name: "done again when it is delivered again", program: "worker", scenario: "@container-kill",
		edits: []edit{
			{"services/store/record.go", "if redis.call('EXISTS', KEYS[1]) == 1 then", "if false then"},
			// Some acknowledgements get lost on the way, as they do with the connection.
			{"services/worker/record.go", "		err = o.delivery.Ack()\n", "		if rand.N(100) > 0 {\n			err = o.delivery.Ack()\n		}\n"},
		},
		broke: "an accepted task is done exactly once", count: duplicated,
	},
	{
		name: "recorded on the primary alone", program: "worker", scenario: "@split-brain",
		edits: []edit{{"services/store/record.go", "	waited := s.replicated(answers[len(reports)])\n", "	waited := error(nil)\n"}},
		broke: "an accepted task is done exactly once", count: lost,
	},
	{
		name: "refused although it may be stored", program: "api", scenario: "@bandwidth",
		edits: []edit{{"services/api/submit.go", "	if errors.Is(err, task.ErrRefused) {", "	if err != nil {"}},
		broke: "a refused task is never done", count: refusedButDone,
	},
}

func lost(s *evidence.Scenario) int           { return s.Lost }
func duplicated(s *evidence.Scenario) int     { return s.Duplicated }
func refusedButDone(s *evidence.Scenario) int { return s.RefusedButDone }

// TestBugsAreFound is the test of the whole: a testbed that passes a broken
// system is worth nothing. Each bug is built into a copy of the services (the
// compiler's overlay leaves the sources alone), and a scenario of the suite must
// fail for it. It takes four to five minutes, so it runs when SEATRIAL_BUGS is set.
func TestBugsAreFound(t *testing.T) {
	needTestbed(t)
	if os.Getenv("SEATRIAL_BUGS") == "" {
		t.Skip("takes four to five minutes: set SEATRIAL_BUGS=1, or run `make bugs`")
	}
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			s := b.trial(t)
			if s.InForce != "confirmed" {
				t.Fatalf("the fault was not in force, so this says nothing: %s", s.Reason)
			}
			if s.Status != verdict.Fail || b.count(s) == 0 {
				t.Errorf("verdict %v (%d accepted, %d lost, %d duplicated, %d refused but done): %s; want a fail", s.Status, s.Accepted, s.Lost, s.Duplicated, s.RefusedButDone, s.Reason)
			}
			for _, g := range s.Guarantees {
				if g.Name == b.broke && g.Status != verdict.Fail {
					t.Errorf("%q is %v: %s", g.Name, g.Status, g.Reason)
				}
			}
			t.Logf("found: %s", s.Reason)
		})
	}
}

// TestBugsCanStillBeMade keeps the edits in step with the services, without a
// testbed.
func TestBugsCanStillBeMade(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) { b.build(t) })
	}
}

// trial holds the bug's scenario with the broken program.
func (b *bug) trial(t *testing.T) *evidence.Scenario {
	t.Helper()
	bin, reports := commands(t), t.TempDir()
	cmd := exec.Command(filepath.Join(bin, "seatrial"), "run", "--tags", b.scenario, "--report", reports,
		"--bin", bin, "--deps", dependencies(t), "--binary", b.program+"="+b.build(t))
	out, err := cmd.CombinedOutput()
	var r evidence.Run
	if loadErr := evidence.LoadJSON(filepath.Join(reports, "latest", evidence.VerdictFile), &r); loadErr != nil || len(r.Scenarios) != 1 {
		t.Fatalf("%v, %v: %s", err, loadErr, out)
	}
	return &r.Scenarios[0]
}

// build compiles the program with the bug in it and returns its path.
func (b *bug) build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, e := range b.edits {
		path := filepath.Join(root, e.file)
		if texts[path] == "" {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(data)
		}
		if n := strings.Count(texts[path], e.old); n != 1 {
			t.Fatalf("%s has %d times what the bug %q replaces, want once:\n%s", e.file, n, b.name, e.old)
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
	}
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, b.program)
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./services/cmd/"+b.program)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the bug %q: %v: %s", b.name, err, out)
	}
	return program
}
