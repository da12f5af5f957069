package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
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
		begin = w.Start
		if last, ok := r.rec.Window("recovery"); ok {
			w.End = last.End
		}
	}
	from, to = begin.Truncate(time.Second).Add(time.Second), w.End.Truncate(time.Second)
	if to.Before(from) {
		return from, to, errors.New("no whole second lies between the proof of the fault and its removal")
	}
	return from, to, nil
}

// diagnosis asks one runbook's steps.
func (r *run) diagnosis(ctx context.Context, b evidence.RunbookPlan, from, to time.Time) (evidence.SeenDiagnosis, error) {
	seconds := int(to.Sub(from)/time.Second) + 1
	held := make([]int, seconds) // steps that hold, by second
	for _, s := range b.Steps {
		points, err := r.Metrics.Range(ctx, s.Holds, from, to)
		if err != nil {
			return evidence.SeenDiagnosis{}, fmt.Errorf("diagnosis of %s: %w", b.Name, err)
		}
		has := make([]bool, seconds)
		for _, p := range points {
			if i := int(math.Round(p[0])) - int(from.Unix()); i >= 0 && i < seconds {
				has[i] = true
			}
		}
		for i := range held {
			if has[i] != s.Empty {
				held[i]++
			}
		}
	}
	seen := evidence.SeenDiagnosis{Runbook: b.Name, Asked: seconds}
	for i, n := range held {
		if n == len(b.Steps) {
			seen.True = append(seen.True, from.Unix()+int64(i))
		}
	}
	return seen, nil
}
