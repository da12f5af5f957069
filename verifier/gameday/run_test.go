package gameday

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"seatrial/experiments"
	"seatrial/verifier/evidence"
	"seatrial/verifier/postmortem"
	"seatrial/verifier/slo"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// world is a system, its testbed and their clocks, inside a synctest bubble. While
// its fault is in force a tenth of the requests is refused and an alert rings.
type world struct {
	mu       sync.Mutex
	log      []string
	started  time.Time
	injected time.Time
	removed  time.Time
	screen   io.Writer // nil for one that works
	silent   bool      // no alert rings
	stale    bool      // what is done is done too late
}

func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, what)
}

func (w *world) inForce() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.injected.IsZero() && w.removed.IsZero()
}

func (w *world) Healthy(context.Context) error { return nil }
func (w *world) Prepare(context.Context, *experiments.Experiment, []string, int64) (trial.Fault, error) {
	return w, nil
}
func (w *world) Logs(context.Context, time.Time, string) error { return nil }
func (w *world) Versions() map[string]string                   { return nil }
func (w *world) Victims() []string                             { return []string{"worker-0"} }
func (w *world) Manifest() []byte                              { return []byte("kind: PodChaos\n") }
func (w *world) Account() string                               { return "" }

func (w *world) Inject(context.Context) error {
	w.note("inject")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.injected = time.Now()
	return nil
}

func (w *world) Recover(context.Context) error {
	w.note("recover")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removed = time.Now()
	return nil
}

func (w *world) Residue(context.Context) ([]string, error) { return nil, nil }

type load struct{ *world }

func (w load) Start(context.Context, trial.LoadSpec) error {
	w.note("load")
	w.started = time.Now()
	return nil
}

func (w load) Status(context.Context) (trial.LoadStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := trial.LoadStatus{AskedRate: 100, AchievedRate: 100, Sent: uint64(100 * time.Since(w.started).Seconds())}
	if !w.injected.IsZero() {
		end := w.removed
		if end.IsZero() {
			end = time.Now()
		}
		s.Refused = uint64(10 * end.Sub(w.injected).Seconds())
	}
	s.Accepted = s.Sent - s.Refused
	return s, nil
}

func (w load) Stop(context.Context) error               { w.note("stop"); return nil }
func (w load) Save(context.Context, evidence.Dir) error { w.note("save"); return nil }

func (w *world) Held(context.Context, string, io.Writer) error { return nil }
func (w *world) Backlog(context.Context) (int, error)          { return 0, nil }

func (w *world) Vector(_ context.Context, query string, _ time.Time) ([]trial.Sample, error) {
	if strings.Contains(query, "up{") && !w.inForce() {
		return nil, nil
	}
	if w.stale && strings.HasPrefix(query, "sum(increase(worker_task_age_seconds_bucket") {
		return []trial.Sample{{Value: 0}}, nil
	}
	return []trial.Sample{{Value: 100}}, nil
}

func (w *world) Range(_ context.Context, query string, from, to time.Time) (points [][2]float64, err error) {
	for at := from; query == always && !at.After(to); at = at.Add(time.Second) {
		points = append(points, [2]float64{float64(at.Unix()), 1})
	}
	return points, nil
}

// always is a step that always holds.
const always = "vector(1) > 0"

func book(name, holds string) evidence.RunbookPlan {
	return evidence.RunbookPlan{Name: name, Steps: []evidence.StepPlan{{Expect: "> 0", Holds: holds}}, RecoverWithin: evidence.Duration(time.Minute)}
}

func (w *world) Active(context.Context) ([]evidence.SeenAlert, error) {
	if !w.inForce() || w.silent {
		return nil, nil
	}
	return []evidence.SeenAlert{{Name: "WorkerDown", Severity: "page", RunbookURL: "https://example.org/runbooks/WorkerDown.md"}, {Name: "TaskFreshnessLow", Severity: "page", RunbookURL: "runbooks/TaskFreshnessLow.md"}}, nil
}

// played is a game that is over.
type played struct {
	*world
	game     *Game
	scenario *evidence.Scenario
	err      error
	dir      evidence.Dir
	said     string
}

// line is a command at a time from the game's begin.
type line struct {
	after time.Duration
	text  string
}

