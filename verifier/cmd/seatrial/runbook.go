package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"seatrial/runbooks"
	"seatrial/verifier/prom"
	"seatrial/verifier/runbook"
	"seatrial/verifier/trial"
)

func newRunbookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runbook COMMAND", Short: "check, list and show runbooks, and ask Prometheus which diagnosis is true now",
		Long: `runbook reads runbooks as trials do.

  check [DIR]     find every mistake, as FILE:LINE: what is wrong; exit status 2 if there is one
  list            one line a runbook
  show NAME       print a runbook
  diagnose NAME   ask each query of its diagnosis and of its causes at this moment, at the testbed
                  that is up or at --prometheus: exit status 0 if the diagnosis is true, 1 if it
                  is false, 2 if it could not be asked. With --all: 0 if any diagnosis is true

A diagnosis is true while every Expected: of its section Diagnosis holds; a cause, while its own
hold as well. Commands are not run by these; a trial with a mitigation carries out those that
say Mitigates:.`,
		Example: "  seatrial runbook check runbooks\n  seatrial runbook diagnose --all\n  seatrial runbook diagnose WorkerDown --prometheus http://127.0.0.1:9090",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newRunbookCheckCommand(), newRunbookListCommand(), newRunbookShowCommand(), newDiagnoseCommand())
	return cmd
}

// registerRunbooks is the flag for other runbooks than those built in.
func registerRunbooks(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "runbooks", "", "folder `DIR` of runbooks (default: those built in)")
}

// readRunbooks reads those of a folder, or those built in.
func readRunbooks(flag, dir string) (runbook.Set, error) {
	files, err := folder(flag, dir, runbooks.Files)
	if err != nil {
		return nil, err
	}
	return runbook.ReadDir(files, nameOr(dir, "runbooks"))
}

func nameOr(dir, builtin string) string {
	if dir == "" {
		return builtin
	}
	return dir
}

func newRunbookListCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "list", Short: "list the runbooks with what they promise", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := readRunbooks("--runbooks", dir)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "RUNBOOK\tDETECT\tRECOVER\tDECIDING\tCAUSES\tINJECTED\tCOMMANDS")
			for _, name := range set.Names() {
				b := set[name]
				inject := 0
				for _, c := range b.Causes {
					inject += min(1, len(c.Injected))
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\n", name, b.DetectWithin, b.RecoverWithin, len(b.Plan()), len(b.Causes), inject, len(b.Mitigations))
			}
			return w.Flush()
		},
	}
	registerRunbooks(cmd, &dir)
	return cmd
}

func newRunbookShowCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "show NAME", Short: "print a runbook", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := readRunbooks("--runbooks", dir)
			if err != nil {
				return err
			}
			b, err := set.Get(args[0])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b.Text)
			return err
		},
	}
	registerRunbooks(cmd, &dir)
	return cmd
}

// diagnoseFlags say where to ask.
type diagnoseFlags struct {
	all                   bool
	prometheus, name, dir string
}

func newDiagnoseCommand() *cobra.Command {
	var f diagnoseFlags
	cmd := &cobra.Command{
		Use: "diagnose NAME|--all", Short: "ask Prometheus whether a diagnosis is true at this moment", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.all == (len(args) == 1) {
				return errors.New("diagnose wants either the name of one runbook or --all")
			}
			books, err := f.books(args)
			if err != nil {
				return err
			}
			metrics, err := f.metrics(cmd.Context())
			if err != nil {
				return err
			}
			return diagnose(cmd.Context(), metrics, books, cmd.OutOrStdout())
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.all, "all", false, "every runbook; details of those that are true")
	fl.StringVar(&f.prometheus, "prometheus", "", "`URL` of Prometheus (default: that of the testbed that is up)")
	registerName(cmd, &f.name)
	registerRunbooks(cmd, &f.dir)
	return cmd
}

// books are those to ask about.
func (f *diagnoseFlags) books(args []string) ([]*runbook.Runbook, error) {
	set, err := readRunbooks("--runbooks", f.dir)
	if err != nil {
		return nil, err
	}
	if !f.all {
		b, err := set.Get(args[0])
		return []*runbook.Runbook{b}, err
	}
	var books []*runbook.Runbook
	for _, name := range set.Names() {
		books = append(books, set[name])
	}
	return books, nil
}

