package exporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// varz, routez and jsz are the parts of the server's answers that are exported.
type varz struct {
	Name        string    `json:"server_name"`
	Version     string    `json:"version"`
	Start       time.Time `json:"start"`
	Connections int       `json:"connections"`
	Memory      int64     `json:"mem"`
	Slow        int64     `json:"slow_consumers"`
}

func (v varz) collect(ch chan<- prometheus.Metric) {
	gauge(ch, start, float64(v.Start.UnixNano())/1e9)
	gauge(ch, info, 1, v.Name, v.Version)
	gauge(ch, connections, float64(v.Connections))
	gauge(ch, memory, float64(v.Memory))
	ch <- prometheus.MustNewConstMetric(slow, prometheus.CounterValue, float64(v.Slow))
}

type routez struct {
	Routes []struct {
		Name string `json:"remote_name"`
	} `json:"routes"`
}

func (r routez) collect(ch chan<- prometheus.Metric) {
	seen := map[string]bool{}
	for _, one := range r.Routes {
		if !seen[one.Name] {
			seen[one.Name] = true
			gauge(ch, peer, 1, one.Name)
		}
	}
	gauge(ch, routes, float64(len(r.Routes)))
	gauge(ch, peers, float64(len(seen)))
}

type cluster struct {
	Leader   string `json:"leader"`
	Size     int    `json:"cluster_size"`
	Quorum   int    `json:"quorum_needed"`
	Replicas []struct {
		Current bool `json:"current"`
		Offline bool `json:"offline"`
	} `json:"replicas"`
}

// inStep counts the servers that are up to date, the one that says so included.
func (c cluster) inStep() float64 {
	n := 1
	for _, r := range c.Replicas {
		if r.Current && !r.Offline {
			n++
		}
	}
	return float64(n)
}

type jsz struct {
	Meta     *cluster `json:"meta_cluster"`
	Accounts []struct {
		Streams []stream `json:"stream_detail"`
	} `json:"account_details"`
}

type stream struct {
	Name    string   `json:"name"`
	Cluster *cluster `json:"cluster"`
	State   struct {
		Messages uint64 `json:"messages"`
		Bytes    uint64 `json:"bytes"`
	} `json:"state"`
	Consumers []struct {
		Name    string   `json:"name"`
		Pending uint64   `json:"num_pending"`
		Unacked int      `json:"num_ack_pending"`
		Cluster *cluster `json:"cluster"`
	} `json:"consumer_detail"`
}

func (j jsz) collect(ch chan<- prometheus.Metric, self string) {
	if j.Meta != nil {
		gauge(ch, metaLeader, 1, j.Meta.Leader)
		gauge(ch, isMeta, truth(j.Meta.Leader == self))
		gauge(ch, size, float64(j.Meta.Size))
		gauge(ch, quorum, float64(j.Meta.quorum()))
		gauge(ch, current, j.Meta.inStep())
	}
	for _, account := range j.Accounts {
		for _, s := range account.Streams {
			s.collect(ch, self)
		}
	}
}

// quorum is what the server says, or a majority where it is too old to say.
func (c cluster) quorum() int {
	if c.Quorum > 0 {
		return c.Quorum
	}
	return c.Size/2 + 1
}

func (s stream) collect(ch chan<- prometheus.Metric, self string) {
	gauge(ch, messages, float64(s.State.Messages), s.Name)
	gauge(ch, bytes, float64(s.State.Bytes), s.Name)
	gauge(ch, leads, truth(s.Cluster == nil || s.Cluster.Leader == self), s.Name)
	if s.Cluster != nil {
		gauge(ch, replicas, s.Cluster.inStep(), s.Name)
	}
	for _, c := range s.Consumers {
		gauge(ch, pending, float64(c.Pending), s.Name, c.Name)
		gauge(ch, unacked, float64(c.Unacked), s.Name, c.Name)
		gauge(ch, consumerAt, truth(c.Cluster == nil || c.Cluster.Leader == self), s.Name, c.Name)
	}
}
