package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
)

// Deadlines that no scenario needs to state.
const (
	healthyWithin  = 60 * time.Second // for the testbed to be whole before a trial
	achievedWithin = 15 * time.Second // for the load to reach the asked rate
	quietWithin    = 3 * time.Minute  // for alerts of an earlier trial to end, also on a machine that is slow for a while
	quietFor       = 2 * time.Second  // without an alert
	falseWithin    = 10 * time.Second // for what is left of a signature to pass
	recoverWithin  = 60 * time.Second // for an injector to take a fault back
	drainWithin    = 90 * time.Second // for the queue to empty after the load
	missingWithin  = 15 * time.Second // for accepted tasks that an empty queue does not know of and nobody has done
	saveWithin     = 60 * time.Second // for Evidence to be fetched
	tick           = 250 * time.Millisecond
	// scrapes is how long a sample may take to be seen by Prometheus.
	scrapes = 2 * time.Second
	// achieved is the least share of the asked rate that is still open-loop.
	achieved = 0.95
)

// run is a trial in progress.
type run struct {
	*Trial
	rec    *evidence.Record
	faults []*life

	mu      sync.Mutex // guards what follows, which watchers write
	load    LoadStatus
	backlog int
}

// preflight proves that the trial can be held: the testbed is whole, nothing
// rings, objectives have data, the experiments are accepted and their
// signatures are not true yet.
func (r *run) preflight(ctx context.Context) error {
	r.show("preflight", time.Time{})
	if err := until(ctx, healthyWithin, func() error { return r.Testbed.Healthy(ctx) }); err != nil {
		return unfit("preflight: the testbed is not healthy: %w", err)
	}
	if err := r.settle(ctx); err != nil {
		return unfit("preflight: %w", err)
	}
	if r.Plan.Mitigation != nil {
		if err := r.Operator.Able(ctx); err != nil {
			return unfit("preflight: the mitigation of %s cannot be carried out here: %w", r.Plan.Mitigation.Runbook, err)
		}
	}
	for _, e := range r.Experiments {
		if err := r.prepare(ctx, e); err != nil {
			return unfit("preflight: %s: %w", e.Name, err)
		}
	}
	return nil
}

