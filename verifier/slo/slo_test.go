package slo_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
	"seatrial/verifier/verdict"
)

func plan(name, window string, ratio float64, within time.Duration) evidence.ObjectivePlan {
	return evidence.ObjectivePlan{Name: name, Window: window, Ratio: ratio, Within: evidence.Duration(within)}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		window      string
		good, total float64
		reason      string // why there is no measurement
		want        verdict.Status
		says        string
	}{
		"met":                       {window: "fault", good: 995, total: 1000, want: verdict.Pass},
		"met to the letter":         {window: "fault", good: 990, total: 1000, want: verdict.Pass},
		"missed":                    {window: "fault", good: 989, total: 1000, want: verdict.Fail, says: "is 98.900 %, want at least 99 %"},
		"all bad":                   {window: "recovery", good: 0, total: 1000, want: verdict.Fail, says: "recovery window is 0.000 %"},
		"a bad baseline":            {window: "baseline", good: 0, total: 1000, want: verdict.Inconclusive, says: "baseline"},
		"too few events":            {window: "fault", good: 19, total: 19, want: verdict.Inconclusive, says: "19 events, want at least 20"},
		"no events":                 {window: "fault", want: verdict.Inconclusive, says: "0 events"},
		"not a number":              {window: "fault", good: math.NaN(), total: math.NaN(), want: verdict.Inconclusive},
		"Prometheus did not answer": {window: "fault", good: 1000, total: 1000, reason: "connection refused", want: verdict.Inconclusive, says: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			m := evidence.MeasuredWindow{ObjectivePlan: plan(slo.Availability, c.window, 0.99, 0), Good: c.good, Total: c.total, Reason: c.reason}
			got := slo.Judge(m, 10*time.Second, slo.LeastEvents)
			if got.Status != c.want || !strings.Contains(got.Reason, c.says) {
				t.Errorf("%v: %q; want %v: …%s…", got.Status, got.Reason, c.want, c.says)
			}
			if got.Status != verdict.Pass && got.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

// The numbers are those of the definition: a month has 2,592,000 s, and one
// percent may be bad.
func TestBudgetArithmetic(t *testing.T) {
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-12 }
	if got := slo.BurnRate(0.144, 0.99); !near(got, 14.4) {
		t.Errorf("burn rate %v, want 14.4", got)
	}
	if got := slo.BudgetSpent(1, 25920*time.Second, 0.99); !near(got, 1) {
		t.Errorf("an outage of 25,920 s spends %v of the budget, want all", got)
	}
	if got := slo.BudgetSpent(0.5, 10*time.Second, 0.999); !near(got, 0.5*10/(2592000*0.001)) {
		t.Errorf("budget spent %v", got)
	}
}

func TestQueriesMatchBothWaysOfWritingABound(t *testing.T) {
	q := slo.QueriesOf(plan(slo.Latency, "fault", 0.9, 5*time.Second), 12*time.Second)
	if !strings.Contains(q.Good, `le=~"5(\\.0)?"`) || !strings.Contains(q.Good, "offset 12s") {
		t.Error(q.Good)
	}
	q = slo.QueriesOf(plan(slo.Freshness, "fault", 0.9, 2500*time.Millisecond), 12*time.Second)
	if !strings.Contains(q.Good, `le=~"2\\.5"`) || !strings.Contains(q.Total, "[12s]") {
		t.Error(q)
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []evidence.ObjectivePlan{
		plan("beauty", "fault", 0.9, 0), plan(slo.Availability, "fault", 1, 0), plan(slo.Availability, "fault", 0, 0),
		plan(slo.Latency, "fault", 0.9, 300*time.Millisecond), plan(slo.Freshness, "fault", 0.9, 0),
	} {
		if slo.Validate(bad) == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	for _, good := range []evidence.ObjectivePlan{
		plan(slo.Availability, "fault", 0.999, 0), plan(slo.Latency, "fault", 0.9, 250*time.Millisecond), plan(slo.Freshness, "fault", 0.9, time.Minute),
	} {
		if err := slo.Validate(good); err != nil {
			t.Error(err)
		}
	}
}
