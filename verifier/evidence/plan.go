package evidence

import (
	"fmt"
	"slices"
	"time"

	"seatrial/verifier/verdict"
)

// Duration is a time.Duration that JSON shows as "12s".
type Duration time.Duration

// MarshalText writes Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's notation.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// String returns Go's notation.
func (d Duration) String() string { return time.Duration(d).String() }

// Plan is all that a trial sets out to do and to judge, decided before it
// starts. It is the trial's plan.json.
type Plan struct {
	Name    string   `json:"name"`
	Feature string   `json:"feature"`
	Tags    []string `json:"tags,omitempty"`
	Runbook string   `json:"runbook"`
	Seed    int64    `json:"seed"`
	Target  string   `json:"target"`

	Load          Load              `json:"load"`
	Baseline      Duration          `json:"baseline"`
	Fault         Duration          `json:"fault"` // at least; the longest experiment stretches it
	Recovery      Duration          `json:"recovery"`
	Experiments   []string          `json:"experiments,omitempty"`
	InForce       Duration          `json:"in_force_within,omitempty"`
	Recover       Duration          `json:"recover_within"` // from the fault's removal to a healthy system
	Objectives    []ObjectivePlan   `json:"objectives,omitempty"`
	Alerts        []AlertPlan       `json:"alerts,omitempty"`
	Quiet         bool              `json:"quiet,omitempty"` // no alert may page
	Mitigation    *MitigationPlan   `json:"mitigation,omitempty"`
	Guarantees    []GuaranteePlan   `json:"guarantees,omitempty"`
	Runbooks      []RunbookPlan     `json:"runbooks,omitempty"`       // all that there are: each one's diagnosis is asked in each trial
	ByCrew        bool              `json:"by_crew,omitempty"`        // people end the fault, when they have dealt with it
	HeldAgain     string            `json:"held_again,omitempty"`     // why
	FirstEvidence string            `json:"first_evidence,omitempty"` // Evidence of the time before, relative to the run's folder
	MinAccepted   int               `json:"min_accepted"`             // fewer accepted tasks are no basis for a judgement
	Versions      map[string]string `json:"versions,omitempty"`
}

// AlertNames lists the alerts that are expected.
func (p *Plan) AlertNames() []string {
	var names []string
	for _, a := range p.Alerts {
		names = append(names, a.Name)
	}
	return names
}

// Load is what the load generator is asked for.
type Load struct {
	Profile     string   `json:"profile"` // steady, ramp, spike or diurnal
	Rate        float64  `json:"rate"`    // requests a second; the base of a spike, the start of a ramp
	Peak        float64  `json:"peak,omitempty"`
	RepeatRatio float64  `json:"repeat_ratio,omitempty"` // share of requests that repeat an earlier id on purpose
	Timeout     Duration `json:"timeout"`                // the client's patience
	Scale       float64  `json:"scale,omitempty"`        // what the scenario's own rates were multiplied by; 0: they are as it says
}

// ObjectivePlan asks for an Objective in one window. Ratio is in [0,1].
// Within is the threshold of a latency or freshness objective.
type ObjectivePlan struct {
	Name   string   `json:"name"` // availability, latency or freshness
	Window string   `json:"window"`
	Ratio  float64  `json:"ratio"`
	Within Duration `json:"within,omitempty"`
}

// AlertPlan expects an alert within a time from the fault being in force.
type AlertPlan struct {
	Name   string   `json:"name"`
	Within Duration `json:"within"`
}

// RunbookPlan is what a runbook promises of its alert's fault.
type RunbookPlan struct {
	Name  string     `json:"name"`
	Steps []StepPlan `json:"steps"` // of its diagnosis: true while all of them hold
	// DetectWithin counts from the proven injection, RecoverWithin from the fault's removal.
	DetectWithin  Duration    `json:"detect_within"`
	RecoverWithin Duration    `json:"recover_within"`
	AlsoTrue      []string    `json:"also_true,omitempty"`  // runbooks during whose faults the diagnosis may be true
	AlsoPages     []string    `json:"also_pages,omitempty"` // alerts that may page beside its own
	Causes        []CausePlan `json:"causes,omitempty"`     // those that a step tells apart; none in old Evidence
}

// Names says whether one of the runbook's causes is one of the experiments.
func (b *RunbookPlan) Names(experiments []string) bool {
	return slices.ContainsFunc(b.Causes, func(c CausePlan) bool { return c.Is(experiments) })
}

