package exporter

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"seatrial/services/fixture"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestCollect(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, map[string]string{
			"/varz":   `{"server_name":"nats-1","version":"2.15.2","start":"2026-01-02T03:04:05.5Z","connections":4,"mem":7,"slow_consumers":2}`,
			"/routez": `{"routes":[{"remote_name":"nats-0"},{"remote_name":"nats-0"},{"remote_name":"nats-2"}]}`,
			"/jsz": `{"meta_cluster":{"leader":"nats-0","cluster_size":3,"replicas":[{"current":true},{"current":true,"offline":true}]},
				"account_details":[{"stream_detail":[{"name":"TASKS","cluster":{"leader":"nats-1","replicas":[{"current":true},{"current":false}]},
				"state":{"messages":9,"bytes":99},"consumer_detail":[{"name":"workers","num_pending":3,"num_ack_pending":2,"cluster":{"leader":"nats-2"}}]}]}]}`,
		}[r.URL.Path])
	}))
	defer s.Close()
	want := `
nats_jetstream_cluster_size 3
nats_jetstream_consumer_ack_pending{consumer="workers",stream="TASKS"} 2
nats_jetstream_consumer_leader{consumer="workers",stream="TASKS"} 0
nats_jetstream_consumer_pending{consumer="workers",stream="TASKS"} 3
nats_jetstream_is_meta_leader 0
nats_jetstream_meta_leader{leader="nats-0"} 1
nats_jetstream_peers_current 2
nats_jetstream_quorum 2
nats_jetstream_stream_bytes{stream="TASKS"} 99
nats_jetstream_stream_leader{stream="TASKS"} 1
nats_jetstream_stream_messages{stream="TASKS"} 9
nats_jetstream_stream_replicas_current{stream="TASKS"} 2
nats_server_connections 4
nats_server_info{server_name="nats-1",version="2.15.2"} 1
nats_server_memory_bytes 7
nats_server_route_peer{peer="nats-0"} 1
nats_server_route_peer{peer="nats-2"} 1
nats_server_route_peers 2
nats_server_routes 3
nats_server_slow_consumers_total 2
nats_server_start_time_seconds 1.7673230455e+09
nats_server_up 1
`
	if got := lines(t, New(s.URL, quiet())); got != strings.TrimSpace(want) {
		t.Errorf("got\n%s", got)
	}
	s.Close()
	if got := lines(t, New(s.URL, quiet())); got != "nats_server_up 0" {
		t.Errorf("a server that is gone: %s", got)
	}
}

// lines returns the samples without help and type.
func lines(t *testing.T, e *Exporter) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(e)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "\n")
}

func TestRealServer(t *testing.T) {
	n := fixture.StartNATS(t)
	fixture.Eventually(t, 10*time.Second, "three servers", func() error {
		got := lines(t, New("http://"+n.Monitoring[0], quiet()))
		for _, want := range []string{"nats_server_route_peers 2", "nats_jetstream_cluster_size 3", "nats_jetstream_quorum 2", `server_name="nats-0"`} {
			if !strings.Contains(got, want) {
				return io.ErrNoProgress
			}
		}
		return nil
	})
}

func TestProblems(t *testing.T) {
	for base, want := range map[string]int{"http://127.0.0.1:8222": 0, "127.0.0.1:8222": 1, "ftp://a": 1, "": 1} {
		if got := (Config{Monitoring: base}).Problems(); len(got) != want {
			t.Errorf("%q: %q", base, got)
		}
	}
}
