package report_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/report"
	"seatrial/verifier/verdict"
)

// sample writes the sample run and its report, and returns the folder.
// REPORT_SAMPLE=folder keeps them there, to be looked at.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if keep := os.Getenv("REPORT_SAMPLE"); keep != "" && t.Name() == "TestPageHasEverySection" {
		dir = keep
	}
	if err := report.Write(sampleRun(t, dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mustContain(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestPageHasEverySection(t *testing.T) {
	dir := sample(t)
	page := read(t, dir, report.HTMLFile)
	mustContain(t, page,
		"6 scenarios: <b>3</b> passed, <b>1</b> failed, <b>2</b> inconclusive", "153,", "tasks accepted",
		"Look here first", "nats-server <b>2.15.2</b>", "seed <b>7</b>", "target <b>local</b>", "13 min 14 s",
		">Time line<", ">Split times<", ">Guarantees<", ">Ledger<", ">Objectives<", ">What users met<", ">Alerts<",
		">Proof that the fault was in force<", ">Raw data<",
		"3 tasks lost (the-x7-8021", "<code>the-x7-8050</code>", "and 704 more", "removed <i", notSeenWord,
		"max(dependency_rtt_seconds{dependency=&#34;valkey&#34;", `href="https://example.org/runbooks/ValkeySplitBrain.md"`,
		"kind: NetworkChaos", "logs/api-0.log", "Vegeta&#39;s HDR histogram", "steady, 250 a second, 1 % repeats, clients wait 2s",
		">What became of the victims<", `</svg>replaced</span></td><td data-l="containers restarted">–</td><td data-l="UID before"><code>uid-1</code></td><td data-l="after"><code>uid-2</code>`,
		`the same pod</td><td data-l="containers restarted">worker 3×</td>`,
		"at most 2,527", "38.4 % at worst", "211 of them done", "no data", "expected, did not fire",
	)
	if got := strings.Count(page, `<figure class="tl"`); got != 6 {
		t.Errorf("%d time lines, want 6", got)
	}
	for _, class := range []string{"area s-accepted", "area s-refused", "area s-unknown", "line s-p50", "line s-p99", "line s-backlog", "wb w-fault", "wb w-recovery", "mark k-alert"} {
		if !strings.Contains(page, `class="`+class+`"`) {
			t.Errorf("nothing is drawn as %q", class)
		}
	}
	if got := strings.Count(page, "What became of the victims"); got != 2 {
		t.Errorf("victims of %d scenarios, want those two of which something is known", got)
	}
	if strings.Contains(page, "dead letters") || strings.Contains(page, "done unasked") {
		t.Error("the page tells of tasks that were not counted")
	}
	if len(page) > 16*60<<10 {
		t.Errorf("%d bytes for 6 scenarios is too much", len(page))
	}
}

const notSeenWord = "not seen"

func TestPageSaysWhatIsMissing(t *testing.T) {
	page := read(t, sample(t), report.HTMLFile)
	mustContain(t, page, "The History is cut; the time line shows what could be read", "History is truncated",
		"No samples: ", "Not in the Evidence: samples.json, results.bin, plot.html.", "No samples of the backlog in the Evidence.")
}

// Whatever would make a browser fetch something.
var loads = regexp.MustCompile(`(?i)<(script|img|iframe|object|embed|video|audio|source|base|form)\b[^>]*>|<link[^>]*>|@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\(|sendBeacon|WebSocket|EventSource|http-equiv="refresh"|srcset=`)

func TestPageAsksNobodyForAnything(t *testing.T) {
	page := read(t, sample(t), report.HTMLFile)
	for _, found := range loads.FindAllString(page, -1) {
		switch {
		case found == "<script>", found == `<script type="application/json">`:
		case strings.HasPrefix(found, `<link rel="icon" href="data:image/svg+xml,`):
		default:
			t.Errorf("the page loads something: %s", found)
		}
	}
	withoutLinks := regexp.MustCompile(`<a href="https://[^"]*"`).ReplaceAllString(page, "")
	withoutLinks = strings.ReplaceAll(withoutLinks, "http://www.w3.org/2000/svg", "") // a name, not an address
	if i := strings.Index(withoutLinks, "https://"); i >= 0 {
		t.Errorf("an address that is no link: %s", withoutLinks[i:min(i+80, len(withoutLinks))])
	}
	if i := strings.Index(withoutLinks, "http://"); i >= 0 {
		t.Errorf("an address that is no link: %s", withoutLinks[i:min(i+80, len(withoutLinks))])
	}
	mustContain(t, page, "default-src &#39;none&#39;; img-src data:; style-src &#39;unsafe-inline&#39;; script-src &#39;sha256-")
}

const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)> | ` + "`" + ` ]]> &amp; {{.}} ` + "\x1b[31m\u202e"

// hostile is a run in which every word is out to get the reader.
func hostile(t *testing.T) (string, *evidence.Run) {
	t.Helper()
	now := time.Now()
	s := evidence.Scenario{Name: evil, Feature: evil, Tags: []string{evil}, Runbook: evil, Experiments: []string{evil}, Reason: evil,
		Started: now, Evidence: "../../etc", InForce: evil, Residue: evil, Victims: []string{evil}, Status: verdict.Fail,
		Windows: []evidence.Window{{Name: evil, Start: now, End: now.Add(time.Minute)}, {Name: "fault"}},
		Markers: []evidence.Marker{{Name: evil, At: now}, {Name: "never"}},
		SLO:     []evidence.Objective{{Name: evil, Window: evil, Reason: evil, Measured: -1}},
		Alerts: []evidence.Alert{{Name: evil, Fired: true, RunbookURL: "javascript:alert(3)", Reason: evil, Severity: evil},
			{Name: "b", Expected: true, RunbookURL: "\x00://"}},
		Guarantees: []evidence.Guarantee{{Name: evil, Reason: evil, Count: 30, Tasks: []string{evil}}},
		Proofs:     []evidence.Proof{{Experiment: evil, Query: evil, Result: evil, Reason: evil}}}
	run := &evidence.Run{Run: evil, Target: evil, Versions: map[string]string{evil: evil}, Scenarios: []evidence.Scenario{s, {}}}
	dir := t.TempDir()
	if err := evidence.SaveJSON(filepath.Join(dir, evidence.VerdictFile), run); err != nil {
		t.Fatal(err)
	}
	return dir, run
}

func TestHostileNamesAreOnlyNames(t *testing.T) {
	dir, run := hostile(t)
	if err := report.Write(dir); err != nil {
		t.Fatal(err)
	}
	page := read(t, dir, report.HTMLFile)
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") {
		t.Error("markup got into the page")
	}
	if strings.Contains(page, `href="javascript:`) {
		t.Error("a script got into a link")
	}
	mustContain(t, page, "&lt;script&gt;alert(1)", "javascript:alert(3)",
		"The folder of this scenario&#39;s Evidence is not in the run&#39;s folder: ../../etc", "none is named")

	md := read(t, dir, report.SummaryFile)
	text := regexp.MustCompile("(?m)^(Run|Evidence).*$").ReplaceAllString(md, "") // in code, which means only itself
	if strings.Contains(text, "<script") || strings.Contains(text, "<img") {
		t.Error("markup got into the summary")
	}
	for line := range strings.Lines(md) {
		if strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 11 {
			t.Errorf("a table row fell apart: %s", line)
		}
	}
	readJUnit(t, dir)

	var out bytes.Buffer
	report.Terminal(&out, run)
	if strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Error("an escape sequence got to the terminal")
	}
}

func TestEvidenceThatIsGoneOrBroken(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, folder string)
		want  []string
	}{
		"no folder": {func(t *testing.T, folder string) { remove(t, folder) },
			[]string{"The folder of this scenario&#39;s Evidence is not there", "There is no Evidence to draw."}},
		"no History": {func(t *testing.T, folder string) { remove(t, folder, evidence.HistoryFile) },
			[]string{"There is no History to draw", "history.seatrial"}},
		"foreign History": {func(t *testing.T, folder string) { put(t, filepath.Join(folder, evidence.HistoryFile), "GIF89a") },
			[]string{"There is no History to draw", "not a History"}},
		"broken samples": {func(t *testing.T, folder string) { put(t, filepath.Join(folder, evidence.SamplesFile), "{") },
			[]string{"No samples: read evidence", "No samples of the backlog in the Evidence."}},
		"samples of another day": {func(t *testing.T, folder string) {
			put(t, filepath.Join(folder, evidence.SamplesFile), `[{"name":"backlog","points":[[1,2]]}]`)
		}, []string{"The backlog has no samples from the time of the trial."}},
		"no plan and no manifests": {func(t *testing.T, folder string) {
			remove(t, folder, evidence.PlanFile)
			remove(t, folder, evidence.ManifestsDir)
		}, []string{"No plan: ", "No manifests of the experiments as they were applied."}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sampleRun(t, t.TempDir())
			var run evidence.Run
			if err := evidence.LoadJSON(filepath.Join(dir, evidence.VerdictFile), &run); err != nil {
				t.Fatal(err)
			}
			tc.spoil(t, filepath.Join(dir, run.Scenarios[1].Evidence))
			if err := report.Write(dir); err != nil {
				t.Fatal(err)
			}
			mustContain(t, read(t, dir, report.HTMLFile), append(tc.want, "3 tasks lost")...)
		})
	}
}

