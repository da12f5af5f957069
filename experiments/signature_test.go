package experiments

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"seatrial/verifier/promtool"
)

// The embedded signatures are put before the real PromQL engine, with samples as
// the system has them. Time is counted in seconds from 0, a sample each; the
// fault is injected at 10.
const injectedAt = 10

// behaviour is how a signature must judge a course of samples.
type behaviour struct {
	victims []string
	// series in promtool's notation: 1x9 is ten samples of 1.
	series map[string]string
	// in force at these seconds, and not at those.
	yes, no []int
}

// restarts is one pod of two that is killed and comes back, beside pods that are
// no business of the experiment.
var restarts = func(job, pod, other string) map[string]string {
	return map[string]string{
		fmt.Sprintf(`up{job=%q,pod=%q}`, job, pod):                           "1x10 0x2 1x25",
		fmt.Sprintf(`up{job=%q,pod=%q}`, job, other):                         "1x40",
		fmt.Sprintf(`process_start_time_seconds{job=%q,pod=%q}`, job, pod):   "-500x10 _x2 11x25",
		fmt.Sprintf(`process_start_time_seconds{job=%q,pod=%q}`, job, other): "-400x40",
		`up{job="prometheus",pod="prometheus-0"}`:                            "0x40",
		`process_start_time_seconds{job="prometheus",pod="prometheus-0"}`:    "100x40",
	}
}

