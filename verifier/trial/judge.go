package trial

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/alert"
	"seatrial/verifier/check"
	"seatrial/verifier/confusion"
	"seatrial/verifier/evidence"
	"seatrial/verifier/slo"
	"seatrial/verifier/verdict"
)

// Judge judges a trial's Evidence, from its files alone, and writes its
// verdict.json. The error is for Evidence that cannot be judged at all: a
// missing or unreadable plan, an unreadable record. A record that is missing,
// because the trial was killed, and a History that is missing, cut or foreign
// are for the verdict to say.
func Judge(dir evidence.Dir) (*evidence.Scenario, error) {
	var plan evidence.Plan
	var rec evidence.Record
	if err := dir.Load(evidence.PlanFile, &plan); err != nil {
		return nil, err
	}
	switch err := dir.Load(evidence.RecordFile, &rec); {
	case errors.Is(err, fs.ErrNotExist):
		rec.Stopping = "the trial was killed before it could leave a record"
	case err != nil:
		return nil, err
	}
	l := readLedger(dir, &plan, &rec)
	rec.Proofs = tested(&plan, &rec)
	s := scenario(&plan, &rec, dir)
	s.tally(l)
	for _, g := range append(plan.Guarantees, evidence.GuaranteePlan{Name: evidence.NothingUnasked}) {
		s.Guarantees = append(s.Guarantees, judgeGuarantee(g, l, &rec))
	}
	for _, o := range plan.Objectives {
		s.SLO = append(s.SLO, judgeObjective(o, &rec))
	}
	s.Alerts = judgeAlerts(&plan, &rec, s.InForce)
	s.Diagnoses = confusion.Judge(plan.Runbooks, plan.AlertNames(), rec.Diagnoses, s.InForce == "confirmed" || s.InForce == "none")
	s.Mitigation = judgeMitigation(plan.Mitigation, &rec)
	confusion.Causes(s.Diagnoses, plan.Runbooks, plan.Experiments, rec.Diagnoses)
	if plan.ByCrew {
		confusion.Note(s.Diagnoses)
	}
	s.Seconds = splits(&plan, &rec, s.Alerts, l.deviatedAt)
	conclude(&s.Scenario, &rec)
	lose(&s.Scenario, &plan, &rec)
	s.Late = l.late.Seconds()
	s.Stolen, s.Stalled = rec.Stolen.Share, rec.Stalled.Seconds
	disturb(&s.Scenario, worst{late: l.lateAt, stolen: rec.Stolen.At, stalled: rec.Stalled.At})
	hint(&s.Scenario, rec.Busy)
	return &s.Scenario, dir.Save(evidence.VerdictFile, &s.Scenario)
}

// judgeAlerts judges what rang, by the plan and by the runbooks. What the fault was to ring
// stays open unless it was in force as proven.
func judgeAlerts(plan *evidence.Plan, rec *evidence.Record, inForce string) []evidence.Alert {
	var proven time.Time
	if inForce == "confirmed" {
		proven = inForceAt(rec)
	}
	all := alert.Judge(plan.Alerts, rec.Alerts, proven, watchedUntil(plan, rec))
	if plan.Quiet {
		alert.MustBeQuiet(all)
	}
	alert.Promises(all, plan.Runbooks, alert.Moments{InForce: proven, Removed: rec.RemovedAt, Watched: rec.Stopped})
	if !plan.ByCrew { // how long a fault stays, and so what it rings, is theirs
		alert.NoOtherPages(all, plan.Runbooks)
	}
	return all
}

// judged is a scenario in the making.
type judged struct{ evidence.Scenario }

func scenario(plan *evidence.Plan, rec *evidence.Record, dir evidence.Dir) *judged {
	return &judged{evidence.Scenario{
		Name: plan.Name, Feature: plan.Feature, Tags: plan.Tags, Runbook: plan.Runbook, Target: plan.Target,
		Experiments: plan.Experiments, Started: rec.Started, Evidence: dir.InRun(),
		AskedRate: rec.AskedRate, AchievedRate: rec.AchievedRate, Unable: rec.Unable,
		InForce: inForce(plan, rec), Residue: rec.Residue,
		HeldAgain: plan.HeldAgain, FirstEvidence: plan.FirstEvidence,
		Windows: rec.Windows, Markers: markers(rec), Proofs: rec.Proofs, Victims: rec.Victims, VictimPods: rec.VictimPods,
	}}
}

