package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"seatrial/loadgen/control"
	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
)

// generator is a load generator in this process.
func generator(t *testing.T) *httptest.Server {
	t.Helper()
	s, err := control.NewServer(t.TempDir(), nil, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); h.Close() })
	return h
}

// The load generators are found anew for each load, and share its rate.
func TestLoaderFindsItsGenerators(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(api.Close)
	found := [][]string{{generator(t).URL}, {generator(t).URL, generator(t).URL, generator(t).URL}}
	find := func(context.Context) ([]string, error) {
		urls := found[0]
		found = found[1:]
		return urls, nil
	}
	l := newLoader(find, api.URL+"/task", http.DefaultTransport)
	for len(found) > 0 {
		n := len(found[0])
		spec := trial.LoadSpec{Load: evidence.Load{Profile: "steady", Rate: 120, Timeout: evidence.Duration(time.Second)}, Prefix: "p", Duration: time.Second}
		if err := l.Start(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			s, err := l.Status(t.Context())
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("%d generators: %+v, %v", n, s, err)
			}
			if s.Accepted == 120 {
				break
			}
		}
		dir := evidence.Dir(t.TempDir())
		if err := errors.Join(l.Stop(t.Context()), l.Save(t.Context(), dir)); err != nil {
			t.Fatal(err)
		}
		if got := opsOf(t, dir); got != 120 {
			t.Errorf("%d generators: %d ops", n, got)
		}
	}
}

func opsOf(t *testing.T, dir evidence.Dir) int {
	t.Helper()
	r, err := history.Open(dir.Path(evidence.HistoryFile))
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
	return len(tasks)
}

func TestLoaderWithoutGenerators(t *testing.T) {
	l := newLoader(func(context.Context) ([]string, error) { return nil, errors.New("no pod is ready") }, "http://api/task", http.DefaultTransport)
	if err := l.Start(t.Context(), trial.LoadSpec{}); err == nil || !strings.Contains(err.Error(), "no pod is ready") {
		t.Errorf("start: %v", err)
	}
	if _, err := l.Status(t.Context()); !errors.Is(err, errNoLoad) {
		t.Errorf("status: %v", err)
	}
	if err := l.Stop(t.Context()); !errors.Is(err, errNoLoad) {
		t.Errorf("stop: %v", err)
	}
	if err := l.Save(t.Context(), evidence.Dir(t.TempDir())); !errors.Is(err, errNoLoad) {
		t.Errorf("save: %v", err)
	}
	l = newLoader(at(), "http://api/task", http.DefaultTransport)
	if err := l.Start(t.Context(), trial.LoadSpec{}); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("start: %v", err)
	}
}