// courses is by the name of the experiment, and a word after a comma where one
// has several.
var courses = map[string]behaviour{
	"api-kill":    {victims: []string{"api-0"}, series: restarts("api", "api-0", "api-1"), yes: []int{11, 13, 20}},
	"worker-kill": {victims: []string{"worker-1"}, series: restarts("worker", "worker-1", "worker-0"), yes: []int{11, 13, 20}},
	// The pod of the first victim: the second time it may be the other one.
	"worker-container-kill": {victims: []string{"worker-0"}, series: restarts("worker", "worker-1", "worker-0"), yes: []int{11, 13, 20}},
	"worker-down": {victims: []string{"worker-0", "worker-1"}, series: map[string]string{
		`up{job="worker",pod="worker-0"}`: "1x10 0x11 1x20",
		`up{job="worker",pod="worker-1"}`: "1x12 0x9 1x20",
		`up{job="api",pod="api-0"}`:       "1x40",
	}, yes: []int{13, 20}, no: []int{12, 23}},
	"nats-leader-kill": {victims: []string{"nats-2"}, series: map[string]string{
		`up{job="nats",pod="nats-2"}`:                             "1x10 0x1 1x28",
		`nats_server_up{job="nats",pod="nats-2"}`:                 "1x10 _x1 0x1 1x26",
		`nats_server_start_time_seconds{job="nats",pod="nats-2"}`: "-500x10 _x3 11x25",
		`nats_server_start_time_seconds{job="nats",pod="nats-0"}`: "-500x40",
	}, yes: []int{11, 12, 13, 15}},
	"nats-quorum-lost": {victims: []string{"nats-0", "nats-1"}, series: map[string]string{
		`up{job="nats",pod="nats-0"}`: "1x10 0x11 1x17",
		`up{job="nats",pod="nats-1"}`: "1x12 0x9 1x17",
		`up{job="nats",pod="nats-2"}`: "1x40",
	}, yes: []int{13, 20}, no: []int{12, 23}},
	"nats-server-down": {victims: []string{"nats-1"}, series: map[string]string{
		`up{job="nats",pod="nats-0"}`: "1x10 0x3 1x25",
		`up{job="nats",pod="nats-1"}`: "1x12 0x9 1x17",
	}, yes: []int{13, 20}, no: []int{11, 23}},
	"nats-link-cut": {victims: []string{"nats-1"}, series: map[string]string{
		`nats_server_route_peers{job="nats",pod="nats-0"}`: "2x13 1x12 2x15",
		`nats_server_route_peers{job="nats",pod="nats-1"}`: "2x15 1x10 2x15",
	}, yes: []int{16, 24}, no: []int{14, 30}},
	"nats-partition": {victims: []string{"nats-1"}, series: map[string]string{
		`nats_server_route_peers{job="nats",pod="nats-1"}`: "2x15 0x10 2x15",
		`nats_server_route_peers{job="nats",pod="nats-0"}`: "2x15 1x10 2x15",
		// An API that only reaches the victim goes on believing.
		`queue_replicas_current{job="api",pod="api-0"}`: "3x40",
		`queue_replicas_current{job="api",pod="api-1"}`: "3x10 2x13 3x15",
	}, yes: []int{13, 15, 18, 24}, no: []int{11, 30}},
	"valkey-primary-kill": {victims: []string{"valkey-0"}, series: map[string]string{
		`up{job="valkey",pod="valkey-0"}`:                       "1x10 0x1 1x28",
		`redis_up{job="valkey",pod="valkey-0"}`:                 "1x10 _x1 0x1 1x26",
		`redis_start_time_seconds{job="valkey",pod="valkey-0"}`: "-500x10 _x3 12x25",
		`redis_start_time_seconds{job="valkey",pod="valkey-1"}`: "-500x40",
	}, yes: []int{11, 12, 13, 14, 15}},
	"valkey-replicas-down": {victims: []string{"valkey-1", "valkey-2"}, series: map[string]string{
		`up{job="valkey",pod="valkey-0"}`:                     "1x40",
		`up{job="valkey",pod="valkey-1"}`:                     "1x10 0x11 1x17",
		`up{job="valkey",pod="valkey-2"}`:                     "1x12 0x9 1x17",
		`redis_connected_slaves{job="valkey",pod="valkey-0"}`: "2x10 1x1 0x9 2x16",
		`redis_connected_slaves{job="valkey",pod="valkey-1"}`: "0x10 stale _x11 0x15",
	}, yes: []int{13, 20}, no: []int{12, 25}},
	"valkey-primary-partition": {victims: []string{"valkey-0", "worker-1"}, series: map[string]string{
		`redis_connected_slave_lag_seconds{job="valkey",pod="valkey-0",slave_ip="198.18.0.2"}`: "0 1 0x8 0+1x14 _x15",
		`redis_connected_slave_lag_seconds{job="valkey",pod="valkey-0",slave_ip="198.18.0.3"}`: "1 0 1x8 0+1x14 _x15",
		`redis_instance_info{job="valkey",pod="valkey-0",role="master"}`:                       "1x26 stale",
		`redis_instance_info{job="valkey",pod="valkey-0",role="slave"}`:                        "_x26 1x13",
		`redis_instance_info{job="valkey",pod="valkey-1",role="master"}`:                       "_x16 1x22",
		`redis_connected_slave_lag_seconds{job="valkey",pod="valkey-1",slave_ip="198.18.0.3"}`: "_x16 0x22",
	}, yes: []int{15, 20, 24}, no: []int{12}},
	"worker-valkey-delay": {victims: []string{"worker-0", "worker-1"}, series: map[string]string{
		`dependency_rtt_seconds{job="worker",dependency="valkey",pod="worker-0"}`: "0.001x10 0.05x11 0.001x17",
		`dependency_rtt_seconds{job="worker",dependency="valkey",pod="worker-1"}`: "0.001x11 0.041x10 0.001x17",
		`dependency_rtt_seconds{job="worker",dependency="nats",pod="worker-1"}`:   "0.001x40",
	}, yes: []int{12, 20}, no: []int{11, 23}},
	"api-nats-loss": {victims: []string{"api-0", "api-1"}, series: map[string]string{
		`dependency_rtt_hist_seconds_count{job="api",dependency="nats",pod="api-0"}`:             "0+5x39",
		`dependency_rtt_hist_seconds_bucket{job="api",dependency="nats",pod="api-0",le="0.025"}`: "0+5x10 52+3x11 90+5x16",
		`dependency_rtt_hist_seconds_bucket{job="api",dependency="nats",pod="api-0",le="0.1"}`:   "0+5x39",
		`dependency_rtt_hist_seconds_count{job="api",dependency="nats",pod="api-1"}`:             "0+5x39",
		`dependency_rtt_hist_seconds_bucket{job="api",dependency="nats",pod="api-1",le="0.025"}`: "0+5x10 54+4x11 103+5x16",
	}, yes: []int{12, 15, 18}, no: []int{26, 30}},
	"api-nats-delay": {victims: []string{"api-0", "api-1"}, series: map[string]string{
		`dependency_rtt_seconds{job="api",dependency="nats",pod="api-0"}`:    "0.001x10 0.7x11 0.001x17",
		`dependency_rtt_seconds{job="api",dependency="nats",pod="api-1"}`:    "0.001x11 0.71x10 0.001x17",
		`dependency_rtt_seconds{job="worker",dependency="nats",pod="api-0"}`: "0.001x40",
	}, yes: []int{12, 20}, no: []int{11, 23}},
	"api-nats-partition": {victims: []string{"api-0", "api-1"}, series: map[string]string{
		`dependency_rtt_seconds{job="api",dependency="nats",pod="api-0"}`:       "0.001x10 0.5+1x11 0.001x17",
		`dependency_rtt_seconds{job="api",dependency="nats",pod="api-1"}`:       "0.001x10 0.4+1x11 0.001x17",
		`dependency_rtt_seconds{job="worker",dependency="nats",pod="worker-0"}`: "0.001x40",
	}, yes: []int{13, 20}, no: []int{11, 24}},
	"loadgen-api-partition": {victims: []string{"loadgen-0"}, series: map[string]string{
		`api_requests_total{job="api",route="POST /task",outcome="accepted",pod="api-0"}`: "0+150x10 1500x12 1600+150x16",
		`api_requests_total{job="api",route="POST /task",outcome="accepted",pod="api-1"}`: "0+150x10 1500x12 1600+150x16",
		`api_requests_total{job="api",route="GET /tasks",outcome="accepted",pod="api-1"}`: "0+1x40",
		`loadgen_asked_ops_total{job="loadgen",pod="loadgen-0"}`:                          "0+300x40",
	}, yes: []int{14, 20}, no: []int{11, 25}},
	"api-nats-bandwidth": {victims: []string{"api-0", "api-1"}, series: map[string]string{
		`dependency_rtt_seconds{job="api",dependency="nats",pod="api-0"}`: "0.002x10 0.05+0.05x10 0.002x17",
		`dependency_rtt_seconds{job="api",dependency="nats",pod="api-1"}`: "0.002x10 0.05+0.03x10 0.002x17",
	}, yes: []int{14, 20}, no: []int{11, 26}},
	"api-cpu-stress": {victims: []string{"api-1"}, series: map[string]string{
		`cgroup_cpu_throttled_seconds_total{job="api",pod="api-1"}`: "0x10 0.5+0.9x11 10.4x20",
		`cgroup_cpu_throttled_seconds_total{job="api",pod="api-0"}`: "0+0.01x40",
	}, yes: []int{13, 20}, no: []int{10, 28}},
	"api-cpu-stress, without a quota": {victims: []string{"api-1"}, series: map[string]string{
		`cgroup_cpu_seconds_total{job="api",pod="api-1"}`:           "0+0.4x10 4.6+0.5x11 10.1+0.4x20", // no more than before
		`process_cpu_seconds_total{job="api",pod="api-1"}`:          "0+0.4x10 4.1+0.1x11 5.6+0.4x20",
		`cgroup_cpu_throttled_seconds_total{job="api",pod="api-1"}`: "0x40",
	}, yes: []int{13, 20}, no: []int{10, 28}},
	"worker-cpu-stress": {victims: []string{"worker-0", "worker-1"}, series: map[string]string{
		// The first worker is left half of what it used; the second one works more for another reason until second 13.
		`cgroup_cpu_seconds_total{job="worker",pod="worker-0"}`:  "0+0.1x10 1.25+0.25x11 4.1+0.1x20",
		`process_cpu_seconds_total{job="worker",pod="worker-0"}`: "0+0.1x10 1.05+0.05x11 1.7+0.1x20",
		`cgroup_cpu_seconds_total{job="worker",pod="worker-1"}`:  "0+0.2x10 2.5+0.5x11 8.2+0.2x20",
		`process_cpu_seconds_total{job="worker",pod="worker-1"}`: "0+0.2x10 2.5+0.5x2 3.7+0.2x8 5.5+0.2x20",
	}, yes: []int{17, 20}, no: []int{11, 12, 28}},
	"worker-cpu-stress, by quota": {victims: []string{"worker-0", "worker-1"}, series: map[string]string{
		`cgroup_cpu_seconds_total{job="worker",pod="worker-0"}`:           "0+0.4x10 4.5+0.5x11 10.4+0.4x20",
		`cgroup_cpu_seconds_total{job="worker",pod="worker-1"}`:           "0+0.4x10 4.5+0.5x11 10.4+0.4x20",
		`cgroup_cpu_throttled_seconds_total{job="worker",pod="worker-0"}`: "0+0.05x10 1.5+1x11 12.5x20",
		`cgroup_cpu_throttled_seconds_total{job="worker",pod="worker-1"}`: "0+0.05x10 1.5+1x11 12.5x20",
	}, yes: []int{12, 15, 20}, no: []int{10, 28}},
	"worker-memory-stress": {victims: []string{"worker-0"}, series: map[string]string{
		`cgroup_memory_bytes{job="worker",pod="worker-0"}`: "40000000x10 70000000 104000000x10 41000000x20",
		`cgroup_memory_bytes{job="worker",pod="worker-1"}`: "40000000x40",
	}, yes: []int{12, 20}, no: []int{11, 25}},
}

