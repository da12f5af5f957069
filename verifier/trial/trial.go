// Package trial is the order of events of a trial: load, baseline, fault,
// recovery, judgement. It owns the windows and the one clock.
//
// It knows no Kubernetes, no local testbed and no HTTP: whatever it needs of
// them it declares here, and the command wires it.
package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"seatrial/experiments"
	"seatrial/verifier/evidence"
)

// Testbed is where the system runs.
type Testbed interface {
	// Healthy returns nil when every part of the system is up and whole, else
	// an error that names the first part that is not.
	Healthy(ctx context.Context) error
	// Prepare resolves an experiment's victims from the seed and checks that
	// it can be injected here; nothing is touched yet. pick narrows the pods
	// that the selector matches, nil for no narrowing.
	Prepare(ctx context.Context, e *experiments.Experiment, pick []string, seed int64) (Fault, error)
	// Logs writes what every part logged since then into dir.
	Logs(ctx context.Context, since time.Time, dir string) error
	// Versions names every server of the system with its version.
	Versions() map[string]string
}

// Fault is an experiment with its victims resolved. Its life has one order:
// Inject, Recover, Residue; Recover may come at any time and more than once.
type Fault interface {
	Victims() []string
	Manifest() []byte // the object as applied
	Inject(ctx context.Context) error
	Recover(ctx context.Context) error
	Residue(ctx context.Context) ([]string, error) // nil when nothing is left
	// Account is what the injector itself counted, for the reader; "" if it
	// counts nothing. It proves nothing.
	Account() string
}

// Prober is a Fault whose testbed may turn out not to be able to inject it, however often it
// is asked, and can find that out before there is load.
type Prober interface {
	// Probe tries, so mildly that nobody notices, whether the fault can be injected here. The
	// system is as before when it returns; the error is why it cannot, or what is left.
	Probe(ctx context.Context) error
}

// Witness is a Fault whose testbed can tell a pod from another one of its name.
type Witness interface {
	// VictimPods is what became of the pods that the fault touches, from the injection until
	// it began to be taken back, or until now. Experiment and Lasting are for the trial to say.
	VictimPods(ctx context.Context) ([]evidence.VictimPod, error)
}

// Load is the load generator. One load runs at a time.
type Load interface {
	Start(ctx context.Context, spec LoadSpec) error
	Status(ctx context.Context) (LoadStatus, error)
	// Stop stops sending and returns when every request has its outcome.
	Stop(ctx context.Context) error
	// Save writes the closed History and Vegeta's files into the folder.
	Save(ctx context.Context, dir evidence.Dir) error
}

// LoadSpec is one load: the plan's, and what the trial adds.
type LoadSpec struct {
	evidence.Load
	Prefix   string // of task ids
	Seed     int64
	Duration time.Duration // after which it ends by itself
}

// LoadStatus is how a load is doing. Rates are in requests a second over the
// whole load; counts are since its start.
type LoadStatus struct {
	AskedRate, AchievedRate          float64
	Sent, Accepted, Refused, Unknown uint64
	InFlight                         uint64 // requests that wait for their answer
}

// System is what the verifier may ask the system under trial, as any client could.
type System interface {
	// Held writes the system's own record of every task whose id begins with
	// prefix, as GET /tasks answers it.
	Held(ctx context.Context, prefix string, w io.Writer) error
	// Backlog is the number of accepted tasks that are not done.
	Backlog(ctx context.Context) (int, error)
}

// Metrics answers PromQL.
type Metrics interface {
	// Vector evaluates query at a moment. An empty answer is no error.
	Vector(ctx context.Context, query string, at time.Time) ([]Sample, error)
	// Range evaluates query each second of a span and sums its series.
	Range(ctx context.Context, query string, from, to time.Time) ([][2]float64, error)
}

// Sample is one value of a vector with its labels.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Alerts lists the alerts that are firing at this moment.
type Alerts interface {
	Active(ctx context.Context) ([]evidence.SeenAlert, error)
}