// allDown is the plan of the scenario that is played.
var allDown = evidence.Plan{
	Name: "All down", Runbook: "WorkerDown", Experiments: []string{"worker-down"}, Seed: 1, Target: "local",
	Load:     evidence.Load{Profile: "steady", Rate: 100, Timeout: evidence.Duration(time.Second)},
	Baseline: evidence.Duration(5 * time.Second), Recovery: evidence.Duration(5 * time.Second),
	InForce: evidence.Duration(5 * time.Second), Recover: evidence.Duration(20 * time.Second),
	Alerts:   []evidence.AlertPlan{{Name: "WorkerDown", Within: evidence.Duration(15 * time.Second)}},
	Runbooks: []evidence.RunbookPlan{book("APIDown", "never"), book("Doubted", always), book("WorkerDown", "never")},
}

// play holds a game of the scenario "All down" inside a bubble.
func play(t *testing.T, r Rules, w *world, ctx context.Context, typed ...line) *played {
	t.Helper()
	dir, err := evidence.New(t.TempDir(), Name)
	if err != nil {
		t.Fatal(err)
	}
	e, err := experiments.Embedded().Get("worker-down")
	if err != nil {
		t.Fatal(err)
	}
	plan := PlanOf(allDown, r.MaxDuration)
	if e, err = e.Lasting(time.Duration(plan.Fault)); err != nil {
		t.Fatal(err)
	}
	commands := make(chan string)
	go func() {
		defer close(commands)
		begun := time.Now()
		for _, l := range typed {
			time.Sleep(l.after - time.Since(begun))
			commands <- l.text
		}
	}()
	var out strings.Builder
	screen := NewScreen(&out, nil)
	if w.screen != nil {
		screen = NewScreen(w.screen, nil)
	}
	p := &played{world: w, game: New(r), dir: dir}
	d := Director{
		Game: p.game, Screen: screen, Commands: commands,
		Trial: &trial.Trial{
			Plan: plan, Experiments: []*experiments.Experiment{e}, Testbed: w, Load: load{w}, System: w, Metrics: w, Alerts: w, Dir: dir,
		},
	}
	p.scenario, p.err = d.Run(ctx)
	p.said = out.String()
	return p
}

// tookBack checks what every game owes, however it ended.
func (p *played) tookBack(t *testing.T) {
	t.Helper()
	if i, j := slices.Index(p.log, "inject"), slices.Index(p.log, "recover"); i < 0 || j < i {
		t.Errorf("the fault was not recovered: %q", p.log)
	}
	if !slices.Contains(p.log, "stop") || !slices.Contains(p.log, "save") {
		t.Errorf("the load was not stopped and saved: %q", p.log)
	}
	if p.scenario == nil || p.scenario.Residue != "none" {
		t.Errorf("scenario %+v, want one without residue", p.scenario)
	}
	if p.game.State() != Over {
		t.Errorf("the game is in state %d after its end", p.game.State())
	}
}

// faultTook is how long the fault was in force, by the world.
func (p *played) faultTook() time.Duration { return p.removed.Sub(p.injected) }

func TestACrewMitigates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, rules, &world{}, t.Context(), line{time.Second, "ack"}, line{30 * time.Second, "ack"}, line{35 * time.Second, "hint"}, line{40 * time.Second, "mitigated"})
		p.tookBack(t)
		if p.err != nil {
			t.Error(p.err)
		}
		if got, want := names(p.game.Moments()), []string{"acknowledged", "hint 1 of 2 given", "mitigated"}; !slices.Equal(got, want) {
			t.Errorf("moments %q, want %q", got, want)
		}
		if took := p.faultTook(); took > 40*time.Second || took < 20*time.Second {
			t.Errorf("the fault was in force for %v; it was to end when the crew had mitigated", took)
		}
		for _, want := range []string{"ack: the fault is not in force yet", "alert WorkerDown (page)  https://example.org/runbooks/WorkerDown.md", "the crew is at work", "hint 1 of 2:", "resolved WorkerDown", "no more commands will come"} {
			if !strings.Contains(p.said, want) {
				t.Errorf("the facilitator never read %q", want)
			}
		}
		for _, secret := range []string{"All down", "worker-down"} {
			if strings.Contains(p.said, secret) {
				t.Errorf("the facilitator has read %q before the reveal", secret)
			}
		}
		p.reveals(t)
		p.notesTheRunbooks(t)
	})
}

