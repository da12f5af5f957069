package parity

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/verdict"
)

// What stands where a run has no figure.
const (
	notRun      = "not run"
	notRecorded = "not recorded"
)

// scale is what the loads of a run were multiplied by.
func scale(r *run) float64 {
	if r.LoadScale == 0 {
		return 1
	}
	return r.LoadScale
}

// page is the whole comparison.
func page(l, k *run) string {
	var b strings.Builder
	b.WriteString(`<!-- Written by "seatrial parity"; edit nothing here. -->
# Parity: the same experiments on both testbeds

What each experiment was seen to do, out of the Evidence of two runs. "Fault window" begins with the injection. A difference
is named when verdicts differ, when not as many servers were started anew, or when error ratios are more than one
percentage point apart.

`)
	fmt.Fprintf(&b, "| | local | Kubernetes |\n|---|---|---|\n| run | %s | %s |\n| seed | %d | %d |\n", cell(l.Run.Run), cell(k.Run.Run), l.Seed, k.Seed)
	if l.LoadScale != k.LoadScale {
		fmt.Fprintf(&b, "| load, times what the scenarios say | %.3g | %.3g |\n", scale(l), scale(k))
	}
	for _, name := range versions(l, k) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(name), cell(or(l.Versions[name], "–")), cell(or(k.Versions[name], "–")))
	}
	all := rows(l, k)
	b.WriteString("\n| experiment | scenario | local | Kubernetes | differs in |\n|---|---|---|---|---|\n")
	for _, r := range all {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(r.experiment), cell(r.scenario), verdictOf(r.local), verdictOf(r.kubernetes), differences(r))
	}
	for _, r := range all {
		fmt.Fprintf(&b, "\n## %s: %s\n\n%s\n\n| | local | Kubernetes |\n|---|---|---|\n", cell(r.experiment), cell(r.scenario), or(cell(r.kind()), "(no manifest was saved)"))
		for _, f := range figures {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, figure(f.of, r.local, r.experiment), figure(f.of, r.kubernetes, r.experiment))
		}
	}
	return b.String()
}

func versions(l, k *run) []string {
	all := maps.Clone(l.Versions)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, k.Versions)
	return slices.Sorted(maps.Keys(all))
}

func verdictOf(t *trial) string {
	switch {
	case t == nil:
		return notRun
	case t.scenario.Name == "":
		return "not judged"
	}
	return t.scenario.Status.String()
}

// differences names what is not the same on both, where the fault was in force on both.
func differences(r row) string {
	if r.local == nil || r.kubernetes == nil || !r.local.inForce() || !r.kubernetes.inForce() {
		return "cannot be compared"
	}
	l, k := r.local, r.kubernetes
	var all []string
	if l.scenario.Status != k.scenario.Status {
		all = append(all, "verdict")
	}
	if l.record.Restarts != nil && k.record.Restarts != nil && l.restarts() != k.restarts() {
		all = append(all, "servers started anew")
	}
	if l.effect.history && k.effect.history && math.Abs(l.effect.fault.errors()-k.effect.fault.errors()) > 0.01 {
		all = append(all, "error ratio")
	}
	return or(strings.Join(all, ", "), "nothing")
}

// inForce says whether the fault was proven to be.
func (t *trial) inForce() bool { return t.scenario.InForce == "confirmed" }

func (t *trial) restarts() int {
	n := 0
	for _, pod := range t.record.Restarts {
		n += pod
	}
	return n
}

// figures are the rows of an experiment's table.
var figures = []struct {
	name string
	of   func(t *trial, experiment string) string
}{
	{"verdict", verdictAndReason},
	{"in force after", inForceAfter},
	{"in force for", inForceFor},
	{"servers started anew", startedAnew},
	{"connections refused", func(t *trial, _ string) string { return t.share(t.effect.fault.disconnected) }},
	{"refused by the API", func(t *trial, _ string) string { return t.share(t.effect.fault.refused) }},
	{"without an answer to rely on", func(t *trial, _ string) string { return t.share(t.effect.fault.unanswered) }},
	{"error ratio in the fault window", errorRatio},
	{"latency p50, baseline → fault", func(t *trial, _ string) string { return t.latency(0.50) }},
	{"latency p99, baseline → fault", func(t *trial, _ string) string { return t.latency(0.99) }},
	{"longest round trip to NATS, baseline → fault", func(t *trial, _ string) string { return t.roundTrip("NATS") }},
	{"longest round trip to Valkey, baseline → fault", func(t *trial, _ string) string { return t.roundTrip("Valkey") }},
	{"users served again after", func(t *trial, _ string) string { return t.split(t.scenario.Seconds.RecoverToSLO) }},
	{"backlog drained after", func(t *trial, _ string) string { return t.split(t.scenario.Seconds.BacklogDrained) }},
	{"lost, duplicated", ledger},
}

