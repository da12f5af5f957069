package main

import (
	"context"
	"errors"
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
	"seatrial/verifier/runbook"
	"seatrial/verifier/steps"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// The testbeds.
const (
	onLocal      = "local"
	onKubernetes = "kubernetes"
)

// suiteFlags are what run and list share: which scenarios, from where.
type suiteFlags struct {
	tags, target                             string
	seed                                     int64
	loadScale                                float64
	noMitigation                             bool
	featuresDir, experimentsDir, runbooksDir string
}

func (f *suiteFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.tags, "tags", "", "take the scenarios that match this `EXPRESSION`: \"@smoke\", \"@nats && ~@network\" (and, not), \"@api,@worker\" (or)")
	fl.Int64Var(&f.seed, "seed", 1, "`NUMBER` that victims, payloads and the network's randomness are drawn from")
	fl.StringVar(&f.target, "target", onLocal, "`TESTBED` where the system runs: local or kubernetes")
	fl.Float64Var(&f.loadScale, "load-scale", 1, "multiply the rate of every scenario's load by `FACTOR`: 0.3 for a machine that is too small for it, 10 for a system that takes more; the verdict says so")
	f.registerFolders(cmd)
}

// registerFolders are the flags for other features, experiments and runbooks than those built in.
func (f *suiteFlags) registerFolders(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.featuresDir, "features", "", "folder `DIR` of *.feature files (default: those built in)")
	fl.StringVar(&f.experimentsDir, "experiments", "", "folder `DIR` of Chaos Mesh manifests (default: those built in)")
	fl.StringVar(&f.runbooksDir, "runbooks", "", "folder `DIR` of runbooks (default: those built in)")
}

// load reads features, experiments and runbooks, and finds every mistake in them.
func (f *suiteFlags) load(ctx context.Context) (steps.Suite, *experiments.Set, []evidence.Plan, error) {
	if f.target != onLocal && f.target != onKubernetes {
		return steps.Suite{}, nil, nil, fmt.Errorf("unknown --target %q: want %s or %s", f.target, onLocal, onKubernetes)
	}
	if !(f.loadScale > 0 && f.loadScale <= 1000) {
		return steps.Suite{}, nil, nil, fmt.Errorf("--load-scale %g: want a number above 0, at most 1000", f.loadScale)
	}
	texts, err1 := folder("--features", f.featuresDir, features.Files)
	books, err2 := folder("--runbooks", f.runbooksDir, runbooks.Files)
	manifests, err3 := folder("--experiments", f.experimentsDir, nil)
	if err := errors.Join(err1, err2, err3); err != nil {
		return steps.Suite{}, nil, nil, err
	}
	set := experiments.Embedded()
	if manifests != nil {
		var err error
		if set, err = experiments.Load(manifests); err != nil {
			return steps.Suite{}, nil, nil, err
		}
	}
	set = set.ForLoad(f.loadScale)
	read, err := runbook.Read(books)
	if err != nil {
		return steps.Suite{}, nil, nil, err
	}
	suite := steps.Suite{
		Features: texts, Tags: f.tags, Seed: f.seed, Target: f.target, LoadScale: f.loadScale, Runbooks: promises(read),
		HasExperiment: func(name string) error { _, err := set.Get(name); return err },
		HasRunbook: func(name string) error {
			if read[name] == nil {
				return fmt.Errorf("there is no runbook %s.md", name)
			}
			return nil
		},
	}
	if !f.noMitigation {
		suite.Mitigation = mitigations(read, f.target)
	}
	plans, err := suite.Plans(ctx)
	return suite, set, plans, err
}

// mitigations looks up, in runbooks, by which commands they mitigate experiments on a target.
func mitigations(set runbook.Set, target string) func(string, []string) []evidence.CommandPlan {
	return func(name string, experiments []string) (all []evidence.CommandPlan) {
		for _, m := range set[name].For(target, experiments) {
			all = append(all, evidence.CommandPlan{Line: m.Line, Command: m.Command})
		}
		return all
	}
}

// promises is what a trial holds runbooks to.
func promises(set runbook.Set) (plans []evidence.RunbookPlan) {
	for _, name := range set.Names() {
		b := set[name]
		plan := evidence.RunbookPlan{
			Name: name, AlsoTrue: b.AlsoTrue, AlsoPages: b.AlsoPages,
			DetectWithin: evidence.Duration(b.DetectWithin), RecoverWithin: evidence.Duration(b.RecoverWithin),
		}
		plan.Steps, plan.Causes = deciding(b.Plan()), causes(b)
		plans = append(plans, plan)
	}
	return plans
}

// causes are those of a runbook that a step tells apart.
func causes(b *runbook.Runbook) (plans []evidence.CausePlan) {
	for _, c := range b.Causes {
		if steps := deciding(c.Plan()); len(steps) > 0 {
			plans = append(plans, evidence.CausePlan{Name: c.Name, Injected: c.Injected, Steps: steps})
		}
	}
	return plans
}

func deciding(steps []runbook.PlanStep) (plans []evidence.StepPlan) {
	for _, s := range steps {
		plans = append(plans, evidence.StepPlan(s))
	}
	return plans
}

