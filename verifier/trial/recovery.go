package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
)

// recoverFaults takes every fault back; it runs always, with a deadline of its
// own, and only once for each.
func (r *run) recoverFaults(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverWithin)
	defer cancel()
	var errs []error
	for _, l := range r.faults {
		if !l.needsRecovery() {
			continue
		}
		if r.rec.RemovedAt.IsZero() {
			r.rec.RemovedAt = time.Now()
		}
		if err := l.recover(ctx); err != nil {
			errs = append(errs, unfit("recover %s: %w", l.exp.Name, err))
			r.rec.Residue = fmt.Sprintf("%s: %v", l.exp.Name, err)
		}
		r.noteAccount(l)
		r.noteVictims(ctx, l)
		if err := r.saveManifest(l); err != nil { // again: an injector may have written into it what it saw
			errs = append(errs, unfit("recover %s: %w", l.exp.Name, err))
		}
	}
	return errors.Join(errs...)
}

// noteAccount puts the injector's own account beside the proof.
func (r *run) noteAccount(l *life) {
	for i := range r.rec.Proofs {
		if r.rec.Proofs[i].Experiment == l.exp.Name {
			r.rec.Proofs[i].Account = l.fault.Account()
		}
	}
}

// recovery waits until the system is whole and serves as promised, proves that
// nothing is left of the fault, and holds the window after it.
func (r *run) recovery(ctx context.Context) error {
	if len(r.faults) > 0 {
		r.show("recover", time.Time{})
		if err := r.recoverFaults(ctx); err != nil {
			return err
		}
		r.rec.Mark(r.rec.RemovedAt, "removed")
		if err := r.whole(ctx); err != nil {
			return err
		}
		if err := r.noResidue(ctx); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := r.wait(ctx, "recovery", start.Add(time.Duration(r.Plan.Recovery))); err != nil {
		return err
	}
	r.rec.Windows = append(r.rec.Windows, evidence.Window{Name: "recovery", Start: start, End: time.Now()})
	return r.cleared(ctx)
}

// cleared waits, under load, until the expected alerts have cleared or had the time
// that their runbooks allow. That they did not is for the judge to say.
func (r *run) cleared(ctx context.Context) error {
	for _, a := range r.Plan.Alerts {
		deadline := r.rec.RemovedAt.Add(r.clearsWithin(a.Name) + time.Second)
		for r.rings(a.Name) && time.Now().Before(deadline) {
			if err := r.wait(ctx, "alerts clear", time.Now().Add(tick)); err != nil {
				return err
			}
		}
	}
	return nil
}

// clearsWithin is how long after the fault an alert may ring, 0 if no runbook says.
func (r *run) clearsWithin(name string) time.Duration {
	for _, b := range r.Plan.Runbooks {
		if b.Name == name {
			return time.Duration(b.RecoverWithin)
		}
	}
	return 0
}

func (r *run) rings(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.rec.Alerts, func(a evidence.SeenAlert) bool { return a.Name == name && a.ResolvedAt == nil })
}

// whole waits, within the scenario's bound, until the testbed is healthy and
// the SLI is back.
func (r *run) whole(ctx context.Context) error {
	limit := time.Duration(r.Plan.Recover)
	var served time.Time // since when, at each look; zero while not
	err := until(ctx, limit+steadyFor, func() error {
		r.tick(ctx, "recover", 0)
		whole := r.Testbed.Healthy(ctx)
		if whole != nil {
			whole = fmt.Errorf("the system is not whole %v after the fault was removed: %w", limit, whole)
		}
		if served.IsZero() {
			if whole != nil {
				return whole
			}
			r.rec.HealthyAt, served = time.Now(), time.Now()
		}
		if err := r.served(ctx); err != nil {
			served = time.Time{}
			return fmt.Errorf("users are not served as promised %v after the fault was removed: %w", limit, err)
		}
		if time.Since(served) < steadyFor {
			return fmt.Errorf("users were not served as promised for %v on end within %v after the fault was removed", steadyFor, limit)
		}
		return whole
	})
	if err != nil {
		return brokenUnless(ctx, "%w", err)
	}
	r.rec.SLOAt = served
	r.rec.Mark(served, "recovered")
	return nil
}

// steadyFor is for how long on end users must be served for a system to have recovered: one that a server
// comes back to is whole, and then elects another leader because of it. Where a cut link heals, servers find each other within two
// seconds, and users' requests wait for a third before anybody notices. A copy that lags behind for a moment
// under load is no relapse, so the parts need not be whole at each look, but at the last one.
const steadyFor = 5 * time.Second

// served says whether, over the last three seconds, clients were served as well
// as the recovery window's availability objective asks (99 % where it has none), and
// whether no more of them wait than come in a second: who waits has no answer that
// could be counted as a bad one.
func (r *run) served(ctx context.Context) error {
	load := r.loadStatus()
	if waiting := load.InFlight; float64(waiting) > load.AskedRate {
		return fmt.Errorf("%d requests wait for their answer, more than come in a second", waiting)
	}
	o := evidence.ObjectivePlan{Name: slo.Availability, Window: "recovery", Ratio: AvailabilityOf(&r.Plan)}
	now := time.Now()
	m := r.ask(ctx, o, evidence.Window{Name: "recovery", Start: now.Add(-3 * time.Second), End: now})
	if j := slo.Judge(m, 3*time.Second, 1); j.Reason != "" {
		return errors.New(j.Reason)
	}
	return nil
}

// AvailabilityOf is the availability that a plan promises outside of faults:
// that of its recovery window, or 99 %.
func AvailabilityOf(p *evidence.Plan) float64 {
	for _, o := range p.Objectives {
		if o.Window == "recovery" && o.Name == slo.Availability {
			return o.Ratio
		}
	}
	return 0.99
}

// noResidue asks the injector and the system whether anything is left.
func (r *run) noResidue(ctx context.Context) error {
	for _, l := range r.faults {
		left, err := l.fault.Residue(ctx)
		if err != nil {
			return unfit("look for residue of %s: %w", l.exp.Name, err)
		}
		if len(left) > 0 {
			r.rec.Residue = strings.Join(left, "; ")
			return broken("residue of %s: %s", l.exp.Name, r.rec.Residue)
		}
		if err := until(ctx, 20*time.Second, func() error { return r.signatureFalse(ctx, l) }); err != nil {
			r.rec.Residue = fmt.Sprintf("%s: %v", l.exp.Name, err)
			return brokenUnless(ctx, "after recovery of %s: %w", l.exp.Name, err)
		}
	}
	return nil
}
