package trial_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"seatrial/experiments"
	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// world is a system, a testbed and all their clocks, played inside a synctest
// bubble: the trial's own seconds pass at once. What it can do wrong is a field.
type world struct {
	log []string // calls in order, without repetitions

	unhealthy     bool                           // after the fault
	lags          func(after time.Duration) bool // whether a part is unhealthy so long after the fault
	relapse       func(after time.Duration) bool // the same, and users notice
	hangs         func(after time.Duration) bool // users' requests get no answer
	injectErr     error                          // the injector refuses
	injectPanic   bool
	recoverErr    error
	residue       []string
	slow, unseen  time.Duration // what the injector takes, and the signature after it
	neverInForce  bool          // the signature stays false
	alwaysInForce bool
	badBaseline   bool
	silent        bool // no alert rings
	noData        bool // Prometheus is empty
	slowLoad      bool // the load generator cannot keep up
	loseTask      bool
	lateTask      bool // the last one is done when it is asked for a second time
	cutHistory    bool
	onInject      func()
	crew          *crew // carries out the mitigation that it has, nil for a plan without one
	unable        error // what a probe before the load comes to
	lasts         time.Duration
	byCrew        bool
	pods          []evidence.VictimPod // what became of the victims
	podsErr       error
	books         []evidence.RunbookPlan

	injected, recovered uint32 // 1 once it is so; the watch on alerts reads them beside the trial
	prefix              string
	started             time.Time
	injectedAt          time.Time
	recoveredAt         time.Time
}

func (w *world) isInjected() bool  { return atomic.LoadUint32(&w.injected) == 1 }
func (w *world) isRecovered() bool { return atomic.LoadUint32(&w.recovered) == 1 }
func (w *world) inForce() bool     { return w.isInjected() && !w.isRecovered() }

func (w *world) note(what string) {
	if len(w.log) == 0 || w.log[len(w.log)-1] != what {
		w.log = append(w.log, what)
	}
}

// after asks what is so since the fault was taken back.
func (w *world) after(f func(time.Duration) bool) bool {
	return f != nil && w.isRecovered() && f(time.Since(w.recoveredAt))
}

// Testbed.

func (w *world) Healthy(context.Context) error {
	if w.isRecovered() && (w.unhealthy || w.after(w.lags) || w.after(w.relapse)) {
		return errors.New("pod nats-1 is not ready")
	}
	return nil
}

func (w *world) Prepare(context.Context, *experiments.Experiment, []string, int64) (trial.Fault, error) {
	w.note("prepare")
	return w, nil
}

func (w *world) Logs(context.Context, time.Time, string) error { return nil }
func (w *world) Versions() map[string]string                   { return map[string]string{"nats-server": "test"} }

// Fault.

func (w *world) Victims() []string { return []string{"worker-0"} }
func (w *world) Manifest() []byte  { return []byte("kind: PodChaos\n") }

func (w *world) Account() string { return "1 packet dropped" }

func (w *world) Inject(context.Context) error {
	w.note("inject")
	time.Sleep(w.slow)
	w.injectedAt = time.Now()
	atomic.StoreUint32(&w.injected, 1)
	if w.onInject != nil {
		w.onInject()
	}
	if w.injectPanic {
		panic("the injector fell over")
	}
	return w.injectErr
}

func (w *world) Recover(ctx context.Context) error {
	w.note("recover")
	if ctx.Err() != nil {
		return fmt.Errorf("recover was given a dead context: %w", ctx.Err())
	}
	if !w.isRecovered() {
		w.recoveredAt = time.Now()
		atomic.StoreUint32(&w.recovered, 1)
	}
	return w.recoverErr
}

func (w *world) Probe(context.Context) error { return w.unable }

func (w *world) VictimPods(context.Context) ([]evidence.VictimPod, error) { return w.pods, w.podsErr }

func (w *world) Residue(context.Context) ([]string, error) { return w.residue, nil }

// Load.

// load tells the methods of Load from those of Fault.
type load struct{ *world }

func (w load) Start(_ context.Context, spec trial.LoadSpec) error {
	w.note("load")
	w.prefix, w.started = spec.Prefix, time.Now()
	return nil
}