// CausePlan is one of the causes that a runbook tells apart: it holds at a moment
// when the diagnosis and all of its own steps do.
type CausePlan struct {
	Name     string     `json:"name"`
	Injected []string   `json:"injected_by,omitempty"` // experiments, each of which is this cause
	Steps    []StepPlan `json:"steps"`
}

// Is says whether one of the experiments injects the cause.
func (c *CausePlan) Is(experiments []string) bool {
	return slices.ContainsFunc(c.Injected, func(e string) bool { return slices.Contains(experiments, e) })
}

// MitigationPlan lets a trial carry out a runbook's mitigation at the end of its fault window,
// in which nothing was done, while the fault goes on.
type MitigationPlan struct {
	Runbook  string        `json:"runbook"`
	Within   Duration      `json:"within"` // from its beginning to a service that is restored
	Commands []CommandPlan `json:"commands"`
}

// CommandPlan is a block of shell commands of a runbook.
type CommandPlan struct {
	Line    int    `json:"line"` // of the runbook's file
	Command string `json:"command"`
}

// StepPlan is one expectation of a diagnosis. It holds at a moment when Holds
// has a value then; an Empty one, when it has none.
type StepPlan struct {
	Query  string `json:"query"`
	Expect string `json:"expect"`
	Holds  string `json:"holds"`
	Empty  bool   `json:"empty,omitempty"`
}

// The guarantees that a plan may ask for.
const (
	ExactlyOnce      = "accepted-exactly-once"
	RefusedNeverDone = "refused-never-done"
	UnknownAtMost    = "unknown-at-most-once"
	DoneWithin       = "done-within"
	// NothingUnasked is judged always, whether a plan says so or not.
	NothingUnasked = "nothing-unasked"
)

// GuaranteePlan asks for a Guarantee; Within is for DoneWithin.
type GuaranteePlan struct {
	Name   string   `json:"name"`
	Within Duration `json:"within,omitempty"`
}

// Stolen is the largest share of this machine's processor time that its own host gave to others
// within ten seconds, 0 to 1, and when these ended. It is of the machine that held the trial.
type Stolen struct {
	Share float64   `json:"share"`
	At    time.Time `json:"at,omitzero"`
}

// Stalled is the longest that this machine's disk took to flush a few bytes, and when that began.
// It is of the machine that held the trial.
type Stalled struct {
	Seconds float64   `json:"seconds"`
	At      time.Time `json:"at,omitzero"`
}

// Record is what a trial saw, apart from the History and what the system
// holds. It is the trial's record.json; together they suffice to judge again.
type Record struct {
	Started  time.Time `json:"started"`
	Stopped  time.Time `json:"stopped"`
	Stopping string    `json:"stopping,omitempty"` // why the trial ended early, "" if it did not
	// Unable says that it ended because this testbed cannot inject the fault,
	// however often it is asked.
	Unable bool `json:"unable,omitempty"`
	// Broken says that it was the system that broke a promise (Fail), not the
	// trial that could not be held (Inconclusive).
	Broken bool `json:"broken,omitempty"`

	AskedRate    float64 `json:"asked_rate"`
	AchievedRate float64 `json:"achieved_rate"`

	Windows []Window `json:"windows"`
	Markers []Marker `json:"markers"`
	Proofs  []Proof  `json:"proofs,omitempty"`
	Victims []string `json:"victims,omitempty"`
	// VictimPods is what became of the victims, where the testbed tells; none in old Evidence.
	VictimPods []VictimPod `json:"victim_pods,omitempty"`
	// Restarts is how often each pod's server was started from the injection to the end of
	// the load, those that were not once left out; nil where that is not known.
	Restarts map[string]int `json:"restarts"`
	Residue  string         `json:"residue"` // "none", or what was left
	Stolen   Stolen         `json:"stolen,omitzero"`
	Stalled  Stalled        `json:"stalled,omitzero"`
	Busy     float64        `json:"busy,omitempty"` // share of this machine's processor time that was used in the baseline window
	InjectAt time.Time      `json:"inject_at,omitzero"`
	// RemovedAt is when the fault's removal began, HealthyAt when the system
	// was whole again, SLOAt when users were served as promised again.
	RemovedAt time.Time `json:"removed_at,omitzero"`
	HealthyAt time.Time `json:"healthy_at,omitzero"`
	SLOAt     time.Time `json:"slo_at,omitzero"`
	DrainedAt time.Time `json:"drained_at,omitzero"`

	Alerts     []SeenAlert       `json:"alerts,omitempty"`
	Objectives []MeasuredWindow  `json:"objectives,omitempty"`
	Diagnoses  []SeenDiagnosis   `json:"diagnoses,omitempty"`
	Mitigation *SeenMitigation   `json:"mitigation,omitempty"`
	Held       string            `json:"held,omitempty"` // why the system's tasks could not all be read, "" if they could
	Versions   map[string]string `json:"versions,omitempty"`
}