// reveals closes the game and checks what is told and left.
func (p *played) reveals(t *testing.T) {
	t.Helper()
	told, err := Close(p.dir, p.scenario, Log{Scenario: "All down", Runbook: "WorkerDown", Seed: 1, Moments: p.game.Moments(), Spent: 0.0123, SpentOf: slo.Freshness})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(told, "\n")
	for _, want := range []string{"it was: All down", "experiments worker-down, on worker-0", "time to detect       ", "time to acknowledge  ", "time to mitigate ", "time to recover ", "error budget of freshness spent: 1.23 % of 30 days"} {
		if !strings.Contains(text, want) || strings.Contains(text, "acknowledge  not seen") {
			t.Errorf("the reveal lacks %q:\n%s", want, text)
		}
	}
	var l Log
	if err := p.dir.Load(File, &l); err != nil || l.Scenario != "All down" || len(l.Moments) != 3 {
		t.Errorf("the log is %+v, %v", l, err)
	}
	page, err := os.ReadFile(p.dir.Path(postmortem.File))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Post-mortem: Game day: All down", "| acknowledged | said by people |", "| hint 1 of 2 given |", "## What the runbooks said",
		"| noted: the diagnosis of WorkerDown was false at each of ", "| noted: the diagnosis of Doubted was true at ", "Noted, and not judged",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the post-mortem lacks %q", want)
		}
	}
}

func TestTheBudgetLimitRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rules
		r.AbortBudget = 0.00005 // 13 s with a tenth of the requests refused
		p := play(t, r, &world{}, t.Context())
		p.tookBack(t)
		if got := names(p.game.Moments()); len(got) != 1 || !strings.HasPrefix(got[0], "abort limit: ") {
			t.Errorf("moments %q, want the limit alone", got)
		}
		if took := p.faultTook(); took > 30*time.Second {
			t.Errorf("the fault was in force for %v though its budget was spent", took)
		}
	})
}

// TestTheBudgetLimitIsOfTheWorstObjective: as Prometheus tells of it.
func TestTheBudgetLimitIsOfTheWorstObjective(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rules
		r.AbortBudget = 0.00005 // 1.3 s with everything too late
		p := play(t, r, &world{stale: true}, t.Context())
		p.tookBack(t)
		if got := names(p.game.Moments()); len(got) != 1 || !strings.Contains(got[0], "of the 30-day error budget of freshness is spent") {
			t.Errorf("moments %q, want the limit of freshness", got)
		}
		if took := p.faultTook(); took > 10*time.Second {
			t.Errorf("the fault was in force for %v though its budget was spent", took)
		}
		if _, worst := p.game.Worst(); worst.Name != slo.Freshness || worst.Spent < r.AbortBudget {
			t.Errorf("%+v is told at the end", worst)
		}
	})
}

func TestTheTimeLimitRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, rules, &world{}, t.Context())
		p.tookBack(t)
		if took := p.faultTook(); took < rules.MaxDuration || took > rules.MaxDuration+10*time.Second {
			t.Errorf("the fault was in force for %v of at most %v", took, rules.MaxDuration)
		}
		if p.scenario.InForce != "confirmed" {
			t.Errorf("in force: %s", p.scenario.InForce)
		}
	})
}

func TestAnAbortEndsTheGame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, rules, &world{}, t.Context(), line{20 * time.Second, "abort wrong cluster"})
		p.tookBack(t)
		if p.scenario.Status != verdict.Inconclusive || !strings.Contains(p.scenario.Reason, "aborted by the facilitator: wrong cluster") {
			t.Errorf("%v: %s", p.scenario.Status, p.scenario.Reason)
		}
	})
}

func TestAnInterruptEndsTheGame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 25*time.Second, errors.New("the lease is lost"))
		defer cancel()
		p := play(t, rules, &world{}, ctx)
		p.tookBack(t)
		if got := names(p.game.Moments()); !slices.Equal(got, []string{"interrupted"}) || !strings.Contains(p.scenario.Reason, "the lease is lost") {
			t.Errorf("moments %q, reason %s", got, p.scenario.Reason)
		}
	})
}

// fragile is a screen that breaks when the fault is in force.
type fragile struct{ *world }

func (f fragile) Write(b []byte) (int, error) {
	if f.inForce() {
		panic("the screen is broken")
	}
	return len(b), nil
}

func TestAPanicOfTheGameRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.screen = fragile{w}
		p := play(t, rules, w, t.Context())
		p.tookBack(t)
		if p.err == nil || !strings.Contains(p.err.Error(), "panic: the screen is broken") {
			t.Errorf("error %v, want the panic", p.err)
		}
		if took := p.faultTook(); took > 10*time.Second {
			t.Errorf("the fault was in force for %v after a panic", took)
		}
	})
}
