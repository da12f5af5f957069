package attack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/history"
	"seatrial/loadgen/profile"
)

func steady(t testing.TB, rate float64, d time.Duration) profile.Profile {
	t.Helper()
	p, err := profile.New(profile.Config{Kind: profile.Steady, Rate: rate, Duration: profile.Duration(d)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tasks(t testing.TB, url string, repeat float64) Targets {
	t.Helper()
	targets, err := Tasks{URL: url, Prefix: "t", Seed: 3, Payload: 64, Repeat: repeat}.Targets()
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

func readHistory(t *testing.T, dir string) (history.Header, []history.Op) {
	t.Helper()
	r, err := history.Open(filepath.Join(dir, HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var ops []history.Op
	for op, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	return r.Header(), ops
}

// taskServer accepts tasks and remembers the ids in order of arrival by seq.
type taskServer struct {
	*httptest.Server
	mu    sync.Mutex
	bySeq map[string]string // X-Vegeta-Seq -> task id
	body  map[string]string // task id -> payload
}

func newTaskServer(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *taskServer {
	s := &taskServer{bySeq: map[string]string{}, body: map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var task struct{ ID, Payload string }
		if err := json.NewDecoder(r.Body).Decode(&task); err != nil {
			t.Errorf("body: %v", err)
		}
		s.mu.Lock()
		s.bySeq[r.Header.Get(seqHeader)] = task.ID
		if before, ok := s.body[task.ID]; ok && before != task.Payload {
			t.Errorf("task %s came with two payloads", task.ID)
		}
		s.body[task.ID] = task.Payload
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func accept(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(OutcomeHeader, "accepted")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"accepted"}`)
}

// Under concurrency every Op must name the very task that its request carried.
func TestTasksAreTiedToRequests(t *testing.T) {
	code := func(id string) int { return 400 + int(id[len(id)-1]-'0') } // the id's last digit comes back as the status
	s := newTaskServer(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var task struct{ ID string }
		_ = json.NewDecoder(r.Body).Decode(&task)
		w.WriteHeader(code(task.ID))
	})
	dir := t.TempDir()
	targets := tasks(t, s.URL, 0.3)
	rep, err := Run(t.Context(), Config{Profile: steady(t, 5000, 400*time.Millisecond), Targets: targets, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	header, ops := readHistory(t, dir)
	if len(ops) != 2000 || rep.Sent != 2000 || rep.Outcomes.Total() != 2000 {
		t.Fatalf("%d ops, report %+v", len(ops), rep)
	}
	repeated := 0
	seen := map[uint64]bool{}
	for _, op := range ops {
		if want := code(header.ID(op.Task)); int(op.Code) != want {
			t.Fatalf("task %d was answered %d, want %d", op.Task, op.Code, want)
		}
		if seen[op.Task] {
			repeated++
		}
		seen[op.Task] = true
	}
	if repeated < 450 || repeated > 750 {
		t.Errorf("%d of 2000 hits repeat a task, want about 600", repeated)
	}
}

func TestTheWireAndTheFiles(t *testing.T) {
	s := newTaskServer(t, accept)
	dir := t.TempDir()
	targets := tasks(t, s.URL, 0.2)
	p := steady(t, 200, time.Second).Shard(1, 2)
	rep, err := Run(t.Context(), Config{Name: "a", Profile: p, Targets: targets, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	header, ops := readHistory(t, dir)
	if header.Prefix != "t" || header.Target != s.URL || header.Seed != 3 || !header.Start.Equal(rep.Started.Round(0)) {
		t.Errorf("header %+v", header)
	}
	for seq, id := range s.bySeq {
		n, _ := vegetaSeq(seq)
		if want := header.ID(targets.Task(2*n + 1)); id != want {
			t.Fatalf("hit %d carried %s, want %s", n, id, want)
		}
	}
	for _, op := range ops {
		if op.Outcome != history.Accepted || op.Code != 202 || op.Cause != "" || op.End <= op.Sent || op.Sent < op.Planned {
			t.Fatalf("op %+v", op)
		}
	}
	for id, payload := range s.body {
		if len(payload) != 64 {
			t.Fatalf("%s has a payload of %d bytes", id, len(payload))
		}
	}
	checkResults(t, filepath.Join(dir, ResultsFile), len(ops))
	if rep.Asked != 100 || rep.Sent != 100 || rep.Outcomes.Accepted != 100 || rep.Stopped || rep.Achieved < 0.8 {
		t.Errorf("report %+v", rep)
	}
}

func vegetaSeq(text string) (n uint64, err error) {
	err = json.Unmarshal([]byte(text), &n)
	return n, err
}

// checkResults reads results as `vegeta report` would.
func checkResults(t *testing.T, path string, want int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := vegeta.DecoderFor(f)
	if dec == nil {
		t.Fatal("vegeta does not know the results' encoding")
	}
	n := 0
	for {
		var r vegeta.Result
		if err := dec(&r); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if r.Code != 202 || r.BytesOut < 64 || r.BytesIn == 0 {
			t.Fatalf("result %+v", r)
		}
		n++
	}
	if n != want {
		t.Errorf("%d results, %d ops", n, want)
	}
}

func slow(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		accept(w, r)
	}
}

// The proof that the loop is open: a server that takes 200 ms gets 100/s all the
// same. With a capped pool it would not, and the report must say so.
func TestOpenLoop(t *testing.T) {
	s := httptest.NewServer(slow(200 * time.Millisecond))
	defer s.Close()
	for _, tt := range []struct {
		name       string
		maxWorkers uint64
		held       bool
	}{{"unlimited", 0, true}, {"capped", 2, false}} {
		rep, err := Run(t.Context(), Config{Profile: steady(t, 100, 2*time.Second), Targets: tasks(t, s.URL, 0), MaxWorkers: tt.maxWorkers})
		if err != nil {
			t.Fatal(err)
		}
		if got := rep.Held(0.95, time.Second); got != tt.held {
			t.Errorf("%s: held %v: %+v", tt.name, got, rep)
		}
		if rep.AskedRate != 100 || rep.Asked != 200 {
			t.Errorf("%s: asked %d, %v/s", tt.name, rep.Asked, rep.AskedRate)
		}
		if tt.held {
			continue
		}
		// Vegeta's own latency looks healthy; the one from the plan does not.
		if rep.AchievedRate > 20 || rep.FromSend.P50 > 0.4 || rep.FromPlan.P90 < 1 {
			t.Errorf("capped: %+v", rep)
		}
	}
}

func TestFailuresAreClassified(t *testing.T) {
	closed := httptest.NewServer(nil)
	refused := closed.URL
	closed.Close()
	for _, tt := range []struct {
		name    string
		url     string
		handler http.HandlerFunc
		outcome history.Outcome
		code    uint16
		cause   string
	}{
		{name: "refused dial", url: refused, outcome: history.Refused, cause: "connection refused"},
		{name: "timeout", handler: slow(600 * time.Millisecond), outcome: history.Unknown, cause: "timeout"},
		{name: "reset", handler: reset, outcome: history.Unknown, cause: "connection reset"},
		{name: "closed", handler: closeSilently, outcome: history.Unknown, cause: "connection closed"},
		{name: "answer cut", handler: cut, outcome: history.Unknown, cause: "answer cut: connection closed"},
		{name: "redirect", handler: http.RedirectHandler("/x", http.StatusTemporaryRedirect).ServeHTTP, outcome: history.Unknown, code: 307},
		{name: "accepted", handler: accept, outcome: history.Accepted, code: 202},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := tt.url
			if tt.handler != nil {
				s := httptest.NewServer(tt.handler)
				defer s.Close()
				url = s.URL
			}
			dir := t.TempDir()
			rep, err := Run(t.Context(), Config{Profile: steady(t, 50, 200*time.Millisecond), Targets: tasks(t, url, 0), Timeout: 300 * time.Millisecond, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			_, ops := readHistory(t, dir)
			if len(ops) != 10 {
				t.Fatalf("%d ops", len(ops))
			}
			for _, op := range ops {
				if op.Outcome != tt.outcome || op.Code != tt.code || op.Cause != tt.cause {
					t.Fatalf("op %+v", op)
				}
			}
			if tt.cause != "" && rep.Causes[tt.cause] != 10 {
				t.Errorf("causes %v", rep.Causes)
			}
		})
	}
}

func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return c
}

func reset(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	c := hijack(w)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func closeSilently(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_ = hijack(w).Close()
}

func cut(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	c := hijack(w)
	_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nshort")
	_ = c.Close()
}

func TestStopEndsEarlyAndWaitsForAnswers(t *testing.T) {
	s := httptest.NewServer(slow(300 * time.Millisecond))
	defer s.Close()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	rep, err := Run(ctx, Config{Profile: steady(t, 100, time.Hour), Targets: tasks(t, s.URL, 0), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	_, ops := readHistory(t, dir) // fails unless the History was closed
	if !rep.Stopped || uint64(len(ops)) != rep.Sent || rep.Outcomes.Accepted != rep.Sent || rep.Sent < 20 || rep.Sent > 200 {
		t.Errorf("%d ops, report %+v", len(ops), rep)
	}
	if rep.Achieved < 0.7 || rep.Achieved > 1.1 {
		t.Errorf("achieved %v of what was planned until the stop", rep.Achieved)
	}
}

// A slow profile spends its time waiting; Stop must not wait for the next hit.
func TestStopWakesALongWait(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(accept))
	defer s.Close()
	a, err := Start(Config{Profile: steady(t, 0.001, 2*time.Hour), Targets: tasks(t, s.URL, 0)})
	if err != nil {
		t.Fatal(err)
	}
	a.Stop()
	a.Stop()
	select {
	case <-a.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the attack goes on")
	}
	if rep, err := a.Wait(); err != nil || rep.Sent > 1 {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestMetrics(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(OutcomeHeader, "refused")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	initial := `# HELP loadgen_ops_total Requests that ended, by what their answer means.
# TYPE loadgen_ops_total counter
loadgen_ops_total{outcome="accepted"} 0
loadgen_ops_total{outcome="refused"} 0
loadgen_ops_total{outcome="unknown"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(initial), "loadgen_ops_total"); err != nil {
		t.Error(err)
	}
	if _, err := Run(t.Context(), Config{Profile: steady(t, 100, 200*time.Millisecond), Targets: tasks(t, s.URL, 0), Metrics: m}); err != nil {
		t.Fatal(err)
	}
	after := strings.Replace(initial, `"refused"} 0`, `"refused"} 20`, 1) + `# HELP loadgen_asked_ops_total Requests that the profiles have planned so far.
# TYPE loadgen_asked_ops_total counter
loadgen_asked_ops_total 20
# HELP loadgen_sent_ops_total Requests that were sent.
# TYPE loadgen_sent_ops_total counter
loadgen_sent_ops_total 20
# HELP loadgen_inflight Requests that wait for their answer.
# TYPE loadgen_inflight gauge
loadgen_inflight 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(after), "loadgen_ops_total", "loadgen_asked_ops_total", "loadgen_sent_ops_total", "loadgen_inflight"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "loadgen_op_duration_seconds"); err != nil || n != 3 {
		t.Errorf("%d duration series, %v", n, err)
	}
}

// A disk that fills up ends the load with an error that names the file.
func TestFullDiskEndsTheLoad(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	defer full.Close()
	s := httptest.NewServer(http.HandlerFunc(accept))
	defer s.Close()
	dir := t.TempDir()
	h, err := os.Create(filepath.Join(dir, HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := files{h, full}.open(history.Header{})
	if err != nil {
		t.Fatal(err)
	}
	op := history.Op{Outcome: history.Accepted}
	var failed error
	for i := 0; i < 5000 && failed == nil; i++ {
		failed = rec.add(&op, &vegeta.Result{Code: 202, URL: s.URL})
	}
	if failed == nil || !strings.Contains(failed.Error(), "/dev/full") {
		t.Fatalf("add: %v", failed)
	}
	if err := rec.close(failed); err == nil {
		t.Error("close hides the failure")
	}
	r, err := history.Open(h.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for _, err = range r.All() {
		if err == nil {
			n++
		}
	}
	if !errors.Is(err, history.ErrTruncated) || n == 0 {
		t.Errorf("%d ops readable, then %v", n, err)
	}
}

func TestStartRefuses(t *testing.T) {
	good := Config{Profile: steady(t, 10, time.Second), Targets: tasks(t, "http://127.0.0.1:1", 0), Dir: t.TempDir()}
	for _, tt := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"no profile", func(c *Config) { c.Profile = profile.Profile{} }, "no hits"},
		{"no targets", func(c *Config) { c.Targets = Targets{} }, "no targets"},
		{"negative timeout", func(c *Config) { c.Timeout = -1 }, "negative"},
		{"too many files", func(c *Config) { c.Profile = steady(t, 1e5, time.Hour); c.Timeout = time.Hour }, "ulimit -n"},
		{"older record", func(c *Config) { _ = os.WriteFile(filepath.Join(c.Dir, HistoryFile), nil, 0o644) }, HistoryFile},
	} {
		cfg := good
		tt.edit(&cfg)
		if _, err := Start(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