func (w load) Status(context.Context) (trial.LoadStatus, error) {
	s := trial.LoadStatus{AskedRate: 100, AchievedRate: 100, Sent: 1}
	if w.slowLoad {
		s.AchievedRate = 10
	}
	if w.after(w.hangs) {
		s.InFlight = 101
	}
	return s, nil
}

func (w load) Stop(context.Context) error {
	w.note("stop")
	return nil
}

// tasks is how many tasks the world's History has.
const tasks = 500

func (w load) Save(_ context.Context, dir evidence.Dir) error {
	w.note("save")
	h, err := history.Create(dir.Path(evidence.HistoryFile), history.Header{Start: w.started, Prefix: w.prefix})
	if err != nil {
		return err
	}
	for n := range uint64(tasks) {
		at := time.Duration(n) * 10 * time.Millisecond
		if err := h.Append(&history.Op{Task: n, Planned: at, Sent: at, End: at + 5*time.Millisecond, Outcome: history.Accepted, Code: 202}); err != nil {
			return err
		}
	}
	if w.cutHistory {
		return h.Abandon()
	}
	return h.Close()
}

// System.

func (w *world) Backlog(context.Context) (int, error) { return 0, nil }

func (w *world) Held(_ context.Context, prefix string, out io.Writer) error {
	w.note("held")
	count := tasks
	if w.loseTask || w.lateTask {
		count--
	}
	w.lateTask = false
	for n := range count {
		fmt.Fprintf(out, `{"id":"%s%d","status":"done","effects":1,"done_at":%q}`+"\n", prefix, n, w.started.Add(6*time.Second).Format(time.RFC3339Nano))
	}
	_, err := fmt.Fprintf(out, `{"end":true,"count":%d}`+"\n", count)
	return err
}

// Metrics.

func (w *world) Vector(_ context.Context, query string, _ time.Time) ([]trial.Sample, error) {
	yes := []trial.Sample{{Value: 1}}
	if strings.HasPrefix(query, "in_force") {
		if w.alwaysInForce || w.inForce() && !w.neverInForce && time.Since(w.injectedAt) >= w.unseen {
			return yes, nil
		}
		return nil, nil
	}
	if query == diagnosis {
		if w.harmful() {
			return yes, nil
		}
		return nil, nil
	}
	if w.noData {
		return nil, nil
	}
	if (w.badBaseline || w.after(w.relapse)) && strings.Contains(query, `outcome="accepted"`) {
		return []trial.Sample{{Value: 500}}, nil
	}
	return []trial.Sample{{Value: 1000}}, nil
}

func (w *world) Range(_ context.Context, query string, from, to time.Time) (points [][2]float64, err error) {
	for at := from; (query == diagnosis || query == always) && !at.After(to); at = at.Add(time.Second) {
		points = append(points, [2]float64{float64(at.Unix()), 1})
	}
	return append(points, [2]float64{1, 1}), nil
}

// Alerts.

func (w *world) Active(context.Context) ([]evidence.SeenAlert, error) {
	if w.inForce() && !w.silent {
		return []evidence.SeenAlert{{Name: "WorkerDown", Severity: "page", RunbookURL: "runbooks/WorkerDown.md"}}, nil
	}
	return nil, nil
}

func seconds(n int) evidence.Duration { return evidence.Duration(time.Duration(n) * time.Second) }

// play holds a trial in the world and returns its verdict.
func play(t *testing.T, ctx context.Context, w *world) *evidence.Scenario {
	t.Helper()
	s, _ := playInto(t, ctx, w)
	return s
}

