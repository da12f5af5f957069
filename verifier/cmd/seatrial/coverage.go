package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"seatrial/deploy/rules"
	"seatrial/runbooks"
	"seatrial/verifier/coverage"
	"seatrial/verifier/runbook"
)

func newCoverageCommand() *cobra.Command {
	f := suiteFlags{target: onLocal, seed: 1, loadScale: 1}
	var out string
	cmd := &cobra.Command{
		Use: "coverage [RUN...]", Short: "list which faults, alerts and runbooks are proven by which scenario, when and where, and the gaps",
		Long: `coverage joins experiments, alerts, runbooks and scenarios, looks into the verdicts of the given
runs for when each was last proven on which testbed, and prints it as Markdown. Gaps come first:
experiments in no scenario, alerts that no scenario expects, runbooks and causes that nothing
brings about, scenarios that no trial has proven. It needs no testbed.`,
		Example: `  seatrial coverage reports/latest reports/cluster/latest --out docs/coverage.md`,
		RunE: func(cmd *cobra.Command, runs []string) error {
			matrix, err := f.coverage(cmd.Context(), runs)
			if err != nil {
				return err
			}
			var page bytes.Buffer
			if err := matrix.Write(&page); err != nil {
				return err
			}
			if out == "" {
				_, err := page.WriteTo(cmd.OutOrStdout())
				return err
			}
			if err := os.WriteFile(out, page.Bytes(), 0o644); err != nil {
				return fmt.Errorf("write the coverage: %w", err)
			}
			return nil
		},
	}
	f.registerFolders(cmd)
	cmd.Flags().StringVar(&out, "out", "", "write to `FILE` instead of standard output")
	return cmd
}

// coverage joins all that there is with what the runs have proven.
func (f *suiteFlags) coverage(ctx context.Context, runs []string) (*coverage.Matrix, error) {
	_, set, plans, err := f.load(ctx)
	if err != nil {
		return nil, err
	}
	alerts, err := rules.Alerts()
	if err != nil {
		return nil, err
	}
	books, err := f.books()
	if err != nil {
		return nil, err
	}
	trials, err := coverage.Read(runs)
	if err != nil {
		return nil, err
	}
	s := coverage.Sources{Plans: plans, Experiments: set.Names(), Runbooks: books, Trials: trials}
	for _, a := range alerts {
		s.Alerts = append(s.Alerts, a.Name)
	}
	return coverage.Of(s), nil
}

// books lists the runbooks with the causes that they tell apart.
func (f *suiteFlags) books() ([]coverage.Runbook, error) {
	dir, err := folder("--runbooks", f.runbooksDir, runbooks.Files)
	if err != nil {
		return nil, err
	}
	set, err := runbook.Read(dir)
	if err != nil {
		return nil, err
	}
	var all []coverage.Runbook
	for _, name := range set.Names() {
		b := coverage.Runbook{Name: name}
		for _, c := range set[name].Causes {
			b.Causes = append(b.Causes, coverage.Cause{Name: c.Name, Injected: c.Injected, NotInjectable: c.NotInjectable})
		}
		all = append(all, b)
	}
	return all, nil
}