func remove(t *testing.T, elem ...string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(elem...)); err != nil {
		t.Fatal(err)
	}
}

func TestWriteNeedsAVerdict(t *testing.T) {
	dir := t.TempDir()
	if err := report.Write(dir); err == nil || !strings.Contains(err.Error(), "verdict.json") {
		t.Errorf("got %v", err)
	}
	put(t, filepath.Join(dir, evidence.VerdictFile), `{"status":"fine"}`)
	if err := report.Write(dir); err == nil || !strings.Contains(err.Error(), `unknown status "fine"`) {
		t.Errorf("got %v", err)
	}
}

func TestAnEmptyRunIsSaid(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, evidence.VerdictFile), `{"run":"empty","status":"inconclusive"}`)
	if err := report.Write(dir); err != nil {
		t.Fatal(err)
	}
	mustContain(t, read(t, dir, report.HTMLFile), "No scenario was run: nothing is proven.")
}

// The parts of JUnit XML that Jenkins, GitLab, GitHub's actions and Azure read.
type junitFile struct {
	XMLName  xml.Name `xml:"testsuites"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Time     float64  `xml:"time,attr"`
	Suites   []struct {
		Name      string `xml:"name,attr"`
		Tests     int    `xml:"tests,attr"`
		Failures  int    `xml:"failures,attr"`
		Skipped   int    `xml:"skipped,attr"`
		Timestamp string `xml:"timestamp,attr"`
		Cases     []struct {
			Name      string  `xml:"name,attr"`
			ClassName string  `xml:"classname,attr"`
			Time      float64 `xml:"time,attr"`
			Failure   *struct {
				Message string `xml:"message,attr"`
				Type    string `xml:"type,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
			Skipped *struct {
				Message string `xml:"message,attr"`
			} `xml:"skipped"`
			Out string `xml:"system-out"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func readJUnit(t *testing.T, dir string) junitFile {
	t.Helper()
	text := read(t, dir, report.JUnitFile)
	var f junitFile
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict = true
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if _, err := dec.Token(); err != io.EOF && err != nil {
		t.Fatal(err)
	}
	var tests, failures, skipped int
	for _, s := range f.Suites {
		var fails, skips int
		for _, c := range s.Cases {
			if c.Failure != nil {
				fails++
			}
			if c.Skipped != nil {
				skips++
			}
		}
		if s.Tests != len(s.Cases) || s.Failures != fails || s.Skipped != skips {
			t.Errorf("suite %q miscounts", s.Name)
		}
		tests, failures, skipped = tests+s.Tests, failures+s.Failures, skipped+s.Skipped
	}
	if f.Tests != tests || f.Failures != failures || f.Skipped != skipped || f.Errors != 0 {
		t.Errorf("the file miscounts: %d %d %d", tests, failures, skipped)
	}
	return f
}

func TestJUnit(t *testing.T) {
	f := readJUnit(t, sample(t))
	if f.Tests != 6 || f.Failures != 1 || f.Skipped != 2 || len(f.Suites) != 2 {
		t.Fatalf("%d tests, %d failures, %d skipped, %d suites", f.Tests, f.Failures, f.Skipped, len(f.Suites))
	}
	split, delay, kill := f.Suites[1].Cases[0], f.Suites[1].Cases[2], f.Suites[1].Cases[3]
	if split.Failure == nil || split.Failure.Type != "fail" || !strings.HasPrefix(split.Failure.Message, `broke "an accepted task`) {
		t.Errorf("failure %+v", split.Failure)
	} else {
		mustContain(t, split.Failure.Text, "fail: an accepted task is done exactly once: broke", "fail: availability in the fault window: availability fell short")
	}
	if delay.Skipped == nil || delay.Skipped.Message != "inconclusive: the fault was not proven to be in force" {
		t.Errorf("skipped %+v", delay.Skipped)
	}
	if kill.Failure != nil || kill.Skipped != nil || kill.ClassName != "Partitions and crashes" || kill.Time != 119 {
		t.Errorf("passed %+v", kill)
	}
	mustContain(t, kill.Out, "in force: confirmed, residue: none", "30000 accepted, 30000 completed, 0 lost")
	if _, err := time.Parse("2006-01-02T15:04:05", f.Suites[1].Timestamp); err != nil {
		t.Error(err)
	}
}