// conclude joins everything that was judged. What the trial saw broken weighs
// as much as a guarantee; a trial that ended early proves nothing, but what it
// saw broken before stays broken.
func conclude(s *evidence.Scenario, rec *evidence.Record) {
	all := []verdict.Verdict{evidence.WorstOf(s)}
	switch {
	case rec.Stopping != "" && rec.Broken:
		all = append(all, verdict.Failed("%s", rec.Stopping))
	case rec.Stopping != "":
		// Why it stopped explains what could not be judged, so it comes first.
		all = append([]verdict.Verdict{verdict.Unsure("%s", rec.Stopping)}, all...)
	case s.InForce == "mismatch" || s.InForce == "inconclusive":
		all = append(all, verdict.Unsure("the fault was not proven to be in force"))
	}
	v := verdict.Worst(all...)
	s.Status, s.Reason = v.Status, v.Reason
}

// ledger is the History joined with what the system holds, and what one walk
// over the History tells beside.
type ledger struct {
	*check.Ledger
	header     history.Header
	latency    evidence.Latency
	deviatedAt time.Time
	budgetCost float64
	late       time.Duration
	lateAt     time.Time
}

func historyHeader(dir evidence.Dir) (history.Header, error) {
	r, err := history.Open(dir.Path(evidence.HistoryFile))
	if err != nil {
		return history.Header{}, err
	}
	return r.Header(), r.Close()
}

// readLedger reads what there is; what is missing is noted in the Ledger,
// whose guarantees then stay open.
func readLedger(dir evidence.Dir, plan *evidence.Plan, rec *evidence.Record) *ledger {
	r, err := history.Open(dir.Path(evidence.HistoryFile))
	if err != nil {
		l := &ledger{Ledger: check.NewLedger(history.Header{})}
		l.HistoryCut(err)
		l.HeldCut(errors.New("nothing can be joined with it"))
		return l
	}
	defer r.Close()
	l := &ledger{Ledger: check.NewLedger(r.Header()), header: r.Header()}
	l.MinAccepted = plan.MinAccepted
	watch := newServiceWatch(plan, rec, r.Header().Start)
	for {
		var op history.Op
		err := r.Next(&op)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = l.Op(&op)
		}
		if err != nil {
			l.HistoryCut(err)
			break
		}
		watch.see(&op)
	}
	l.latency, l.deviatedAt = watch.latency(), watch.deviatedAt()
	l.budgetCost = watch.budgetCost(AvailabilityOf(plan))
	l.late, l.lateAt = watch.late, watch.start.Add(watch.lateAt)
	if rec.Held != "" {
		l.HeldCut(errors.New(rec.Held))
	}
	l.HeldCut(readHeld(dir.Path(evidence.HeldFile), l))
	return l
}

// heldLine is a line of GET /tasks?prefix=…, or its last line.
type heldLine struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Effects uint32    `json:"effects"`
	DoneAt  time.Time `json:"done_at"`
	End     bool      `json:"end"`
	Count   int       `json:"count"`
}

// readHeld enters what the system holds.
func readHeld(path string, l *ledger) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for lines.Scan() {
		var line heldLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("%s line %d: %w", path, n+1, err)
		}
		if line.End {
			if line.Count != n {
				return fmt.Errorf("%s: %d lines, but its end says %d", path, n, line.Count)
			}
			return nil
		}
		n++
		if err := l.hold(&line); err != nil {
			return fmt.Errorf("%s line %d: %w", path, n, err)
		}
	}
	return errors.Join(lines.Err(), fmt.Errorf("%s has no closing line", path))
}

func (l *ledger) hold(line *heldLine) error {
	number, ok := strings.CutPrefix(line.ID, l.header.Prefix+"-")
	task, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		l.HoldForeign(line.ID)
		return nil
	}
	return l.Hold(check.Held{
		Task: task, Effects: line.Effects, Dead: line.Status == "dead",
		DoneAt: line.DoneAt.Sub(l.header.Start), // a missing time yields check.Untimed
	})
}

func (s *judged) tally(l *ledger) {
	sum := l.Summary()
	s.Ops, s.Accepted, s.Refused, s.Unknown = sum.Ops, sum.Accepted, sum.Refused, sum.Unknown
	s.UnknownDone, s.Dead, s.Phantoms = sum.UnknownDone, sum.Dead, sum.Phantoms
	s.Completed, s.Lost, s.Duplicated, s.RefusedButDone = sum.Completed, sum.Lost, sum.Duplicated, sum.RefusedButDone
	s.Latency, s.BudgetCost = l.latency, l.budgetCost
}