// SeenAlert is an alert that Alertmanager held at some time during the trial.
type SeenAlert struct {
	Name       string     `json:"name"`
	Severity   string     `json:"severity"`
	RunbookURL string     `json:"runbook_url"`
	FiredAt    time.Time  `json:"fired_at"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`
	Silenced   bool       `json:"silenced,omitempty"` // inhibited or silenced: it would not have paged
}

// MeasuredWindow is what Prometheus answered for an ObjectivePlan: how many
// events there were in the window and how many were good.
type MeasuredWindow struct {
	ObjectivePlan
	Good   float64 `json:"good"`
	Total  float64 `json:"total"`
	Reason string  `json:"reason,omitempty"` // why there is no answer
	Query  string  `json:"query"`
}

// SeenDiagnosis is what a runbook's diagnosis came to, each second of the fault.
type SeenDiagnosis struct {
	Runbook string  `json:"runbook"`
	Asked   int     `json:"asked"`            // moments
	True    []int64 `json:"true,omitempty"`   // those at which it was true, in Unix seconds
	Reason  string  `json:"reason,omitempty"` // why it could not be asked
	// AskedAfter and After are the same from the fault's removal to the end of the recovery window, of a
	// runbook whose alert is not expected and that names an experiment of the trial.
	AskedAfter int     `json:"asked_after,omitempty"`
	After      []int64 `json:"after,omitempty"`
	// Causes is what the runbook's causes came to: of an expected alert, and of one whose diagnosis
	// was true, then or after, of a fault that a cause names.
	Causes []SeenCause `json:"causes,omitempty"`
}

// SeenCause is what a cause came to at the moments at which its runbook's diagnosis
// was asked.
type SeenCause struct {
	Name   string  `json:"name"`
	True   []int64 `json:"true,omitempty"`   // Unix seconds
	Reason string  `json:"reason,omitempty"` // why it could not be asked
}

// SeenMitigation is what became of a mitigation. Before is why the service was not restored
// just before it began, when nothing had been done, "" if it was; After is the same when
// the trial ceased to wait.
type SeenMitigation struct {
	Began      time.Time     `json:"began"`
	Before     string        `json:"before"`
	Commands   []SeenCommand `json:"commands"`
	RestoredAt time.Time     `json:"restored_at,omitzero"`
	After      string        `json:"after,omitempty"`
}

// SeenCommand is a block of commands that was carried out.
type SeenCommand struct {
	CommandPlan
	Seconds float64 `json:"seconds"`
	Output  string  `json:"output,omitempty"` // its end
	Error   string  `json:"error,omitempty"`
}

// Window returns the window called name.
func (r *Record) Window(name string) (Window, bool) {
	for _, w := range r.Windows {
		if w.Name == name {
			return w, true
		}
	}
	return Window{}, false
}

// Mark notes a moment.
func (r *Record) Mark(at time.Time, format string, args ...any) {
	r.Markers = append(r.Markers, Marker{Name: fmt.Sprintf(format, args...), At: at})
}

// WorstOf joins the statuses of everything that was judged in a scenario.
func WorstOf(s *Scenario) verdict.Verdict {
	var all []verdict.Verdict
	for _, g := range s.Guarantees {
		all = append(all, verdict.Verdict{Status: g.Status, Reason: g.Reason})
	}
	for _, o := range s.SLO {
		all = append(all, verdict.Verdict{Status: o.Status, Reason: o.Reason})
	}
	for _, a := range s.Alerts {
		all = append(all, verdict.Verdict{Status: a.Status, Reason: a.Reason})
	}
	for _, d := range s.Diagnoses {
		all = append(all, verdict.Verdict{Status: d.Status, Reason: d.Reason})
		for _, c := range d.Causes {
			all = append(all, verdict.Verdict{Status: c.Status, Reason: c.Reason})
		}
	}
	if m := s.Mitigation; m != nil {
		all = append(all, verdict.Verdict{Status: m.Status, Reason: m.Reason})
	}
	return verdict.Worst(all...)
}
