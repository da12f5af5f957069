package shelf

import (
	"github.com/prometheus/client_golang/prometheus"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("seatrial_"+name, help, labels, nil)
}

// The metrics. Those of runs and scenarios are of the newest run of each target that
// has a verdict: a label each run for ever would fill a Prometheus.
var (
	readable = desc("reports_readable", "Whether the folder of reports can be read.")
	held     = desc("reports", "Runs on the shelf by their verdict; none is one that is being held or was ended, unreadable one whose verdict.json is broken.", "verdict")

	runStatus   = desc("run_status", "Verdict of the newest run: 1 for its status, 0 for the others.", "run", "target", "status")
	runStarted  = desc("run_timestamp_seconds", "When the newest run started, in Unix time.", "run", "target")
	runDuration = desc("run_duration_seconds", "How long the newest run took.", "run", "target")
	runMissed   = desc("run_scenarios_not_run", "Scenarios that an interrupt or an error kept from running.", "run", "target")

	scenarioStatus = desc("scenario_status", "Verdict of a scenario in the newest run: 1 for its status, 0 for the others.", "scenario", "target", "status")
	figures        = []figure{
		{desc("scenario_accepted_tasks", "Tasks that were accepted.", "scenario", "target"), func(s *evidence.Scenario) float64 { return float64(s.Accepted) }},
		{desc("scenario_lost_tasks", "Accepted tasks that were never done.", "scenario", "target"), func(s *evidence.Scenario) float64 { return float64(s.Lost) }},
		{desc("scenario_duplicated_tasks", "Tasks that were done more than once.", "scenario", "target"), func(s *evidence.Scenario) float64 { return float64(s.Duplicated) }},
		{desc("scenario_refused_but_done_tasks", "Refused tasks that were done.", "scenario", "target"), func(s *evidence.Scenario) float64 { return float64(s.RefusedButDone) }},
		{desc("scenario_budget_spent_ratio", "Share of a 30-day error budget that the fault cost.", "scenario", "target"), func(s *evidence.Scenario) float64 { return s.BudgetCost }},
		{desc("scenario_alert_seconds", "From the fault in force to the expected alert; no sample where it was not seen.", "scenario", "target"), func(s *evidence.Scenario) float64 { return s.Seconds.InForceToAlert }},
		{desc("scenario_recovery_seconds", "From the recovery to objectives that are met again; no sample where it was not seen.", "scenario", "target"), func(s *evidence.Scenario) float64 { return s.Seconds.RecoverToSLO }},
	}
)

// figure is one number of a scenario; negative is one that was not seen.
type figure struct {
	desc *prometheus.Desc
	of   func(*evidence.Scenario) float64
}

// Describe tells of every metric.
func (s *Shelf) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readable, held, runStatus, runStarted, runDuration, runMissed, scenarioStatus} {
		ch <- d
	}
	for _, f := range figures {
		ch <- f.desc
	}
}

// Collect reads the shelf and sends what is on it.
func (s *Shelf) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	runs, err := s.Runs()
	send(readable, one(err == nil))
	if err != nil {
		return
	}
	counts := map[string]int{"none": 0, "unreadable": 0}
	for _, r := range runs {
		counts[word(r)]++
	}
	for _, status := range statuses {
		counts[status.String()] += 0
	}
	for name, n := range counts {
		send(held, float64(n), name)
	}
	for _, r := range Newest(runs) {
		collectRun(send, r.Verdict)
	}
}

var statuses = []verdict.Status{verdict.Pass, verdict.Fail, verdict.Inconclusive}

func collectRun(send func(*prometheus.Desc, float64, ...string), r *evidence.Run) {
	for _, status := range statuses {
		send(runStatus, one(r.Status == status), r.Run, r.Target, status.String())
	}
	send(runStarted, float64(r.Started.UnixMilli())/1000, r.Run, r.Target)
	send(runDuration, r.Seconds, r.Run, r.Target)
	send(runMissed, float64(len(r.NotRun)), r.Run, r.Target)
	seen := map[string]bool{}
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		if seen[s.Name] {
			continue // a label set twice would spoil the whole answer
		}
		seen[s.Name] = true
		for _, status := range statuses {
			send(scenarioStatus, one(s.Status == status), s.Name, r.Target, status.String())
		}
		for _, f := range figures {
			if v := f.of(s); v >= 0 {
				send(f.desc, v, s.Name, r.Target)
			}
		}
	}
}

// word is a run's verdict in one word.
func word(r Run) string {
	switch {
	case r.Verdict != nil:
		return r.Verdict.Status.String()
	case r.Err == ErrNoVerdict:
		return "none"
	}
	return "unreadable"
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
