//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"seatrial/deploy/local"
	"seatrial/deploy/local/confine"
	"seatrial/experiments"
	"seatrial/runbooks"
	"seatrial/verifier/alert"
	"seatrial/verifier/confusion"
	"seatrial/verifier/evidence"
	"seatrial/verifier/prom"
	"seatrial/verifier/steps"
	"seatrial/verifier/system"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// runFlags are what run adds to the suite's.
type runFlags struct {
	suiteFlags
	localFlags
	kubeFlags
	report      string
	allowUnable bool
}

func newRunCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use: "run", Short: "run the scenarios on a testbed, judge them and write a report", Args: cobra.NoArgs,
		Long: `run brings up a testbed of its own, holds a trial for each scenario, judges it from its
Evidence, and takes the testbed down. Each run leaves a folder DIR/<time>-seed<seed>, and
DIR/latest points to it: report.html, summary.md, junit.xml, verdict.json and evidence/.

With --target kubernetes the system and Chaos Mesh run in a cluster already, and stay. One
run at a time holds the lease there; another is refused. docs/kubernetes.md has the rest.

Ctrl-C recovers the fault, closes the Evidence and writes the report of what was run; a
second Ctrl-C ends everything at once. Nothing stays behind either way; in a cluster, what
a second Ctrl-C leaves is the janitor's to remove.

Exit status: 0 all pass, 1 some fail, 2 wrong usage, a broken testbed or an interrupt,
3 some inconclusive and none failed.`,
		Example: `  seatrial run --tags @smoke
  seatrial run --tags "@nats && ~@network" --seed 7 --report /tmp/trials
  seatrial run --binary nats-server=/opt/nats-server-2.10.22
  seatrial run --target kubernetes --context staging --tags @worker`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.oneTarget(cmd.Flags()); err != nil {
				return err
			}
			if _, _, _, err := f.suiteFlags.load(cmd.Context()); err != nil {
				return err
			}
			if f.target == onKubernetes {
				return f.inCluster(cmd)
			}
			return confined(cmd, fmt.Sprintf("run-%d", os.Getpid()), func(ctx context.Context, name string) error {
				return f.run(ctx, name, cmd.OutOrStdout())
			})
		},
	}
	f.suiteFlags.register(cmd)
	f.localFlags.register(cmd)
	f.kubeFlags.register(cmd)
	cmd.Flags().BoolVar(&f.allowUnable, "allow-unable", false, "end with 0 though scenarios are inconclusive, if it is only because this testbed cannot inject their faults")
	cmd.Flags().BoolVar(&f.noMitigation, "no-mitigation", false, "do not carry out mitigations, which are shell commands of the runbooks; trials are judged without them")
	cmd.Flags().StringVar(&f.report, "report", "reports", "folder `DIR` for the reports of runs, each in one of its own")
	return cmd
}

// confined runs f inside a testbed's namespaces: outside of them it starts this
// program again in new ones and passes its exit status on.
func confined(cmd *cobra.Command, name string, f func(ctx context.Context, name string) error) error {
	if confine.Inside() == "" {
		code, err := confine.Keep(name, cmd.OutOrStdout(), cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if code != 0 {
			return &exitError{code}
		}
		return nil
	}
	// Who reads the output may leave, as `up` does and `head` does; that ends no
	// trial. (Ignoring the signal would be inherited by the servers.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	interrupts, err := confine.Enter()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(cmd.Context(), interrupts, cmd.ErrOrStderr())
	defer stop()
	return f(ctx, confine.Inside())
}

// interruptible ends ctx at the first interrupt, the keeper's or one sent
// straight to this process, for an orderly end; a second one ends everything at
// once.
func interruptible(ctx context.Context, interrupts <-chan struct{}, stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	wait := func() {
		select {
		case <-signals:
		case <-interrupts:
		}
	}
	go func() {
		wait()
		fmt.Fprintln(stderr, "\ninterrupted: taking everything back in order (again: end at once)")
		cancel()
		wait()
		confine.Scuttle(130)
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

// localFlags are what every command takes that starts a local testbed.
type localFlags struct {
	bin, deps string
	binaries  map[string]string
}

func (f *localFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.bin, "bin", "", "folder `DIR` with api, worker, loadgen and nats-exporter (default: this program's own)")
	fl.StringVar(&f.deps, "deps", "", "folder `DIR` that make deps made (default: .deps beside the folder --bin)")
	fl.StringToStringVar(&f.binaries, "binary", nil, "run another program, as `NAME=PATH`, for example nats-server=/opt/nats-server-2.10.22; may be repeated")
	fl.Lookup("binary").DefValue = "" // else help shows an empty list as the default
}

// config fills in where the programs are.
func (f *localFlags) config(name string, seed int64) (local.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return local.Config{}, fmt.Errorf("find this program: %w", err)
	}
	bin := f.bin
	if bin == "" {
		bin = filepath.Dir(self)
	}
	deps := f.deps
	if deps == "" {
		deps = filepath.Join(filepath.Dir(bin), ".deps")
	}
	abs := func(path string) string {
		if p, err := filepath.Abs(path); err == nil {
			return p
		}
		return path
	}
	c := local.Config{
		Name: name, State: confine.Dir(name), Bin: abs(bin), Deps: abs(deps),
		Binaries: map[string]string{}, CgroupPrefix: confine.CgroupPrefix(name), Seed: seed,
	}
	for k, v := range f.binaries {
		c.Binaries[k] = abs(v)
	}
	return c, nil
}

// run is `seatrial run`, inside the testbed's namespaces.
func (f *runFlags) run(ctx context.Context, name string, out io.Writer) error {
	suite, set, plans, err := f.suiteFlags.load(ctx)
	if err != nil {
		return err
	}
	cfg, err := f.config(name, f.seed)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err // before a folder is made for nothing
	}
	started := time.Now()
	dir, err := newRunDir(f.report, f.seed, started)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "run %s on the local testbed, scenarios: %d\n", filepath.Base(dir), len(plans))
	bed, err := local.Up(ctx, cfg, func(step string) {
		fmt.Fprintf(out, "  up %5.1f s  %s\n", time.Since(started).Seconds(), step)
	})
	if err != nil {
		_ = os.Remove(dir) // nothing is in it
		return fmt.Errorf("bring the testbed up: %w", err)
	}
	defer bed.Down()
	s, err := wire(bed, dir, set)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	control, err := openControl(ctx, bed, cfg, map[string]string{}, started, stop)
	if err != nil {
		return err
	}
	defer control.Close()
	if s.operator, err = localShell(name); err != nil {
		return err
	}
	return f.holdAll(ctx, s, suite, plans, started, out)
}

