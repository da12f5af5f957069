// Package promtool puts PromQL before the real engine in tests: over series that a test makes up, with the promtool
// that `make deps` builds. It is for tests alone.
package promtool

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"seatrial/verifier/lack"
)

// Judge holds unit tests in promtool's language, a list with one second between evaluations, and fails t with what
// promtool says of those that do not hold. Without a promtool, in .deps or on the PATH, the test lacks it.
//
// The language: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
func Judge(t *testing.T, units string) {
	t.Helper()
	promtool := find(t)
	file := filepath.Join(t.TempDir(), "tests.yaml")
	text := "rule_files: []\nevaluation_interval: 1s\ntests:\n" + units
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%s test rules: %v\n%s", promtool, err, out)
	}
}

// find looks in .deps of the checkout, which is the first folder upwards with a go.mod.
func find(t *testing.T) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for root != filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		root = filepath.Dir(root)
	}
	path := filepath.Join(root, ".deps", "bin", "promtool")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if path, err = exec.LookPath("promtool"); err != nil {
		lack.Of(t, "promtool is missing: make deps builds it")
	}
	return path
}