func judgeGuarantee(g evidence.GuaranteePlan, l *ledger, rec *evidence.Record) evidence.Guarantee {
	var f check.Finding
	switch g.Name {
	case evidence.ExactlyOnce:
		f = check.ExactlyOnce(l.Ledger)
	case evidence.RefusedNeverDone:
		f = check.RefusedNeverDone(l.Ledger)
	case evidence.UnknownAtMost:
		f = check.UnknownAtMostOnce(l.Ledger)
	case evidence.DoneWithin:
		f = check.DoneWithin(l.Ledger, recoveredAt(l, rec), time.Duration(g.Within))
	case evidence.NothingUnasked:
		f = check.NoPhantoms(l.Ledger)
	default:
		f = check.Finding{Name: g.Name, Verdict: verdict.Unsure("unknown guarantee %q: the Evidence is from another version", g.Name)}
	}
	return evidence.Guarantee{Name: f.Name, Status: f.Verdict.Status, Reason: f.Verdict.Reason, Count: f.Count, Tasks: f.Tasks}
}

// recoveredAt is when the system was whole again, as an offset into the
// History; without a fault, its start; negative when it was not seen.
func recoveredAt(l *ledger, rec *evidence.Record) time.Duration {
	switch {
	case !rec.HealthyAt.IsZero():
		return rec.HealthyAt.Sub(l.header.Start)
	case rec.InjectAt.IsZero() && rec.Stopping == "":
		return 0
	}
	return -1
}

func judgeObjective(o evidence.ObjectivePlan, rec *evidence.Record) evidence.Objective {
	w, _ := rec.Window(o.Window)
	for _, m := range rec.Objectives {
		if m.ObjectivePlan == o {
			return slo.Judge(m, w.End.Sub(w.Start), slo.LeastEvents)
		}
	}
	return slo.Judge(evidence.MeasuredWindow{ObjectivePlan: o, Reason: "the window was not reached"}, 0, slo.LeastEvents)
}

// inForce joins the proofs: all confirmed, or the worst of them.
func inForce(plan *evidence.Plan, rec *evidence.Record) string {
	if len(plan.Experiments) == 0 {
		return "none"
	}
	if len(rec.Proofs) < len(plan.Experiments) {
		return "inconclusive"
	}
	for _, result := range []string{"mismatch", "inconclusive"} {
		for _, p := range rec.Proofs {
			if p.Result == result {
				return result
			}
		}
	}
	return "confirmed"
}

// inForceAt is when the last fault was proven, zero if one was not.
func inForceAt(rec *evidence.Record) (last time.Time) {
	for _, p := range rec.Proofs {
		if p.InForceAt == nil {
			return time.Time{}
		}
		if p.InForceAt.After(last) {
			last = *p.InForceAt
		}
	}
	return last
}

// watchedUntil is how long the fault was given to ring an alert: in a trial
// that was stopped, or whose fault people ended, only until the fault was removed.
func watchedUntil(plan *evidence.Plan, rec *evidence.Record) time.Time {
	if (rec.Stopping != "" || plan.ByCrew) && !rec.RemovedAt.IsZero() {
		return rec.RemovedAt
	}
	return rec.Stopped
}

// markers are the moments for the chart: the trial's own and the alerts'.
func markers(rec *evidence.Record) []evidence.Marker {
	all := append([]evidence.Marker(nil), rec.Markers...)
	for _, a := range rec.Alerts {
		all = append(all, evidence.Marker{Name: "alert " + a.Name, At: a.FiredAt})
		if a.ResolvedAt != nil {
			all = append(all, evidence.Marker{Name: "resolved " + a.Name, At: *a.ResolvedAt})
		}
	}
	slices.SortStableFunc(all, func(a, b evidence.Marker) int { return a.At.Compare(b.At) })
	return all
}

// splits are the times between the trial's events; -1 where one was not seen.
func splits(plan *evidence.Plan, rec *evidence.Record, alerts []evidence.Alert, deviated time.Time) evidence.Seconds {
	proven := inForceAt(rec)
	s := evidence.Seconds{
		InjectToInForce:        between(rec.InjectAt, proven),
		InForceToDeviation:     between(proven, deviated),
		InForceToAlert:         -1,
		RecoverToSLO:           between(rec.RemovedAt, rec.SLOAt),
		RecoverToAlertResolved: -1,
		BacklogDrained:         between(rec.RemovedAt, rec.DrainedAt),
	}
	for _, a := range alerts {
		if !a.Expected || a.FiredAt == nil {
			continue
		}
		s.InForceToAlert = max(s.InForceToAlert, between(proven, *a.FiredAt))
		if a.ResolvedAt != nil {
			s.RecoverToAlertResolved = max(s.RecoverToAlertResolved, between(rec.RemovedAt, *a.ResolvedAt))
		}
	}
	return s
}

// between is the time from one event to another in seconds, at least 0, or -1
// when one of them was not seen.
func between(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return -1
	}
	return max(0, to.Sub(from).Seconds())
}
