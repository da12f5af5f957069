package janitor

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what a Janitor tells Prometheus.
type metrics struct {
	registry *prometheus.Registry
	removed  *prometheus.CounterVec
	failed   prometheus.Counter
	errors   prometheus.Counter
	orphans  prometheus.Gauge
	looked   prometheus.Gauge
	held     prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "janitor_removed_total",
			Help: "Experiments of dead runs that this janitor removed, by whether force was needed."}, []string{"forced"}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "janitor_remove_errors_total",
			Help: "Removals that did not succeed; they are tried again."}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "janitor_look_errors_total",
			Help: "Looks at the cluster in which something could not be read."}),
		orphans: prometheus.NewGauge(prometheus.GaugeOpts{Name: "janitor_orphans",
			Help: "Experiments of dead runs at the last look."}),
		looked: prometheus.NewGauge(prometheus.GaugeOpts{Name: "janitor_last_look_timestamp_seconds",
			Help: "When everything was last looked at, in Unix time; 0 before the first time."}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{Name: "janitor_lease_held",
			Help: "Whether a run holds the live lease: 1 while trials are held."}),
	}
	for _, forced := range []string{"true", "false"} {
		m.removed.WithLabelValues(forced)
	}
	m.registry.MustRegister(m.removed, m.failed, m.errors, m.orphans, m.looked, m.held)
	return m
}

func (m *metrics) remove(forced bool) { m.removed.WithLabelValues(strconv.FormatBool(forced)).Inc() }

func (m *metrics) hold(live bool) {
	if live {
		m.held.Set(1)
	} else {
		m.held.Set(0)
	}
}

// After these times without a turn, or without a look that saw everything, a Janitor
// says so.
const (
	deadAfter  = 30 * time.Second
	blindAfter = 15 * time.Second
)

// health is when things were last done.
type health struct {
	mu         sync.Mutex
	turn, look time.Time
}

func (h *health) turned(now time.Time) { h.mu.Lock(); h.turn = now; h.mu.Unlock() }
func (h *health) looked(now time.Time) { h.mu.Lock(); h.look = now; h.mu.Unlock() }

// alive is an error when the loop stands still. An API server that does not answer
// is no reason: a restart would not repair it.
func (h *health) alive(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if idle := now.Sub(h.turn); !h.turn.IsZero() && idle > deadAfter {
		return fmt.Errorf("no turn for %s", idle.Round(time.Second))
	}
	return nil
}

// ready is an error when the Janitor would not see an orphan.
func (h *health) ready(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch idle := now.Sub(h.look); {
	case h.look.IsZero():
		return fmt.Errorf("nothing was looked at yet")
	case idle > blindAfter:
		return fmt.Errorf("nothing could be looked at for %s", idle.Round(time.Second))
	}
	return nil
}

// Handler serves /metrics, /healthz (the loop turns) and /readyz (it sees the
// cluster).
func (j *Janitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(j.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", answer(j.health.alive))
	mux.HandleFunc("GET /readyz", answer(j.health.ready))
	return mux
}

func answer(ask func(time.Time) error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := ask(time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
