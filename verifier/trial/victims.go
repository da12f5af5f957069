package trial

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// noteVictims records, once, what has become of a fault's victims, where the testbed tells.
func (r *run) noteVictims(ctx context.Context, l *life) {
	w, ok := l.fault.(Witness)
	if !ok || l.witnessed {
		return
	}
	l.witnessed = true
	pods, err := w.VictimPods(ctx)
	if err != nil {
		pods = nil
		for _, name := range l.fault.Victims() {
			pods = append(pods, evidence.VictimPod{Name: name, Unknown: err.Error()})
		}
	}
	for _, p := range pods {
		p.Experiment, p.Lasting = l.exp.Name, l.exp.Duration > 0
		r.rec.VictimPods = append(r.rec.VictimPods, p)
	}
}

// lost says with which of its victims an experiment was lost before its end, or may have
// been; "" when it was not.
// A pod that came in a victim's place does not have the fault. A restarted container loses
// it or not, which depends on the kind: that is shown and judged by nobody. What people
// replace on a game day is their way to deal with the fault.
func lost(plan *evidence.Plan, rec *evidence.Record, experiment string) string {
	if plan.ByCrew {
		return ""
	}
	var pods []string
	for _, v := range rec.VictimPods {
		if v.Experiment == experiment && v.Lasting && v.Story() != evidence.SamePod {
			pods = append(pods, fmt.Sprintf("pod %s (%s)", v.Name, v.Story()))
		}
	}
	if len(pods) == 0 {
		return ""
	}
	return fmt.Sprintf("%s is not proven to have stayed in force: %s", experiment, strings.Join(pods, ", "))
}

// tested are the proofs in the light of what became of the victims: a fault that was lost
// before its end was proven once, and was not in force as proven.
func tested(plan *evidence.Plan, rec *evidence.Record) []evidence.Proof {
	all := slices.Clone(rec.Proofs)
	for i := range all {
		p := &all[i]
		why := lost(plan, rec, p.Experiment)
		switch {
		case why == "":
		case p.Result == "confirmed":
			p.Result, p.Reason = "inconclusive", why
		default:
			p.Reason += "; " + why
		}
	}
	return all
}

// lose takes a judgement back when a fault was lost before its end: what the system did
// under another fault than the planned one, and under what took the victim away, proves
// nothing. A promise about tasks that was broken stays broken, under any fault.
func lose(s *evidence.Scenario, plan *evidence.Plan, rec *evidence.Record) {
	var why []string
	for _, p := range rec.Proofs {
		if text := lost(plan, rec, p.Experiment); text != "" {
			why = append(why, text)
		}
	}
	if len(why) == 0 || brokePromise(s) {
		return
	}
	reason := strings.Join(why, "; ")
	if s.Status == verdict.Fail || rec.Stopping != "" {
		reason += ". Seen meanwhile: " + s.Reason
	}
	s.Status, s.Reason = verdict.Inconclusive, reason
}
