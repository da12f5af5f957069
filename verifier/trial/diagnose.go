package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"seatrial/verifier/evidence"
)

// diagnose asks every runbook's diagnosis for every second of the fault, from its
// proof to its removal; without a fault, of the whole load. It is asked afterwards:
// Prometheus remembers.
func (r *run) diagnose(ctx context.Context) {
	from, to, never := r.diagnosed()
	for _, b := range r.Plan.Runbooks {
		var seen evidence.SeenDiagnosis
		err := never
		if err == nil {
			seen, err = r.diagnosis(ctx, b, from, to)
		}
		if err != nil {
			seen = evidence.SeenDiagnosis{Runbook: b.Name, Reason: err.Error()}
		}
		r.rec.Diagnoses = append(r.rec.Diagnoses, seen)
	}
}

// diagnosed is the span of whole seconds in which diagnoses are asked.
func (r *run) diagnosed() (from, to time.Time, err error) {
	name, begin := "baseline", time.Time{}
	if len(r.faults) > 0 {
		name, begin = "fault", inForceAt(r.rec)
		if begin.IsZero() {
			return from, to, errors.New("the fault was not seen in force")
		}
	}
	w, ok := r.rec.Window(name)
	if !ok {
		return from, to, fmt.Errorf("the %s window was not reached", name)
	}
	if begin.IsZero() {
		begin, w.End = w.Start, r.recoveryEnd(w.End)
	}
	from, to = begin.Truncate(time.Second).Add(time.Second), w.End.Truncate(time.Second)
	if to.Before(from) {
		return from, to, errors.New("no whole second lies between the proof of the fault and its removal")
	}
	return from, to, nil
}

// diagnosis asks one runbook's steps and, where somebody may read on, those of its causes:
// where its alert is expected, or was not and the diagnosis is true of a fault that it names.
// The latter is asked on when the fault is gone: what a runbook tells of may come with that.
func (r *run) diagnosis(ctx context.Context, b evidence.RunbookPlan, from, to time.Time) (evidence.SeenDiagnosis, error) {
	expected, names := slices.Contains(r.Plan.AlertNames(), b.Name), b.Names(r.Plan.Experiments)
	end := to
	if names && !expected {
		end = r.recoveryEnd(to)
	}
	held, err := r.stepsHold(ctx, b.Steps, from, end)
	if err != nil {
		return evidence.SeenDiagnosis{}, fmt.Errorf("diagnosis of %s: %w", b.Name, err)
	}
	asked := int(to.Sub(from)/time.Second) + 1
	seen := evidence.SeenDiagnosis{
		Runbook: b.Name, Asked: asked, True: moments(from, held[:asked]),
		AskedAfter: len(held) - asked, After: moments(to.Add(time.Second), held[asked:]),
	}
	if expected || names && slices.Contains(held, true) {
		for _, c := range b.Causes {
			seen.Causes = append(seen.Causes, r.cause(ctx, c, held, from, end))
		}
	}
	return seen, nil
}

// recoveryEnd is the last whole second of the recovery window; no sooner than to, and that
// in a trial that did not get so far.
func (r *run) recoveryEnd(to time.Time) time.Time {
	if w, ok := r.rec.Window("recovery"); ok && w.End.After(to) {
		return w.End.Truncate(time.Second)
	}
	return to
}

// cause asks a cause's steps; it holds in those seconds only in which the diagnosis does.
func (r *run) cause(ctx context.Context, c evidence.CausePlan, diagnosis []bool, from, to time.Time) evidence.SeenCause {
	held, err := r.stepsHold(ctx, c.Steps, from, to)
	if err != nil {
		return evidence.SeenCause{Name: c.Name, Reason: fmt.Sprintf("cause %q: %v", c.Name, err)}
	}
	for i := range held {
		held[i] = held[i] && diagnosis[i]
	}
	return evidence.SeenCause{Name: c.Name, True: moments(from, held)}
}

// stepsHold says, for each second of a span, whether all steps hold.
func (r *run) stepsHold(ctx context.Context, steps []evidence.StepPlan, from, to time.Time) ([]bool, error) {
	held := slices.Repeat([]bool{true}, int(to.Sub(from)/time.Second)+1)
	for _, s := range steps {
		points, err := r.Metrics.Range(ctx, s.Holds, from, to)
		if err != nil {
			return nil, err
		}
		has := make([]bool, len(held))
		for _, p := range points {
			if i := int(math.Round(p[0])) - int(from.Unix()); i >= 0 && i < len(has) {
				has[i] = true
			}
		}
		for i := range held {
			held[i] = held[i] && has[i] != s.Empty
		}
	}
	return held, nil
}

// moments are the seconds of a span in which something held.
func moments(from time.Time, held []bool) (all []int64) {
	for i, h := range held {
		if h {
			all = append(all, from.Unix()+int64(i))
		}
	}
	return all
}
