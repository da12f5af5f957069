package parity

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
)

// effect is what a trial's History and samples tell about the fault.
type effect struct {
	baseline, fault service
	history         bool                  // there is one, though perhaps cut
	rtt             map[string][2]float64 // dependency -> longest round trip in s, baseline and fault
}

// service is how clients were served in a window.
type service struct {
	all, accepted int
	refused       int             // by the system, with an answer
	disconnected  int             // connections that were never made
	unanswered    int             // whatever came of them
	latencies     []time.Duration // of what was accepted, from the plan; sorted
}

// observe reads what there is; what is missing stays unset.
func observe(dir evidence.Dir, t *trial) (effect, error) {
	e := effect{rtt: map[string][2]float64{}}
	if err := e.readHistory(dir, &t.record); err != nil {
		return e, err
	}
	var samples []evidence.Series
	if err := dir.Load(evidence.SamplesFile, &samples); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	for _, s := range samples {
		dependency, ok := map[string]string{"rtt_nats": "NATS", "rtt_valkey": "Valkey"}[s.Name]
		if !ok {
			continue
		}
		before, ok1 := longest(s, &t.record, "baseline")
		during, ok2 := longest(s, &t.record, "fault")
		if ok1 && ok2 {
			e.rtt[dependency] = [2]float64{before, during}
		}
	}
	return e, nil
}

// longest is the largest sample of a window.
func longest(s evidence.Series, rec *evidence.Record, window string) (float64, bool) {
	w, ok := rec.Window(window)
	if !ok {
		return 0, false
	}
	var inside []float64
	for _, p := range s.Points {
		if at := time.UnixMilli(int64(p[0] * 1000)); !at.Before(w.Start) && !at.After(w.End) {
			inside = append(inside, p[1])
		}
	}
	if len(inside) == 0 {
		return 0, false
	}
	return slices.Max(inside), true
}

// readHistory sorts Ops by the window in which they were planned. Of a History that was cut
// every Op that it holds counts.
func (e *effect) readHistory(dir evidence.Dir, rec *evidence.Record) error {
	r, err := history.Open(dir.Path(evidence.HistoryFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, history.ErrTruncated) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	e.history = true
	for op, err := range r.All() {
		if errors.Is(err, history.ErrTruncated) {
			break
		}
		if err != nil {
			return err
		}
		at := r.Header().Start.Add(op.Planned)
		for name, s := range map[string]*service{"baseline": &e.baseline, "fault": &e.fault} {
			if w, ok := rec.Window(name); ok && !at.Before(w.Start) && at.Before(w.End) {
				s.add(&op)
			}
		}
	}
	slices.Sort(e.baseline.latencies)
	slices.Sort(e.fault.latencies)
	return nil
}

func (s *service) add(op *history.Op) {
	s.all++
	switch {
	case op.Outcome == history.Accepted:
		s.accepted++
		s.latencies = append(s.latencies, op.End-op.Planned)
	case op.Outcome == history.Refused && op.Code == 0:
		s.disconnected++
	case op.Outcome == history.Refused:
		s.refused++
	default:
		s.unanswered++
	}
}

// errors is the share of requests that were not accepted.
func (s *service) errors() float64 {
	if s.all == 0 {
		return 0
	}
	return float64(s.all-s.accepted) / float64(s.all)
}

// quantile returns the q-quantile of latencies; false where nothing was accepted.
func (s *service) quantile(q float64) (time.Duration, bool) {
	if len(s.latencies) == 0 {
		return 0, false
	}
	return s.latencies[min(len(s.latencies)-1, int(q*float64(len(s.latencies))))], true
}