// playInto also returns the folder of the Evidence.
func playInto(t *testing.T, ctx context.Context, w *world) (*evidence.Scenario, evidence.Dir) {
	t.Helper()
	dir, err := evidence.New(t.TempDir(), "a trial")
	if err != nil {
		t.Fatal(err)
	}
	held := &trial.Trial{
		Plan: evidence.Plan{
			Name: "a trial", Runbook: "WorkerDown", Experiments: []string{"worker-down"}, MinAccepted: 100, ByCrew: w.byCrew,
			Load:     evidence.Load{Profile: "steady", Rate: 100},
			Baseline: seconds(5), Fault: seconds(5), Recovery: seconds(5), InForce: seconds(5), Recover: seconds(20),
			Objectives: []evidence.ObjectivePlan{
				{Name: slo.Availability, Window: "baseline", Ratio: 0.99},
				{Name: slo.Availability, Window: "fault", Ratio: 0.99},
			},
			Runbooks: w.books,
			Alerts:   []evidence.AlertPlan{{Name: "WorkerDown", Within: seconds(5)}},
			Guarantees: []evidence.GuaranteePlan{
				{Name: evidence.ExactlyOnce}, {Name: evidence.RefusedNeverDone}, {Name: evidence.UnknownAtMost},
				{Name: evidence.DoneWithin, Within: seconds(30)},
			},
		},
		Experiments: []*experiments.Experiment{{Name: "worker-down", InForce: "in_force", Duration: w.lasts}},
		Testbed:     w, Load: load{w}, System: w, Metrics: w, Alerts: w, Dir: dir,
	}
	w.crew.join(held)
	s, err := held.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := trial.Judge(dir)
	if err != nil || replayed.Status != s.Status || replayed.Reason != s.Reason {
		t.Errorf("replay says %+v (%v), the trial said %v: %s", replayed, err, s.Status, s.Reason)
	}
	return s, dir
}

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		world  world
		status verdict.Status
		reason string
		check  func(*testing.T, *evidence.Scenario)
	}{
		"all is well": {status: verdict.Pass, check: func(t *testing.T, s *evidence.Scenario) {
			if s.InForce != "confirmed" || s.Residue != "none" || s.Accepted != tasks || s.Lost != 0 || s.Seconds.InjectToInForce < 0 || s.Seconds.RecoverToSLO < 0 {
				t.Errorf("%+v", s)
			}
		}},
		"the queue said too early that it is empty": {world: world{lateTask: true}, status: verdict.Pass},
		"a task is lost":                         {world: world{loseTask: true}, status: verdict.Fail, reason: "an accepted task is done exactly once"},
		"the alert is silent":                    {world: world{silent: true}, status: verdict.Fail, reason: "alert WorkerDown did not fire"},
		"the system does not come back":          {world: world{unhealthy: true}, status: verdict.Fail, reason: "pod nats-1 is not ready"},
		"a copy lags behind at every other look": {world: world{lags: func(d time.Duration) bool { return d/(100*time.Millisecond)%2 == 1 }}, status: verdict.Pass},
		"it is well for a moment only": {world: world{relapse: func(d time.Duration) bool { return d > time.Second && d < 6*time.Second }},
			status: verdict.Pass, check: func(t *testing.T, s *evidence.Scenario) {
				if got := s.Seconds.RecoverToSLO; got < 6 || got > 8 {
					t.Errorf("recovered after %v s, want 6: what was before did not last", got)
				}
			}},
		"requests hang without an error": {world: world{hangs: func(d time.Duration) bool { return d > 3*time.Second && d < 8*time.Second }},
			status: verdict.Pass, check: func(t *testing.T, s *evidence.Scenario) {
				if got := s.Seconds.RecoverToSLO; got < 8 || got > 10 {
					t.Errorf("recovered after %v s, want 8: until then users waited", got)
				}
			}},
		"it is never well for long": {world: world{relapse: func(d time.Duration) bool { return d/time.Second%2 == 1 }},
			status: verdict.Fail, check: func(t *testing.T, s *evidence.Scenario) {
				if s.Seconds.RecoverToSLO >= 0 {
					t.Errorf("recovered after %v s", s.Seconds.RecoverToSLO)
				}
			}},
		"something is left":              {world: world{residue: []string{"a stressor"}}, status: verdict.Fail, reason: "a stressor"},
		"the signature stays false":      {world: world{neverInForce: true}, status: verdict.Inconclusive, reason: "the system's metrics say no"},
		"the signature is always true":   {world: world{alwaysInForce: true}, status: verdict.Inconclusive, reason: "true without the fault"},
		"the injector refuses":           {world: world{injectErr: errors.New("kernel without sch_netem")}, status: verdict.Inconclusive, reason: "not injected: kernel without sch_netem"},
		"the injector panics":            {world: world{injectPanic: true}, status: verdict.Inconclusive, reason: "the injector fell over"},
		"the fault cannot be taken back": {world: world{recoverErr: errors.New("finalizer")}, status: verdict.Inconclusive, reason: "finalizer"},
		"the baseline is bad":            {world: world{badBaseline: true}, status: verdict.Inconclusive, reason: "the baseline does not meet its objectives"},
		"Prometheus is empty":            {world: world{noData: true}, status: verdict.Inconclusive, reason: "no data"},
		"the load is not what was asked": {world: world{slowLoad: true}, status: verdict.Inconclusive, reason: "achieved 10.0 of 100.0"},
		"the History is cut":             {world: world{cutHistory: true}, status: verdict.Inconclusive, reason: "the History is cut"},
		"a loss outweighs an early end":  {world: world{loseTask: true, neverInForce: true}, status: verdict.Fail, reason: "exactly once"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := play(t, t.Context(), &c.world)
				if s.Status != c.status || !strings.Contains(s.Reason, c.reason) {
					t.Errorf("%v: %s\nwant %v: …%s…", s.Status, s.Reason, c.status, c.reason)
				}
				if c.world.isInjected() && !slices.Contains(c.world.log, "recover") {
					t.Errorf("injected, never recovered: %v", c.world.log)
				}
				if slices.Contains(c.world.log, "load") && !slices.Contains(c.world.log, "stop") {
					t.Errorf("the load was never stopped: %v", c.world.log)
				}
				if c.check != nil {
					c.check(t, s)
				}
			})
		})
	}
}

