package worker

import (
	"github.com/prometheus/client_golang/prometheus"

	"seatrial/services/store"
	"seatrial/services/task"
)

// ageBuckets reach from a task done at once to one that waited out an outage;
// each objective's threshold is one of them exactly.
var ageBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

type metrics struct {
	processed    prometheus.Counter
	dead         prometheus.Counter
	repeated     prometheus.Counter
	redeliveries prometheus.Counter
	errors       *prometheus.CounterVec
	age          prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, held func() int) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		processed:    counter("worker_tasks_processed_total", "Tasks done and recorded for the first time."),
		dead:         counter("worker_tasks_dead_total", "Tasks given up."),
		repeated:     counter("worker_tasks_repeated_total", "Tasks that had been recorded before, and were not again."),
		redeliveries: counter("worker_redeliveries_total", "Deliveries of tasks that had been delivered before."),
		errors:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "worker_tasks_errors_total", Help: "Tasks that could not be done or recorded this time."}, []string{"kind"}),
		age:          prometheus.NewHistogram(prometheus.HistogramOpts{Name: "worker_task_age_seconds", Help: "From accepted to done.", Buckets: ageBuckets}),
	}
	r.MustRegister(m.processed, m.dead, m.repeated, m.redeliveries, m.errors, m.age,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "worker_inflight", Help: "Tasks in this worker's hands."}, func() float64 { return float64(held()) }))
	for _, kind := range append([]string{"work", "panic", "dead_letter", "ack"}, store.Kinds...) {
		m.errors.WithLabelValues(kind)
	}
	return m
}

func (m *metrics) fail(kind string) { m.errors.WithLabelValues(kind).Inc() }

func (m *metrics) finished(r task.Report, repeated bool) {
	switch {
	case repeated:
		m.repeated.Inc()
	case r.State == task.Dead:
		m.dead.Inc()
	default:
		m.processed.Inc()
		m.age.Observe(max(0, r.DoneAt.Sub(r.AcceptedAt).Seconds())) // clocks of two machines
	}
}
