package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seatrial/runbooks"
	"seatrial/verifier/alert"
	"seatrial/verifier/evidence"
	"seatrial/verifier/prom"
	"seatrial/verifier/runbook"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// onCall is who is called: sees what rings, asks what a runbook tells to ask, and does what it tells to do.
type onCall struct {
	books   runbook.Set
	metrics trial.Metrics
	alerts  *alert.Manager

	mu   sync.Mutex
	rang []evidence.SeenAlert // since the watch began
}

// answer is an alert and its runbook, measured against what the runbook promises.
type answer struct {
	Alert         string  `json:"alert"`
	Rang          float64 `json:"rang_seconds"` // after the fault was in force
	DetectWithin  float64 `json:"detect_within_seconds"`
	Cleared       float64 `json:"cleared_seconds"` // after the mitigation began
	RecoverWithin float64 `json:"recover_within_seconds"`
}

// onCall watches the alerts until the test ends. It begins when that of the runbook is silent
// and its diagnosis false.
func (c *cluster) onCall(t *testing.T, name string) *onCall {
	t.Helper()
	books, err := runbook.Read(runbooks.Files)
	if err != nil {
		t.Fatal(err)
	}
	o := &onCall{books: books, metrics: c.prometheus(t), alerts: alert.NewManager("http://alertmanager-operated.monitoring:9093", c.dialer.Transport())}
	c.eventually(t, 3*time.Minute, "nobody is called, and the diagnosis of "+name+" is false", func(ctx context.Context) error {
		active, err := o.alerts.Active(ctx)
		for _, a := range active {
			if a.Name == name || a.Severity == "page" {
				err = errors.Join(err, fmt.Errorf("%s rings", a.Name))
			}
		}
		return errors.Join(err, o.diagnosed(ctx, name, false))
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); o.watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return o
}

func (c *cluster) prometheus(t *testing.T) *prom.Client {
	t.Helper()
	metrics, err := prom.New("http://prometheus-operated.monitoring:9090", c.dialer.Transport())
	if err != nil {
		t.Fatal(err)
	}
	return metrics
}

// awaitAnswer waits until Prometheus has an answer to a query.
func (c *cluster) awaitAnswer(t *testing.T, within time.Duration, query string) {
	t.Helper()
	c.eventually(t, within, "there is an answer to "+query, c.answered(t, query))
}

// answered says what keeps a query from having an answer.
func (c *cluster) answered(t *testing.T, query string) func(context.Context) error {
	metrics := c.prometheus(t)
	return func(ctx context.Context) error {
		vector, err := metrics.Vector(ctx, query, time.Now())
		if err == nil && len(vector) == 0 {
			err = errors.New("there is none")
		}
		return err
	}
}

// watch notes what rings, twice a second; an answer that is missing is asked for again.
func (o *onCall) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if active, err := o.alerts.Active(ctx); err == nil {
			o.note(active, time.Now())
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// note keeps when an alert was first seen and when it was gone. It was silenced if it always was.
func (o *onCall) note(active []evidence.SeenAlert, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	named := func(all []evidence.SeenAlert, name string) int {
		return slices.IndexFunc(all, func(a evidence.SeenAlert) bool { return a.Name == name })
	}
	for _, a := range active {
		if i := named(o.rang, a.Name); i >= 0 {
			o.rang[i].ResolvedAt, o.rang[i].Silenced = nil, o.rang[i].Silenced && a.Silenced
			continue
		}
		a.FiredAt = now
		o.rang = append(o.rang, a)
	}
	for i := range o.rang {
		if a := &o.rang[i]; a.ResolvedAt == nil && named(active, a.Name) < 0 {
			a.ResolvedAt = &now
		}
	}
}

// seen is what has rung.
func (o *onCall) seen() []evidence.SeenAlert {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.rang)
}

// ringing returns an error unless an alert rings now, or is silent now, as want says.
func (o *onCall) ringing(name string, want bool) error {
	is := slices.ContainsFunc(o.seen(), func(a evidence.SeenAlert) bool { return a.Name == name && a.ResolvedAt == nil })
	if is != want {
		return fmt.Errorf("%s rings: %v", name, is)
	}
	return nil
}

// diagnosed returns an error unless a runbook's diagnosis is now what want says.
func (o *onCall) diagnosed(ctx context.Context, name string, want bool) error {
	var fail []string
	for _, s := range o.books[name].Plan() {
		vector, err := o.metrics.Vector(ctx, s.Holds, time.Now())
		if err != nil {
			return err
		}
		if (len(vector) > 0) == s.Empty {
			fail = append(fail, fmt.Sprintf("not %s: %s", s.Expect, s.Query))
		}
	}
	if (len(fail) == 0) != want {
		return fmt.Errorf("the diagnosis of %s is %v, %s", name, !want, strings.Join(fail, "; "))
	}
	return nil
}

// awaitAlert waits for an alert for as long as its runbook promises from the moment of the fault,
// and finds the diagnosis of its runbook true.
func (o *onCall) awaitAlert(t *testing.T, c *cluster, name string, since time.Time) {
	t.Helper()
	c.eventually(t, time.Until(since.Add(o.books[name].DetectWithin)), name+" rings", func(context.Context) error { return o.ringing(name, true) })
	c.eventually(t, 5*time.Second, "the diagnosis of "+name+" is true", func(ctx context.Context) error { return o.diagnosed(ctx, name, true) })
	time.Sleep(2 * time.Second) // the matrix asks for whole seconds of which it was true
}

// awaitEnd waits until the alert has cleared and its runbook's diagnosis is false, and judges all that
// rang by what the runbook promises.
func (o *onCall) awaitEnd(t *testing.T, c *cluster, name string, inForce, removed time.Time) answer {
	t.Helper()
	book := o.books[name]
	c.eventually(t, time.Until(removed.Add(book.RecoverWithin)), name+" has cleared", func(ctx context.Context) error {
		return errors.Join(o.ringing(name, false), o.diagnosed(ctx, name, false))
	})
	detect, recover := evidence.Duration(book.DetectWithin), evidence.Duration(book.RecoverWithin)
	now := time.Now()
	all := alert.Judge([]evidence.AlertPlan{{Name: name, Within: detect}}, o.seen(), inForce, now)
	alert.Promises(all, []evidence.RunbookPlan{{Name: name, DetectWithin: detect, RecoverWithin: recover, AlsoTrue: book.AlsoTrue, AlsoPages: book.AlsoPages}},
		alert.Moments{InForce: inForce, Removed: removed, Watched: now})
	a := answer{Alert: name, DetectWithin: book.DetectWithin.Seconds(), RecoverWithin: book.RecoverWithin.Seconds()}
	for _, one := range all {
		if one.Status != verdict.Pass {
			t.Error(one.Reason)
		}
		if one.Name == name && one.FiredAt != nil && one.ResolvedAt != nil {
			a.Rang, a.Cleared = one.FiredAt.Sub(inForce).Seconds(), one.ResolvedAt.Sub(removed).Seconds()
		}
	}
	return a
}

// rollBack does what ReleaseBad tells to do, block by block in its words: stop, look, turn back, prove, and
// give the automation back. differs is what the look must find.
func (o *onCall) rollBack(t *testing.T, differs string) {
	t.Helper()
	found := false
	for _, m := range o.books["ReleaseBad"].Mitigations {
		out, err := shell(t.Context(), m.Command)
		found = found || strings.Contains(m.Command, "diff -u") && strings.Contains(out, differs)
		if err != nil {
			t.Fatalf("runbooks/ReleaseBad.md:%d: %v\n%s", m.Line, err, out)
		}
		t.Logf("runbooks/ReleaseBad.md:%d\n%s", m.Line, out)
	}
	if !found {
		t.Errorf("runbooks/ReleaseBad.md shows no difference with %q before it turns back", differs)
	}
}

// shell runs commands as somebody at a shell would whose kubectl and helm speak to the cluster.
func shell(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", script)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+os.Getenv("SEATRIAL_KUBECONFIG"), "HELM_NO_PLUGINS=1")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// release rolls out a release of a chart of ours with a setting that differs, as helm's users do, and does not wait
// for it. The one before is back at the end of the test, whatever became of it.
func (c *cluster) release(t *testing.T, chart, in, settings string) {
	t.Helper()
	for _, program := range []string{"helm", "kubectl"} {
		if _, err := exec.LookPath(program); err != nil {
			unproven(t, "%v", err)
		}
	}
	helm := "helm -n " + in + " "
	good, err := shell(t.Context(), helm+"history "+chart+` --max 1 -o json | grep -o '"revision":[0-9]*' | cut -d: -f2`)
	if err != nil || strings.TrimSpace(good) == "" {
		t.Fatalf("%s was not installed by helm: %v\n%s", chart, err, good)
	}
	good = strings.TrimSpace(good)
	cleanup(t, "put release "+good+" of "+chart+" back", func(ctx context.Context) error {
		out, err := shell(ctx, fmt.Sprintf(`
			kubectl -n seatrial rollout resume deployment/api deployment/worker >/dev/null 2>&1 || true
			[ "$(%[1]s get manifest %[2]s)" = "$(%[1]s get manifest %[2]s --revision %[3]s)" ] || %[1]s rollback %[2]s %[3]s --wait`, helm, chart, good))
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	out, err := shell(t.Context(), helm+"upgrade "+chart+" ../../charts/"+chart+" --reuse-values --set '"+settings+"'")
	if err != nil {
		t.Fatalf("roll out %s: %v\n%s", settings, err, out)
	}
}

func answersTable(all []answer) string {
	text := "| alert | rang after | promised | cleared after | promised |\n|---|---|---|---|---|\n"
	for _, a := range all {
		text += fmt.Sprintf("| %s | %.1f s | %.0f s | %.1f s | %.0f s |\n", a.Alert, a.Rang, a.DetectWithin, a.Cleared, a.RecoverWithin)
	}
	return text
}