func TestEmbeddedSignaturesAreTrueOnlyInForce(t *testing.T) {
	var tests strings.Builder
	tested := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(courses)) {
		experiment, _, _ := strings.Cut(name, ",")
		tested[experiment] = true
		tests.WriteString(courses[name].unit(mustGet(t, experiment)))
	}
	for _, name := range Embedded().Names() {
		if !tested[name] {
			t.Errorf("%s: no course of samples for its signature; add one", name)
		}
	}
	promtool.Judge(t, tests.String())
}

// unit writes the promtool test of one signature. A second before the
// injection it is asked with that moment, as the verifier does in its preflight.
func (b behaviour) unit(e *Experiment) string {
	var out strings.Builder
	fmt.Fprintf(&out, "- name: %s\n  interval: 1s\n  input_series:\n", e.Name)
	for _, series := range slices.Sorted(maps.Keys(b.series)) {
		fmt.Fprintf(&out, "  - {series: %s, values: %s}\n", strconv.Quote(series), strconv.Quote(b.series[series]))
	}
	out.WriteString("  promql_expr_test:\n")
	ask := func(at int, injected float64, want int) {
		query := e.Signature(time.UnixMilli(int64(injected*1000)), b.victims)
		fmt.Fprintf(&out, "  - {expr: %s, eval_time: %ds, exp_samples: [{labels: '{}', value: %d}]}\n",
			strconv.Quote("count("+query+") > bool 0 or vector(0)"), at, want)
	}
	ask(injectedAt-1, injectedAt-1, 0)
	for _, at := range b.yes {
		ask(at, injectedAt, 1)
	}
	for _, at := range b.no {
		ask(at, injectedAt, 0)
	}
	return out.String()
}

