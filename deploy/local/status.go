//go:build linux

package local

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"seatrial/deploy/local/pod"
	"seatrial/deploy/local/vnet"
)

// PodStatus is what a pod is at this moment.
type PodStatus struct {
	Name       string                `json:"name"`
	App        string                `json:"app"` // its label
	Addr       string                `json:"addr"`
	Containers []pod.ContainerStatus `json:"containers"`
}

// Status returns the state of every pod.
func (t *Testbed) Status() []PodStatus {
	var all []PodStatus
	for _, p := range t.pods {
		all = append(all, PodStatus{Name: p.Name, App: p.Labels["app"], Addr: p.Addr.String(), Containers: p.Status()})
	}
	return all
}

// How long a pod that is replaced has to end, and its successor, or a whole testbed, to be ready. A Valkey server reads
// its own file, then a copy of the primary's: half a minute with 700,000 keys on two busy processors. Thirteen pods that
// start beside another testbed's have taken more than a minute of two slow ones.
const (
	endGrace    = 3 * time.Second
	readyWithin = 2 * time.Minute
)

// Replace does what a controller does when a pod is deleted: it ends the pod in order, and
// another one comes in its place, on its volume, with none of the faults that the old one
// had. It returns when the new one is ready.
func (t *Testbed) Replace(ctx context.Context, name string) error {
	i := slices.IndexFunc(t.pods, func(p *pod.Pod) bool { return p.Name == name })
	if i < 0 {
		return fmt.Errorf("no pod is called %q", name)
	}
	p := t.pods[i]
	p.Replace(endGrace)
	t.net.Spare(p.Addr)
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		if p.Running() && p.Ready(ctx) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the successor of pod %s is not ready: %w", name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Publish opens the testbed's doors on 127.0.0.1 and returns their URLs by
// name: API, Prometheus, Alertmanager. Port 0 is any free one; a port that is
// taken is an error that names it.
func (t *Testbed) Publish(ctx context.Context, api, prometheus, alertmanager int) (map[string]string, error) {
	doors := map[string]string{}
	for _, d := range []struct {
		name string
		port int
		to   string
	}{
		{"API", api, apiVIP.String()},
		{"Prometheus", prometheus, prometheusAddr.String() + ":9090"},
		{"Alertmanager", alertmanager, alertmanagerAddr.String() + ":9093"},
	} {
		at, err := t.net.Forward(ctx, fmt.Sprintf("127.0.0.1:%d", d.port), t.node, d.to)
		if err != nil {
			return nil, fmt.Errorf("publish %s: %w", d.name, err)
		}
		doors[d.name] = "http://" + at.String()
	}
	return doors, nil
}

// Traffic is a table of what the switch has counted since the testbed came up,
// a line a pair of addresses.
func (t *Testbed) Traffic() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "from\tto\tpackets\tbytes\tdropped\trejected\tdelayed\tduplicated\tcorrupted\treordered\t")
	for _, c := range t.net.Counters() {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", nameOr(c.FromName, c.From), nameOr(c.ToName, c.To),
			c.Packets, c.Bytes, c.Dropped, c.Rejected, c.Delayed, c.Duplicated, c.Corrupted, c.Reordered)
	}
	_ = w.Flush() // to memory
	return b.String()
}

func nameOr(name string, a netip.Addr) string {
	if name == "" {
		return a.String()
	}
	return name
}

// Capture writes what passes between two pods, or to and from one when the
// other is "", as pcap to out until the returned function is called.
func (t *Testbed) Capture(out io.Writer, one, other string) (stop func() error, err error) {
	addrs := [2]netip.Addr{}
	for i, name := range []string{one, other} {
		if name == "" {
			continue
		}
		n := slices.IndexFunc(t.pods, func(p *pod.Pod) bool { return p.Name == name })
		if n < 0 {
			return nil, fmt.Errorf("no pod is called %q", name)
		}
		addrs[i] = t.pods[n].Addr
	}
	return t.net.Capture(out, []vnet.Link{{From: addrs[0], To: addrs[1]}, {From: addrs[1], To: addrs[0]}})
}

// Logs copies what every container has logged since the last call into dir, a
// file a container, and the switch's counters.
func (t *Testbed) Logs(_ context.Context, _ time.Time, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "network.txt"), []byte(t.Traffic()), 0o644); err != nil {
		return err
	}
	for _, p := range t.pods {
		for _, c := range p.Containers {
			if err := t.copyLog(p.Log(c.Name), filepath.Join(dir, p.Name+"."+c.Name+".log")); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxLog is how much of one container's log a trial keeps, its end.
const maxLog = 1 << 20

func (t *Testbed) copyLog(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	start := max(t.logged[from], size-maxLog)
	t.logged[from] = size
	if start == size {
		return nil
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, io.NewSectionReader(in, start, size-start)); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