func TestATrialThatWasHeldAgainSaysSo(t *testing.T) {
	const why, first = "the machine stood still: sent 6.2 s late at 07:21:42", "disturbed/a-worker-is-killed"
	s := base(0, "A worker is killed", "WorkerRestarting", "worker-kill")
	s.HeldAgain, s.FirstEvidence, s.Evidence = why, first, "evidence/a-worker-is-killed"
	run := &evidence.Run{Run: "r1", Status: verdict.Pass, Scenarios: []evidence.Scenario{*s, *base(1, "Another one", "APIDown", "api-kill")}}
	dir := t.TempDir()
	put(t, filepath.Join(dir, first, evidence.VerdictFile), "{}")
	again := func() (page string) {
		t.Helper()
		if err := evidence.SaveJSON(filepath.Join(dir, evidence.VerdictFile), run); err != nil {
			t.Fatal(err)
		}
		if err := report.Write(dir); err != nil {
			t.Fatal(err)
		}
		return read(t, dir, report.HTMLFile)
	}
	page := again()
	_, scene, _ := strings.Cut(page, `id="s1"`)
	scene, _, _ = strings.Cut(scene, "</header>")
	mustContain(t, scene, "<b>held again</b>: "+why, `<a href="./`+first+`/">`+first+`</a>`)
	if n := strings.Count(page, "held again"); n != 2 {
		t.Errorf("held again stands %d times on the page, want the index and the scenario of one of two", n)
	}
	const line = "held again: " + why + " (" + first + ")"
	mustContain(t, read(t, dir, report.SummaryFile), "- ❔ **A worker is killed** "+line)
	mustContain(t, readJUnit(t, dir).Suites[0].Cases[0].Out, "\n"+line+"\nin force")
	var out bytes.Buffer
	report.Terminal(&out, run)
	mustContain(t, out.String(), line+"\n")

	for _, nowhere := range []string{"disturbed/gone", "../" + filepath.Base(dir) + "/" + first, "javascript:alert(1)"} {
		run.Scenarios[0].FirstEvidence = nowhere
		page := again()
		mustContain(t, page, nowhere+", which is not there any more")
		if strings.Contains(page, `href="./disturbed`) || strings.Contains(page, `href="javascript`) {
			t.Errorf("%s has a link", nowhere)
		}
	}
}