// Operator carries out what a runbook tells its reader to do.
type Operator interface {
	// Able returns nil when the commands can be carried out here, else what is missing.
	Able(ctx context.Context) error
	// Do carries out a block of shell commands. An error is that the block has failed;
	// the output is what it printed, also then.
	Do(ctx context.Context, command string) (output string, err error)
}

// Progress is what a person watching wants to know.
type Progress struct {
	Scenario string
	Phase    string
	Left     time.Duration // in this phase, 0 when it ends by an event
	Load     LoadStatus
	Backlog  int
}

// Trial is one trial with everything that it needs. All fields are required,
// except Watch, End, Processors and Flush.
type Trial struct {
	Plan        evidence.Plan
	Experiments []*experiments.Experiment
	Testbed     Testbed
	Load        Load
	System      System
	Metrics     Metrics
	Alerts      Alerts
	Dir         evidence.Dir
	Operator    Operator       // may be nil when the plan has no mitigation
	Watch       func(Progress) // called about twice a second
	Processors  Processors     // of the machine that holds the trial and the system; nil if these are two
	Flush       func() error   // writes a few bytes to that machine's disk, and returns when they are there
	// End ends the fault window before its time when it is closed.
	End <-chan struct{}
}

// stopped ends a trial before its time. Broken: the system broke a promise;
// otherwise the trial could not be held, which proves nothing.
type stopped struct {
	broken bool
	err    error
}

func (s *stopped) Error() string { return s.err.Error() }
func (s *stopped) Unwrap() error { return s.err }

func unfit(format string, args ...any) error { return &stopped{false, fmt.Errorf(format, args...)} }
func broken(format string, args ...any) error {
	return &stopped{true, fmt.Errorf(format, args...)}
}

// Run holds the trial, leaves its Evidence and judges that. The error is for a
// trial that could leave no Evidence at all; everything else is in the verdict.
//
// Whatever happens, also after a panic or when ctx ends, the faults are
// recovered, the load is stopped and the Evidence is closed.
func (t *Trial) Run(ctx context.Context) (*evidence.Scenario, error) {
	if err := t.Dir.Save(evidence.PlanFile, t.Plan); err != nil {
		return nil, err
	}
	r := &run{Trial: t, rec: &evidence.Record{
		Started: time.Now(), Residue: "none", Versions: t.Testbed.Versions(),
	}}
	noteTheft, noteStall := r.watchTheft(ctx), r.watchDisk(ctx)
	err := r.hold(ctx)
	noteTheft()
	noteStall()
	r.rec.Stopped = time.Now()
	if err != nil {
		r.rec.Stopping = err.Error()
		var unable *experiments.Unable
		r.rec.Unable = errors.As(err, &unable)
		var s *stopped
		r.rec.Broken = errors.As(err, &s) && s.broken
		if ctx.Err() != nil {
			r.rec.Stopping, r.rec.Broken = interrupted(ctx)+": "+err.Error(), false
		}
	}
	if err := t.Dir.Save(evidence.RecordFile, r.rec); err != nil {
		return nil, err
	}
	return Judge(t.Dir)
}

// interrupted says what ended ctx, if that was not somebody's wish.
func interrupted(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return fmt.Sprintf("interrupted (%v)", cause)
	}
	return "interrupted"
}

// hold is the trial's story. Each part ends it by returning an error; what has
// to happen anyway is deferred.
func (r *run) hold(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = unfit("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := r.preflight(ctx); err != nil {
		return err
	}
	stopAlerts := r.watchAlerts(ctx)
	defer stopAlerts()
	if err := r.startLoad(ctx); err != nil {
		return errors.Join(err, r.closeLoad(ctx))
	}
	defer func() { err = errors.Join(err, r.closeLoad(ctx)) }()

	if err := r.baseline(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.recoverFaults(ctx)) }()
	if err := r.fault(ctx); err != nil {
		return err
	}
	if err := r.recovery(ctx); err != nil {
		return err
	}
	return nil
}
