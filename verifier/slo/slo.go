// Package slo turns an Objective into PromQL, and what Prometheus answers into
// a verdict with its burn rate and its share of the error budget.
//
// The arithmetic is pure. It knows no HTTP: whoever asks Prometheus is given
// as a Querier.
package slo

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Period is the time that an error budget is for.
const Period = 30 * 24 * time.Hour

// LeastEvents is the number of events in a window below which nothing is judged.
const LeastEvents = 20

// The objectives. All are ratios of good events to all events.
const (
	// Availability: of all requests, those that were accepted, as the client saw it.
	Availability = "availability"
	// Latency: of the accepted requests, those answered within a threshold
	// counted from the planned send time.
	Latency = "latency"
	// Freshness: of the tasks done, those done within a threshold after they
	// were accepted.
	Freshness = "freshness"
)

// Thresholds are the bucket bounds, in seconds, at which the system and the
// load generator count; a latency or freshness objective must be at one of them.
var Thresholds = map[string][]float64{
	Latency:   {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5},
	Freshness: {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
}

// Validate says what is wrong with an objective, or nil.
func Validate(o evidence.ObjectivePlan) error {
	if o.Ratio <= 0 || o.Ratio >= 1 {
		return fmt.Errorf("objective %s: ratio %v: want more than 0 %% and less than 100 %%", o.Name, o.Ratio)
	}
	bounds, bucketed := Thresholds[o.Name]
	if !bucketed {
		if o.Name != Availability {
			return fmt.Errorf("unknown objective %q: want %s, %s or %s", o.Name, Availability, Latency, Freshness)
		}
		return nil
	}
	within := time.Duration(o.Within).Seconds()
	for _, b := range bounds {
		if math.Abs(b-within) < 1e-9 {
			return nil
		}
	}
	return fmt.Errorf("objective %s within %v: no histogram bucket ends there; want one of %v seconds", o.Name, o.Within, bounds)
}

// Queries are two PromQL expressions whose values are a number of events
// between start and end of a window.
type Queries struct{ Good, Total string }

// QueriesOf returns the expressions for an objective over a window that is
// seconds long; they are to be evaluated at its end.
//
// The load generator is never a victim, so its counters are subtracted
// exactly. A worker may restart, so freshness uses increase(), which
// extrapolates: the ratio is right, the counts are estimates.
func QueriesOf(o evidence.ObjectivePlan, window time.Duration) Queries {
	span := strconv.FormatFloat(math.Max(1, math.Round(window.Seconds())), 'f', -1, 64) + "s"
	delta := func(selector string) string {
		return fmt.Sprintf("sum(%s) - sum(%s offset %s)", selector, selector, span)
	}
	increase := func(selector string) string { return fmt.Sprintf("sum(increase(%s[%s]))", selector, span) }
	good, total := selectors(o)
	if o.Name == Freshness {
		return Queries{Good: increase(good), Total: increase(total)}
	}
	return Queries{Good: delta(good), Total: delta(total)}
}

// Presence is a query that has an answer as soon as an objective can have one.
func Presence(o evidence.ObjectivePlan) string {
	good, _ := selectors(o)
	return "count(" + good + ")"
}

// selectors are the counters of an objective's good events and of all of them.
func selectors(o evidence.ObjectivePlan) (good, total string) {
	le := `le=~"` + regexpOf(time.Duration(o.Within).Seconds()) + `"`
	switch o.Name {
	case Latency:
		return `loadgen_op_duration_seconds_bucket{outcome="accepted",` + le + `}`, `loadgen_op_duration_seconds_count{outcome="accepted"}`
	case Freshness:
		return `worker_task_age_seconds_bucket{` + le + `}`, `worker_task_age_seconds_count`
	}
	return `loadgen_ops_total{outcome="accepted"}`, `loadgen_ops_total`
}

// regexpOf matches a bucket bound as Prometheus 2 (5) and 3 (5.0) write it.
func regexpOf(bound float64) string {
	s := strings.ReplaceAll(strconv.FormatFloat(bound, 'f', -1, 64), ".", `\\.`)
	if !strings.Contains(s, ".") {
		s += `(\\.0)?`
	}
	return s
}

// Judge gives the verdict on what was measured in a window. minEvents is the
// number of events below which there is no basis for one. A baseline that is
// not met makes no statement about the fault, so it is Inconclusive.
func Judge(m evidence.MeasuredWindow, window time.Duration, minEvents float64) evidence.Objective {
	o := evidence.Objective{
		Name: label(m.ObjectivePlan), Window: m.Window, Objective: m.Ratio,
		Measured: -1, Good: m.Good, Total: m.Total,
	}
	switch {
	case m.Reason != "":
		o.Reason = fmt.Sprintf("%s in the %s window: %s", o.Name, m.Window, m.Reason)
		return o
	case !(m.Total >= minEvents): // also NaN
		o.Reason = fmt.Sprintf("%s in the %s window: %.0f events, want at least %.0f", o.Name, m.Window, m.Total, minEvents)
		return o
	}
	o.Measured = min(1, m.Good/m.Total)
	o.BurnRate = BurnRate(1-o.Measured, m.Ratio)
	o.BudgetSpent = BudgetSpent(1-o.Measured, window, m.Ratio)
	if o.Measured >= m.Ratio {
		o.Status = verdict.Pass
		return o
	}
	o.Status = verdict.Fail
	o.Reason = fmt.Sprintf("%s in the %s window is %.3f %%, want at least %g %%", o.Name, m.Window, 100*o.Measured, 100*m.Ratio)
	if m.Window == "baseline" {
		o.Status = verdict.Inconclusive
	}
	return o
}

func label(o evidence.ObjectivePlan) string {
	if o.Within == 0 {
		return o.Name
	}
	return o.Name + " within " + o.Within.String()
}

// BurnRate is how many times faster than sustainable a budget is spent when
// bad is the ratio of bad events and objective the ratio of good ones wanted.
func BurnRate(bad, objective float64) float64 { return bad / (1 - objective) }

// BudgetSpent is the share of a 30-day error budget that a window spent.
func BudgetSpent(bad float64, window time.Duration, objective float64) float64 {
	return BurnRate(bad, objective) * window.Seconds() / Period.Seconds()
}