func TestSummary(t *testing.T) {
	md := read(t, sample(t), report.SummaryFile)
	mustContain(t, md, "## ❌ seatrial: fail", "6 scenarios: 3 passed, 1 failed, 2 inconclusive", "**3 lost**, **1 done more than once**",
		"| ✅ pass | Two of three NATS down: the API refuses cleanly | confirmed | none | 250.0 / 250 | 19,875 | 0 | 0 | 3.10 s | NATSQuorumLost fired |",
		"| ✅ pass | Steady state: nothing is lost, and no alert rings | none | none | 250.0 / 250 | 30,000 | 0 | 0 | – | none |",
		"### ❔ Delay between worker and Valkey", "- mismatch: proof of worker-valkey-delay: the injector says injected", "- nats-server 2.15.2")
}

func TestTerminal(t *testing.T) {
	run := &evidence.Run{Run: "r1", Seed: 7, Target: "local", Status: verdict.Fail, Seconds: 75, Scenarios: []evidence.Scenario{
		{Name: "All is calm", Status: verdict.Pass, AskedRate: 500, AchievedRate: 500, Accepted: 12_000, Completed: 12_000, InForce: "none"},
		{Name: "A worker dies", Status: verdict.Fail, Reason: "broke a promise", AskedRate: 500, AchievedRate: 499.75, Accepted: 9_000, Lost: 2,
			InForce: "confirmed", Experiments: []string{"worker-kill"}, Seconds: evidence.Seconds{RecoverToSLO: -1},
			Alerts: []evidence.Alert{{Name: "WorkerDown", Expected: true}}},
	}}
	var out bytes.Buffer
	report.Terminal(&out, run)
	want := `
seatrial r1 · target local · seed 7 · 1 min 15 s

        scenario       in force   achieved/asked  accepted  lost  twice  SLO back  alert
  pass  All is calm    none              500/500    12,000     0      0         –  none
  FAIL  A worker dies  confirmed       499.8/500     9,000     2      0  not seen  WorkerDown did not fire
        broke a promise

2 scenarios: 1 passed, 1 failed, 0 inconclusive
FAIL: 21,000 tasks accepted, 2 lost, 0 done more than once, 0 refused but done
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	run.LoadScale = 0.4
	out.Reset()
	report.Terminal(&out, run)
	if want := "\nseatrial r1 · target local · seed 7 · load ×0.4 · 1 min 15 s\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
