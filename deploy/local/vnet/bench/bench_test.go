//go:build linux

package bench

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	requests = flag.Int("requests", 2000, "requests of each kind a round")
	rounds   = flag.Int("rounds", 1, "rounds")
	threads  = flag.Int("threads", 0, "threads of the switch (0: its default)")
)

// TestRun measures on a small scale, to see that it can. To measure in earnest:
//
//	go test ./deploy/local/vnet/bench -v -run TestRun -args -requests 100000 -rounds 5
func TestRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	bin, err := filepath.Abs("../../../../.deps/bin")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Server:    filepath.Join(bin, "valkey-server"),
		Benchmark: filepath.Join(bin, "valkey-benchmark"),
		Requests:  *requests, Rounds: *rounds, Threads: *threads,
	}
	if _, err := os.Stat(cfg.Server); errors.Is(err, os.ErrNotExist) {
		t.Skip("no Valkey in .deps: run make deps")
	}
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", res)
	if len(res.Comparisons) != 4 || res.Ratio <= 0 {
		t.Errorf("want SET and GET with 50 clients and with one, got %+v", res)
	}
	for _, c := range res.Comparisons {
		if c.Loopback.PerSecond <= 0 || c.Switch.PerSecond <= 0 {
			t.Errorf("not measured: %+v", c)
		}
	}
}

func TestParseCSV(t *testing.T) {
	got, err := parseCSV([]byte(`"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","100000.5","0.250","0.100","0.239","0.4","0.511","1.5"
`))
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	want := measured{"SET", Figure{PerSecond: 100000.5, P50: 239 * time.Microsecond, P99: 511 * time.Microsecond}}
	if got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	for _, bad := range []string{"", "test\n", "h,h,h,h,h,h,h,h\nSET,x,1,1,1,1,1,1\n", "\"open"} {
		if got, err := parseCSV([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func TestResultIsTheLessFlatteringRatio(t *testing.T) {
	figure := func(rps float64, p50 time.Duration) Figure { return Figure{PerSecond: rps, P50: p50, Mean: p50} }
	var r Result
	r.add("SET", 50, []row{
		{loopback: figure(100, 10), across: figure(80, 30)},
		{loopback: figure(10, 100), across: figure(9, 110)}, // a slow moment for both
		{loopback: figure(100, 10), across: figure(10, 900)},
	})
	r.add("SET", 1, []row{{loopback: figure(50, 20), across: figure(40, 27)}})
	r.finish()
	if c := r.Comparisons[0]; c.Ratio != 0.8 || c.PeakRatio != 0.8 {
		t.Errorf("ratio %v and peak ratio %v, want 0.8", c.Ratio, c.PeakRatio)
	}
	var busy Result
	busy.add("SET", 50, []row{
		{loopback: figure(100, 10), across: figure(60, 10)},
		{loopback: figure(10, 10), across: figure(20, 10)},
		{loopback: figure(10, 10), across: figure(20, 10)},
	})
	busy.finish()
	if busy.Ratio != 0.6 {
		t.Errorf("on a busy machine the ratio is %v, want 0.6, the peak's", busy.Ratio)
	}
	if r.Ratio != 0.8 || r.AddedP50 != 7 {
		t.Errorf("ratio %v and added p50 %v, want 0.8 and 7ns", r.Ratio, r.AddedP50)
	}
}
