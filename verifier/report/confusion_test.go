package report_test

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"seatrial/verifier/evidence"
	"seatrial/verifier/report"
	"seatrial/verifier/verdict"
)

// The made-up run has fifteen scenarios, nineteen runbooks, and one of each thing
// that can be in a cell.
var (
	manyBooks = []string{"APIDown", "BacklogGrowing", "BadRelease", "NATSLatencyHigh", "NATSPartition", "NATSQuorumLost", "NATSServerDown",
		"NoTraffic", "RolloutStuck", "TaskAvailabilityBurn", "TaskFreshnessLow", "TaskLatencyHigh", "ValkeyLatencyHigh", "ValkeyNoPrimary",
		"ValkeyPrimaryChanged", "ValkeySplitBrain", "WorkerCPUStarved", "WorkerDown", "WorkerRestarting"}
	manyScenes = []struct{ name, own string }{
		{"Steady state: nothing is lost, and no alert rings", ""}, {"An API is killed", "APIDown"}, {"The bandwidth from the APIs to NATS is squeezed", "NATSLatencyHigh"},
		{"Packets from the APIs to NATS get lost", "NATSLatencyHigh"}, {"One NATS server is cut off from its peers", "NATSPartition"}, {"Two of three NATS servers are down", "NATSQuorumLost"},
		{"The leader of the stream is killed", "NATSServerDown"}, {"A release does not start", "RolloutStuck"}, {"Workers reach Valkey with a delay", "ValkeyLatencyHigh"},
		{"The Valkey primary is killed", "ValkeyPrimaryChanged"}, {"The Valkey primary is partitioned with a worker on its side", "ValkeySplitBrain"}, {"The workers' processors are stressed", "WorkerCPUStarved"},
		{"All workers are gone", "WorkerDown"}, {"A worker is killed under load", "WorkerRestarting"}, {"A worker's memory is stressed", "WorkerRestarting"},
	}
)

// diagnosed makes the row of one scenario, all as it should be.
func diagnosed(own string) (row []evidence.Diagnosis, cells []string) {
	for i, book := range manyBooks {
		d := evidence.Diagnosis{Runbook: book, Role: "not", Asked: 12, Status: verdict.Pass}
		switch {
		case book == own:
			d.Role, d.True = "must", 9
		case own != "" && (i+len(own))%7 == 0:
			d.Role, d.True = "may", 12*(i%2)
		}
		row, cells = append(row, d), append(cells, map[bool]string{true: "true", false: "false"}[d.True > 0])
	}
	return row, cells
}

const (
	falseOwn  = `RolloutStuck is false during its own fault, "A release does not start"`
	trueOther = `WorkerDown is true during "An API is killed", and is not declared`
)

// manyRun is the run without anything wrong or unknown.
func manyRun() *evidence.Run {
	run := &evidence.Run{Run: "20270314-092653-seed7", Seed: 7, Target: "local", Status: verdict.Pass, Started: epoch, Seconds: 1400,
		Confusion: &evidence.Confusion{Runbooks: manyBooks, Wrong: []string{}}}
	for i, sc := range manyScenes {
		s := base(i, sc.name, sc.own, "some-fault")
		row, cells := diagnosed(sc.own)
		s.Diagnoses, s.Evidence = row, "evidence/"+evidence.Slug(s.Name)
		run.Scenarios = append(run.Scenarios, *s)
		run.Confusion.Scenarios, run.Confusion.Cells = append(run.Confusion.Scenarios, s.Name), append(run.Confusion.Cells, cells)
	}
	return run
}

// spoil puts two wrong cells and a row of unknowns into the run.
func spoil(run *evidence.Run) {
	put := func(scene int, book, word string, change func(*evidence.Diagnosis)) {
		i := slices.Index(manyBooks, book)
		change(&run.Scenarios[scene].Diagnoses[i])
		run.Confusion.Cells[scene][i] = word
	}
	put(1, "WorkerDown", "true", func(d *evidence.Diagnosis) {
		d.True, d.Status, d.Reason = 3, verdict.Fail, "the diagnosis of WorkerDown was true at 3 of 12 moments"
	})
	put(7, "RolloutStuck", "false", func(d *evidence.Diagnosis) {
		d.True, d.Status, d.Reason = 0, verdict.Fail, "the diagnosis of RolloutStuck was false at each of 12 moments"
	})
	for _, book := range manyBooks {
		put(4, book, "unknown", func(d *evidence.Diagnosis) {
			d.Asked, d.True, d.Status, d.Reason = 0, 0, verdict.Inconclusive, "cannot judge the runbook's diagnosis: the fault was not seen in force"
		})
	}
	for i, status := range map[int]verdict.Status{1: verdict.Fail, 4: verdict.Inconclusive, 7: verdict.Fail} {
		run.Scenarios[i].Status, run.Scenarios[i].Reason = status, "a first reason"
	}
	run.Scenarios[1].Guarantees[0].Status, run.Scenarios[1].Guarantees[0].Reason = verdict.Fail, "3 tasks lost"
	run.Status, run.Confusion.Wrong = verdict.Fail, []string{trueOther, falseOwn}
}

