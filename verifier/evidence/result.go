package evidence

import (
	"time"

	"seatrial/verifier/verdict"
)

// Run is the verdict.json of a run of several trials.
type Run struct {
	Run       string            `json:"run"` // the run's name, also its folder's
	Seed      int64             `json:"seed"`
	Target    string            `json:"target"`               // local or kubernetes
	LoadScale float64           `json:"load_scale,omitempty"` // what the rates of all scenarios were multiplied by; 0: they are as they say
	Status    verdict.Status    `json:"status"`
	Started   time.Time         `json:"started"`
	Seconds   float64           `json:"seconds"`
	Versions  map[string]string `json:"versions"` // server name -> version
	Scenarios []Scenario        `json:"scenarios"`
	Confusion *Confusion        `json:"confusion,omitempty"`
	NotRun    []string          `json:"not_run,omitempty"` // scenarios that an interrupt or an error kept from running
}

// Scenario is the verdict.json of one trial.
type Scenario struct {
	Name        string         `json:"name"`
	Feature     string         `json:"feature"`
	Tags        []string       `json:"tags,omitempty"`
	Runbook     string         `json:"runbook"`
	Target      string         `json:"target"` // the testbed that it was held on: local or kubernetes
	Experiments []string       `json:"experiments"`
	Status      verdict.Status `json:"status"`
	Reason      string         `json:"reason"`
	Unable      bool           `json:"unable,omitempty"` // inconclusive because this testbed cannot inject the fault
	// Disturbed says that it failed only in what it was too slow for, or proved nothing, and
	// that its machine stood still meanwhile. HeldAgain says it of the time before,
	// whose Evidence is in FirstEvidence.
	Disturbed     bool      `json:"disturbed,omitempty"`
	HeldAgain     string    `json:"held_again,omitempty"`
	FirstEvidence string    `json:"first_evidence,omitempty"` // relative to the run's folder
	Started       time.Time `json:"started"`
	Evidence      string    `json:"evidence"` // the trial's folder, relative to the run's

	AskedRate    float64 `json:"asked_rate"`    // requests a second
	AchievedRate float64 `json:"achieved_rate"` // requests a second
	Late         float64 `json:"late"`          // seconds: the most by which a request was sent after its planned time
	Stolen       float64 `json:"stolen"`        // share of processor time that the machine's host gave to others, in the worst ten seconds
	Stalled      float64 `json:"stalled"`       // seconds: the longest that the machine's disk took to flush a few bytes

	// The ledger, in tasks (ops: in requests).
	Ops            int `json:"ops"`
	Accepted       int `json:"accepted"`
	Refused        int `json:"refused"`
	Unknown        int `json:"unknown"`
	Completed      int `json:"completed"`
	Lost           int `json:"lost"`
	Duplicated     int `json:"duplicated"`
	RefusedButDone int `json:"refused_but_done"`
	UnknownDone    int `json:"unknown_done"`
	Dead           int `json:"dead"`     // put aside as dead letters
	Phantoms       int `json:"phantoms"` // done, and nobody asked for them

	InForce string  `json:"in_force"` // confirmed, mismatch, inconclusive, or none (no fault was asked for)
	Residue string  `json:"residue"`  // none, or what was left
	Seconds Seconds `json:"seconds"`

	Windows    []Window    `json:"windows"`
	Markers    []Marker    `json:"markers"`
	SLO        []Objective `json:"slo"`
	Guarantees []Guarantee `json:"guarantees"`
	Alerts     []Alert     `json:"alerts"`
	Diagnoses  []Diagnosis `json:"diagnoses,omitempty"`
	Mitigation *Mitigation `json:"mitigation,omitempty"`
	Proofs     []Proof     `json:"proofs"`
	Victims    []string    `json:"victims,omitempty"`
	VictimPods []VictimPod `json:"victim_pods,omitempty"`
	BudgetCost float64     `json:"budget_cost"` // share of a 30-day error budget spent from the injection to the end of the load
	Latency    Latency     `json:"latency"`
}

