package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"seatrial/services/task"
)

// fake is a Ledger, Records and Gate that says what it is told to.
type fake struct {
	shut      bool
	accept    error // what Accept returns
	accepted  []task.Task
	passed    int
	waiting   map[string]time.Time
	records   map[string]task.Report
	all       []task.Report
	unread    error // what reading returns
	cut       error // what Export returns after all
	appearing task.Report
}

func (f *fake) Open() bool { return !f.shut }
func (f *fake) Passed()    { f.passed++ }

func (f *fake) Accept(_ context.Context, t task.Task) error {
	if f.accept == nil {
		f.accepted = append(f.accepted, t)
	}
	return f.accept
}

// Waiting lets a Task be done between two looks: it then appears as recorded.
func (f *fake) Waiting(_ context.Context, id string) (time.Time, bool, error) {
	if f.appearing.ID == id {
		f.records = map[string]task.Report{id: f.appearing}
	}
	at, ok := f.waiting[id]
	return at, ok, f.unread
}

func (f *fake) Backlog(context.Context) (int, error) { return 17, f.unread }

func (f *fake) Get(_ context.Context, id string) (task.Report, bool, error) {
	r, ok := f.records[id]
	return r, ok, f.unread
}

func (f *fake) Counts(context.Context) (int64, int64, error) { return 1042, 1040, f.unread }

func (f *fake) Export(_ context.Context, _ string, each func(task.Report) error) error {
	if f.unread != nil {
		return f.unread
	}
	for _, r := range f.all {
		if err := each(r); err != nil {
			return err
		}
	}
	return f.cut
}

func serve(t testing.TB, f *fake) (*API, http.Handler, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	a := New(Config{Deadline: 4 * time.Second}, f, f, f, r, slog.New(slog.NewTextHandler(io.Discard, nil)))
	mux := http.NewServeMux()
	a.Routes(mux)
	return a, mux, r
}

func post(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/task", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	acceptedAt = time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
	done       = task.Report{ID: "t-42", State: task.Done, Result: "9f86d081884c7d65", Worker: "worker-0",
		AcceptedAt: acceptedAt, DoneAt: time.Date(2026, 1, 2, 3, 4, 5, 234567000, time.UTC), Deliveries: 1, Effects: 1}
	dead = task.Report{ID: "t-43", State: task.Dead, Result: "the payload is poison", Worker: "worker-1",
		AcceptedAt: acceptedAt, DoneAt: time.Date(2026, 1, 2, 3, 5, 0, 234567000, time.UTC), Deliveries: 5}
)

// TestWireContract compares whole answers with the files that clients are
// tested with as well.
func TestWireContract(t *testing.T) {
	submit := `{"payload":1,"id":"t-42"}`
	records := map[string]task.Report{"t-42": done, "t-43": dead}
	for name, tc := range map[string]struct {
		fake fake
		ask  func(http.Handler) *httptest.ResponseRecorder
		code int
		head map[string]string
	}{
		"task_accepted.json": {ask: func(h http.Handler) *httptest.ResponseRecorder { return post(h, submit) }, code: 202,
			head: map[string]string{"Task-Outcome": "accepted", "Content-Type": "application/json", "Retry-After": ""}},
		"problem_refused.json": {fake: fake{accept: fmt.Errorf("publish: %w", task.ErrRefused)}, ask: func(h http.Handler) *httptest.ResponseRecorder { return post(h, submit) }, code: 503,
			head: map[string]string{"Task-Outcome": "refused", "Content-Type": "application/problem+json", "Retry-After": "1"}},
		"problem_unknown.json": {fake: fake{accept: fmt.Errorf("publish: %w", task.ErrUnknown)}, ask: func(h http.Handler) *httptest.ResponseRecorder { return post(h, submit) }, code: 503,
			head: map[string]string{"Task-Outcome": "unknown", "Content-Type": "application/problem+json", "Retry-After": "1"}},
		"problem_invalid.json": {ask: func(h http.Handler) *httptest.ResponseRecorder { return post(h, `{"payload":1,"id":"a b"}`) }, code: 400,
			head: map[string]string{"Task-Outcome": "refused", "Content-Type": "application/problem+json"}},
		"task_pending.json": {fake: fake{waiting: map[string]time.Time{"t-42": acceptedAt}}, ask: func(h http.Handler) *httptest.ResponseRecorder { return get(h, "/task/t-42") }, code: 200},
		"task_done.json":    {fake: fake{records: records}, ask: func(h http.Handler) *httptest.ResponseRecorder { return get(h, "/task/t-42") }, code: 200},
		"task_dead.json":    {fake: fake{records: records}, ask: func(h http.Handler) *httptest.ResponseRecorder { return get(h, "/task/t-43") }, code: 200},
		"tasks_export.ndjson": {fake: fake{all: []task.Report{done, dead}}, ask: func(h http.Handler) *httptest.ResponseRecorder { return get(h, "/tasks?prefix=t-") }, code: 200,
			head: map[string]string{"Content-Type": "application/x-ndjson"}},
		"stats.json": {ask: func(h http.Handler) *httptest.ResponseRecorder { return get(h, "/stats") }, code: 200,
			head: map[string]string{"Content-Type": "application/json"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, h, _ := serve(t, &tc.fake)
			w := tc.ask(h)
			if want := golden(t, name); w.Code != tc.code || w.Body.String() != want {
				t.Errorf("got %d %s\nwant %d %s", w.Code, w.Body, tc.code, want)
			}
			for k, v := range tc.head {
				if w.Header().Get(k) != v {
					t.Errorf("%s is %q, want %q", k, w.Header().Get(k), v)
				}
			}
		})
	}
}