func figure(of func(*trial, string) string, t *trial, experiment string) string {
	if t == nil {
		return notRun
	}
	return cell(of(t, experiment))
}

func verdictAndReason(t *trial, _ string) string {
	text := verdictOf(t)
	// Why there was no fault stands in the next row.
	if t.scenario.Status != verdict.Pass && t.scenario.Reason != "" && t.injected() {
		text += ": " + t.scenario.Reason
	}
	return text
}

func inForceAfter(t *trial, experiment string) string {
	for _, p := range t.record.Proofs {
		if p.Experiment != experiment {
			continue
		}
		if p.InForceAt == nil {
			return p.Result + ": " + p.Reason
		}
		return seconds(p.InForceAt.Sub(t.record.InjectAt).Seconds())
	}
	switch {
	case t.record.Stopping != "":
		return "not injected (" + t.record.Stopping + ")"
	case t.record.Started.IsZero():
		return notRecorded
	}
	return "not injected"
}

func inForceFor(t *trial, experiment string) string {
	for _, p := range t.record.Proofs {
		if p.Experiment == experiment && p.InForceAt != nil && !t.record.RemovedAt.IsZero() {
			return seconds(t.record.RemovedAt.Sub(*p.InForceAt).Seconds())
		}
	}
	return t.none()
}

// none is why a trial has no figure.
func (t *trial) none() string {
	if t.injected() || t.record.Started.IsZero() {
		return notRecorded
	}
	return "not injected"
}

func (t *trial) injected() bool { return len(t.record.Proofs) > 0 }

func startedAnew(t *trial, _ string) string {
	if t.record.Restarts == nil || !t.injected() {
		return t.none()
	}
	return fmt.Sprint(t.restarts())
}

// share is a count of the fault window's requests.
func (t *trial) share(n int) string {
	if !t.injected() || !t.effect.history || t.effect.fault.all == 0 {
		return t.none()
	}
	return fmt.Sprintf("%d of %d", n, t.effect.fault.all)
}

func errorRatio(t *trial, _ string) string {
	if !t.injected() || !t.effect.history || t.effect.fault.all == 0 {
		return t.none()
	}
	return fmt.Sprintf("%.2f %%", 100*t.effect.fault.errors())
}

func (t *trial) latency(q float64) string {
	before, ok1 := t.effect.baseline.quantile(q)
	during, ok2 := t.effect.fault.quantile(q)
	if !t.injected() || !ok1 || !ok2 {
		return t.none()
	}
	return change(before.Seconds(), during.Seconds())
}

func (t *trial) roundTrip(dependency string) string {
	pair, ok := t.effect.rtt[dependency]
	if !t.injected() || !ok {
		return t.none()
	}
	return change(pair[0], pair[1])
}

// split is a split time of a trial with a fault that was judged.
func (t *trial) split(s float64) string {
	if !t.injected() || t.scenario.Name == "" {
		return t.none()
	}
	return seconds(s)
}

func change(before, during float64) string {
	added := during - before
	sign := "+"
	if added < -0.00005 { // what is written as 0.0 ms has no direction
		sign = "−"
	}
	added = math.Abs(added)
	return fmt.Sprintf("%s → %s (%s%s)", short(before), short(during), sign, short(added))
}

func ledger(t *trial, _ string) string {
	if !t.effect.history || t.scenario.Name == "" {
		return notRecorded
	}
	return fmt.Sprintf("%d, %d of %d accepted", t.scenario.Lost, t.scenario.Duplicated, t.scenario.Accepted)
}

// seconds writes a split time; a negative one was not seen.
func seconds(s float64) string {
	if s < 0 {
		return "not seen"
	}
	return fmt.Sprintf("%.1f s", s)
}

// short writes a latency in seconds with a fitting unit.
func short(s float64) string {
	if s >= 1 {
		return fmt.Sprintf("%.2f s", s)
	}
	return fmt.Sprintf("%.1f ms", s*float64(time.Second/time.Millisecond))
}

// cell keeps a text inside its cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(text)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
