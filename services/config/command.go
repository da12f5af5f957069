package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
)

// ErrUsage marks a wrong command line; the exit status for it is 2.
var ErrUsage = errors.New("wrong usage")

// Command is what --help and --version say about a program.
type Command struct {
	Name    string
	What    string // one sentence
	Version string // one line
}

// Parse reads the command line, and then the configuration into dst. done is
// true when the program was only asked for help or its version, which are
// written to out.
func (c Command) Parse(dst any, args []string, lookup func(string) (string, bool), out io.Writer) (done bool, err error) {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("config", "", "")
	version := flags.Bool("version", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return true, c.help(dst, out)
	case err != nil:
		return false, fmt.Errorf("%w: %v; see %s --help", ErrUsage, err, c.Name)
	case flags.NArg() > 0:
		return false, fmt.Errorf("%w: %q is not expected; see %s --help", ErrUsage, flags.Arg(0), c.Name)
	}
	if *version {
		_, err := fmt.Fprintln(out, c.Version)
		return true, err
	}
	return false, Load(dst, *file, lookup)
}

func (c Command) help(dst any, out io.Writer) error {
	fmt.Fprintf(out, `%s: %s

Usage: %s [--config FILE] [--version] [--help]

Settings come from the environment, else from FILE (YAML: the same names without
%s and in lower case), else they have their default. All mistakes are named at once.

`, c.Name, c.What, c.Name, Prefix)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range Settings(dst) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, s.Default, s.What)
	}
	return w.Flush()
}

// Exit returns the exit status for what a program's run returned: 0, 1, or 2
// for wrong usage and configuration.
func Exit(err error) int {
	var m Mistakes
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrUsage), errors.As(err, &m):
		return 2
	}
	return 1
}
