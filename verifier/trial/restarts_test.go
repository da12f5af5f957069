package trial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/promtool"
)

// started is a Prometheus that answers the n-th question with the n-th answer.
type started struct {
	Metrics
	answers [][]Sample
	err     error
}

func (s *started) Vector(context.Context, string, time.Time) ([]Sample, error) {
	if len(s.answers) == 0 {
		return nil, s.err
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	return a, nil
}

func of(pod string, n float64) Sample {
	return Sample{Labels: map[string]string{"pod": pod}, Value: n}
}

func TestRestartsAreAddedUp(t *testing.T) {
	answers := [][]Sample{{of("worker-0", 2), of("api-0", 1)}, {of("worker-0", 1)}, {of("valkey-1", 1)}}
	r := &run{Trial: &Trial{Metrics: &started{answers: answers}}, rec: &evidence.Record{InjectAt: time.Now()}}
	r.noteRestarts(t.Context())
	if want := map[string]int{"worker-0": 3, "api-0": 1, "valkey-1": 1}; !maps.Equal(r.rec.Restarts, want) {
		t.Errorf("%v, want %v", r.rec.Restarts, want)
	}
	for name, r := range map[string]*run{
		"no fault":  {Trial: &Trial{Metrics: &started{answers: answers}}, rec: &evidence.Record{}},
		"no answer": {Trial: &Trial{Metrics: &started{answers: answers[:2], err: errors.New("gone")}}, rec: &evidence.Record{InjectAt: time.Now()}},
	} {
		if r.noteRestarts(t.Context()); r.rec.Restarts != nil {
			t.Errorf("%s: %v", name, r.rec.Restarts)
		}
	}
	none := &run{Trial: &Trial{Metrics: &started{}}, rec: &evidence.Record{InjectAt: time.Now()}}
	if none.noteRestarts(t.Context()); none.rec.Restarts == nil {
		t.Error("that nothing was started is not recorded")
	}
}

// The queries before the real engine: a fault at 20 s, looked at 40 s later. A worker
// is restarted three times, an API pod is replaced by one of another name, nats-1's server is
// started anew and its exporter twice, valkey-0 is, and valkey-1's start is only imprecise.
func TestRestartsByTheRealEngine(t *testing.T) {
	series := []string{
		`process_start_time_seconds{job="worker",pod="worker-0"}`, "1x19 _x2 21x5 _x1 28x5 35x30",
		`process_start_time_seconds{job="worker",pod="worker-1"}`, "2x62",
		`process_start_time_seconds{job="api",pod="api-a"}`, "3x20",
		`process_start_time_seconds{job="api",pod="api-b"}`, "_x24 24x38",
		`nats_server_start_time_seconds{job="nats",pod="nats-1"}`, "4x20 _x4 25x40",
		`process_start_time_seconds{job="nats",pod="nats-1"}`, "4x20 _x2 22x4 26x40",
		`redis_start_time_seconds{job="valkey",pod="valkey-0"}`, "5x20 _x4 25x40",
		`redis_start_time_seconds{job="valkey",pod="valkey-1"}`, "5x10 6x10 5x10 6x40",
	}
	var text strings.Builder
	text.WriteString("- interval: 1s\n  input_series:\n")
	for i := 0; i < len(series); i += 2 {
		fmt.Fprintf(&text, "  - {series: '%s', values: '%s'}\n", series[i], series[i+1])
	}
	text.WriteString("  promql_expr_test:\n")
	want := []string{`{pod="worker-0"} 3, {pod="nats-1"} 1`, `{pod="api-b"} 1`, `{pod="valkey-0"} 1`}
	for i, query := range livesSince(time.Unix(20, 0), time.Unix(60, 0)) {
		fmt.Fprintf(&text, "  - expr: %q\n    eval_time: 60s\n    exp_samples:\n", query)
		for sample := range strings.SplitSeq(want[i], ", ") {
			labels, value, _ := strings.Cut(sample, " ")
			fmt.Fprintf(&text, "    - {labels: '%s', value: %s}\n", labels, value)
		}
	}
	promtool.Judge(t, text.String())
}
