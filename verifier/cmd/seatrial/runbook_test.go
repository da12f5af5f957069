//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seatrial/verifier/lack"
)

// aRunbook is one with a cause; ' is a backtick.
const aRunbook = `---
detect_within: 15s
recover_within: 60s
---
# Down
## Meaning
It is down.
## Impact
None.
## Diagnosis
How many are left?
'''promql
left
'''
Expected: '< 2'

Since when?
'''promql
since
'''
Look: seconds.
### Cause: Killed
'''promql
kills
'''
Expected: no data
Injected by: 'worker-kill'
### Cause: Unplugged
'''sh
ls
'''
Look: the plug.
Not injectable: it has no plug.
## Mitigation
Wait.
`

// books writes runbooks into a folder.
func books(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "'", "`")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// command runs a command line in this process.
func command(args ...string) (status int, stdout, stderr string) {
	var out, complaints bytes.Buffer
	status = run(context.Background(), args, &out, &complaints)
	return status, out.String(), complaints.String()
}

// metrics is a Prometheus that knows the answers to some queries, and finds others
// no PromQL.
func metrics(t *testing.T, answers map[string][]float64) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values, known := answers[r.FormValue("query")]
		w.Header().Set("Content-Type", "application/json")
		if !known {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"parse error"}`)
			return
		}
		samples := []string{}
		for i, v := range values {
			samples = append(samples, fmt.Sprintf(`{"metric":{"n":"%d"},"value":[1,"%g"]}`, i, v))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(samples, ","))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestBuiltInRunbooks: those that come with the program are in order, and name experiments that
// there are.
func TestBuiltInRunbooks(t *testing.T) {
	status, out, complaints := command("runbook", "check")
	if status != exitPass || !strings.Contains(out, "runbooks without a mistake") || complaints != "" {
		t.Errorf("exit status %d\n%s%s", status, out, complaints)
	}
	status, out, _ = command("runbook", "list")
	if status != exitPass || !strings.Contains(out, "\nNATSServerDown ") {
		t.Errorf("list: exit status %d\n%s", status, out)
	}
	status, out, _ = command("runbook", "show", "NATSServerDown")
	if status != exitPass || !strings.HasPrefix(out, "---\n") || !strings.Contains(out, "\n# NATSServerDown\n") {
		t.Errorf("show: exit status %d\n%s", status, out)
	}
}

func TestRunbookCheckTellsEveryMistake(t *testing.T) {
	dir := books(t, map[string]string{
		"Down.md": strings.Replace(aRunbook, "15s", "soon", 1),
		"Up.md":   strings.Replace(aRunbook, "None.\n", "", 1),
	})
	status, out, _ := command("runbook", "check", dir)
	want := []string{dir + "/Down.md:2: detect_within", dir + `/Up.md:5: the title is "Down"`, dir + "/Up.md:5: two runbooks", dir + "/Up.md:8: the section ## Impact says nothing"}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != exitBroken || len(lines) != len(want) {
		t.Fatalf("exit status %d, want %d with %d mistakes\n%s", status, exitBroken, len(want), out)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("mistake %q, want %q", lines[i], want[i])
		}
	}
}

func TestRunbookCheckKnowsExperiments(t *testing.T) {
	dir := books(t, map[string]string{"Down.md": strings.Replace(aRunbook, "worker-kill", "worker-tickle", 1)})
	status, out, _ := command("runbook", "check", dir)
	want := dir + `/Down.md:22: the cause "Killed" is injected by "worker-tickle", and there is no such experiment` + "\n"
	if status != exitBroken || out != want {
		t.Errorf("exit status %d\n%swant\n%s", status, out, want)
	}
}

// TestRunbookCheckParsesQueries: promtool finds what brackets do not show, and what an
// expectation makes wrong of a query that is right.
func TestRunbookCheckParsesQueries(t *testing.T) {
	promtool := filepath.Join(dependencies(t), "bin", "promtool")
	if _, err := os.Stat(promtool); err != nil {
		lack.Of(t, "no promtool: run make deps (%v)", err)
	}
	for query, want := range map[string]string{
		"left":           "",
		"sum left":       `Down.md:12: the query is no PromQL: 1:5: parse error: unexpected identifier "left"`,
		"time()":         "Down.md:12: the query is no PromQL: 3:3: parse error: comparisons between scalars must use BOOL modifier",
		"tickle(left)":   `Down.md:12: the query is no PromQL: 1:1: parse error: unknown function with name "tickle"`,
		"left[5m]":       "Down.md:12: the query is no PromQL: ",
		"left # (really": "",
	} {
		dir := books(t, map[string]string{"Down.md": strings.Replace(aRunbook, "\nleft\n", "\n"+query+"\n", 1)})
		status, out, _ := command("runbook", "check", dir, "--promtool", promtool)
		switch {
		case want == "" && (status != exitPass || !strings.Contains(out, "queries parsed by "+promtool)):
			t.Errorf("%s: exit status %d\n%s", query, status, out)
		case want != "" && (status != exitBroken || !strings.Contains(out, want) || strings.Count(out, "\n") != 1):
			t.Errorf("%s: exit status %d\n%swant %s", query, status, out, want)
		}
	}
	dir := books(t, map[string]string{"Down.md": aRunbook})
	if status, _, complaints := command("runbook", "check", dir, "--promtool", dir+"/none"); status != exitBroken || !strings.Contains(complaints, "--promtool") {
		t.Errorf("a promtool that is not there: exit status %d\n%s", status, complaints)
	}
}

func TestDiagnose(t *testing.T) {
	dir := books(t, map[string]string{"Down.md": aRunbook, "Other.md": strings.NewReplacer("# Down", "# Other", "\nleft\n", "\nothers\n").Replace(aRunbook)})
	up := metrics(t, map[string][]float64{"left": {3}, "others": {3, 4}, "since": {1.25}, "kills": {}})
	down := metrics(t, map[string][]float64{"left": {3, 1}, "others": {}, "since": {}, "kills": {7}})
	broken := metrics(t, map[string][]float64{"left": {1}, "since": {1}})
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"true", []string{"Down", "--prometheus", down}, exitPass, `Down: true
  LINE, STEP              EXPECTED  MEASURED    HOLDS
  12  How many are left?  < 2       1 to 3 (2)  true
  18  Since when?         -         no data     -
  Cause: Killed           -         -           false
  23                      no data   7           false
  Cause: Unplugged        -         -           -
