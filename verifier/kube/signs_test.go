package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"seatrial/verifier/promtool"
)

// wholeSeries are the samples of a system that lacks nothing.
func wholeSeries() map[string]string {
	all := map[string]string{
		`queue_stream_leader{job="api",pod="api-0"}`:                     "1",
		`queue_stream_leader{job="api",pod="api-1"}`:                     "1",
		`queue_replicas_current{job="api",pod="api-0"}`:                  "3",
		`up{job="api",pod="api-0"}`:                                      "1",
		`up{job="worker",pod="worker-0"}`:                                "1",
		`up{job="loadgen",pod="loadgen-0"}`:                              "1",
		`redis_instance_info{job="valkey",pod="valkey-0",role="master"}`: "1",
		`redis_connected_slaves{job="valkey",pod="valkey-0"}`:            "2",
		`redis_instance_info{job="valkey",pod="valkey-1",role="slave"}`:  "1",
		`redis_instance_info{job="valkey",pod="valkey-2",role="slave"}`:  "1",
		`redis_connected_slaves{job="valkey",pod="valkey-1"}`:            "0",
		`redis_connected_slaves{job="valkey",pod="valkey-2"}`:            "0",
		`redis_master_link_up{job="valkey",pod="valkey-1"}`:              "1",
		`redis_master_link_up{job="valkey",pod="valkey-2"}`:              "1",
	}
	for i := range 3 {
		all[fmt.Sprintf(`nats_server_up{job="nats",pod="nats-%d"}`, i)] = "1"
		all[fmt.Sprintf(`up{job="nats",pod="nats-%d"}`, i)] = "1"
		all[fmt.Sprintf(`up{job="valkey",pod="valkey-%d"}`, i)] = "1"
		all[fmt.Sprintf(`redis_up{job="valkey",pod="valkey-%d"}`, i)] = "1"
	}
	return all
}

// lacking is what a system lacks, and the signs that are not there because of it.
type lacking struct {
	series map[string]string // instead of the whole system's; "" takes one away
	signs  []string
}

var lackings = map[string]lacking{
	"nothing is lacking": {},
	"a NATS server does not answer": {
		map[string]string{`nats_server_up{job="nats",pod="nats-1"}`: "0"}, []string{"nats: every server answers"},
	},
	"no API sees a leader": {map[string]string{
		`queue_stream_leader{job="api",pod="api-0"}`: "0", `queue_stream_leader{job="api",pod="api-1"}`: "0",
	}, []string{"nats: the stream has a leader"}},
	"a copy of the stream is behind": {
		map[string]string{`queue_replicas_current{job="api",pod="api-0"}`: "2"}, []string{"nats: every server holds all of the stream"},
	},
	"there are two primaries": {map[string]string{
		`redis_instance_info{job="valkey",pod="valkey-1",role="slave"}`:  "",
		`redis_instance_info{job="valkey",pod="valkey-1",role="master"}`: "1",
		`redis_master_link_up{job="valkey",pod="valkey-1"}`:              "",
	}, []string{"valkey: there is one primary", "valkey: every replica has all data"}},
	"the primary has lost a replica": {
		map[string]string{`redis_connected_slaves{job="valkey",pod="valkey-0"}`: "1"}, []string{"valkey: the primary has all replicas"},
	},
	// As seen when a cut was mended: for 7.6 s the primary counted two replicas, and the second had nothing yet.
	"the primary of before still gets its data": {
		map[string]string{`redis_master_link_up{job="valkey",pod="valkey-2"}`: "0"}, []string{"valkey: every replica has all data"},
	},
	"a worker is not scraped": {
		map[string]string{`up{job="worker",pod="worker-0"}`: "0"}, []string{"all parts are scraped"},
	},
}

// unit is a promtool test of one of them: which signs are there.
func (l lacking) unit(t *testing.T, name string) string {
	t.Helper()
	series := wholeSeries()
	for key, value := range l.series {
		if series[key] == "" && value == "" {
			t.Errorf("%s: there is no %s to take away", name, key)
		}
		series[key] = value
	}
	var out strings.Builder
	fmt.Fprintf(&out, "- name: %q\n  interval: 1s\n  input_series:\n", name)
	for _, key := range slices.Sorted(maps.Keys(series)) {
		if series[key] != "" {
			fmt.Fprintf(&out, "  - {series: %q, values: %sx10}\n", key, series[key])
		}
	}
	out.WriteString("  promql_expr_test:\n")
	for _, s := range signs {
		want := 1
		if slices.Contains(l.signs, s.what) {
			want = 0
		}
		expr := fmt.Sprintf("# %s\ncount(%s) or vector(0)", s.what, s.query)
		fmt.Fprintf(&out, "  - {expr: %q, eval_time: 10s, exp_samples: [{labels: '{}', value: %d}]}\n", expr, want)
	}
	return out.String()
}

// TestSigns puts each sign before the real PromQL engine: all are there while nothing is lacking, and what is lacking
// takes away its own and no other.
func TestSigns(t *testing.T) {
	var units strings.Builder
	taken := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(lackings)) {
		units.WriteString(lackings[name].unit(t, name))
		for _, what := range lackings[name].signs {
			taken[what] = true
		}
	}
	for _, s := range signs {
		if !taken[s.what] {
			t.Errorf("nothing that a system may lack takes away the sign %q", s.what)
		}
	}
	promtool.Judge(t, units.String())
}
