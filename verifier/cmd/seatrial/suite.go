package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"seatrial/experiments"
	"seatrial/features"
	"seatrial/runbooks"
	"seatrial/verifier/evidence"
	"seatrial/verifier/report"
	"seatrial/verifier/steps"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// suiteFlags are what run and list share: which scenarios, from where.
type suiteFlags struct {
	tags, target                             string
	seed                                     int64
	featuresDir, experimentsDir, runbooksDir string
}

func (f *suiteFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.tags, "tags", "", `scenarios to take, as a godog tag expression, for example "@smoke", "@nats && ~@network" or "@api,@worker" (a comma is an or)`)
	fl.Int64Var(&f.seed, "seed", 1, "seed of victims, payloads and the network's randomness")
	fl.StringVar(&f.target, "target", "local", "where the system runs: local")
	fl.StringVar(&f.featuresDir, "features", "", "folder of *.feature files (default: those built in)")
	fl.StringVar(&f.experimentsDir, "experiments", "", "folder of Chaos Mesh manifests (default: those built in)")
	fl.StringVar(&f.runbooksDir, "runbooks", "", "folder of runbooks (default: those built in)")
}

// load reads features, experiments and runbooks, and finds every mistake in them.
func (f *suiteFlags) load(ctx context.Context) (steps.Suite, *experiments.Set, []evidence.Plan, error) {
	if f.target != "local" {
		return steps.Suite{}, nil, nil, fmt.Errorf("unknown --target %q: this version knows local", f.target)
	}
	set := experiments.Embedded()
	if f.experimentsDir != "" {
		var err error
		if set, err = experiments.Load(os.DirFS(f.experimentsDir)); err != nil {
			return steps.Suite{}, nil, nil, err
		}
	}
	books := folder(f.runbooksDir, runbooks.Files)
	suite := steps.Suite{
		Features: folder(f.featuresDir, features.Files), Tags: f.tags, Seed: f.seed, Target: f.target,
		HasExperiment: func(name string) error { _, err := set.Get(name); return err },
		HasRunbook: func(name string) error {
			if _, err := fs.Stat(books, name+".md"); err != nil {
				return fmt.Errorf("no runbook %s.md: %w", name, err)
			}
			return nil
		},
	}
	plans, err := suite.Plans(ctx)
	return suite, set, plans, err
}

func folder(dir string, builtin fs.FS) fs.FS {
	if dir == "" {
		return builtin
	}
	return os.DirFS(dir)
}

func newListCommand() *cobra.Command {
	var f suiteFlags
	cmd := &cobra.Command{
		Use: "list", Short: "list the scenarios with their experiments and runbooks, and check them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, _, plans, err := f.load(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SCENARIO\tEXPERIMENTS\tRUNBOOK\tTAGS")
			for _, p := range plans {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, strings.Join(p.Experiments, " "), p.Runbook, strings.Join(p.Tags, " "))
			}
			return w.Flush()
		},
	}
	f.register(cmd)
	return cmd
}

// session is a run of several trials on one testbed.
type session struct {
	bed      trial.Testbed
	load     trial.Load
	system   trial.System
	metrics  trial.Metrics
	alerts   trial.Alerts
	set      *experiments.Set
	dir      string // the run's folder
	progress func(trial.Progress)
	done     func(*evidence.Scenario)
}

// trial runs one plan's trial.
func (s *session) trial(ctx context.Context, p evidence.Plan) (*evidence.Scenario, error) {
	p.Versions = s.bed.Versions()
	dir, err := evidence.New(s.dir, p.Name)
	if err != nil {
		return nil, err
	}
	t := trial.Trial{
		Plan: p, Testbed: s.bed, Load: s.load, System: s.system, Metrics: s.metrics, Alerts: s.alerts,
		Dir: dir, Watch: s.progress,
	}
	for _, name := range p.Experiments {
		e, err := s.set.Get(name)
		if err != nil {
			return nil, err
		}
		t.Experiments = append(t.Experiments, e)
	}
	result, err := t.Run(ctx)
	if err != nil {
		return nil, err
	}
	s.done(result)
	return result, nil
}

// newRunDir makes the folder of a run below parent and points parent/latest to it.
func newRunDir(parent string, seed int64, now time.Time) (string, error) {
	name := fmt.Sprintf("%s-seed%d", now.UTC().Format("20060102-150405"), seed)
	dir := filepath.Join(parent, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the report's folder: %w", err)
	}
	latest := filepath.Join(parent, "latest")
	_ = os.Remove(latest)
	if err := os.Symlink(name, latest); err != nil {
		return "", fmt.Errorf("point to the newest report: %w", err)
	}
	return dir, nil
}

// finish joins the scenarios into the run's verdict and writes every report.
func finish(out io.Writer, dir string, r *evidence.Run) error {
	var all []verdict.Verdict
	for _, s := range r.Scenarios {
		all = append(all, verdict.Verdict{Status: s.Status, Reason: s.Reason})
	}
	r.Status = verdict.Worst(all...).Status
	if err := evidence.SaveJSON(filepath.Join(dir, evidence.VerdictFile), r); err != nil {
		return err
	}
	if err := report.Write(dir); err != nil {
		return err
	}
	report.Terminal(out, r)
	fmt.Fprintf(out, "report: %s\n", filepath.Join(dir, "report.html"))
	return nil
}

func newReplayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "replay DIR", Short: "judge old Evidence again, offline", Args: cobra.ExactArgs(1),
		Long: "replay judges the Evidence of a run (or of one trial) again, from its files alone,\nand writes the verdict and the reports anew.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := replay(args[0])
			if err != nil {
				return err
			}
			if err := finish(cmd.OutOrStdout(), args[0], r); err != nil {
				return err
			}
			return exitOf(r.Status)
		},
	}
}

// replay judges every trial below dir and keeps of the run's old verdict what
// only the run could know.
func replay(dir string) (*evidence.Run, error) {
	trials, err := evidence.Trials(dir)
	if err != nil {
		return nil, err
	}
	r := &evidence.Run{Run: filepath.Base(dir)}
	if old := filepath.Join(dir, evidence.VerdictFile); len(trials) > 1 || trials[0] != evidence.Dir(dir) {
		if err := evidence.LoadJSON(old, r); err != nil && !os.IsNotExist(err) {
			r = &evidence.Run{Run: filepath.Base(dir)} // a killed run has none yet
		}
	}
	r.Scenarios = nil
	for _, d := range trials {
		s, err := trial.Judge(d)
		if err != nil {
			return nil, err
		}
		if s.Evidence, err = filepath.Rel(dir, string(d)); err != nil {
			return nil, err
		}
		r.Scenarios = append(r.Scenarios, *s)
	}
	evidence.SortByStart(r.Scenarios)
	return r, nil
}

func newReportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "report DIR", Short: "write report.html, junit.xml and summary.md of a run anew", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r evidence.Run
			if err := evidence.LoadJSON(filepath.Join(args[0], evidence.VerdictFile), &r); err != nil {
				return err
			}
			if err := report.Write(args[0]); err != nil {
				return err
			}
			report.Terminal(cmd.OutOrStdout(), &r)
			fmt.Fprintf(cmd.OutOrStdout(), "report: %s\n", filepath.Join(args[0], "report.html"))
			return nil
		},
	}
}