// Seconds are the split times of a trial; -1 where the event was not seen.
type Seconds struct {
	InjectToInForce        float64 `json:"inject_to_in_force"`
	InForceToDeviation     float64 `json:"in_force_to_deviation"`
	InForceToAlert         float64 `json:"in_force_to_alert"`
	RecoverToSLO           float64 `json:"recover_to_slo"`
	RecoverToAlertResolved float64 `json:"recover_to_alert_resolved"`
	BacklogDrained         float64 `json:"backlog_drained"` // from recovery
}

// Window is a part of a trial that is judged by itself.
type Window struct {
	Name  string    `json:"name"` // baseline, fault or recovery
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Marker is a moment worth a line on the chart.
type Marker struct {
	Name string    `json:"name"` // e.g. "injected worker-kill", "in force", "alert NATSServerDown", "recovered"
	At   time.Time `json:"at"`
}

// Objective is one SLO in one window. Objective and Measured are ratios in
// [0,1]; Measured is -1 when there was no data. BurnRate is the speed at which
// the error budget was spent (1 = just sustainable).
type Objective struct {
	Name        string         `json:"name"`
	Window      string         `json:"window"`
	Objective   float64        `json:"objective"`
	Measured    float64        `json:"measured"`
	Good        float64        `json:"good"`
	Total       float64        `json:"total"`
	BurnRate    float64        `json:"burn_rate"`
	BudgetSpent float64        `json:"budget_spent"` // share of a 30-day budget
	Status      verdict.Status `json:"status"`
	Reason      string         `json:"reason,omitempty"`
}

// Guarantee is the finding of one check. Tasks holds at most 20 ids of Count.
type Guarantee struct {
	Name   string         `json:"name"`
	Status verdict.Status `json:"status"`
	Reason string         `json:"reason"`
	Count  int            `json:"count"`
	Tasks  []string       `json:"tasks,omitempty"`
}

// Alert is an alert that was expected or seen.
type Alert struct {
	Name       string         `json:"name"`
	Expected   bool           `json:"expected"`
	Fired      bool           `json:"fired"`
	FiredAt    *time.Time     `json:"fired_at,omitempty"`
	ResolvedAt *time.Time     `json:"resolved_at,omitempty"`
	Severity   string         `json:"severity,omitempty"`
	RunbookURL string         `json:"runbook_url"`
	Silenced   bool           `json:"silenced,omitempty"` // inhibited all the time: nobody was called
	Status     verdict.Status `json:"status"`
	Reason     string         `json:"reason,omitempty"`
}

// Diagnosis is what a runbook's diagnosis said of a trial's fault. Role is what
// is asked of it: must (the fault is its own), may (it declares that it can be
// true then) or not. Noted says that it was asked of nobody: people dealt with the fault,
// and what was true, and for how long, was theirs to decide. Its Reason then only tells.
type Diagnosis struct {
	Runbook string         `json:"runbook"`
	Role    string         `json:"role"`
	Asked   int            `json:"asked"` // moments, a second apart
	True    int            `json:"true"`  // moments at which it was true
	Status  verdict.Status `json:"status"`
	Reason  string         `json:"reason,omitempty"`
	Noted   bool           `json:"noted,omitempty"`
	// AskedAfter and After are the same after the fault was taken away, of a runbook whose alert is not expected and
	// that names an experiment of the trial. Nobody judges them.
	AskedAfter int     `json:"asked_after,omitempty"`
	After      int     `json:"after,omitempty"`
	Causes     []Cause `json:"causes,omitempty"` // of a runbook that must be true; of another, as seen then and after: all of them pass
}

// Cause is what the steps of a runbook's cause said of a trial's fault. Role is what
// is asked of it: must (an experiment of the trial is this cause), not (only other
// experiments are), or may (none is, so nobody judges it).
type Cause struct {
	Name   string         `json:"name"`
	Role   string         `json:"role"`
	Asked  int            `json:"asked"` // moments, a second apart
	True   int            `json:"true"`  // moments at which it was true
	Status verdict.Status `json:"status"`
	Reason string         `json:"reason,omitempty"`
}

// Mitigation is what a runbook's mitigation did to the harm of a fault that went on. Waited
// is how long, in seconds, nothing was done before, which did not restore the service;
// Restored how long it took from the mitigation's beginning, -1 if it was not restored.
type Mitigation struct {
	Runbook  string         `json:"runbook"`
	Commands []SeenCommand  `json:"commands"`
	Within   Duration       `json:"within"`
	Waited   float64        `json:"waited"`
	Restored float64        `json:"restored"`
	Status   verdict.Status `json:"status"`
	Reason   string         `json:"reason,omitempty"`
}

// Confusion is every runbook's diagnosis during every trial's fault. Cells has a
// row a scenario and a column a runbook: "true" (at some moment), "false" (at
// none) or "unknown". Causes counts the causes that were judged. Wrong holds a sentence
// for each diagnosis and each cause that should be otherwise. Noted counts the scenarios of which
// none was judged.
type Confusion struct {
	Runbooks  []string   `json:"runbooks"`
	Scenarios []string   `json:"scenarios"`
	Cells     [][]string `json:"cells"`
	Causes    int        `json:"causes,omitempty"`
	Noted     int        `json:"noted,omitempty"`
	Wrong     []string   `json:"wrong"`
}

// Proof says whether the system's own metrics agree that an experiment was in force.
type Proof struct {
	Experiment string     `json:"experiment"`
	Query      string     `json:"query"`
	Result     string     `json:"result"` // confirmed, mismatch or inconclusive
	Reason     string     `json:"reason,omitempty"`
	InForceAt  *time.Time `json:"in_force_at,omitempty"`
	Account    string     `json:"account,omitempty"` // what the injector itself counted
}

// VictimPod is what became of a pod that a fault was in, or whose traffic it was about: from
// the injection until the fault began to be taken back or, before that, a mitigation began.
type VictimPod struct {
	Experiment string `json:"experiment"`
	Name       string `json:"name"`
	// UIDBefore is of the pod of this name at the injection, UIDAfter at the end; "" when
	// there was none.
	UIDBefore string         `json:"uid_before"`
	UIDAfter  string         `json:"uid_after"`
	Restarts  map[string]int `json:"restarts,omitempty"` // by container of the same pod; those that were not are left out
	// Lasting says that the fault was to stay in this pod. One that kills it is not.
	Lasting bool   `json:"lasting,omitempty"`
	Unknown string `json:"unknown,omitempty"` // why the testbed did not tell what became of it
}

// Story says what became of the pod: "the same pod", "replaced", "gone", "not there when the
// fault was injected" or "not known: …".
func (v *VictimPod) Story() string {
	switch {
	case v.Unknown != "":
		return "not known: " + v.Unknown
	case v.UIDBefore == "":
		return "not there when the fault was injected"
	case v.UIDAfter == "":
		return "gone"
	case v.UIDAfter != v.UIDBefore:
		return "replaced"
	}
	return SamePod
}

// SamePod is the Story of a pod that stayed.
const SamePod = "the same pod"

// Latency of accepted requests over the whole trial, in seconds: from the
// planned send time (what a user waits) and from the real one (what Vegeta prints).
type Latency struct {
	PlannedP50 float64 `json:"planned_p50"`
	PlannedP99 float64 `json:"planned_p99"`
	SentP50    float64 `json:"sent_p50"`
	SentP99    float64 `json:"sent_p99"`
}

// Series is what Prometheus answered to one range query; it is stored in the
// trial's samples.json.
type Series struct {
	Name   string       `json:"name"` // e.g. "backlog"
	Query  string       `json:"query"`
	Points [][2]float64 `json:"points"` // unix seconds, value
}
