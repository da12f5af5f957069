package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/history"
	"seatrial/loadgen/profile"
)

// api is a Server over real HTTP, with its client and a target that answers after delay.
type api struct {
	*Client
	url, target, dir string
	server           *Server
}

func newAPI(t *testing.T, dir string, delay time.Duration) *api {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := attack.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(dir, metrics, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(delay)
		w.Header().Set(attack.OutcomeHeader, "accepted")
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(func() { s.Close(); h.Close(); target.Close() })
	return &api{NewClient(h.URL, h.Client()), h.URL, target.URL + "/task", dir, s}
}

func (a *api) spec(id string, rate float64, d time.Duration) Spec {
	return Spec{ID: id, Target: a.target, Prefix: "t", Seed: 4, PayloadBytes: 32, Timeout: profile.Duration(5 * time.Second),
		Profile: profile.Config{Kind: profile.Steady, Rate: rate, Duration: profile.Duration(d)}}
}

func (a *api) wait(t *testing.T, id string) Status {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		s, err := a.Status(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s.State != Running {
			return s
		}
	}
	t.Fatalf("attack %s does not end", id)
	return Status{}
}

func ops(t *testing.T, a *api, id string) []history.Op {
	t.Helper()
	body, err := a.Open(t.Context(), id, History)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	r, err := history.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	var all []history.Op
	for op, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, op)
	}
	return all
}

func problem(t *testing.T, err error) *Problem {
	t.Helper()
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		t.Fatalf("want a problem, got %v", err)
	}
	return p
}

