package trial

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"seatrial/experiments"
	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
)

// life is a fault's life; a wrong order is refused.
type life struct {
	fault     Fault
	exp       *experiments.Experiment
	injected  time.Time
	touched   bool // Inject was called, whatever came of it
	recovered bool
	witnessed bool // what became of its victims is recorded
}

func (l *life) inject(ctx context.Context) error {
	if l.touched {
		return fmt.Errorf("%s was injected before", l.exp.Name)
	}
	l.touched, l.injected = true, time.Now()
	return l.fault.Inject(ctx)
}

func (l *life) needsRecovery() bool { return l.touched && !l.recovered }

func (l *life) recover(ctx context.Context) error {
	if err := l.fault.Recover(ctx); err != nil {
		return err
	}
	l.recovered = true
	return nil
}

// signature is the experiment's PromQL for an injection at this moment.
func (l *life) signature(injected time.Time) string {
	return l.exp.Signature(injected, l.fault.Victims())
}

// signatureFalse returns an error while the signature is true without a fault.
func (r *run) signatureFalse(ctx context.Context, l *life) error {
	now := time.Now()
	query := l.signature(now)
	vector, err := r.Metrics.Vector(ctx, query, now)
	if err != nil {
		return fmt.Errorf("evaluate the signature: %w", err)
	}
	if len(vector) > 0 {
		return fmt.Errorf("the signature is true without the fault: %s", query)
	}
	return nil
}

// proveInForce waits until the system's own metrics show every fault.
func (r *run) proveInForce(ctx context.Context) error {
	var firstErr error
	for _, l := range r.faults {
		query := l.signature(l.injected)
		proof := evidence.Proof{Experiment: l.exp.Name, Query: query, Result: "inconclusive"}
		err := until(ctx, time.Duration(r.Plan.InForce), func() error {
			r.tick(ctx, "in force?", 0)
			vector, err := r.Metrics.Vector(ctx, query, time.Now())
			if err != nil {
				return err
			}
			if len(vector) == 0 {
				proof.Result = "mismatch"
				return fmt.Errorf("the injector says yes, the system's metrics say no: %s", query)
			}
			return nil
		})
		if err == nil {
			now := time.Now()
			proof.Result, proof.InForceAt = "confirmed", &now
			r.rec.Mark(now, "in force: %s", l.exp.Name)
		} else {
			proof.Reason = err.Error()
			if firstErr == nil {
				firstErr = unfit("%s was not seen in force: %w", l.exp.Name, err)
			}
		}
		r.rec.Proofs = append(r.rec.Proofs, proof)
	}
	return firstErr
}

// measure asks Prometheus for the objectives of a window that has ended.
func (r *run) measure(ctx context.Context, window string) {
	w, ok := r.rec.Window(window)
	if !ok {
		return // the judge says so of every objective that has no measurement
	}
	for _, o := range r.Plan.Objectives {
		if o.Window == window {
			r.rec.Objectives = append(r.rec.Objectives, r.ask(ctx, o, w))
		}
	}
}

// ask evaluates one objective over a window.
func (r *run) ask(ctx context.Context, o evidence.ObjectivePlan, w evidence.Window) evidence.MeasuredWindow {
	q := slo.QueriesOf(o, w.End.Sub(w.Start))
	m := evidence.MeasuredWindow{ObjectivePlan: o, Query: q.Good}
	for _, part := range []struct {
		query string
		into  *float64
	}{{q.Good, &m.Good}, {q.Total, &m.Total}} {
		vector, err := r.Metrics.Vector(ctx, part.query, w.End)
		switch {
		case err != nil:
			m.Reason = err.Error()
		case len(vector) == 0 || math.IsNaN(vector[0].Value):
			m.Reason = "no data for " + part.query
		default:
			*part.into = vector[0].Value
		}
	}
	return m
}

// watchAlerts records every alert that fires until the returned function is
// called.
func (r *run) watchAlerts(ctx context.Context) (stop func()) {
	return again(ctx, 2*tick, func(ctx context.Context) {
		if active, err := r.Alerts.Active(ctx); err == nil {
			r.noteAlerts(active, time.Now())
		}
	})
}

