package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	probeEvery = 200 * time.Millisecond
	probeWait  = time.Second // then the connection is given up and the next probe starts
)

// Dependency measures the round trip to something that the service needs, on a
// goroutine of its own, and exports
//
//   - dependency_rtt_seconds: of the last answered probe, or the time for which
//     none has been answered if that is longer, so that a dependency that is
//     gone shows as a growing number and not as the last good one;
//   - dependency_rtt_hist_seconds: of all answered probes;
//   - dependency_up: 1 if the last finished probe was answered.
type Dependency struct {
	probe func(context.Context) error
	hist  prometheus.Histogram
	now   func() time.Time

	mu   sync.Mutex
	last time.Duration // of the last answered probe
	open time.Time     // when the first probe without an answer began; zero if there is none
	up   bool
}

// NewDependency registers the three metrics. probe makes one round trip.
func NewDependency(r prometheus.Registerer, name string, probe func(context.Context) error) *Dependency {
	labels := prometheus.Labels{"dependency": name}
	d := &Dependency{probe: probe, now: time.Now}
	d.hist = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "dependency_rtt_hist_seconds", Help: "Round trips to a dependency, measured by probes.", ConstLabels: labels,
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})
	r.MustRegister(d.hist,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dependency_rtt_seconds", Help: "Last round trip to a dependency, or how long it has not answered.", ConstLabels: labels,
		}, func() float64 { return d.RoundTrip().Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dependency_up", Help: "1 if the last probe of a dependency was answered.", ConstLabels: labels,
		}, func() float64 { return number(d.Up()) }))
	return d
}

// Run probes until ctx ends.
func (d *Dependency) Run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		d.once(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *Dependency) once(ctx context.Context) {
	start := d.now()
	d.mu.Lock()
	if d.open.IsZero() {
		d.open = start
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	err := d.probe(ctx)
	cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.up = err == nil
	if err == nil {
		d.last, d.open = d.now().Sub(start), time.Time{}
		d.hist.Observe(d.last.Seconds())
	}
}

// RoundTrip is what dependency_rtt_seconds shows.
func (d *Dependency) RoundTrip() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open.IsZero() {
		return d.last
	}
	return max(d.last, d.now().Sub(d.open))
}

// Up is what dependency_up shows.
func (d *Dependency) Up() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.up
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