// metrics is the Prometheus to ask.
func (f *diagnoseFlags) metrics(ctx context.Context) (vectors, error) {
	url := f.prometheus
	if url == "" {
		s, err := askStatus(ctx, f.name)
		if err != nil {
			return nil, fmt.Errorf("%w; or name another Prometheus with --prometheus", err)
		}
		url = s.Addresses["Prometheus"]
	}
	return prom.New(url, nil)
}

// vectors answers PromQL at a moment.
type vectors interface {
	Vector(ctx context.Context, query string, at time.Time) ([]trial.Sample, error)
}

// diagnose asks about each runbook and prints what it came to.
func diagnose(ctx context.Context, metrics vectors, books []*runbook.Runbook, out io.Writer) error {
	at, found := time.Now(), 0
	for _, b := range books {
		d := diagnosis{metrics: metrics, at: at}
		holds, err := d.runbook(ctx, b)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s\n", b.Name, answer(holds))
		if holds {
			found++
		}
		if holds || len(books) == 1 {
			d.print(out)
		}
	}
	if found == 0 {
		return &exitError{exitFail}
	}
	return nil
}

// none stands where nothing is expected or decided.
const none = "-"

// diagnosis is a runbook's at one moment.
type diagnosis struct {
	metrics vectors
	at      time.Time
	rows    [][]string
}

// runbook asks its own steps, then those of each cause.
func (d *diagnosis) runbook(ctx context.Context, b *runbook.Runbook) (bool, error) {
	holds, err := d.steps(ctx, b.Name, b.Diagnosis)
	for _, c := range b.Causes {
		if err != nil {
			break
		}
		head := len(d.rows)
		d.rows = append(d.rows, []string{"Cause: " + c.Name, none, none, none})
		var own bool
		own, err = d.steps(ctx, b.Name, c.Steps)
		if len(c.Plan()) > 0 {
			d.rows[head][3] = answer(own && holds)
		}
	}
	return holds, err
}

// steps asks every query, and says whether all hold that something is expected of.
func (d *diagnosis) steps(ctx context.Context, name string, steps []runbook.Step) (bool, error) {
	all := true
	for _, s := range steps {
		if s.Kind != runbook.PromQL {
			continue
		}
		samples, err := d.metrics.Vector(ctx, s.Query, d.at)
		if err != nil {
			return false, fmt.Errorf("%s.md:%d: %w", name, s.Line, err)
		}
		var values []float64
		for _, sample := range samples {
			values = append(values, sample.Value)
		}
		row := []string{fmt.Sprintf("%d  %s", s.Line, brief(s.Question)), none, measured(values), none}
		if s.Expectation != nil {
			fits := s.Expectation.Fits(values)
			row[1], row[3] = s.Expectation.String(), answer(fits)
			all = all && fits
		}
		d.rows = append(d.rows, row)
	}
	return all, nil
}

func (d *diagnosis) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  LINE, STEP\tEXPECTED\tMEASURED\tHOLDS")
	for _, row := range d.rows {
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	_ = w.Flush() // to the terminal; whoever closed it has seen enough
}

func answer(holds bool) string {
	if holds {
		return "true"
	}
	return "false"
}

// brief is the last sentence of a question, as far as it fits beside numbers.
func brief(question string) string {
	paragraphs := strings.Split(question, "\n\n")
	text := []rune(strings.Join(strings.Fields(paragraphs[len(paragraphs)-1]), " "))
	if len(text) > 60 {
		return string(text[:59]) + "…"
	}
	return string(text)
}

// measured is a vector in a few words.
func measured(values []float64) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
	switch len(values) {
	case 0:
		return "no data"
	case 1:
		return number(values[0])
	}
	return fmt.Sprintf("%s to %s (%d)", number(slices.Min(values)), number(slices.Max(values)), len(values))
}

// printMistakes prints each in a line of its own, as an editor finds it.
func printMistakes(out io.Writer, err error) error {
	fmt.Fprintln(out, err)
	return &exitError{exitBroken}
}
