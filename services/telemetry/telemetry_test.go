package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestCgroup(t *testing.T) {
	want := `# HELP cgroup_cpu_seconds_total CPU time of all processes of the own cgroup.
# TYPE cgroup_cpu_seconds_total counter
cgroup_cpu_seconds_total 1.5
# HELP cgroup_cpu_throttled_seconds_total Time the own cgroup had to wait for its CPU quota.
# TYPE cgroup_cpu_throttled_seconds_total counter
cgroup_cpu_throttled_seconds_total 0.25
# HELP cgroup_memory_bytes Memory charged to the own cgroup.
# TYPE cgroup_memory_bytes gauge
cgroup_memory_bytes 4096
`
	for name, root := range map[string]fstest.MapFS{
		"version 2": {
			"proc/self/cgroup":                   file("0::/pod/a\n"),
			"sys/fs/cgroup/pod/a/cpu.stat":       file("usage_usec 1500000\nthrottled_usec 250000\n"),
			"sys/fs/cgroup/pod/a/memory.current": file("4096\n"),
		},
		"version 2 in a container": {
			"proc/self/cgroup":             file("0::/\n"),
			"sys/fs/cgroup/cpu.stat":       file("usage_usec 1500000\nthrottled_usec 250000\n"),
			"sys/fs/cgroup/memory.current": file("4096\n"),
		},
		"version 1": {
			"proc/self/cgroup":                             file("4:memory:/m\n2:cpuacct:/a\n1:cpu:/c\n0::/\n"),
			"sys/fs/cgroup/cpuacct/a/cpuacct.usage":        file("1500000000\n"),
			"sys/fs/cgroup/cpu/c/cpu.stat":                 file("nr_periods 3\nthrottled_time 250000000\n"),
			"sys/fs/cgroup/memory/m/memory.usage_in_bytes": file("4096\n"),
		},
		"version 1, joined controllers seen from a container": {
			"proc/self/cgroup":                           file("4:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n"),
			"sys/fs/cgroup/cpu,cpuacct/cpuacct.usage":    file("1500000000\n"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.stat":         file("throttled_time 250000000\n"),
			"sys/fs/cgroup/memory/memory.usage_in_bytes": file("4096\n"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := testutil.CollectAndCompare(newCgroup(root), strings.NewReader(want)); err != nil {
				t.Error(err)
			}
		})
	}
	if n := testutil.CollectAndCount(newCgroup(fstest.MapFS{})); n != 0 {
		t.Errorf("%d metrics without a cgroup", n)
	}
}

func TestDependencyShowsTheAgeOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var trip, silent atomic.Int64 // silent is 0 or 1
		trip.Store(int64(100 * time.Millisecond))
		d := NewDependency(prometheus.NewRegistry(), "x", func(ctx context.Context) error {
			if silent.Load() == 1 {
				<-ctx.Done()
				return errors.New("gone")
			}
			time.Sleep(time.Duration(trip.Load()))
			return nil
		})
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		time.Sleep(time.Second + 50*time.Millisecond) // in the middle of a probe
		if d.RoundTrip() != 100*time.Millisecond || !d.Up() {
			t.Errorf("healthy: %s, up %v", d.RoundTrip(), d.Up())
		}
		time.Sleep(100 * time.Millisecond)
		silent.Store(1)
		time.Sleep(10 * time.Second)
		if got := d.RoundTrip(); got < 9*time.Second || got > 10*time.Second || d.Up() {
			t.Errorf("gone for 10s: %s, up %v", got, d.Up())
		}
		silent.Store(0)
		trip.Store(int64(time.Millisecond))
		time.Sleep(3 * time.Second)
		if d.RoundTrip() != time.Millisecond || !d.Up() {
			t.Errorf("back: %s, up %v", d.RoundTrip(), d.Up())
		}
		cancel()
		<-done
	})
}

func TestRoutes(t *testing.T) {
	mux := http.NewServeMux()
	not := errors.New("nothing could be stored for 3s")
	ready := not
	r := prometheus.NewRegistry()
	NewDependency(r, "nats", func(context.Context) error { return nil })
	Routes(mux, r, func() error { return ready })
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	if w := get("/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), not.Error()) {
		t.Errorf("not ready: %d %s", w.Code, w.Body)
	}
	if w := get("/healthz"); w.Code != 200 {
		t.Errorf("healthz looks at readiness: %d", w.Code)
	}
	ready = nil
	if w := get("/readyz"); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
	if w := get("/metrics"); !strings.Contains(w.Body.String(), `dependency_up{dependency="nats"} 0`) {
		t.Errorf("metrics: %s", w.Body)
	}
}

func TestServeDrains(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Serve(ctx, "127.0.0.1:0", http.NewServeMux(), time.Second, log); err != nil {
		t.Errorf("drain: %v", err)
	}
	s := httptest.NewServer(nil)
	defer s.Close()
	addr := s.Listener.Addr().String()
	if err := Serve(t.Context(), addr, nil, time.Second, log); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("a port in use: %v", err)
	}
}

func TestConfig(t *testing.T) {
	if p := (Config{LogLevel: "loud"}).Problems(); len(p) != 1 || !strings.Contains(p[0], `"loud"`) {
		t.Errorf("problems: %v", p)
	}
	var b strings.Builder
	c := Config{Pod: "api-0", LogLevel: "warn"}
	c.Logger(&b).Info("no")
	c.Logger(&b).Warn("yes")
	if s := b.String(); strings.Contains(s, "no") || !strings.Contains(s, `"pod":"api-0"`) {
		t.Errorf("log: %s", s)
	}
	if !strings.HasPrefix(VersionOf("api"), "api ") {
		t.Error(VersionOf("api"))
	}
}