// TestHowLongAFaultIsHeld: neither an injector that takes its time nor a proof that comes late costs the fault its own.
func TestHowLongAFaultIsHeld(t *testing.T) {
	for name, c := range map[string]struct {
		world world
		held  time.Duration // the fault window, which begins when the injector is asked; the plan says 5 s
	}{
		"a fault that is a moment":             {world{}, 5 * time.Second},
		"one that is proven late":              {world{unseen: 4 * time.Second}, 9 * time.Second},
		"a slow injector":                      {world{slow: 7 * time.Second}, 12 * time.Second},
		"a fault that lasts":                   {world{lasts: 8 * time.Second}, 8 * time.Second},
		"it has all its time":                  {world{lasts: 8 * time.Second, slow: 7 * time.Second}, 15 * time.Second},
		"it ends by itself, however late seen": {world{lasts: 6 * time.Second, unseen: 4 * time.Second}, 6 * time.Second},
		"what is mitigated is so after its window": {world{lasts: time.Minute, slow: 7 * time.Second, crew: &crew{takes: time.Second}},
			12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.world.pods = pod("1", "1")
				_, dir := playInto(t, t.Context(), &c.world)
				var rec evidence.Record
				if err := dir.Load(evidence.RecordFile, &rec); err != nil {
					t.Fatal(err)
				}
				w, ok := rec.Window("fault")
				if held := w.End.Sub(w.Start); !ok || held < c.held || held > c.held+500*time.Millisecond {
					t.Errorf("it was held for %v, want %v", held, c.held)
				}
			})
		})
	}
}

func TestTheOrderOfATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		play(t, t.Context(), &w)
		want := []string{"prepare", "load", "inject", "recover", "stop", "save", "held"}
		if !slices.Equal(w.log, want) {
			t.Errorf("%v, want %v", w.log, want)
		}
	})
}

func TestAnInterruptRecoversAndClosesTheEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := world{onInject: cancel}
		s := play(t, ctx, &w)
		if s.Status != verdict.Inconclusive || !strings.HasPrefix(s.Reason, "interrupted") {
			t.Errorf("%v: %s", s.Status, s.Reason)
		}
		if want := []string{"prepare", "load", "inject", "recover", "stop", "save", "held"}; !slices.Equal(w.log, want) {
			t.Errorf("%v, want %v", w.log, want)
		}
		if s.Accepted != tasks {
			t.Errorf("the History was not saved: %d accepted", s.Accepted)
		}
	})
}

func TestWhatEndedATrialIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		w := world{onInject: func() { cancel(errors.New("the lease is lost")) }}
		s := play(t, ctx, &w)
		if s.Status != verdict.Inconclusive || !strings.HasPrefix(s.Reason, "interrupted (the lease is lost): ") {
			t.Errorf("%v: %s", s.Status, s.Reason)
		}
		if !slices.Contains(w.log, "recover") {
			t.Errorf("never recovered: %v", w.log)
		}
	})
}
