package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/history"
	"seatrial/loadgen/profile"
)

// seen counts requests by method, path, a header and body.
type seen struct {
	*httptest.Server
	mu    sync.Mutex
	count map[string]int
}

func newSeen(t *testing.T, delay time.Duration) *seen {
	s := &seen{count: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.count[r.Method+" "+r.URL.Path+" "+r.Header.Get("X-A")+" "+string(body)]++
		s.mu.Unlock()
		time.Sleep(delay)
	}))
	t.Cleanup(s.Close)
	return s
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs the command as a user would.
func command(ctx context.Context, stdin string, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := NewCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func TestForeignTargets(t *testing.T) {
	s := newSeen(t, 0)
	httpTargets := "GET " + s.URL + "/get\nX-A: 1\n\nPOST " + s.URL + "/post\n@" + file(t, "body", "hello") + "\n"
	jsonTargets := `{"method":"GET","url":"` + s.URL + `/get","header":{"X-A":["1"]}}` + "\n" +
		`{"method":"POST","url":"` + s.URL + `/post","body":"aGVsbG8="}` + "\n"
	for _, tt := range []struct{ name, stdin, format, targets string }{
		{"http file", "", "http", httpTargets},
		{"json file", "", "json", jsonTargets},
		{"standard input", httpTargets, "http", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clear(s.count)
			dir := filepath.Join(t.TempDir(), "out")
			args := []string{"--format", tt.format, "--rate", "100", "--duration", "400ms", "--output", dir, "--achieved", "0"}
			if tt.targets != "" {
				args = append(args, "--targets", file(t, "targets", tt.targets))
			}
			out, _, err := command(t.Context(), tt.stdin, args...)
			if err != nil {
				t.Fatal(err)
			}
			if s.count["GET /get 1 "] != 20 || s.count["POST /post  hello"] != 20 {
				t.Errorf("the server saw %v", s.count)
			}
			for _, want := range []string{"Requests      [total, rate, throughput]", "Success       [ratio]                           100.00%", "200:40", "Outcomes     [accepted, refused, unknown]", "40, 0, 0", "From plan"} {
				if !strings.Contains(out, want) {
					t.Errorf("the report lacks %q:\n%s", want, out)
				}
			}
			checkFiles(t, dir, 40)
		})
	}
}