// settle waits until, for a while on end, no alert has fired and every
// objective could be answered: what an earlier trial or the start stirred up
// must not be taken for this trial's.
func (r *run) settle(ctx context.Context) error {
	var since time.Time
	return until(ctx, quietWithin, func() error {
		if err := r.settled(ctx); err != nil {
			since = time.Time{}
			return err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < quietFor {
			return errors.New("no alert fires, but not for long enough")
		}
		return nil
	})
}

func (r *run) settled(ctx context.Context) error {
	active, err := r.Alerts.Active(ctx)
	if err != nil {
		return err
	}
	if len(active) > 0 {
		return fmt.Errorf("alert %s is already firing", active[0].Name)
	}
	for _, o := range r.Plan.Objectives {
		query := slo.Presence(o)
		if vector, err := r.Metrics.Vector(ctx, query, time.Now()); err != nil || len(vector) == 0 {
			return errors.Join(fmt.Errorf("objective %s has no data for %s", o.Name, query), err)
		}
	}
	return nil
}

// startLoad starts the load and waits until it achieves the asked rate.
func (r *run) startLoad(ctx context.Context) error {
	r.show("load", time.Time{})
	spec := LoadSpec{
		Load: r.Plan.Load, Seed: r.Plan.Seed,
		Prefix:   fmt.Sprintf("%s-%d", short(evidence.Slug(r.Plan.Name)), r.rec.Started.UnixMilli()),
		Duration: 15*time.Minute + time.Duration(r.Plan.Fault), // the trial stops it; this is for a trial that cannot
	}
	if err := r.Load.Start(ctx, spec); err != nil {
		return unfit("start load: %w", err)
	}
	r.rec.Mark(time.Now(), "load")
	begun := time.Now()
	reached := func() error {
		if err := r.sampleLoad(ctx); err != nil {
			return err
		}
		s := r.loadStatus()
		if time.Since(begun) < 2*time.Second {
			return errors.New("too early to say")
		}
		if s.AchievedRate < achieved*s.AskedRate {
			return fmt.Errorf("achieved %.1f of %.1f requests/s", s.AchievedRate, s.AskedRate)
		}
		return nil
	}
	if err := until(ctx, achievedWithin, reached); err != nil {
		return unfit("the load is not what was asked for: %w", err)
	}
	return nil
}

func short(slug string) string {
	if len(slug) > 40 {
		slug = strings.TrimSuffix(slug[:40], "-")
	}
	return slug
}

// baseline is the window in which the system must show that it is well.
func (r *run) baseline(ctx context.Context) error {
	start := time.Now()
	counted := r.watchBusy()
	if err := r.wait(ctx, "baseline", start.Add(time.Duration(r.Plan.Baseline))); err != nil {
		return err
	}
	counted()
	r.rec.Windows = append(r.rec.Windows, evidence.Window{Name: "baseline", Start: start, End: time.Now()})
	if err := r.wait(ctx, "baseline", time.Now().Add(scrapes)); err != nil {
		return err
	}
	r.measure(ctx, "baseline")
	for _, m := range r.rec.Objectives {
		o := slo.Judge(m, time.Since(start), 1)
		if o.Reason != "" {
			return unfit("the baseline does not meet its objectives: %s", o.Reason)
		}
	}
	return nil
}

// fault injects, waits for the proof, holds the fault for its window and, where the plan
// says so, mitigates it.
func (r *run) fault(ctx context.Context) error {
	if len(r.faults) == 0 {
		return nil
	}
	if err := r.faultWindow(ctx); err != nil || r.Plan.Mitigation == nil {
		return err
	}
	for _, l := range r.faults {
		r.noteVictims(ctx, l) // what is replaced from now on may be the mitigation's work
	}
	return r.mitigate(ctx)
}

func (r *run) faultWindow(ctx context.Context) error {
	start := time.Now()
	r.rec.InjectAt = start
	defer func() {
		r.rec.Windows = append(r.rec.Windows, evidence.Window{Name: "fault", Start: start, End: time.Now()})
	}()
	for _, l := range r.faults {
		if err := l.inject(ctx); err != nil {
			return unfit("inject %s: not injected: %w", l.exp.Name, err)
		}
		r.rec.Mark(l.injected, "injected %s", l.exp.Name)
	}
	injected := time.Now()
	if err := r.proveInForce(ctx); err != nil {
		return err
	}
	return r.waitOr(ctx, "fault", r.faultEnd(injected, time.Now()), r.End)
}

// looked is how long a fault that is a moment is looked at after its proof. What it did may be
// seen late: Prometheus needs up to five seconds to find a pod that replaces one.
const looked = 5 * time.Second

// faultEnd is when the fault window ends, for faults that were injected and then proven. They have
// their time from the former, however long the injector took; those that last end by themselves then.
func (r *run) faultEnd(injected, proven time.Time) time.Time {
	window := time.Duration(r.Plan.Fault)
	if r.Plan.Mitigation != nil { // they are meant to outlast their window
		return injected.Add(window)
	}
	lasting := false
	for _, l := range r.faults {
		window = max(window, l.exp.Span())
		lasting = lasting || l.exp.Duration > 0
	}
	end := injected.Add(window)
	if enough := proven.Add(looked); !lasting && enough.After(end) {
		return enough
	}
	return end
}

// until calls f about four times a second until it returns nil; after limit, or
// when ctx ends, it returns f's last error.
func until(ctx context.Context, limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w (waited %v)", err, limit.Round(100*time.Millisecond))
		}
		select {
		case <-ctx.Done():
		case <-time.After(tick):
		}
	}
}

// brokenUnless is broken, but an interrupted wait proves nothing.
func brokenUnless(ctx context.Context, format string, args ...any) error {
	if ctx.Err() != nil {
		return unfit(format, args...)
	}
	return broken(format, args...)
}
