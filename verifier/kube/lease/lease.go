// Package lease is the right to break a system: one Lease, held by one run at a
// time and renewed while that run lives. Who sees it no longer renewed knows that
// the run is dead and that its experiments are nobody's.
//
// It must not know what a run does, nor what becomes of its experiments.
package lease

import (
	"fmt"
	"strings"
	"time"

	coordination "k8s.io/api/coordination/v1"
)

// Name is the name of the Lease.
const Name = "seatrial"

// Label is the label by which an Experiment names the run that it belongs to. Its
// value is the Lease's holder while that run lives.
const Label = "seatrial/run"

// ID makes the id of a run out of its name, such as that of its report's folder: the
// holder's name and a label's value, at most 63 of a-z, 0-9, "-" and ".", beginning
// and ending with a letter or a digit. It is empty when nothing of name is left.
func ID(name string) string {
	id := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		}
		return '-'
	}, strings.ToLower(name))
	if len(id) > 63 {
		id = id[:63]
	}
	return strings.Trim(id, "-.")
}

// Duration is how long a Lease counts as live after its last renewal was seen.
const Duration = 10 * time.Second

// RenewEvery is the time between two renewals.
const RenewEvery = 2500 * time.Millisecond

// GiveUpAfter is when a holder that could not renew considers its Lease lost. It
// counts from the start of the last renewal that succeeded; others count Duration
// from when they saw it, which is later. So a holder has given up before another
// one can begin.
const GiveUpAfter = 8 * time.Second

// View is what an Observer knows of the Lease.
type View struct {
	// Holder is the run that holds the Lease, also one that no longer renews it;
	// "" when nobody does.
	Holder string
	// Live says whether Holder has renewed lately. Before an Observer has seen the
	// Lease for its whole duration it cannot know, and takes it for live.
	Live bool
	// Until is when, by the observer's clock, the Lease expires unless it is
	// renewed; zero without a Holder.
	Until time.Time
}

// HeldBy says whether run holds the live Lease.
func (v View) HeldBy(run string) bool { return v.Live && v.Holder == run }

func (v View) String() string {
	switch {
	case v.Holder == "":
		return "held by nobody"
	case v.Live:
		return fmt.Sprintf("held by %s until %s unless renewed", v.Holder, v.Until.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("expired, last held by %s", v.Holder)
}

// Observer judges whether the Lease is live. It compares no two clocks: it counts,
// on the clock of who looks, how long the Lease has not changed. The zero value has
// seen nothing. It is not for concurrent use.
type Observer struct {
	seen    bool
	last    mark
	changed time.Time // when last was first seen
}

// mark is what changes with each renewal, and with nothing else.
type mark struct {
	holder      string
	renewed     time.Time
	transitions int32
}

// See takes note of the Lease as it is at now; nil is a Lease that does not exist.
// The times of successive calls must not go back.
func (o *Observer) See(l *coordination.Lease, now time.Time) View {
	m := markOf(l)
	if !o.seen || m != o.last {
		o.seen, o.last, o.changed = true, m, now
	}
	if m.holder == "" {
		return View{}
	}
	until := o.changed.Add(durationOf(l))
	return View{Holder: m.holder, Live: now.Before(until), Until: until}
}

func markOf(l *coordination.Lease) mark {
	if l == nil {
		return mark{}
	}
	var m mark
	if p := l.Spec.HolderIdentity; p != nil {
		m.holder = *p
	}
	if p := l.Spec.RenewTime; p != nil {
		m.renewed = p.UTC()
	}
	if p := l.Spec.LeaseTransitions; p != nil {
		m.transitions = *p
	}
	return m
}

// durationOf is the holder's own word on how long its Lease lasts.
func durationOf(l *coordination.Lease) time.Duration {
	if p := l.Spec.LeaseDurationSeconds; p != nil && *p > 0 {
		return time.Duration(*p) * time.Second
	}
	return Duration
}