func TestEmbeddedVictimsAreFound(t *testing.T) {
	series := map[string]string{
		`redis_instance_info{job="valkey",pod="valkey-0",role="slave"}`:        "1x20",
		`redis_instance_info{job="valkey",pod="valkey-1",role="master"}`:       "1x20",
		`process_start_time_seconds{job="worker",pod="worker-0"}`:              "100.5x20",
		`process_start_time_seconds{job="worker",pod="worker-1"}`:              "100.25x20",
		`process_start_time_seconds{job="api",pod="api-0"}`:                    "200x20",
		`nats_jetstream_stream_leader{job="nats",stream="TASKS",pod="nats-0"}`: "0x20",
		`nats_jetstream_stream_leader{job="nats",stream="TASKS",pod="nats-2"}`: "1x20",
		`nats_jetstream_stream_leader{job="nats",stream="OTHER",pod="nats-1"}`: "1x20",
	}
	want := map[string][]string{
		"nats-leader-kill":         {"nats-2"},
		"nats-link-cut":            {"nats-2"},
		"nats-server-down":         {"nats-0"},
		"valkey-replicas-down":     {"valkey-0"},
		"nats-partition":           {"nats-0"},
		"valkey-primary-kill":      {"valkey-1"},
		"valkey-primary-partition": {"valkey-1", "worker-0"},
	}
	var tests strings.Builder
	tests.WriteString("- interval: 1s\n  input_series:\n")
	for _, s := range slices.Sorted(maps.Keys(series)) {
		fmt.Fprintf(&tests, "  - {series: %s, values: %s}\n", strconv.Quote(s), strconv.Quote(series[s]))
	}
	tests.WriteString("  promql_expr_test:\n")
	for _, e := range Embedded().All() {
		if (e.Victims != "") != (want[e.Name] != nil) {
			t.Errorf("%s: victims %q, but the test wants %q", e.Name, e.Victims, want[e.Name])
		}
		if e.Victims == "" {
			continue
		}
		var samples []string
		for _, pod := range want[e.Name] {
			samples = append(samples, fmt.Sprintf(`{labels: '{pod=%q}', value: 1}`, pod))
		}
		fmt.Fprintf(&tests, "  - {expr: %s, eval_time: 10s, exp_samples: [%s]}\n",
			strconv.Quote("count by (pod) ("+e.Victims+")"), strings.Join(samples, ", "))
	}
	promtool.Judge(t, tests.String())
}