func checkFiles(t *testing.T, dir string, want int) {
	t.Helper()
	content := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, name := range []string{HDRFile, HDRFromPlanFile} {
		if text := content(name); !strings.HasPrefix(text, "Value(ms)") || strings.Count(text, "\n") < 20 {
			t.Errorf("%s: %.200s", name, text)
		}
	}
	if page := content(PlotFile); !strings.Contains(page, "uPlot") || strings.Contains(page, "src=\"http") {
		t.Error("the plot is not a self-contained page")
	}
	var rep attack.Report
	if err := json.Unmarshal([]byte(content(SummaryFile)), &rep); err != nil || int(rep.Sent) != want {
		t.Errorf("summary %+v, %v", rep, err)
	}
	if dec := vegeta.DecoderFor(strings.NewReader(content(attack.ResultsFile))); dec == nil {
		t.Error("vegeta cannot read the results")
	}
	r, err := history.Open(filepath.Join(dir, attack.HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tasks := map[uint64]bool{}
	for op, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		tasks[op.Task] = true
	}
	if len(tasks) != want {
		t.Errorf("%d tasks in the History, want %d", len(tasks), want)
	}
}

func TestInterruptWritesEverything(t *testing.T) {
	s := newSeen(t, 50*time.Millisecond)
	dir := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	out, stderr, err := command(ctx, "", "--task", s.URL+"/task", "--rate", "100", "--duration", "1h", "--output", dir, "--achieved", "0.1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "Status Codes") || !strings.Contains(stderr, "ending the load") {
		t.Errorf("out %q, stderr %q", out, stderr)
	}
	var rep attack.Report
	text, err := os.ReadFile(filepath.Join(dir, SummaryFile))
	if err := errors.Join(err, json.Unmarshal(text, &rep)); err != nil || !rep.Stopped {
		t.Fatalf("summary %s, %v", text, err)
	}
	checkFiles(t, dir, int(rep.Sent))
}

func TestFallingShortFails(t *testing.T) {
	s := newSeen(t, 100*time.Millisecond)
	dir := filepath.Join(t.TempDir(), "out")
	out, _, err := command(t.Context(), "", "--task", s.URL, "--rate", "100", "--duration", "500ms", "--output", dir, "--max-workers", "1")
	if !errors.Is(err, ErrNotAchieved) {
		t.Errorf("a capped load ends with %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, PlotFile)); err != nil {
		t.Error(err)
	}
}

func TestProfileFromFileAndText(t *testing.T) {
	s := newSeen(t, 0)
	yaml := file(t, "ramp.yaml", "kind: ramp\nfrom: 20\nto: 180\n")
	for _, tt := range []struct {
		profile string
		want    int
	}{{yaml, 50}, {`{"kind":"spike","base":20,"peak":100,"at":"100ms","for":"200ms"}`, 26}} {
		dir := filepath.Join(t.TempDir(), "out")
		if _, _, err := command(t.Context(), "", "--task", s.URL, "--profile", tt.profile, "--duration", "500ms", "--output", dir, "--achieved", "0"); err != nil {
			t.Fatal(err)
		}
		checkFiles(t, dir, tt.want)
	}
}

func TestBadInput(t *testing.T) {
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, attack.HistoryFile), []byte("older"), 0o644); err != nil {
		t.Fatal(err)
	}
	task := []string{"--task", "http://127.0.0.1:1/task"}
	for _, tt := range []struct {
		name  string
		stdin string
		args  []string
		want  string
	}{
		{"no targets", "", nil, "standard input"},
		{"bad target", "FETCH it", nil, "bad URL: it"},
		{"relative URL", "GET /x", nil, "target 1"},
		{"no such file", "", []string{"--targets", "/nowhere"}, "/nowhere"},
		{"format", "", []string{"--format", "xml"}, `"xml" is none of http, json`},
		{"both", "", append(task, "--targets", "x"), "want one"},
		{"negative rate", "", append(task, "--rate", "-5"), "rate: -5 is negative"},
		{"rate and profile", "", append(task, "--rate", "5", "--profile", "{}"), "want one"},
		{"unknown field", "", append(task, "--profile", `{"kind":"steady","speed":3}`), "speed"},
		{"every mistake", "", append(task, "--profile", `{"kind":"ramp","from":-1,"to":-2}`), "from: -1 is negative or no number; to: -2"},
		{"header", "", append(task, "--header", "nonsense"), "nonsense"},
		{"prefix", "", append(task, "--prefix", "a b"), "prefix"},
		{"argument", "", []string{"x"}, "x"},
		{"older load", "", append(task, "--output", used), attack.HistoryFile},
	} {
		args := tt.args
		if tt.name != "older load" {
			args = append(args, "--output", filepath.Join(t.TempDir(), "out"))
		}
		if _, _, err := command(t.Context(), tt.stdin, args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(used, attack.HistoryFile)); err != nil || string(text) != "older" {
		t.Errorf("the older load is gone: %q, %v", text, err)
	}
}

// An unreachable target is a finding, not a broken command: the report tells.
func TestRefusedDialIsReported(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	var out bytes.Buffer
	rep, err := Run(t.Context(), Config{Task: "http://127.0.0.1:1/task", Dir: dir,
		Profile: profile.Config{Kind: profile.Steady, Rate: 50, Duration: profile.Duration(200 * time.Millisecond)}}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Outcomes.Refused != 10 || !strings.Contains(out.String(), "10 x connection refused") {
		t.Errorf("%+v\n%s", rep, &out)
	}
}