// folder is the directory that a flag names, or what is built in.
func folder(flag, dir string, builtin fs.FS) (fs.FS, error) {
	if dir == "" {
		return builtin, nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s %s: there is no such folder", flag, dir)
	}
	return os.DirFS(dir), nil
}

// oneFolder asks for the folder of a run (or of one trial) in words that say what is missing.
func oneFolder(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s wants one folder, got %d: name that of a run, such as reports/latest", cmd.Name(), len(args))
	}
	return nil
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
	operator trial.Operator // nil where no mitigation is carried out
	set      *experiments.Set
	dir      string // the run's folder
	progress func(trial.Progress)
	done     func(*evidence.Scenario)

	// Witnesses that this machine kept up; nil where the system runs on another one, of which they would say nothing.
	processors trial.Processors
	flush      func() error
}

// disturbedDir holds, in a run's folder, the Evidence of trials that count for nothing,
// because their machine stood still, and were held again.
const disturbedDir = "disturbed"

// heldAgain is how often a trial may be held again.
const heldAgain = 2

// trial runs one plan's trial; again when its machine stood still, as soon as this one
// keeps up.
func (s *session) trial(ctx context.Context, p evidence.Plan) (*evidence.Scenario, error) {
	t, result, err := s.hold(ctx, p)
	for again := 0; again < heldAgain && err == nil && result.Disturbed && ctx.Err() == nil; again++ {
		aside, moveErr := s.putAside(t.Dir)
		if moveErr != nil {
			return nil, moveErr
		}
		if p.HeldAgain = result.Reason; again == 0 {
			p.FirstEvidence = aside
		}
		settle(ctx, keepsUp)
		t, result, err = s.hold(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	if err := mourn(t.Dir, result); err != nil {
		return nil, err
	}
	s.done(result)
	return result, nil
}

// hold holds a trial.
func (s *session) hold(ctx context.Context, p evidence.Plan) (*trial.Trial, *evidence.Scenario, error) {
	t, err := s.prepare(p)
	if err != nil {
		return nil, nil, err
	}
	result, err := t.Run(ctx)
	return t, result, err
}

// putAside moves a trial's Evidence out of what a run is judged by, and returns its
// new place, relative to the run's folder.
func (s *session) putAside(dir evidence.Dir) (string, error) {
	parent := filepath.Join(s.dir, disturbedDir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("put a disturbed trial aside: %w", err)
	}
	name := filepath.Base(string(dir))
	if _, err := os.Stat(filepath.Join(parent, name)); err == nil {
		name += "-again"
	}
	if err := os.Rename(string(dir), filepath.Join(parent, name)); err != nil {
		return "", fmt.Errorf("put a disturbed trial aside: %w", err)
	}
	return filepath.Join(disturbedDir, name), nil
}

// outlast is by how much a fault that is mitigated outlasts all that has a deadline.
const outlast = 30 * time.Second

// prepare makes the trial of a plan, with a folder for its Evidence.
func (s *session) prepare(p evidence.Plan) (*trial.Trial, error) {
	p.Versions = s.bed.Versions()
	dir, err := evidence.New(s.dir, p.Name)
	if err != nil {
		return nil, err
	}
	t := &trial.Trial{
		Plan: p, Testbed: s.bed, Load: s.load, System: s.system, Metrics: s.metrics, Alerts: s.alerts,
		Dir: dir, Operator: s.operator, Watch: s.progress, Processors: s.processors, Flush: s.flush,
	}
	for _, name := range p.Experiments {
		e, err := s.set.Get(name)
		if err != nil {
			return nil, err
		}
		if p.Mitigation != nil { // the fault must still be there when it is mitigated
			if e, err = e.Lasting(time.Duration(p.Fault+p.InForce+p.Mitigation.Within) + outlast); err != nil {
				return nil, err
			}
		}
		t.Experiments = append(t.Experiments, e)
	}
	return t, nil
}

// newRunDir makes the folder of a run below parent; another run may have begun
// in the same second.
func newRunDir(parent string, seed int64, now time.Time) (string, error) {
	dir, err := evidence.NewFolder(parent, fmt.Sprintf("%s-seed%d", now.UTC().Format("20060102-150405"), seed))
	if err != nil {
		return "", fmt.Errorf("make the report's folder: %w", err)
	}
	return dir, nil
}

// pointTo lets "latest" beside the run's folder point to it.
func pointTo(dir string) error {
	latest := filepath.Join(filepath.Dir(dir), "latest")
	_ = os.Remove(latest)
	if err := os.Symlink(filepath.Base(dir), latest); err != nil {
		return fmt.Errorf("point to the newest report: %w", err)
	}
	return nil
}

// finish joins the scenarios into the run's verdict and writes every report.
func finish(out io.Writer, dir string, r *evidence.Run) error {
	var all []verdict.Verdict
	for _, s := range r.Scenarios {
		all = append(all, verdict.Verdict{Status: s.Status, Reason: s.Reason})
	}
	if len(r.NotRun) > 0 {
		all = append(all, verdict.Unsure("not run: %s", strings.Join(r.NotRun, "; ")))
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
