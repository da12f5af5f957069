//go:build linux

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

// TestCLIDocs keeps docs/cli.md what the program itself says.
func TestCLIDocs(t *testing.T) {
	path := filepath.Join(repository, "docs", "cli.md")
	want := cliDocs()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/cli.md differs from what the commands say of themselves; write it anew with\n  go test ./verifier/cmd/seatrial -run TestCLIDocs -update")
	}
}

// cliDocs renders every command that is not hidden.
func cliDocs() string {
	var b strings.Builder
	b.WriteString("# The command line\n\n" +
		"Generated from the program; `go test ./verifier/cmd/seatrial -run TestCLIDocs -update` writes it anew.\n")
	root := newRoot()
	document(&b, root)
	for _, c := range root.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		document(&b, c)
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				document(&b, sub)
			}
		}
	}
	return b.String()
}

func document(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n```text\n", c.CommandPath(), strings.ToUpper(c.Short[:1])+c.Short[1:])
	if c.Long != "" {
		fmt.Fprintf(b, "%s\n\n", c.Long)
	}
	use := c.UseLine()
	if !c.Runnable() {
		use += " COMMAND"
	}
	fmt.Fprintf(b, "Usage:\n  %s\n", use)
	if c.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n%s\n", strings.TrimRight(c.Example, "\n"))
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(b, "  %-10s %s\n", sub.Name(), sub.Short)
			}
		}
	}
	c.InitDefaultHelpFlag()
	if c.HasAvailableLocalFlags() {
		fmt.Fprintf(b, "\nFlags:\n%s", c.LocalFlags().FlagUsages())
	}
	b.WriteString("```\n")
}

// TestEveryFlagAndCommandSaysWhatItIsFor: a help without words helps nobody.
func TestEveryFlagAndCommandSaysWhatItIsFor(t *testing.T) {
	for _, section := range strings.Split(cliDocs(), "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		for _, line := range strings.Split(section, "\n") {
			if fields := strings.Fields(line); strings.HasPrefix(strings.TrimSpace(line), "-") && len(fields) < 3 {
				t.Errorf("%s: nothing is said about %q", name, line)
			}
		}
	}
	for _, c := range newRoot().Commands() {
		if c.IsAvailableCommand() && c.Short == "" {
			t.Errorf("%s says nothing of itself", c.CommandPath())
		}
	}
}
