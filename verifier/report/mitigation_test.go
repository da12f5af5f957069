package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/report"
	"seatrial/verifier/verdict"
)

// mitigated is a mitigation after 20 s in which nothing was done.
func mitigated(status verdict.Status, restored float64, reason string) *evidence.Mitigation {
	return &evidence.Mitigation{
		Runbook: "WorkerDown", Within: evidence.Duration(15 * time.Second), Waited: 20, Restored: restored, Status: status, Reason: reason,
		Commands: []evidence.SeenCommand{{CommandPlan: evidence.CommandPlan{Line: 61, Command: "replace <them>"}, Seconds: 2, Output: "replaced"}},
	}
}

func TestMitigationsAreTold(t *testing.T) {
	run := manyRun()
	run.Scenarios[0].Mitigation = mitigated(verdict.Pass, 2.5, "")
	run.Scenarios[1].Mitigation = mitigated(verdict.Pass, 12.25, "")
	run.Scenarios[2].Mitigation = mitigated(verdict.Fail, -1, "did not restore the service")
	run.Scenarios[3].Mitigation = mitigated(verdict.Inconclusive, -1, "was not reached")
	const line = "mitigations: 2 of 3 restored the service while the fault went on, 2.50 s to 12.2 s after they began; by itself it was not restored within 20.0 s; 1 not measured"
	dir := reported(t, run)

	var out bytes.Buffer
	report.Terminal(&out, run)
	mustContain(t, out.String(), "\n"+line+"\n")
	mustContain(t, read(t, dir, report.SummaryFile), "<summary>"+line+"</summary>", "| not within 20.0 s | 2.50 s |", "| not within 20.0 s | – |")
	page := read(t, dir, report.HTMLFile)
	_, first, _ := strings.Cut(page, `id="s1"`)
	mustContain(t, first, "<h3>Mitigation</h3>", ">not within 20.0 s<", ">2.50 s<",
		"<small>not restored by itself within 20.0 s; restored 2.50 s after the mitigation began</small>", "replace &lt;them&gt;", "replaced")
	_, third, _ := strings.Cut(page, `id="s3"`)
	third, fourth, _ := strings.Cut(third, `id="s4"`)
	mustContain(t, third, "did not restore the service", "<small>not restored by itself within 20.0 s, nor within 15s after the mitigation began</small>")
	if fourth, _, _ = strings.Cut(fourth, `id="s5"`); strings.Contains(fourth, "after the mitigation began") || !strings.Contains(fourth, "was not reached") {
		t.Error("one that was not reached is told as if it had been measured")
	}
}

func TestARunWithoutMitigationsSaysNothingOfThem(t *testing.T) {
	run := manyRun()
	dir := reported(t, run)
	var out bytes.Buffer
	report.Terminal(&out, run)
	for what, text := range map[string]string{"terminal": out.String(), "page": read(t, dir, report.HTMLFile), "summary": read(t, dir, report.SummaryFile)} {
		if strings.Contains(text, "mitigations:") || strings.Contains(text, "<h3>Mitigation") {
			t.Errorf("the %s tells of mitigations", what)
		}
	}
}