func TestBadSubmissions(t *testing.T) {
	for name, tc := range map[string]struct {
		kind, body, field string
		code              int
	}{
		"form":           {"application/x-www-form-urlencoded", `payload=1`, "", 415},
		"no type":        {"", `{"payload":1}`, "", 415},
		"with a charset": {"application/json; charset=utf-8", `{"payload":1}`, "", 202},
		"malformed":      {"application/json", `{"payload":`, "", 400},
		"unknown field":  {"application/json", `{"payload":1,"x":1}`, "x", 400},
		"no payload":     {"application/json", `{}`, "payload", 400},
		"trailing":       {"application/json", `{"payload":1}1`, "", 400},
		"too large":      {"application/json", `{"payload":"` + strings.Repeat("a", task.MaxPayload) + `"}`, "payload", 413},
		"far too large":  {"application/json", `{"payload":"` + strings.Repeat("a", 1<<20) + `"}`, "payload", 413},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			_, h, r := serve(t, f)
			req := httptest.NewRequest(http.MethodPost, "/task", bytes.NewReader([]byte(tc.body)))
			req.Header.Set("Content-Type", tc.kind)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			outcome := map[bool]string{true: "accepted", false: "refused"}[tc.code == 202]
			if w.Code != tc.code || w.Header().Get("Task-Outcome") != outcome || (len(f.accepted) == 1) != (tc.code == 202) {
				t.Fatalf("got %d %s, %d accepted: %s", w.Code, w.Header().Get("Task-Outcome"), len(f.accepted), w.Body)
			}
			if tc.field != "" && !strings.Contains(w.Body.String(), `"field":"`+tc.field+`"`) {
				t.Errorf("the field %s is not named: %s", tc.field, w.Body)
			}
			want := fmt.Sprintf(`api_requests_total{code="%d",outcome="%s",route="/task"} 1`, tc.code, outcome)
			if got := exposed(t, r, "api_requests_total"); !strings.Contains(got, want) {
				t.Errorf("%s is not in %s", want, got)
			}
		})
	}
}

func exposed(t *testing.T, r *prometheus.Registry, name string) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if f.GetName() == name {
			if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	return text.String()
}

func TestShutGateRefusesWithoutSending(t *testing.T) {
	f := &fake{shut: true}
	a, h, _ := serve(t, f)
	w := post(h, `{"payload":1,"id":"t-1"}`)
	if w.Code != 503 || w.Header().Get("Task-Outcome") != "refused" || len(f.accepted) != 0 || !strings.Contains(w.Body.String(), `"id":"t-1"`) {
		t.Errorf("got %d %s %s, %d sent", w.Code, w.Header().Get("Task-Outcome"), w.Body, len(f.accepted))
	}
	if a.Ready() == nil {
		t.Error("ready with a shut gate")
	}
	f.shut = false
	if a.Ready() != nil || post(h, `{"payload":1}`).Code != 202 || f.passed != 1 {
		t.Errorf("open: ready %v, %d passed", a.Ready(), f.passed)
	}
	if !task.ValidID(f.accepted[0].ID) {
		t.Errorf("no id was chosen: %q", f.accepted[0].ID)
	}
	a.Drain()
	if a.Ready() == nil || post(h, `{"payload":1}`).Code != 202 {
		t.Error("draining: want not ready, and served still")
	}
}

func TestReading(t *testing.T) {
	gone := errors.New("gone")
	for name, tc := range map[string]struct {
		fake fake
		path string
		code int
	}{
		"nobody knows it":             {path: "/task/x", code: 404},
		"no id":                       {path: "/task/a.b", code: 404},
		"store gone":                  {fake: fake{unread: gone}, path: "/task/x", code: 503},
		"done between two looks":      {fake: fake{appearing: task.Report{ID: "x", State: task.Done}}, path: "/task/x", code: 200},
		"stats, store gone":           {fake: fake{unread: gone}, path: "/stats", code: 503},
		"export, store gone":          {fake: fake{unread: gone}, path: "/tasks", code: 503},
		"export, bad prefix":          {path: "/tasks?prefix=*", code: 400},
		"export, nothing":             {path: "/tasks?prefix=none", code: 200},
		"no such route":               {path: "/nowhere", code: 404},
		"a route with another method": {path: "/task", code: 405},
	} {
		t.Run(name, func(t *testing.T) {
			_, h, _ := serve(t, &tc.fake)
			w := get(h, tc.path)
			if w.Code != tc.code {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if tc.code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("no problem: %s", w.Header().Get("Content-Type"))
			}
		})
	}
}

// TestCutExport needs a real connection: its end is what tells the client.
func TestCutExport(t *testing.T) {
	_, h, _ := serve(t, &fake{all: []task.Report{done}, cut: errors.New("gone")})
	s := httptest.NewServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError)
	defer s.Close()
	resp, err := http.Get(s.URL + "/tasks")
	if err != nil {
		return // cut before the first byte was flushed: also not a whole answer
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil || strings.Contains(string(body), `"end"`) {
		t.Errorf("a cut export looks whole: %s", body)
	}
}

func BenchmarkPostTask(b *testing.B) {
	_, h, _ := serve(b, &fake{})
	body := fmt.Sprintf(`{"payload":{"n":"%0240d"},"id":"t-42"}`, 1)
	b.ReportAllocs()
	for b.Loop() {
		if w := post(h, body); w.Code != 202 {
			b.Fatal(w.Code)
		}
	}
}