// again calls look beside the trial, and once more each time that a pause has passed, until the
// returned function is called, which waits for the last look to end. That parent ends, ends nothing.
func again(parent context.Context, pause time.Duration, look func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			look(ctx)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}()
	return func() { cancel(); <-done }
}

// noteAlerts keeps for each alert the first time it was seen firing and the
// time at which it was gone.
func (r *run) noteAlerts(active []evidence.SeenAlert, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range active {
		i := slices.IndexFunc(r.rec.Alerts, func(s evidence.SeenAlert) bool { return s.Name == a.Name })
		if i < 0 {
			a.FiredAt = now
			r.rec.Alerts = append(r.rec.Alerts, a)
			continue
		}
		r.rec.Alerts[i].ResolvedAt = nil
		r.rec.Alerts[i].Silenced = r.rec.Alerts[i].Silenced && a.Silenced
	}
	for i := range r.rec.Alerts {
		s := &r.rec.Alerts[i]
		gone := !slices.ContainsFunc(active, func(a evidence.SeenAlert) bool { return a.Name == s.Name })
		if gone && s.ResolvedAt == nil {
			s.ResolvedAt = &now
		}
	}
}

// series are the range queries that every trial keeps for its report.
var series = []struct{ name, query string }{
	{"backlog", `max(queue_backlog_length)`},
	{"requests", `sum(rate(api_requests_total{route="/task"}[3s]))`},
	{"done", `sum(rate(worker_tasks_processed_total[3s]))`},
	{"rtt_nats", `max(dependency_rtt_seconds{dependency="nats"})`},
	{"rtt_valkey", `max(dependency_rtt_seconds{dependency="valkey"})`},
}

func (r *run) saveSamples(ctx context.Context) {
	var all []evidence.Series
	for _, s := range series {
		points, err := r.Metrics.Range(ctx, s.query, r.rec.Started, time.Now())
		if err != nil || len(points) == 0 {
			continue // the report says which series it has not
		}
		all = append(all, evidence.Series{Name: s.name, Query: s.query, Points: points})
	}
	_ = r.Dir.Save(evidence.SamplesFile, all)
}

// wait holds a phase until a moment, keeping watch.
func (r *run) wait(ctx context.Context, phase string, end time.Time) error {
	return r.waitOr(ctx, phase, end, nil)
}

// waitOr is wait, cut short when early is closed.
func (r *run) waitOr(ctx context.Context, phase string, end time.Time, early <-chan struct{}) error {
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		r.tick(ctx, phase, left)
		select {
		case <-ctx.Done():
			return fmt.Errorf("in the %s phase: %w", phase, ctx.Err())
		case <-early:
			return nil
		case <-time.After(min(left, tick)):
		}
	}
}

// tick samples load and backlog and shows them.
func (r *run) tick(ctx context.Context, phase string, left time.Duration) {
	_ = r.sampleLoad(ctx) // a miss shows as a standing figure, and the History tells the truth
	if n, err := r.System.Backlog(ctx); err == nil {
		r.mu.Lock()
		r.backlog = n
		r.mu.Unlock()
		r.noteDrained(n)
	}
	r.show(phase, time.Now().Add(left))
}

// noteDrained notes when, after the fault was removed, the queue was down to
// what a running load keeps in it.
func (r *run) noteDrained(backlog int) {
	removed := !r.rec.RemovedAt.IsZero()
	if removed && r.rec.DrainedAt.IsZero() && float64(backlog) <= max(10, r.Plan.Load.Rate/10) {
		r.rec.DrainedAt = time.Now()
	}
}

func (r *run) sampleLoad(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := r.Load.Status(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.load = s
	r.mu.Unlock()
	return nil
}

func (r *run) loadStatus() LoadStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.load
}

func (r *run) show(phase string, end time.Time) {
	if r.Watch == nil {
		return
	}
	r.mu.Lock()
	p := Progress{Scenario: r.Plan.Name, Phase: phase, Load: r.load, Backlog: r.backlog}
	r.mu.Unlock()
	if left := time.Until(end); left > 0 {
		p.Left = left
	}
	r.Watch(p)
}