`},
		{"false", []string{"Down", "--prometheus", up}, exitFail, `Down: false
  LINE, STEP              EXPECTED  MEASURED  HOLDS
  12  How many are left?  < 2       3         false
  18  Since when?         -         1.25      -
  Cause: Killed           -         -         false
  23                      no data   no data   true
  Cause: Unplugged        -         -         -
`},
		{"one of all", []string{"--all", "--prometheus", down}, exitPass, "Down: true\n  LINE"},
		{"none of all", []string{"--all", "--prometheus", up}, exitFail, "Down: false\nOther: false\n"},
		{"broken query", []string{"Down", "--prometheus", broken}, exitBroken, ""},
		{"nobody answers", []string{"Down", "--prometheus", "http://127.0.0.1:1"}, exitBroken, ""},
		{"no runbook", []string{"Nothing", "--prometheus", up}, exitBroken, ""},
		{"no name", []string{"--prometheus", up}, exitBroken, ""},
		{"name and all", []string{"Down", "--all", "--prometheus", up}, exitBroken, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, complaints := command(append([]string{"runbook", "diagnose", "--runbooks", dir}, c.args...)...)
			if status != c.status || !strings.HasPrefix(out, c.want) || (status == exitBroken) != (complaints != "") {
				t.Errorf("exit status %d, want %d\n%s%s\nwant\n%s", status, c.status, out, complaints, c.want)
			}
		})
	}
	if _, _, complaints := command("runbook", "diagnose", "--runbooks", dir, "Down", "--prometheus", broken); !strings.Contains(complaints, "Down.md:23: query kills: ") {
		t.Errorf("a query that is refused is told as %q", complaints)
	}
}

func TestRunbookWrongUsage(t *testing.T) {
	t.Setenv("SEATRIAL_STATE", t.TempDir())
	for _, c := range [][2]string{
		{"runbook sail", `unknown command "sail"`},
		{"runbook check nowhere", "nowhere: there is no such folder"},
		{"runbook show Nothing", `no runbook is called "Nothing"`},
		{"runbook diagnose WorkerDown", "--prometheus"},
		{"runbook diagnose", "either the name of one runbook or --all"},
	} {
		status, _, complaints := command(strings.Fields(c[0])...)
		if status != exitBroken || !strings.Contains(complaints, c[1]) {
			t.Errorf("%s: exit status %d: %s", c[0], status, complaints)
		}
	}
}
