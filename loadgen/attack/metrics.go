package attack

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"seatrial/loadgen/history"
)

// Metrics are the Prometheus metrics of all attacks of a process, with the time
// an Op took counted from its planned send time. The nil Metrics counts nothing.
type Metrics struct {
	ops       [history.Unknown + 1]prometheus.Counter
	durations [history.Unknown + 1]prometheus.Observer

	mu      sync.Mutex
	running map[*Attack]struct{}
	asked   uint64 // by attacks that are over
	sent    uint64
}

// NewMetrics returns Metrics registered with reg.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{running: map[*Attack]struct{}{}}
	ops := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "loadgen_ops_total", Help: "Requests that ended, by what their answer means.",
	}, []string{"outcome"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "loadgen_op_duration_seconds", Help: "Time from the planned send time to the end of the answer.",
		Buckets:                        []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor:    1.1,
		NativeHistogramMaxBucketNumber: 100,
	}, []string{"outcome"})
	for o := history.Accepted; o <= history.Unknown; o++ {
		m.ops[o] = ops.WithLabelValues(o.String())
		m.durations[o] = durations.WithLabelValues(o.String())
	}
	collectors := []prometheus.Collector{ops, durations,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "loadgen_asked_ops_total", Help: "Requests that the profiles have planned so far.",
		}, func() float64 { return float64(m.sum().Asked) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "loadgen_sent_ops_total", Help: "Requests that were sent.",
		}, func() float64 { return float64(m.sum().Sent) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "loadgen_inflight", Help: "Requests that wait for their answer.",
		}, m.inFlight),
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) begin(a *Attack) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[a] = struct{}{}
}

func (m *Metrics) end(a *Attack) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := a.Progress()
	delete(m.running, a)
	m.asked += p.Asked
	m.sent += p.Sent
}

func (m *Metrics) observe(op *history.Op) {
	if m == nil {
		return
	}
	m.ops[op.Outcome].Inc()
	m.durations[op.Outcome].Observe(max(0, op.End-op.Planned).Seconds())
}

// sum adds up the attacks that are over and those that run.
func (m *Metrics) sum() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	total := Progress{Asked: m.asked, Sent: m.sent}
	for a := range m.running {
		p := a.Progress()
		total.Asked += p.Asked
		total.Sent += p.Sent
	}
	return total
}

func (m *Metrics) inFlight() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n uint64
	for a := range m.running {
		n += a.Progress().InFlight()
	}
	return float64(n)
}