// reported writes the run and its report. REPORT_SAMPLE=folder keeps one of them in
// folder/matrix, to be looked at.
func reported(t *testing.T, run *evidence.Run) string {
	t.Helper()
	dir := t.TempDir()
	if keep := os.Getenv("REPORT_SAMPLE"); keep != "" && t.Name() == "TestWrongCellsAreLoud" {
		if dir = filepath.Join(keep, "matrix"); os.MkdirAll(dir, 0o755) != nil {
			t.Fatalf("no folder %s", dir)
		}
	}
	if err := evidence.SaveJSON(filepath.Join(dir, evidence.VerdictFile), run); err != nil {
		t.Fatal(err)
	}
	if err := report.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// cells finds the matrix in the page: what a reader hears of each cell, by scenario.
func cells(t *testing.T, page string) map[string][]string {
	t.Helper()
	_, table, ok := strings.Cut(page, `<table class="matrix">`)
	if !ok {
		t.Fatal("the page has no matrix")
	}
	table, _, _ = strings.Cut(table, "</table>")
	dec := xml.NewDecoder(strings.NewReader("<table>" + strings.ReplaceAll(table, "\x1b", "") + "</table>"))
	dec.Entity = xml.HTMLEntity
	var doc struct {
		Heads []string `xml:"thead>tr>th>span"`
		Rows  []struct {
			Head struct {
				Text string `xml:",chardata"`
				Link string `xml:"a"`
			} `xml:"th"`
			Cells []struct {
				Title string `xml:"title,attr"`
				Text  string `xml:",chardata"`
				Spans []struct {
					Class string `xml:"class,attr"`
					Text  string `xml:",chardata"`
				} `xml:"span"`
			} `xml:"td"`
		} `xml:"tbody>tr"`
	}
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{"": doc.Heads}
	for _, row := range doc.Rows {
		name := row.Head.Text + row.Head.Link
		for _, c := range row.Cells {
			if c.Title == "" {
				t.Errorf("a cell of %q says nothing to those who point at it", name)
			}
			heard := c.Text
			for _, s := range c.Spans {
				if s.Class == "sr" {
					heard += s.Text
				}
			}
			all[name] = append(all[name], strings.TrimSpace(heard))
		}
	}
	return all
}

func TestWrongCellsAreLoud(t *testing.T) {
	run := manyRun()
	spoil(run)
	dir := reported(t, run)
	page := read(t, dir, report.HTMLFile)
	got := cells(t, page)
	if !slices.Equal(got[""], manyBooks) || len(got) != len(manyScenes)+1 {
		t.Fatalf("%d rows, heads %v", len(got)-1, got[""])
	}
	at := func(scene int, book string) string { return got[manyScenes[scene].name][slices.Index(manyBooks, book)] }
	for _, c := range []struct {
		scene      int
		book, want string
	}{
		{1, "WorkerDown", "wrong: true"}, {7, "RolloutStuck", "wrong: false"}, {1, "APIDown", "true, as it must"}, {0, "APIDown", "false"},
		{4, "NATSPartition", "unknown"}, {4, "APIDown", "unknown"}, {1, "NoTraffic", "true, and either is declared"}, {1, "APIDown", "true, as it must"},
	} {
		if have := at(c.scene, c.book); have != c.want {
			t.Errorf("%s during %q: %q, want %q", c.book, manyScenes[c.scene].name, have, c.want)
		}
	}
	mustContain(t, page, "runbooks: 19 diagnoses in 15 trials, 2 wrong, 19 cells unknown", "must be false. the diagnosis of WorkerDown was true at 3 of 12 moments",
		`WorkerDown is true during &#34;An API is killed&#34;, and is not declared`, `RolloutStuck is false during its own fault`,
		"WorkerDown: true for 3 of 12 s during “An API is killed”", `<a href="#s2">An API is killed</a>`)
}

func TestEachScenarioListsWhatWasTrue(t *testing.T) {
	run := manyRun()
	spoil(run)
	page := read(t, reported(t, run), report.HTMLFile)
	scene := func(n string) string {
		_, text, _ := strings.Cut(page, `id="s`+n+`"`)
		text, _, _ = strings.Cut(text, "</section>")
		_, text, _ = strings.Cut(text, "<h3>Diagnoses</h3>")
		return text
	}
	mustContain(t, scene("2"), "<b>APIDown</b>", ">true for 9 of 12 s</td>", ">its own fault: must be true</td>", "<b>WorkerDown</b>", ">true for 3 of 12 s</td>", ">must be false</td>",
		"<b>NoTraffic</b>", ">true all 12 s</td>", ">declared: may be true</td>", "16 diagnoses false at each of 12 moments, a second apart.")
	mustContain(t, scene("1"), "No runbook's diagnosis was true.", "19 diagnoses false at")
	mustContain(t, scene("5"), ">unknown</td>", "Unknown: APIDown, BacklogGrowing, BadRelease, NATSLatencyHigh, NATSPartition, NATSQuorumLost and 13 more.")
	mustContain(t, scene("8"), ">false all 12 s</td>", "was false at each of 12 moments")
}

// tables finds the rows of each Markdown table.
var tables = regexp.MustCompile(`(?m)(^\|.*\n)+`)

func TestMatrixInTheSummary(t *testing.T) {
	run := manyRun()
	spoil(run)
	run.Scenarios[0].Name, run.Confusion.Scenarios[0] = evil, evil
	md := read(t, reported(t, run), report.SummaryFile)
	for _, table := range tables.FindAllString(md, -1) {
		var pipes []int
		for line := range strings.Lines(table) {
			pipes = append(pipes, strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"))
		}
		if slices.Min(pipes) != slices.Max(pipes) {
			t.Errorf("a table fell apart: %v in\n%s", pipes, table)
		}
	}
	mustContain(t, md, `- ❌ WorkerDown is true during "An API is killed", and is not declared`,
		"<summary>runbooks: 19 diagnoses in 15 trials, 2 wrong, 19 cells unknown</summary>", "**1** APIDown, **2** BacklogGrowing",
		"| An API is killed | **true** | · | · |", "| · | ❌ **true** | · |\n", "| A release does not start | · | · | (false) | · |", "| · | (true) | · |", "| ❌ **false** |", "| One NATS server is cut off from its peers | ? | ? |")
}

func TestJUnitTellsEveryReason(t *testing.T) {
	run := manyRun()
	spoil(run)
	f := readJUnit(t, reported(t, run))
	killed, cut := f.Suites[0].Cases[1], f.Suites[0].Cases[4]
	if killed.Failure == nil || killed.Failure.Message != "a first reason" {
		t.Fatalf("%+v", killed)
	}
	mustContain(t, killed.Failure.Text, "3 tasks lost\n", "fail: runbook WorkerDown: the diagnosis of WorkerDown was true at 3 of 12 moments\n")
	if cut.Skipped == nil || cut.Skipped.Message != "inconclusive: a first reason" {
		t.Errorf("%+v", cut.Skipped)
	}
}

func TestTerminalCountsTheMatrix(t *testing.T) {
	text := func(run *evidence.Run) string {
		var b bytes.Buffer
		report.Terminal(&b, run)
		return b.String()
	}
	run := manyRun()
	mustContain(t, text(run), "\nrunbooks: 19 diagnoses in 15 trials, 0 wrong\n\n15 scenarios:")
	spoil(run)
	mustContain(t, text(run), "\nrunbooks: 19 diagnoses in 15 trials, 2 wrong, 19 cells unknown\n  WRONG  "+trueOther+"\n  WRONG  "+falseOwn+"\n\n15 scenarios:")
	run.Confusion = nil
	if strings.Contains(text(run), "runbooks:") {
		t.Error("a run of an older seatrial has a matrix")
	}
}

// TestWhatCameTrueWhenTheFaultWasGone: it has a line, and its causes are noted.
func TestWhatCameTrueWhenTheFaultWasGone(t *testing.T) {
	run := manyRun()
	d := &run.Scenarios[14].Diagnoses[slices.Index(manyBooks, "NATSPartition")]
	d.AskedAfter, d.After = 20, 7
	d.Causes = []evidence.Cause{{Name: "It has healed", Role: "must", Asked: 32, True: 7, Status: verdict.Pass}}
	_, text, _ := strings.Cut(read(t, reported(t, run), report.HTMLFile), `id="s15"`)
	mustContain(t, text, "<b>NATSPartition</b>", ">false all 12 s; after the fault true for 7 of 20 s</td>", ">must be false</td>",
		"cause: It has healed", ">true for 7 of 32 s</td>", ">noted, not judged</td>")
}

// causes are what WorkerRestarting's said of a worker that is killed: the right one for
// half of the time, a wrong one all the time, and two that nobody judges.
func causes() []evidence.Cause {
	return []evidence.Cause{
		{Name: "Killed once", Role: "must", Asked: 12, True: 4, Status: verdict.Pass},
		{Name: "Again and again", Role: "not", Asked: 12, True: 9, Status: verdict.Fail, Reason: "names the wrong cause: 9 of 4"},
		{Name: "A quiet one", Role: "not", Asked: 12, Status: verdict.Pass},
		{Name: "A poison task", Role: "may", Asked: 12, True: 2, Status: verdict.Pass},
		{Name: "Page cache", Role: "not", Status: verdict.Inconclusive, Reason: "cannot judge the cause: connection refused"},
	}
}

const wrongCause = `WorkerRestarting names the wrong cause, "Again and again", during "A worker's memory is stressed"`

func TestCausesAreToldWithTheirRunbook(t *testing.T) {
	const scene = 14
	run := manyRun()
	s := &run.Scenarios[scene]
	s.Status, s.Reason = verdict.Fail, "a first reason"
	s.Diagnoses[slices.Index(manyBooks, "WorkerRestarting")].Causes = causes()
	run.Confusion.Causes, run.Confusion.Wrong = 3, []string{wrongCause}
	dir := reported(t, run)

	page := read(t, dir, report.HTMLFile)
	_, text, _ := strings.Cut(page, `id="s15"`)
	_, text, _ = strings.Cut(text, "<h3>Diagnoses</h3>")
	var rows []string
	for row := range strings.SplitSeq(text, "<tr") {
		if strings.HasPrefix(row, ` class="cause"`) {
			rows = append(rows, row)
		}
	}
	if len(rows) != 4 {
		t.Fatalf("%d rows of causes, want those that were true, and the one in doubt: %v", len(rows), rows)
	}
	mustContain(t, rows[0], `badge pass`, "cause: Killed once", ">true for 4 of 12 s<", "the cause of this fault: must be true")
	mustContain(t, rows[1], `badge fail`, "cause: Again and again", "names the wrong cause: 9 of 4", "must not be true as often")
	mustContain(t, rows[2], `<td data-l="status">–</td>`, "A poison task", ">true for 2 of 12 s<", "not judged")
	mustContain(t, rows[3], `badge inconclusive`, "Page cache", "connection refused", ">unknown<")
	const line = "runbooks: 19 diagnoses and 3 causes in 15 trials, 1 wrong"
	mustContain(t, page, line, "WorkerRestarting names the wrong cause, &#34;Again and again&#34;")

	mustContain(t, read(t, dir, report.SummaryFile), "- ❌ WorkerRestarting names the wrong cause", line, "fail: cause of WorkerRestarting: names the wrong cause: 9 of 4")
	failure := readJUnit(t, dir).Suites[0].Cases[scene].Failure
	mustContain(t, failure.Text, "fail: cause of WorkerRestarting: names the wrong cause: 9 of 4\n", "inconclusive: cause of WorkerRestarting: cannot judge the cause: connection refused\n")
	var out bytes.Buffer
	report.Terminal(&out, run)
	mustContain(t, out.String(), line+"\n  WRONG  "+wrongCause+"\n")
}

func TestCausesOfAnUnknownDiagnosisAreNotRepeated(t *testing.T) {
	run := manyRun()
	d := &run.Scenarios[14].Diagnoses[slices.Index(manyBooks, "WorkerRestarting")]
	*d = evidence.Diagnosis{Runbook: d.Runbook, Role: "must", Status: verdict.Inconclusive, Reason: "not seen in force",
		Causes: []evidence.Cause{{Name: "Killed once", Role: "must", Status: verdict.Inconclusive, Reason: "its diagnosis is unknown"}}}
	run.Scenarios[14].Status = verdict.Inconclusive
	dir := reported(t, run)
	for _, file := range []string{report.HTMLFile, report.SummaryFile} {
		if text := read(t, dir, file); strings.Contains(text, "Killed once") || strings.Contains(text, "its diagnosis is unknown") || !strings.Contains(text, "not seen in force") {
			t.Errorf("%s tells of the cause, or not of the diagnosis", file)
		}
	}
}

// A verdict.json is a file that anybody can write.
func TestMatrixOfAnyShape(t *testing.T) {
	run := manyRun()
	run.Confusion.Cells = [][]string{nil, {"true", evil}}
	run.Confusion.Scenarios = append(run.Confusion.Scenarios, evil)
	run.Confusion.Runbooks = append(slices.Clone(manyBooks), evil)
	run.Confusion.Wrong = []string{evil}
	page := read(t, reported(t, run), report.HTMLFile)
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") {
		t.Error("markup got into the page")
	}
	got := cells(t, page)
	if have := got[manyScenes[2].name]; len(have) != 20 || have[0] != "unknown" || have[19] != "unknown" {
		t.Errorf("%v", have)
	}
	if have := got[manyScenes[1].name]; have[0] != "true, as it must" || have[1] != "unknown" {
		t.Errorf("%v", have)
	}
}