// holdAll holds a trial for each plan in a session that is wired.
func (f *runFlags) holdAll(ctx context.Context, s *session, suite steps.Suite, plans []evidence.Plan, started time.Time, out io.Writer) error {
	show := newProgress(out, len(plans))
	s.progress, s.done = show.update, show.done
	r := &evidence.Run{Run: filepath.Base(s.dir), Seed: f.seed, Target: f.target, LoadScale: plans[0].Load.Scale, Started: started, Versions: s.bed.Versions()}
	books, err := folder("--runbooks", f.runbooksDir, runbooks.Files)
	if err := errors.Join(err, pointTo(s.dir)); err != nil {
		return err
	}
	if err := copyRunbooks(s.dir, books); err != nil {
		return err
	}
	return f.hold(ctx, s, suite, plans, r, out)
}

// hold holds every trial of a suite, and reports.
func (f *runFlags) hold(ctx context.Context, s *session, suite steps.Suite, plans []evidence.Plan, r *evidence.Run, out io.Writer) error {
	log, err := os.Create(filepath.Join(s.dir, "godog.txt"))
	if err != nil {
		return err
	}
	defer log.Close()
	results, runErr := suite.Run(ctx, log, s.trial)
	for _, result := range results {
		r.Scenarios = append(r.Scenarios, *result)
	}
	for _, p := range plans {
		if !slices.ContainsFunc(r.Scenarios, func(s evidence.Scenario) bool { return s.Name == p.Name }) {
			r.NotRun = append(r.NotRun, p.Name)
		}
	}
	r.Seconds, r.Confusion = time.Since(r.Started).Seconds(), confusion.Confusion(r.Scenarios)
	if len(r.Scenarios) > 0 {
		if err := finish(out, s.dir, r); err != nil {
			return errors.Join(runErr, err)
		}
	}
	switch {
	case runErr != nil:
		return runErr
	case len(r.NotRun) > 0:
		return errors.New("interrupted: not every scenario was run")
	}
	return exitOf(f.told(r))
}

// told is the verdict that the exit status tells: the run's, less what was
// inconclusive only because the testbed cannot inject it, where that is allowed.
func (f *runFlags) told(r *evidence.Run) verdict.Status {
	if !f.allowUnable {
		return r.Status
	}
	var rest []verdict.Verdict
	for _, s := range r.Scenarios {
		if s.Status != verdict.Inconclusive || !s.Unable {
			rest = append(rest, verdict.Verdict{Status: s.Status})
		}
	}
	return verdict.Worst(rest...).Status
}

// copyRunbooks puts all runbooks beside the report: it links to them, they link to one another, and to a crew the
// one of its fault alone would tell it.
func copyRunbooks(dir string, books fs.FS) error {
	names, err := fs.Glob(books, "*.md")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "runbooks"), 0o755); err != nil {
		return err
	}
	for _, name := range names {
		data, err := fs.ReadFile(books, name)
		if err != nil {
			return fmt.Errorf("copy runbook: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "runbooks", name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// wire joins the local testbed with the adapters that trials need.
func wire(bed *local.Testbed, dir string, set *experiments.Set) (*session, error) {
	doors := bed.Endpoints()
	metrics, err := prom.New(doors.Prometheus, bed.Transport())
	if err != nil {
		return nil, err
	}
	return &session{
		bed: localBed{bed}, set: set, dir: dir, metrics: metrics, processors: processors, flush: flush(dir),
		load:   newLoader(at(doors.Loadgen), doors.API+"/task", bed.Transport()),
		system: system.New(doors.API, bed.Transport()),
		alerts: alert.NewManager(doors.Alertmanager, bed.Transport()),
	}, nil
}

// localBed shows the local testbed as the interface that trials declare.
type localBed struct{ *local.Testbed }

func (b localBed) Prepare(ctx context.Context, e *experiments.Experiment, pick []string, seed int64) (trial.Fault, error) {
	return b.Testbed.Prepare(ctx, e, pick, seed)
}
