package shelf

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// folder is a folder of reports on disk.
type folder string

func (f folder) write(t *testing.T, path, text string) {
	t.Helper()
	full := filepath.Join(string(f), path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run puts a run on the shelf, as `seatrial run` would.
func (f folder) run(t *testing.T, name, target string, started time.Time, status verdict.Status, scenarios ...evidence.Scenario) {
	t.Helper()
	f.write(t, name+"/report.html", "<h1>"+name+"</h1>")
	err := evidence.SaveJSON(filepath.Join(string(f), name, evidence.VerdictFile), &evidence.Run{
		Run: name, Target: target, Started: started, Seconds: 61.5, Status: status, Scenarios: scenarios, Seed: 7,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func shelfOf(t *testing.T, f folder) *Shelf {
	t.Helper()
	s, err := Open(string(f))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// get asks the shelf's pages, without following redirects.
func get(s *Shelf, method, path string) (code int, header http.Header, body string) {
	w := httptest.NewRecorder()
	s.Handler(slog.New(slog.NewTextHandler(io.Discard, nil))).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Header(), w.Body.String()
}

func names(runs []Run) string {
	var all []string
	for _, r := range runs {
		all = append(all, r.Folder+"="+word(r))
	}
	return strings.Join(all, " ")
}

func TestRunsAreTheNewestFirstAndBadOnesAreTold(t *testing.T) {
	f := folder(t.TempDir())
	f.run(t, "b-older", "local", noon, verdict.Pass)
	f.run(t, "a-newer", "local", noon.Add(time.Hour), verdict.Fail)
	f.run(t, "other", "kubernetes", noon.Add(time.Minute), verdict.Inconclusive)
	f.write(t, "broken/verdict.json", `{"run":`)
	f.write(t, "of-a-trial/verdict.json", `{"name":"x","status":"pass"}`)
	f.write(t, "odd-status/verdict.json", `{"run":"x","target":"local","started":"2026-01-01T00:00:00Z","status":"great"}`)
	f.write(t, "being-held/godog.txt", "")
	f.write(t, ".hidden/verdict.json", `{}`)
	f.write(t, "a-file", "")
	if err := os.Symlink("a-newer", filepath.Join(string(f), "latest")); err != nil {
		t.Fatal(err)
	}
	runs, err := shelfOf(t, f).Runs()
	const want = "of-a-trial=unreadable odd-status=unreadable broken=unreadable being-held=none a-newer=fail other=inconclusive b-older=pass"
	if err != nil || names(runs) != want {
		t.Errorf("runs %s, %v\nwant %s", names(runs), err, want)
	}
	if got := names(Newest(runs)); got != "other=inconclusive a-newer=fail" {
		t.Errorf("the newest of each target: %s", got)
	}
}

func TestWhatChangesIsReadAgain(t *testing.T) {
	f := folder(t.TempDir())
	s := shelfOf(t, f)
	look := func(want string) {
		t.Helper()
		if runs, err := s.Runs(); err != nil || names(runs) != want {
			t.Errorf("runs %q, %v; want %q", names(runs), err, want)
		}
	}
	look("")
	f.write(t, "r/godog.txt", "")
	look("r=none")
	f.run(t, "r", "local", noon, verdict.Fail)
	look("r=fail")
	f.run(t, "r", "local", noon, verdict.Pass) // as long, at another time
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(string(f), "r", "verdict.json"), later, later); err != nil {
		t.Fatal(err)
	}
	look("r=pass")
	if err := os.RemoveAll(filepath.Join(string(f), "r")); err != nil {
		t.Fatal(err)
	}
	look("")
}

func TestMetrics(t *testing.T) {
	f := folder(t.TempDir())
	f.run(t, "old", "local", noon, verdict.Fail, evidence.Scenario{Name: "forgotten", Status: verdict.Fail, Lost: 99})
	f.run(t, "new", "local", noon.Add(time.Hour), verdict.Fail,
		evidence.Scenario{Name: `kill "it"`, Status: verdict.Pass, Accepted: 100, BudgetCost: 0.25, Seconds: evidence.Seconds{InForceToAlert: 3.5, RecoverToSLO: -1}},
		evidence.Scenario{Name: "cut", Status: verdict.Fail, Accepted: 50, Lost: 2, Duplicated: 1, RefusedButDone: 3, Seconds: evidence.Seconds{InForceToAlert: -1, RecoverToSLO: 8}},
		evidence.Scenario{Name: "cut", Status: verdict.Pass})
	f.write(t, "broken/verdict.json", "no")
	const want = `
# HELP seatrial_reports Runs on the shelf by their verdict; none is one that is being held or was ended, unreadable one whose verdict.json is broken.
# TYPE seatrial_reports gauge
seatrial_reports{verdict="fail"} 2
seatrial_reports{verdict="inconclusive"} 0
seatrial_reports{verdict="none"} 0
seatrial_reports{verdict="pass"} 0
seatrial_reports{verdict="unreadable"} 1
# HELP seatrial_run_status Verdict of the newest run: 1 for its status, 0 for the others.
# TYPE seatrial_run_status gauge
seatrial_run_status{run="new",status="fail",target="local"} 1
seatrial_run_status{run="new",status="inconclusive",target="local"} 0
seatrial_run_status{run="new",status="pass",target="local"} 0
# HELP seatrial_run_timestamp_seconds When the newest run started, in Unix time.
# TYPE seatrial_run_timestamp_seconds gauge
seatrial_run_timestamp_seconds{run="new",target="local"} 1.7672724e+09
# HELP seatrial_run_duration_seconds How long the newest run took.
# TYPE seatrial_run_duration_seconds gauge
seatrial_run_duration_seconds{run="new",target="local"} 61.5
# HELP seatrial_scenario_status Verdict of a scenario in the newest run: 1 for its status, 0 for the others.
# TYPE seatrial_scenario_status gauge
seatrial_scenario_status{scenario="cut",status="fail",target="local"} 1
seatrial_scenario_status{scenario="cut",status="inconclusive",target="local"} 0
seatrial_scenario_status{scenario="cut",status="pass",target="local"} 0
seatrial_scenario_status{scenario="kill \"it\"",status="fail",target="local"} 0
seatrial_scenario_status{scenario="kill \"it\"",status="inconclusive",target="local"} 0
seatrial_scenario_status{scenario="kill \"it\"",status="pass",target="local"} 1
# HELP seatrial_scenario_lost_tasks Accepted tasks that were never done.
# TYPE seatrial_scenario_lost_tasks gauge
seatrial_scenario_lost_tasks{scenario="cut",target="local"} 2
seatrial_scenario_lost_tasks{scenario="kill \"it\"",target="local"} 0
# HELP seatrial_scenario_duplicated_tasks Tasks that were done more than once.
# TYPE seatrial_scenario_duplicated_tasks gauge
seatrial_scenario_duplicated_tasks{scenario="cut",target="local"} 1
seatrial_scenario_duplicated_tasks{scenario="kill \"it\"",target="local"} 0
# HELP seatrial_scenario_budget_spent_ratio Share of a 30-day error budget that the fault cost.
# TYPE seatrial_scenario_budget_spent_ratio gauge
seatrial_scenario_budget_spent_ratio{scenario="cut",target="local"} 0
seatrial_scenario_budget_spent_ratio{scenario="kill \"it\"",target="local"} 0.25
# HELP seatrial_scenario_alert_seconds From the fault in force to the expected alert; no sample where it was not seen.
# TYPE seatrial_scenario_alert_seconds gauge
seatrial_scenario_alert_seconds{scenario="kill \"it\"",target="local"} 3.5
# HELP seatrial_scenario_recovery_seconds From the recovery to objectives that are met again; no sample where it was not seen.
# TYPE seatrial_scenario_recovery_seconds gauge
seatrial_scenario_recovery_seconds{scenario="cut",target="local"} 8
`
	var compared []string
	for line := range strings.Lines(want) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "TYPE" {
			compared = append(compared, fields[2])
		}
	}
	s := shelfOf(t, f)
	if err := testutil.CollectAndCompare(s, strings.NewReader(want), compared...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(s)
	if err != nil || len(problems) > 0 {
		t.Errorf("names or helps are not as the conventions have them: %v %v", problems, err)
	}
}

func TestPages(t *testing.T) {
	f := folder(t.TempDir())
	f.run(t, "20260101-120000-seed7", "local", noon, verdict.Pass, evidence.Scenario{Name: "s", Status: verdict.Pass})
	f.write(t, "20260101-120000-seed7/summary.md", "<script>no page</script>")
	f.write(t, "20260101-120000-seed7/.secret", "hidden")
	f.write(t, "broken <b>/verdict.json", "no")
	outside := filepath.Join(t.TempDir(), "outside.txt")
	if err := os.WriteFile(outside, []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"latest": "20260101-120000-seed7", "leak": outside, "up": "../"} {
		if err := os.Symlink(to, filepath.Join(string(f), link)); err != nil {
			t.Fatal(err)
		}
	}
	s := shelfOf(t, f)
	for _, c := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/", 200, `<a href="/runs/20260101-120000-seed7/report.html">`},
		{"GET", "/", 200, "1 pass"},
		{"GET", "/", 200, "broken &lt;b&gt;"},
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/metrics", 200, "seatrial_run_timestamp_seconds"},
		{"GET", "/runs/20260101-120000-seed7/report.html", 200, "<h1>20260101-120000-seed7</h1>"},
		{"GET", "/runs/latest/report.html", 200, "<h1>"},
		{"GET", "/runs/20260101-120000-seed7/", 200, "summary.md"},
		{"GET", "/runs/20260101-120000-seed7/nothing", 404, ""},
		{"GET", "/runs/20260101-120000-seed7/.secret", 404, ""},
		{"GET", "/else", 404, ""},
		{"POST", "/", 405, ""},
		{"PUT", "/runs/20260101-120000-seed7/report.html", 405, ""},
	} {
		code, _, body := get(s, c.method, c.path)
		if code != c.code || !strings.Contains(body, c.body) {
			t.Errorf("%s %s: %d %q; want %d with %q", c.method, c.path, code, body, c.code, c.body)
		}
	}
	for _, path := range []string{"/runs/leak", "/runs/up/" + filepath.Base(string(f)), "/runs/../../etc/passwd", "/runs/%2e%2e/%2e%2e/etc/passwd", "/runs/..%2f..%2fetc/passwd"} {
		if code, _, body := get(s, "GET", path); code == 200 || strings.Contains(body, "outside") || strings.Contains(body, "root:") {
			t.Errorf("%s leads out of the folder: %d %q", path, code, body)
		}
	}
	if _, header, _ := get(s, "GET", "/runs/latest/summary.md"); !strings.HasPrefix(header.Get("Content-Type"), "text/plain") || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("text is served as %q", header)
	}
	if code, header, _ := get(s, "GET", "/latest"); code != 302 || header.Get("Location") != "/runs/20260101-120000-seed7/report.html" {
		t.Errorf("/latest: %d to %q", code, header.Get("Location"))
	}
}

func TestAnEmptyShelf(t *testing.T) {
	s := shelfOf(t, folder(t.TempDir()))
	for path, want := range map[string]int{"/": 200, "/healthz": 200, "/metrics": 200, "/latest": 404} {
		if code, _, body := get(s, "GET", path); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
	if n := testutil.CollectAndCount(s, "seatrial_run_status"); n != 0 {
		t.Errorf("%d statuses of no run", n)
	}
}

func TestAFolderThatGoesAwayIsTold(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there was opened")
	}
	f := folder(t.TempDir())
	s := shelfOf(t, f)
	s.Close()
	if code, _, _ := get(s, "GET", "/healthz"); code != 503 {
		t.Errorf("/healthz of a folder that cannot be read: %d", code)
	}
	want := fmt.Sprintln("# HELP seatrial_reports_readable Whether the folder of reports can be read.\n# TYPE seatrial_reports_readable gauge\nseatrial_reports_readable 0")
	if err := testutil.CollectAndCompare(s, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestPruneKeepsTheNewestAndWhatIsNoRun(t *testing.T) {
	f := folder(t.TempDir())
	for i, name := range []string{"a", "b", "c", "d"} {
		f.run(t, name, "local", noon.Add(time.Duration(i)*time.Hour), verdict.Pass)
	}
	f.write(t, "held/godog.txt", "")
	f.write(t, "killed/godog.txt", "")
	f.write(t, "notes/verdict.json", "broken, and no run's")
	now := time.Now()
	if err := os.Chtimes(filepath.Join(string(f), "killed", "godog.txt"), now, now.Add(-8*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s := shelfOf(t, f)
	removed, err := s.Prune(2, now)
	if err != nil || strings.Join(removed, " ") != "killed b a" {
		t.Errorf("removed %q, %v", removed, err)
	}
	runs, err := s.Runs()
	if err != nil || names(runs) != "notes=unreadable held=none d=pass c=pass" {
		t.Errorf("left: %s, %v", names(runs), err)
	}
	if removed, err := s.Prune(2, now); err != nil || removed != nil {
		t.Errorf("again: removed %q, %v", removed, err)
	}
}
