package trial

import (
	"errors"
	"math"
	"strings"
	"testing"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

func TestHowBusyTheProcessorsWere(t *testing.T) {
	gone := errors.New("no /proc")
	for name, c := range map[string]struct {
		before, after ProcessorTime
		err           error
		want          float64
	}{
		"half":            {ProcessorTime{Idle: 100, All: 1000}, ProcessorTime{Idle: 106, All: 1012}, nil, 0.5},
		"all":             {ProcessorTime{Idle: 100, All: 1000}, ProcessorTime{Idle: 100, All: 1012}, nil, 1},
		"no time":         {ProcessorTime{Idle: 100, All: 1000}, ProcessorTime{Idle: 100, All: 1000}, nil, 0},
		"nobody can tell": {ProcessorTime{Idle: 100, All: 1000}, ProcessorTime{Idle: 100, All: 1012}, gone, 0},
	} {
		t.Run(name, func(t *testing.T) {
			now := c.before
			r := &run{Trial: &Trial{Processors: func() (ProcessorTime, error) { return now, c.err }}, rec: &evidence.Record{}}
			stop := r.watchBusy()
			now = c.after
			if stop(); math.Abs(r.rec.Busy-c.want) > 1e-9 {
				t.Errorf("%v busy, want %v", r.rec.Busy, c.want)
			}
		})
	}
	r := &run{Trial: &Trial{}, rec: &evidence.Record{}}
	if r.watchBusy()(); r.rec.Busy != 0 {
		t.Errorf("%v busy, and nobody counted", r.rec.Busy)
	}
}

func TestWhoIsToldOfBusyProcessors(t *testing.T) {
	for name, c := range map[string]struct {
		s    evidence.Scenario
		busy float64
		told bool
	}{
		"a failure":                    {evidence.Scenario{Status: verdict.Fail}, 0.93, true},
		"an open trial":                {evidence.Scenario{Status: verdict.Inconclusive}, 0.92, true},
		"a failure with room":          {evidence.Scenario{Status: verdict.Fail}, 0.91, false},
		"a pass":                       {evidence.Scenario{Status: verdict.Pass}, 0.99, false},
		"a fault that is not for here": {evidence.Scenario{Status: verdict.Inconclusive, Unable: true}, 0.99, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.s
			s.Reason = "an alert paged"
			hint(&s, c.busy)
			if told := strings.HasPrefix(s.Reason, "an alert paged; this machine's processors were "); told != c.told || s.Status != c.s.Status {
				t.Errorf("%v: %q", s.Status, s.Reason)
			}
		})
	}
}
