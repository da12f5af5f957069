package telemetry

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// cgroup reads the own control group at each scrape, version 1 or 2. What the
// kernel does not account for is left out rather than reported as 0.
type cgroup struct {
	root                   fs.FS
	cpu, memory, throttled *prometheus.Desc
}

func newCgroup(root fs.FS) *cgroup {
	return &cgroup{
		root:      root,
		cpu:       prometheus.NewDesc("cgroup_cpu_seconds_total", "CPU time of all processes of the own cgroup.", nil, nil),
		memory:    prometheus.NewDesc("cgroup_memory_bytes", "Memory charged to the own cgroup.", nil, nil),
		throttled: prometheus.NewDesc("cgroup_cpu_throttled_seconds_total", "Time the own cgroup had to wait for its CPU quota.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *cgroup) Describe(ch chan<- *prometheus.Desc) { ch <- c.cpu; ch <- c.memory; ch <- c.throttled }

// Collect implements prometheus.Collector.
func (c *cgroup) Collect(ch chan<- prometheus.Metric) {
	for _, m := range []struct {
		desc *prometheus.Desc
		kind prometheus.ValueType
		read func(paths map[string]string) (float64, bool)
	}{
		{c.cpu, prometheus.CounterValue, c.readCPU},
		{c.memory, prometheus.GaugeValue, c.readMemory},
		{c.throttled, prometheus.CounterValue, c.readThrottled},
	} {
		if v, ok := m.read(c.paths()); ok {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v)
		}
	}
}

// paths returns the own group per controller; "" is the one of version 2.
func (c *cgroup) paths() map[string]string {
	out := map[string]string{}
	text, _ := fs.ReadFile(c.root, "proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		// hierarchy-ID:controller,controller:/path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 {
			for controller := range strings.SplitSeq(parts[1], ",") {
				out[controller] = parts[2]
			}
		}
	}
	return out
}

func (c *cgroup) readCPU(paths map[string]string) (float64, bool) {
	if v, ok := c.number(paths, "cpuacct", "cpuacct.usage", ""); ok {
		return v / 1e9, true
	}
	v, ok := c.number(paths, "", "cpu.stat", "usage_usec")
	return v / 1e6, ok
}

func (c *cgroup) readMemory(paths map[string]string) (float64, bool) {
	if v, ok := c.number(paths, "memory", "memory.usage_in_bytes", ""); ok {
		return v, true
	}
	return c.number(paths, "", "memory.current", "")
}

func (c *cgroup) readThrottled(paths map[string]string) (float64, bool) {
	if v, ok := c.number(paths, "cpu", "cpu.stat", "throttled_time"); ok {
		return v / 1e9, true
	}
	v, ok := c.number(paths, "", "cpu.stat", "throttled_usec")
	return v / 1e6, ok
}

// number reads file of a controller's group: its only number if key is "",
// else the number after key. A container that sees its group as the root of
// the mount is found there.
func (c *cgroup) number(paths map[string]string, controller, file, key string) (float64, bool) {
	own, ok := paths[controller]
	if !ok {
		return 0, false
	}
	mounts := []string{"sys/fs/cgroup/" + controller, "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/unified"}
	if controller == "" {
		mounts = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
	}
	for _, mount := range mounts {
		for _, group := range []string{own, "/"} {
			text, err := fs.ReadFile(c.root, path.Join(mount, group, file))
			if err != nil {
				continue
			}
			if v, ok := find(string(text), key); ok {
				return v, true
			}
		}
	}
	return 0, false
}

func find(text, key string) (float64, bool) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if key != "" && (len(fields) != 2 || fields[0] != key) || len(fields) == 0 {
			continue
		}
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		return v, err == nil
	}
	return 0, false
}
