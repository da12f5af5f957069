package gameday

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
)

func TestAvailabilityIsOfTheLast15Seconds(t *testing.T) {
	g := New(rules)
	if now, spent := g.Worst(); now.Ratio != -1 || spent.Spent != 0 {
		t.Errorf("%+v, %+v before anything was seen", now, spent)
	}
	bad := uint64(0)
	for i := range 60 {
		if i > 20 && i <= 35 {
			bad += 100
		}
		g.See(second(float64(i)), sight(phaseFault, i, bad))
		switch now, _ := g.Worst(); {
		case i > 0 && now.Name != slo.Availability:
			t.Errorf("%+v is the worst, and nothing else is known", now)
		case i == 20 && now.Ratio != 1:
			t.Errorf("availability %v before the outage, want 1", now.Ratio)
		case i == 35 && now.Ratio != 0:
			t.Errorf("availability %v after 15 s without service, want 0", now.Ratio)
		case i == 50 && now.Ratio != 1:
			t.Errorf("availability %v 15 s after the outage, want 1", now.Ratio)
		}
	}
}

// TestTheWorstObjectiveIsShownAndSpent: of a fault that refuses nobody.
func TestTheWorstObjectiveIsShownAndSpent(t *testing.T) {
	for name, c := range map[string]struct {
		events  func(i int) map[string]Events // i seconds after the injection, at 100 requests/s
		backlog func(i int) int
		worst   string
		ratio   float64 // after 30 s
		bad     float64 // share of bad events since the injection
	}{
		"all is well": {func(i int) map[string]Events {
			return map[string]Events{slo.Latency: {float64(100 * i), float64(100 * i)}, slo.Freshness: {float64(100 * i), float64(100 * i)}}
		}, nil, slo.Availability, 1, 0},
		"every second answer is slow": {func(i int) map[string]Events {
			return map[string]Events{slo.Latency: {float64(50 * i), float64(100 * i)}, slo.Freshness: {float64(90 * i), float64(100 * i)}}
		}, nil, slo.Latency, 0.5, 0.5},
		"tasks are done late": {func(i int) map[string]Events {
			return map[string]Events{slo.Latency: {float64(100 * i), float64(100 * i)}, slo.Freshness: {float64(75 * i), float64(100 * i)}}
		}, nil, slo.Freshness, 0.75, 0.25},
		// Nothing is done, so nothing is in a histogram: what waits for longer than 5 s is late.
		"nobody works": {func(int) map[string]Events { return nil }, func(i int) int { return 100 * i }, slo.Freshness, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := New(rules)
			see := func(at int, phase string, i int) Answer {
				s := sight(phase, at, 0)
				if i > 0 {
					s.Events = c.events(i)
				}
				if i > 0 && c.backlog != nil {
					s.Backlog = c.backlog(i)
				}
				return g.See(second(float64(at)), s)
			}
			for at := range 20 {
				see(at, "baseline", 0)
			}
			for i := range 31 {
				see(20+i, phaseFault, i)
			}
			now, spent := g.Worst()
			want := slo.BudgetSpent(c.bad, 30*time.Second, 0.99)
			if now.Name != c.worst || math.Abs(now.Ratio-c.ratio) > 1e-9 || spent.Name != c.worst || math.Abs(spent.Spent-want) > 1e-9 {
				t.Errorf("shown %+v, spent %+v; want %s, %v, and %v spent", now, spent, c.worst, c.ratio, want)
			}
			line := g.View(second(50)).Line()
			if text := fmt.Sprintf("%s (15 s) %s  budget of %s %s of 2 %%", c.worst, share(c.ratio), c.worst, share(want)); !strings.Contains(line, text) {
				t.Errorf("line %q lacks %q", line, text)
			}
		})
	}
}

// TestALateTaskSpendsTheAbortBudget: the limit is of the worst objective, and says which.
func TestALateTaskSpendsTheAbortBudget(t *testing.T) {
	r := rules
	r.AbortBudget = 0.0001 // 2.6 s without a task in time
	g := New(r)
	for i := range 12 {
		phase := phaseFault
		if i == 0 {
			phase = "baseline"
		}
		s := sight(phase, i, 0)
		s.Events = map[string]Events{slo.Freshness: {0, float64(100 * i)}}
		if a := g.See(second(float64(i)), s); a.Do == RemoveFault {
			if !strings.Contains(a.Why, "of the 30-day error budget of freshness is spent") {
				t.Errorf("it says %q", a.Why)
			}
			return
		}
	}
	t.Error("the fault was left, with no task in time for 11 s")
}

func TestOverdueTasksAreThoseThatWereNotAcceptedSince(t *testing.T) {
	g := New(rules)
	for i := range 10 {
		g.note(second(float64(i)), sight(phaseFault, i, 0))
	}
	now := count{at: second(10), accepted: 2000}
	for backlog, want := range map[int]float64{0: 0, 400: 0, 500: 0, 730: 230} { // 100 are accepted a second
		if got := g.overdue(now, backlog, 5*time.Second); got != want {
			t.Errorf("of %d that wait %v are overdue, want %v", backlog, got, want)
		}
	}
}

func TestAScenariosOwnObjectivesAreSpent(t *testing.T) {
	second := evidence.Duration(time.Second)
	p := evidence.Plan{Objectives: []evidence.ObjectivePlan{
		{Name: slo.Freshness, Window: "fault", Ratio: 0.5, Within: 60 * second},
		{Name: slo.Freshness, Window: "recovery", Ratio: 0.9, Within: 10 * second}, {Name: slo.Availability, Window: "recovery", Ratio: 0.999},
	}}
	if got, want := objectiveWords(ObjectivesOf(&p)), "99.9 % availability, 99 % latency within 500ms, 90 % freshness within 10s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestTheObjectivesAreThoseOfTheRules: by which people are called.
func TestTheObjectivesAreThoseOfTheRules(t *testing.T) {
	target := regexp.MustCompile(`(?m)^\s+target: (\S+)$`)
	for _, o := range ObjectivesOf(&evidence.Plan{}) {
		page, err := os.ReadFile(filepath.Join("../../deploy/rules/slo", o.Name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if m := target.FindSubmatch(page); m == nil || string(m[1]) != fmt.Sprint(o.Ratio) {
			t.Errorf("%s: %v, want the target of %s", o.Name, o.Ratio, page)
		}
		if within := fmt.Sprintf("within %v s", time.Duration(o.Within).Seconds()); o.Within > 0 && !strings.Contains(string(page), within) {
			t.Errorf("%s: %v is not the threshold of %s", o.Name, o.Within, page)
		}
	}
}
