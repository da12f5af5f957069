// Package runbook reads runbooks: what a reader at night follows step by step, in a
// form that can be held against a fault.
//
// It is pure: it reads files from an fs.FS, finds every mistake with its line, and asks
// nobody. It knows neither Prometheus nor trials.
package runbook

import (
	"time"
)

// Set is all runbooks, by name.
type Set map[string]*Runbook

// Runbook is one file: what an alert means and what to do.
type Runbook struct {
	Name          string        // of the alert, the title and the file
	DetectWithin  time.Duration // from the proven injection to the alert
	RecoverWithin time.Duration // from the fault's removal to the alert's end
	AlsoTrue      []string      // runbooks during whose faults the diagnosis may be true
	AlsoPages     []string      // alerts that may page beside its own
	Meaning       string        // prose
	Impact        string        // prose
	Diagnosis     []Step        // true while each step with an Expectation holds
	Causes        []Cause
	Mitigations   []Mitigation
	Text          []byte // the file

	diagnosisLine int
}

// Step asks one thing.
type Step struct {
	Line        int
	Question    string // prose before the block
	Kind        string // promql or sh
	Target      string // of sh: local, kubernetes or "" for both
	Query       string
	Expectation *Expectation // nil for a step that is only to be looked at
	Note        string       // prose after the expectation
}

// Cause is one reason for the alert, told apart from the others by steps of its own,
// which hold beside the runbook's.
type Cause struct {
	Line          int
	Name          string
	Steps         []Step
	Injected      []string // experiments
	NotInjectable string   // why there is no experiment; "" if there is one
}

// Mitigation is a command that ends the harm, and how to take it back.
type Mitigation struct {
	Line    int
	Target  string // local, kubernetes or "" for both
	Command string
	Undo    string
}
