package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeNamesEverySetting compares the table with what the commands say.
func TestReadmeNamesEverySetting(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	gap := regexp.MustCompile(`  +`)
	known := map[string]bool{}
	for _, name := range []string{"api", "worker", "nats-exporter"} {
		out, err := exec.Command(filepath.Join(bin, name), "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "SEATRIAL_") || !strings.Contains(line, "  ") {
				continue
			}
			cells := gap.Split(strings.TrimSpace(line), 3)
			if len(cells) == 2 { // no default
				cells = []string{cells[0], "", cells[1]}
			}
			known[cells[0]] = true
			row := "| `" + cells[0] + "` | "
			if cells[1] != "" {
				row += "`" + cells[1] + "` "
			}
			row += "| " + cells[2] + " |"
			if !strings.Contains(string(text), row) {
				t.Errorf("%s: the README has no row %s", name, row)
			}
		}
	}
	for _, key := range regexp.MustCompile("(?m)^\\| `(SEATRIAL_[A-Z_]+)`").FindAllStringSubmatch(string(text), -1) {
		if !known[key[1]] {
			t.Errorf("the README has %s, which no command reads", key[1])
		}
	}
}
