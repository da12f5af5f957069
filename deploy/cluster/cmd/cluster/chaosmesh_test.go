//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDigest(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]string{}
	look := func(what string, other bool) {
		t.Helper()
		d, err := digest(filepath.Join(dir, "chart"), filepath.Join(dir, "values.yaml"))
		if err != nil || d == "" || len(d) > 63 {
			t.Fatalf("%s: %q, %v", what, d, err)
		}
		if before, is := seen[d]; is == other {
			t.Errorf("%s: seen before (%s): %v", what, before, is)
		}
		seen[d] = what
	}
	write("chart/Chart.yaml", "name: x")
	write("chart/templates/a.yaml", "a")
	write("values.yaml", "b: 1")
	look("at first", true)
	look("again", false)
	write("chart/templates/a.yaml", "aa")
	look("another template", true)
	write("values.yaml", "b: 2")
	look("other values", true)
	if err := os.Rename(filepath.Join(dir, "chart/templates/a.yaml"), filepath.Join(dir, "chart/templates/b.yaml")); err != nil {
		t.Fatal(err)
	}
	look("another name", true)
	if _, err := digest(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("what is not there has a digest")
	}
}