func TestAnAttackFromStartToFiles(t *testing.T) {
	a := newAPI(t, t.TempDir(), 0)
	ctx := t.Context()
	s, err := a.Start(ctx, a.spec("one", 200, time.Second))
	if err != nil || s.State != Running || s.ID != "one" {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := a.Open(ctx, "one", History); problem(t, err).Status != http.StatusConflict {
		t.Errorf("the History of a running attack: %v", err)
	}
	if _, err := a.Start(ctx, a.spec("one", 200, time.Second)); problem(t, err).Status != http.StatusConflict {
		t.Errorf("the same id again: %v", err)
	}
	s = a.wait(t, "one")
	if s.State != Done || s.Sent != 200 || s.Asked != 200 || s.Outcomes.Accepted != 200 || s.InFlight != 0 || s.Report == nil || s.Report.Stopped {
		t.Fatalf("%+v", s)
	}
	if got := len(ops(t, a, "one")); got != 200 {
		t.Errorf("%d ops", got)
	}
	for file, want := range map[File]string{Report: "Success       [ratio]                           100.00%", HDR: "Value(ms)", Plot: "uPlot"} {
		var b bytes.Buffer
		if err := a.Copy(ctx, "one", file, &b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %v, %.100s", file, err, &b)
		}
	}
	var b bytes.Buffer
	if err := a.Copy(ctx, "one", Results, &b); err != nil || vegeta.DecoderFor(&b) == nil {
		t.Errorf("results: %v", err)
	}
	if _, err := a.Open(ctx, "one", "secrets"); problem(t, err).Status != http.StatusNotFound {
		t.Errorf("an unknown file: %v", err)
	}
}

func TestStopWaitsForAnswersAndIsIdempotent(t *testing.T) {
	a := newAPI(t, t.TempDir(), 200*time.Millisecond)
	ctx := t.Context()
	if _, err := a.Start(ctx, a.spec("long", 100, time.Hour)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	first, err := a.Stop(ctx, "long")
	if err != nil {
		t.Fatal(err)
	}
	if first.State != Done || first.InFlight != 0 || first.Outcomes.Accepted != first.Sent || first.Sent < 10 || !first.Report.Stopped {
		t.Errorf("%+v", first)
	}
	second, err := a.Stop(ctx, "long")
	if err != nil || second.Sent != first.Sent || second.State != Done {
		t.Errorf("stopped twice: %+v, %v", second, err)
	}
	if got := uint64(len(ops(t, a, "long"))); got != first.Sent {
		t.Errorf("%d ops, %d sent", got, first.Sent)
	}
	if _, err := a.Stop(ctx, "nobody"); problem(t, err).Status != http.StatusNotFound {
		t.Errorf("an unknown attack: %v", err)
	}
}

// Replicas that share a rate send together exactly what one would have sent.
func TestShardsMakeTheWhole(t *testing.T) {
	a := newAPI(t, t.TempDir(), 0)
	ctx := t.Context()
	whole := a.spec("whole", 211, time.Second)
	whole.RepeatRatio = 0.2
	const of = 3
	specs := []Spec{whole}
	for i := range uint64(of) {
		s := whole
		s.ID, s.Shard = "shard-"+string('0'+rune(i)), &Shard{i, of}
		specs = append(specs, s)
	}
	for _, s := range specs {
		if _, err := a.Start(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	var readers []*history.Reader
	for _, s := range specs {
		a.wait(t, s.ID)
		r, err := history.Open(filepath.Join(a.dir, s.ID, attack.HistoryFile))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		readers = append(readers, r)
	}
	var merged bytes.Buffer
	if _, err := history.Merge(&merged, readers[1:]...); err != nil {
		t.Fatal(err)
	}
	r, err := history.NewReader(&merged)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := taskNumbers(t, r), taskNumbers(t, readers[0]); !slices.Equal(got, want) {
		t.Errorf("the shards sent %d tasks %v..., the whole %d %v...", len(got), got[:5], len(want), want[:5])
	}
}

func taskNumbers(t *testing.T, r *history.Reader) []uint64 {
	t.Helper()
	var all []uint64
	for op, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, op.Task)
	}
	slices.Sort(all)
	return all
}

func TestEveryMistakeOfABodyIsNamed(t *testing.T) {
	a := newAPI(t, t.TempDir(), 0)
	for _, tt := range []struct {
		name, kind, body string
		status           int
		fields           []string
		detail           string
	}{
		{"all at once", "application/json", `{"id":"a/b","target":"x","seed":1.5,"prefix":"","timeout":10,"repeat_ratio":2,"payload_bytes":-1,
			"colour":"red","profile":{"kind":"steady","rate":"fast","from":3,"duration":"soon"},"shard":{"index":2,"of":2},"begin":"now"}`, 400,
			[]string{"begin", "colour", "seed", "timeout", "profile.duration", "profile.rate", "id", "shard", "target", "prefix", "payload_bytes", "repeat_ratio", "profile.from"},
			`timeout: is a number, want a duration like "40s"`},
		{"empty object", "application/json; charset=utf-8", `{}`, 400, []string{"id", "target", "prefix", "profile.kind", "profile.duration"}, ""},
		{"profile no object", "", `{"id":"a","target":"http://x","prefix":"p","profile":3}`, 400, []string{"profile"}, "is not a JSON object"},
		{"no object", "", `[]`, 400, nil, "is not a JSON object"},
		{"null", "", `null`, 400, nil, "is not a JSON object"},
		{"no JSON", "", `{"id"`, 400, nil, "is not JSON"},
		{"nothing", "", ``, 400, nil, "is not JSON"},
		{"two", "", `{}{}`, 400, nil, "more than one"},
		{"form", "application/x-www-form-urlencoded", `id=a`, 415, nil, "x-www-form-urlencoded"},
		{"too long", "", `{"id":"` + strings.Repeat("a", maxBody) + `"}`, 413, nil, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+"/attacks", strings.NewReader(tt.body))
			if tt.kind != "" {
				req.Header.Set("Content-Type", tt.kind)
			}
			p := send(t, req)
			var fields []string
			for _, m := range p.Errors {
				fields = append(fields, m.Field)
			}
			if p.Status != tt.status || !slices.Equal(fields, tt.fields) || !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// send expects a problem whose status is the answer's.
func send(t *testing.T, req *http.Request) Problem {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.Header.Get("Content-Type") != problemType || p.Status != resp.StatusCode || p.Title == "" {
		t.Fatalf("%s, %s: %+v, %v", resp.Status, resp.Header.Get("Content-Type"), p, err)
	}
	return p
}

func TestOtherRoutes(t *testing.T) {
	a := newAPI(t, t.TempDir(), 0)
	for _, tt := range []struct {
		method, path string
		status       int
	}{{"GET", "/nothing", 404}, {"PUT", "/attacks", 405}, {"GET", "/attacks/nobody", 404}, {"GET", "/attacks/nobody/history", 404}} {
		req, _ := http.NewRequestWithContext(t.Context(), tt.method, a.url+tt.path, nil)
		if p := send(t, req); p.Status != tt.status {
			t.Errorf("%s %s: %+v", tt.method, tt.path, p)
		}
	}
	if err := a.Health(t.Context()); err != nil {
		t.Error(err)
	}
	resp, err := http.Get(a.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	for _, want := range []string{`loadgen_ops_total{outcome="unknown"} 0`, "loadgen_asked_ops_total 0", `loadgen_op_duration_seconds_bucket{outcome="accepted",le="0.25"} 0`, "loadgen_inflight 0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func TestAttackThatCannotStartLeavesNothing(t *testing.T) {
	a := newAPI(t, t.TempDir(), 0)
	s := a.spec("big", 1e6, time.Hour)
	s.Timeout = profile.Duration(maxTimeout)
	_, err := a.Start(t.Context(), s)
	if p := problem(t, err); p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Detail, "ulimit -n") {
		t.Errorf("%+v", p)
	}
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		s := a.spec("clock", 1, time.Second)
		s.Begin = time.Now().Add(off)
		_, err := a.Start(t.Context(), s)
		if p := problem(t, err); p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Detail, "this machine's clock") {
			t.Errorf("%v: %+v", off, p)
		}
	}
	if left, err := os.ReadDir(a.dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A restarted process hands out what an earlier one recorded, and says which
// attacks did not end.
func TestRestartKeepsTheRecords(t *testing.T) {
	dir := t.TempDir()
	before := newAPI(t, dir, 0)
	if _, err := before.Start(t.Context(), before.spec("ended", 100, 300*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	before.wait(t, "ended")
	if err := os.CopyFS(filepath.Join(dir, "killed"), os.DirFS(filepath.Join(dir, "ended"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "killed", statusFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "foreign"), 0o755); err != nil {
		t.Fatal(err)
	}
	after := newAPI(t, dir, 0)
	s, err := after.Status(t.Context(), "ended")
	if err != nil || s.State != Done || s.Sent != 30 {
		t.Errorf("%+v, %v", s, err)
	}
	if got := len(ops(t, after, "ended")); got != 30 {
		t.Errorf("%d ops", got)
	}
	if s, err := after.Stop(t.Context(), "killed"); err != nil || s.State != Failed || s.Error == "" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := after.Status(t.Context(), "foreign"); problem(t, err).Status != http.StatusNotFound {
		t.Errorf("a foreign folder: %v", err)
	}
	if _, err := after.Start(t.Context(), after.spec("foreign", 1, time.Second)); problem(t, err).Status != http.StatusConflict {
		t.Errorf("over a foreign folder: %v", err)
	}
}

func TestCloseEndsRunningAttacks(t *testing.T) {
	a := newAPI(t, t.TempDir(), 50*time.Millisecond)
	if _, err := a.Start(t.Context(), a.spec("x", 100, time.Hour)); err != nil {
		t.Fatal(err)
	}
	a.server.Close()
	if s, err := a.Status(t.Context(), "x"); err != nil || s.State != Done {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSpecSurvivesJSON(t *testing.T) {
	s := Spec{ID: "a", Target: "http://127.0.0.1/task", Prefix: "p", Seed: -9, Timeout: profile.Duration(time.Second), RepeatRatio: 0.1, PayloadBytes: 7,
		Profile: profile.Config{Kind: profile.Spike, Base: 1, Peak: 9, At: profile.Duration(time.Second), For: profile.Duration(time.Second), Duration: profile.Duration(time.Minute)},
		Shard:   &Shard{1, 3}, Begin: time.Unix(1_800_000_000, 5).UTC()}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(back)
	if !bytes.Equal(text, again) {
		t.Errorf("%s became %s", text, again)
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(`{"id":"a","target":"http://127.0.0.1/task","prefix":"p","profile":{"kind":"steady","rate":1,"duration":"1s"},"shard":{"index":0,"of":1}}`))
	f.Add([]byte(`{"profile":[],"shard":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSpec(text)
		if err != nil {
			return
		}
		if _, err := s.config("", nil); err != nil {
			t.Errorf("a valid spec makes no attack: %v", err)
		}
	})
}