func TestSignatureFillsInPlaceholders(t *testing.T) {
	e := &Experiment{InForce: `up{pod=~"$victims"} == 0 or start > $injected - 2`}
	at := time.UnixMilli(1_700_000_000_125)
	for _, test := range []struct {
		victims []string
		want    string
	}{
		{[]string{"api-0"}, `up{pod=~"api-0"} == 0 or start > 1700000000.125 - 2`},
		{[]string{"a.b", "c"}, `up{pod=~"a\\.b|c"} == 0 or start > 1700000000.125 - 2`},
		{nil, `up{pod=~"_"} == 0 or start > 1700000000.125 - 2`},
	} {
		if got := e.Signature(at, test.victims); got != test.want {
			t.Errorf("victims %q: %s, want %s", test.victims, got, test.want)
		}
	}
}

func TestEmbeddedManifestsKeepTheHouseRules(t *testing.T) {
	all := Embedded().All()
	for _, e := range all {
		if e.File != e.Name+".yaml" {
			t.Errorf("%s is in %s; want %s.yaml", e.Name, e.File, e.Name)
		}
		if e.Namespace != "seatrial" {
			t.Errorf("%s: namespace %q", e.Name, e.Namespace)
		}
		if e.Summary == "" || !strings.HasSuffix(e.Summary, ".") {
			t.Errorf("%s: summary %q; want a sentence", e.Name, e.Summary)
		}
		if e.Span() > 30*time.Second {
			t.Errorf("%s lasts %s; a trial's fault lasts 30s at most", e.Name, e.Span())
		}
		if len(e.NeedsKubernetes) > 0 {
			t.Errorf("%s needs Kubernetes for %q", e.Name, e.NeedsKubernetes)
		}
	}
}

// TestDocsKnowEveryFault keeps docs/faults.md from falling behind.
func TestDocsKnowEveryFault(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "docs", "faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	words := slices.Concat(Embedded().Names(), annotationNames, networkActions, []string{"pod-kill", "container-kill", "pod-failure", "cpu", "memory"})
	for _, word := range words {
		if !strings.Contains(string(data), "`"+word+"`") {
			t.Errorf("docs/faults.md does not tell of `%s`", word)
		}
	}
	for kind := range v1alpha1.AllKindsIncludeScheduleAndWorkflow() {
		if !strings.Contains(string(data), kind) {
			t.Errorf("docs/faults.md does not tell of %s", kind)
		}
	}
}
