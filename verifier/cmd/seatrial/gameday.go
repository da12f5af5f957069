//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"seatrial/deploy/local"
	"seatrial/deploy/local/confine"
	"seatrial/experiments"
	"seatrial/runbooks"
	"seatrial/verifier/confusion"
	"seatrial/verifier/evidence"
	"seatrial/verifier/gameday"
	"seatrial/verifier/kube/lease"
	"seatrial/verifier/postmortem"
)

// gamedayFlags are what a game day adds to a run's.
type gamedayFlags struct {
	runFlags
	doorFlags
	runbook                string // the argument
	name, scenario         string
	surprise, show, dryRun bool
	maxDuration            time.Duration
	abortBudget            string
	budget                 float64 // what abortBudget says
}

func newGamedayCommand() *cobra.Command {
	var f gamedayFlags
	cmd := &cobra.Command{
		Use: "gameday [RUNBOOK]", Short: "inject a runbook's fault for a crew to deal with, with the clock running", Args: cobra.MaximumNArgs(1),
		Long: `gameday brings up a testbed (with --target kubernetes it uses the one that runs), starts
load, injects the fault of a runbook's first scenario and leaves it to the crew, who work
with the real alerts, Prometheus and runbooks. With --surprise the scenario is drawn by the
seed, and its name is kept until the end. docs/game-day.md is for the facilitator.

The facilitator types
  ack         the crew is at it
  hint        shows the next step of the runbook's Diagnosis
  mitigated   the crew has mitigated: the time is taken, what is left of the fault removed
  abort       ends the game at once, and takes everything back

The fault is removed in any case when --abort-budget is spent or after --max-duration. A
Ctrl-C or a lost terminal ends the game as abort does. Whatever was injected is recovered.

At the end: what it was, the times to detect, acknowledge, mitigate and recover, the report,
and postmortem.md, the skeleton of a post-mortem, in the Evidence.`,
		Example: `  seatrial gameday WorkerDown --dry-run
  seatrial gameday WorkerDown
  seatrial gameday --surprise --max-duration 30m
  seatrial gameday --surprise --tags @nats --seed 7 --target kubernetes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.runbook = strings.Join(args, "")
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			return f.command(cmd)
		},
	}
	f.register(cmd)
	return cmd
}

func (f *gamedayFlags) register(cmd *cobra.Command) {
	f.suiteFlags.register(cmd)
	f.localFlags.register(cmd)
	f.kubeFlags.register(cmd)
	f.doorFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.report, "report", "reports", "folder `DIR` for the reports of runs, each in one of its own")
	fl.StringVar(&f.name, "name", "gameday", "the local testbed's `NAME`, for seatrial status --name NAME and the like")
	fl.StringVar(&f.scenario, "scenario", "", "`NAME` of the scenario, where the runbook has several")
	fl.BoolVar(&f.surprise, "surprise", false, "draw the scenario by the seed and hide its name until the end")
	fl.BoolVar(&f.show, "show", false, "with --surprise, show what was drawn")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show what would be touched, and touch nothing")
	fl.StringVar(&f.abortBudget, "abort-budget", "2%", "`SHARE` of a 30-day error budget at which the fault is removed")
	fl.DurationVar(&f.maxDuration, "max-duration", 15*time.Minute, "longest `TIME` that the fault stays")
	fl.Lookup("seed").Usage += "; with --surprise and without --seed the clock draws one, which is told"
}

// check finds what is wrong with the flags, before anything is started.
func (f *gamedayFlags) check(flags *pflag.FlagSet) error {
	if f.surprise && f.runbook != "" {
		return fmt.Errorf("a --surprise of the runbook %s is none: leave one of them out", f.runbook)
	}
	if f.show && !f.surprise {
		return errors.New("--show is for a --surprise; otherwise nothing is hidden")
	}
	if f.surprise && !flags.Changed("seed") && confine.Inside() == "" {
		f.seed = time.Now().UnixNano() % 100_000
		os.Args = append(os.Args, fmt.Sprintf("--seed=%d", f.seed)) // for the confined process
	}
	var percent float64
	if n, err := fmt.Sscanf(strings.TrimSuffix(strings.TrimSpace(f.abortBudget), "%"), "%g", &percent); n != 1 || err != nil || !strings.HasSuffix(f.abortBudget, "%") {
		return fmt.Errorf("--abort-budget %q: want a share such as 2%%", f.abortBudget)
	}
	f.budget = percent / 100
	return f.oneTarget(flags)
}

// game is a scenario that was chosen.
type game struct {
	plan     evidence.Plan   // as the features have it
	matches  []evidence.Plan // out of which a surprise was drawn
	rules    gameday.Rules
	set      *experiments.Set
	books    fs.FS
	surprise bool
}

// choose reads features, experiments and runbooks and picks the scenario.
func (f *gamedayFlags) choose(ctx context.Context) (*game, error) {
	_, set, plans, err := f.suiteFlags.load(ctx)
	if err != nil {
		return nil, err
	}
	books, err := folder("--runbooks", f.runbooksDir, runbooks.Files)
	if err != nil {
		return nil, err
	}
	wish := gameday.Wish{Runbook: f.runbook, Scenario: f.scenario, Surprise: f.surprise, Seed: f.seed}
	g := &game{set: set, books: books, surprise: f.surprise && !f.show}
	if g.matches, err = wish.Matches(f.able(set, plans)); err != nil {
		return nil, err
	}
	if g.plan, err = wish.Choose(g.matches); err != nil {
		return nil, err
	}
	page, err := fs.ReadFile(books, g.plan.Runbook+".md")
	if err != nil {
		return nil, fmt.Errorf("read the runbook: %w", err)
	}
	g.rules = gameday.Rules{
		AbortBudget: f.budget, MaxDuration: f.maxDuration, Objectives: gameday.ObjectivesOf(&g.plan), Hints: gameday.Hints(string(page)),
	}
	return g, g.rules.Validate()
}

// able leaves out of a surprise what this testbed cannot inject.
func (f *gamedayFlags) able(set *experiments.Set, plans []evidence.Plan) (all []evidence.Plan) {
	for _, p := range plans {
		able := true
		for _, name := range p.Experiments {
			e, err := set.Get(name)
			able = able && err == nil && (f.target == onKubernetes || len(e.NeedsKubernetes) == 0)
		}
		if able || !f.surprise {
			all = append(all, p)
		}
	}
	return all
}

// lasting are the experiments of a plan, as long as the game may be.
func (g *game) lasting(p evidence.Plan) (all []*experiments.Experiment, err error) {
	d := time.Duration(gameday.PlanOf(p, g.rules.MaxDuration).Fault)
	for _, name := range p.Experiments {
		e, err := g.set.Get(name)
		if err == nil {
			e, err = e.Lasting(d)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// command runs the game day on its testbed.
func (f *gamedayFlags) command(cmd *cobra.Command) error {
	g, err := f.choose(cmd.Context())
	if err != nil {
		return err
	}
	switch {
	case f.dryRun && f.target == onKubernetes:
		return f.dryCluster(cmd.Context(), g, cmd.OutOrStdout())
	case f.dryRun:
		return f.dryLocal(g, cmd.OutOrStdout())
	case f.target == onKubernetes:
		if err := relay(); err != nil {
			return err
		}
		return f.playCluster(cmd, g)
	}
	if confine.Inside() == "" {
		if _, err := connect(f.name); err == nil {
			return fmt.Errorf("%w: %s", confine.ErrTaken, f.name)
		}
		if err := errors.Join(f.portsFree(), socketFits(f.name)); err != nil {
			return err
		}
		if err := relay(); err != nil {
			return err
		}
	}
	return confined(cmd, f.name, func(ctx context.Context, name string) error {
		return f.playLocal(ctx, g, name, cmd.OutOrStdout())
	})
}

// playLocal brings a testbed up, opens its doors for the crew, and plays.
func (f *gamedayFlags) playLocal(ctx context.Context, g *game, name string, out io.Writer) error {
	cfg, err := f.config(name, f.seed)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	started := time.Now()
	dir, err := newRunDir(f.report, f.seed, started)
	if err != nil {
		return err
	}
	bed, err := local.Up(ctx, cfg, func(step string) {
		fmt.Fprintf(out, "up %5.1f s  %s\n", time.Since(started).Seconds(), step)
	})
	if err != nil {
		_ = os.Remove(dir) // nothing is in it
		return fmt.Errorf("bring the testbed up: %w", err)
	}
	defer bed.Down()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	server, doors, err := openDoors(ctx, bed, cfg, &f.doorFlags, started, func() { stop(errors.New("seatrial down")) })
	if err != nil {
		return err
	}
	defer server.Close()
	s, err := wire(bed, dir, g.set)
	if err != nil {
		return err
	}
	for _, door := range []string{"API", "Prometheus", "Alertmanager"} {
		fmt.Fprintf(out, "%-13s %s\n", door, doors[door])
	}
	fmt.Fprintf(out, "%-13s seatrial status|logs|exec|traffic|capture|replace --name %s\n", "pods", name)
	return f.play(ctx, g, s, started, out)
}

// playCluster plays on the testbed that runs in a cluster.
func (f *gamedayFlags) playCluster(cmd *cobra.Command, g *game) error {
	if err := f.complete(); err != nil {
		return err
	}
	ctx, stop := orderly(cmd.Context(), cmd.ErrOrStderr())
	defer stop()
	started := time.Now()
	dir, err := newRunDir(f.report, f.seed, started)
	if err != nil {
		return err
	}
	bed, held, err := f.take(ctx, lease.ID(filepath.Base(dir)))
	if err != nil {
		_ = os.Remove(dir) // nothing is in it
		return err
	}
	ctx, end := heldWith(ctx, held)
	defer end()
	s, err := f.wireCluster(ctx, bed, dir, g.set)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "game day on the cluster %s, namespace %s\n", bed.Versions()["cluster"], f.namespace)
	return errors.Join(f.play(ctx, g, s, started, out), leaseLost(ctx))
}

// play holds the game's trial, reveals what it was and writes the reports.
func (f *gamedayFlags) play(ctx context.Context, g *game, s *session, started time.Time, out io.Writer) error {
	if err := errors.Join(copyRunbooks(s.dir, g.books), pointTo(s.dir)); err != nil {
		return err
	}
	t, err := s.prepare(gameday.PlanOf(g.plan, g.rules.MaxDuration))
	if err != nil {
		return err
	}
	if t.Experiments, err = g.lasting(g.plan); err != nil {
		return err
	}
	fmt.Fprintf(out, "%-13s %s\n", "runbooks", filepath.Join(s.dir, "runbooks"))
	if g.surprise {
		fmt.Fprintf(out, "%-13s one of %d scenarios, drawn by the seed %d\n", "surprise", len(g.matches), f.seed)
	} else {
		fmt.Fprintf(out, "%-13s %s (runbook %s)\n", "scenario", g.plan.Name, g.plan.Runbook)
	}
	fmt.Fprintln(out, gameday.Usage)
	director := gameday.Director{
		Trial: t, Game: gameday.New(g.rules), Screen: gameday.NewScreen(out, terminalWidth(out)), Commands: lines(os.Stdin),
	}
	scenario, err := director.Run(ctx)
	if scenario == nil {
		return err
	}
	return errors.Join(err, f.reveal(g, s, t.Dir, director.Game, scenario, started, out))
}

// reveal tells what it was, and writes the log, the post-mortem and the report.
func (f *gamedayFlags) reveal(g *game, s *session, dir evidence.Dir, played *gameday.Game, scenario *evidence.Scenario, started time.Time, out io.Writer) error {
	_, worst := played.Worst()
	told, err := gameday.Close(dir, scenario, gameday.Log{
		Scenario: g.plan.Name, Runbook: g.plan.Runbook, Surprise: f.surprise, Seed: f.seed,
		AbortBudget: f.budget, MaxDuration: evidence.Duration(f.maxDuration), Moments: played.Moments(),
		Spent: worst.Spent, SpentOf: worst.Name,
	})
	fmt.Fprintf(out, "\n%s\n\n", strings.Join(told, "\n"))
	run := &evidence.Run{
		Run: filepath.Base(s.dir), Seed: f.seed, Target: f.target, LoadScale: g.plan.Load.Scale, Started: started, Versions: s.bed.Versions(),
		Seconds: time.Since(started).Seconds(), Scenarios: []evidence.Scenario{*scenario},
	}
	run.Confusion = confusion.Confusion(run.Scenarios)
	if err := errors.Join(err, finish(out, s.dir, run)); err != nil {
		return err
	}
	fmt.Fprintf(out, "post-mortem: %s\n", dir.Path(postmortem.File))
	return exitOf(run.Status)
}

// lines sends what is typed, a line each, and closes the channel at its end.
func lines(in io.Reader) <-chan string {
	all := make(chan string)
	go func() {
		defer close(all)
		for s := bufio.NewScanner(in); s.Scan(); {
			all <- s.Text()
		}
	}()
	return all
}
