//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFlushLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	for name, root := range map[string]string{"where testbeds are": dir, "where none are": filepath.Join(dir, "none")} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SEATRIAL_STATE", root)
			if err := flush(dir)(); err != nil {
				t.Fatal(err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v is left (%v)", left, err)
			}
		})
	}
}

func TestADiskThatCannotBeAskedIsNamed(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("SEATRIAL_STATE", none)
	if err := flush(none)(); err == nil || !strings.Contains(err.Error(), none) {
		t.Errorf("%v, want an error that names %s", err, none)
	}
}
