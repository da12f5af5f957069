package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Buckets of requests; each objective's threshold is one of them exactly.
var requestBuckets = []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// answers are the ones that each route gives; they are shown as 0 from the start.
var answers = map[string][]struct {
	code    int
	outcome string
}{
	"/task": {{202, outcomeAccepted}, {400, outcomeRefused}, {413, outcomeRefused}, {415, outcomeRefused},
		{503, outcomeRefused}, {503, outcomeUnknown}},
	"/task/{id}": {{200, outcomeNone}, {404, outcomeNone}, {503, outcomeNone}},
	"/tasks":     {{200, outcomeNone}, {400, outcomeNone}, {503, outcomeNone}},
	"/stats":     {{200, outcomeNone}, {503, outcomeNone}},
	"other":      {{404, outcomeRefused}, {405, outcomeRefused}},
}

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	accepted prometheus.Counter // the one that every task counts
	backlog  prometheus.Gauge
	leader   prometheus.Gauge
	replicas prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, ready func() bool) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "api_requests_total", Help: "Requests answered."}, []string{"route", "code", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "api_request_duration_seconds", Help: "From the request's headers to the end of the answer.", Buckets: requestBuckets}, []string{"route"}),
		backlog:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "queue_backlog_length", Help: "Tasks accepted and not yet acknowledged by a worker."}),
		leader:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "queue_stream_leader", Help: "1 if the stream has a leader."}),
		replicas: prometheus.NewGauge(prometheus.GaugeOpts{Name: "queue_replicas_current", Help: "Servers that hold all of the stream, the leader included."}),
	}
	r.MustRegister(m.requests, m.duration, m.backlog, m.leader, m.replicas,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "api_ready", Help: "1 if a task can be accepted."}, func() float64 {
			if ready() {
				return 1
			}
			return 0
		}))
	for route, all := range answers {
		m.duration.WithLabelValues(route)
		for _, a := range all {
			m.requests.WithLabelValues(route, strconv.Itoa(a.code), a.outcome)
		}
	}
	m.accepted = m.requests.WithLabelValues("/task", "202", outcomeAccepted)
	return m
}

// measured counts and times the answers of h, also those cut by a panic.
func (m *metrics) measured(route string, h http.HandlerFunc) http.HandlerFunc {
	duration := m.duration.WithLabelValues(route)
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := recorder{ResponseWriter: w}
		defer func() {
			duration.Observe(time.Since(start).Seconds())
			m.count(route, rec.status(), w.Header().Get(outcomeHeader))
		}()
		h(&rec, r)
	}
}

func (m *metrics) count(route string, code int, outcome string) {
	if outcome == outcomeAccepted {
		m.accepted.Inc()
		return
	}
	if outcome == "" {
		outcome = outcomeNone
	}
	m.requests.WithLabelValues(route, strconv.Itoa(code), outcome).Inc()
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) { r.code = code; r.ResponseWriter.WriteHeader(code) }

// Unwrap lets http.ResponseController reach the real one.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}
