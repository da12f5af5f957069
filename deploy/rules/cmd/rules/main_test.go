package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesAreUpToDate: what is loaded is what the objectives and causes say.
func TestRulesAreUpToDate(t *testing.T) {
	if err := run([]string{"--check", "--dir", "../.."}, io.Discard); err != nil {
		t.Error(err)
	}
}

// TestChangesAreSeenAndWritten works on a copy of deploy/rules.
func TestChangesAreSeenAndWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../..")); err != nil {
		t.Fatal(err)
	}
	slo := filepath.Join(dir, "slo", "availability.yaml")
	text, err := os.ReadFile(slo)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(slo, []byte(strings.Replace(string(text), "target: 0.99", "target: 0.999", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	err = run([]string{"--check", "--dir", dir}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "seatrial.rules.yaml is not what slo/ and causes*.yaml say; run make rules") {
		t.Errorf("a changed objective: %v", err)
	}
	if err := run([]string{"--dir", dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"seatrial.rules.yaml", "production.rules.yaml"} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(text), "14.4 * 0.001\n") {
			t.Errorf("%s has not the new target (%v)", file, err)
		}
	}
	if err := run([]string{"--check", "--dir", dir}, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for want, change := range map[string]func(dir string) error{
		"no objectives in":         func(dir string) error { return os.RemoveAll(filepath.Join(dir, "slo")) },
		"read causes: open":        func(dir string) error { return os.Remove(filepath.Join(dir, "causes.trial.yaml")) },
		"latency.yaml: EOF":        func(dir string) error { return os.WriteFile(filepath.Join(dir, "slo", "latency.yaml"), nil, 0o644) },
		"causes.yaml: want a line": func(dir string) error { return os.WriteFile(filepath.Join(dir, "causes.yaml"), nil, 0o644) },
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("../..")); err != nil {
			t.Fatal(err)
		}
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		if err := run([]string{"--dir", dir}, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want …%s…", err, want)
		}
	}
	if err := run([]string{"--unknown"}, io.Discard); err == nil {
		t.Error("an unknown flag is taken")
	}
}
