package gameday

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
	"seatrial/verifier/trial"
)

// Events are an objective's good events of all its events, since some moment.
type Events struct{ Good, All float64 }

// ObjectivesOf are the objectives whose budgets a game may spend: those of the plan's
// recovery window and, where it has none, those of deploy/rules/slo.
func ObjectivesOf(p *evidence.Plan) []evidence.ObjectivePlan {
	all := []evidence.ObjectivePlan{
		{Name: slo.Availability, Ratio: trial.AvailabilityOf(p)},
		{Name: slo.Latency, Ratio: 0.99, Within: evidence.Duration(500 * time.Millisecond)},
		{Name: slo.Freshness, Ratio: 0.99, Within: evidence.Duration(5 * time.Second)},
	}
	for i := range all {
		for _, o := range p.Objectives {
			if o.Window == "recovery" && o.Name == all[i].Name {
				all[i] = o
			}
		}
	}
	return all
}

// objectiveWords lists objectives for a reader.
func objectiveWords(all []evidence.ObjectivePlan) string {
	var words []string
	for _, o := range all {
		text := share(o.Ratio) + " " + o.Name
		if o.Within > 0 {
			text += " within " + o.Within.String()
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}

// count is what there was to count at a moment. Events are those of the rules' objectives, in
// their order: of availability since the load began, of the others since the injection.
type count struct {
	at       time.Time
	accepted float64
	events   []Events
}

// sloWindow is the time over which an objective is shown.
const sloWindow = 15 * time.Second

// note keeps what is counted at a moment, and forgets what no window asks for.
func (g *Game) note(at time.Time, s Sight) count {
	horizon, now := sloWindow, count{at: at, accepted: float64(s.Load.Accepted)}
	for _, o := range g.rules.Objectives {
		e := s.Events[o.Name]
		switch o.Name {
		case slo.Availability:
			e = Events{now.accepted, float64(s.Load.Accepted + s.Load.Refused + s.Load.Unknown)}
		case slo.Freshness: // what still waits is in no histogram
			e.All += g.overdue(now, s.Backlog, time.Duration(o.Within))
		}
		horizon = max(horizon, time.Duration(o.Within))
		now.events = append(now.events, e)
	}
	g.counts = append(g.counts, now)
	for len(g.counts) > 2 && at.Sub(g.counts[1].at) >= horizon {
		g.counts = g.counts[1:]
	}
	return now
}

// overdue is how many tasks have waited for longer than they may: those in the queue that
// were not accepted since.
func (g *Game) overdue(now count, backlog int, within time.Duration) float64 {
	before := g.before(now.at, within)
	if before == nil {
		return 0
	}
	return max(0, float64(backlog)-(now.accepted-before.accepted))
}

// before is the newest count that is at least so old, or the oldest there is.
func (g *Game) before(at time.Time, age time.Duration) *count {
	var found *count
	for i := range g.counts {
		if found == nil || at.Sub(g.counts[i].at) >= age {
			found = &g.counts[i]
		}
	}
	return found
}

// Standing is how an objective stands.
type Standing struct {
	Name  string
	Ratio float64 // of good events in the last 15 s, -1 without any
	Burn  float64 // how many times too fast that spends the budget
	Spent float64 // share of its 30-day error budget, since the injection
}

// standings are those of the rules' objectives, in their order, when they were last counted.
func (g *Game) standings() []Standing {
	var all []Standing
	for i, o := range g.rules.Objectives {
		s := Standing{Name: o.Name, Ratio: -1, Burn: -1}
		if len(g.counts) > 0 {
			last := g.counts[len(g.counts)-1]
			if ratio, ok := goodOf(last.events[i], g.before(last.at, sloWindow).events[i]); ok {
				s.Ratio, s.Burn = ratio, slo.BurnRate(1-ratio, o.Ratio)
			}
			if !g.injected.at.IsZero() {
				if ratio, ok := goodOf(last.events[i], g.injected.events[i]); ok {
					s.Spent = slo.BudgetSpent(1-ratio, last.at.Sub(g.injected.at), o.Ratio)
				}
			}
		}
		all = append(all, s)
	}
	return all
}

// goodOf is the share of good events between two counts; not ok without any.
func goodOf(now, then Events) (ratio float64, ok bool) {
	all := now.All - then.All
	if all <= 0 {
		return 0, false
	}
	return min(1, max(0, (now.Good-then.Good)/all)), true
}

// Worst are the objective that is served worst now, and the one of whose budget most is
// spent; the first of them where they are alike.
func (g *Game) Worst() (now, spent Standing) {
	now.Ratio = -1
	for i, s := range g.standings() {
		if i == 0 || s.Burn > now.Burn {
			now = s
		}
		if i == 0 || s.Spent > spent.Spent {
			spent = s
		}
	}
	return now, spent
}

// count asks Prometheus for the objectives that the load does not tell of, since the
// injection. What it does not answer stays as it was.
func (d *Director) count(ctx context.Context, at time.Time) map[string]Events {
	began := d.Game.injected.at
	if began.IsZero() {
		return nil
	}
	all := map[string]Events{}
	maps.Copy(all, d.Game.last.Events)
	for _, o := range d.Game.rules.Objectives {
		if o.Name == slo.Availability {
			continue
		}
		q := slo.QueriesOf(o, at.Sub(began))
		good, err := d.number(ctx, q.Good, at)
		total, err2 := d.number(ctx, q.Total, at)
		if err == nil && err2 == nil {
			all[o.Name] = Events{good, total}
		}
	}
	return all
}

func (d *Director) number(ctx context.Context, query string, at time.Time) (float64, error) {
	vector, err := d.Trial.Metrics.Vector(ctx, query, at)
	if err != nil {
		return 0, err
	}
	if len(vector) == 0 || math.IsNaN(vector[0].Value) {
		return 0, fmt.Errorf("no data for %s", query)
	}
	return vector[0].Value, nil
}
