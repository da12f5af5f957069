// Package api is the HTTP face of the service: it takes Tasks and says what
// became of them.
//
// It must not know NATS or Valkey: it declares the Ledger and the Records that
// it needs. It answers 202 only when the Ledger has a Task for good.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"seatrial/services/task"
)

// Ledger holds accepted Tasks until they are done.
type Ledger interface {
	// Accept returns nil when the Task is durable. It tries until ctx ends, and
	// then the error wraps task.ErrRefused or task.ErrUnknown.
	Accept(ctx context.Context, t task.Task) error
	// Waiting reports whether the Task is accepted and not done, and since when.
	Waiting(ctx context.Context, id string) (since time.Time, ok bool, err error)
	// Backlog counts the Tasks that are accepted and not done.
	Backlog(ctx context.Context) (int, error)
}

// Records says what became of Tasks.
type Records interface {
	Get(ctx context.Context, id string) (r task.Report, ok bool, err error)
	// Counts returns the number of keys, and of effects that were applied.
	Counts(ctx context.Context) (keys, processed int64, err error)
	// Export hands out every record, each once; an error means that some may be missing.
	Export(ctx context.Context, prefix string, each func(task.Report) error) error
}

// Gate knows whether a Task can be accepted now.
type Gate interface {
	Open() bool
	Passed()
}

// Config is the API's own settings.
type Config struct {
	Listen        string        `env:"API_LISTEN" default:":8080" what:"address of the API and its metrics"`
	Deadline      time.Duration `env:"PUBLISH_DEADLINE" default:"4s" what:"how long a task is tried to be stored before the answer is 503"`
	DrainDelay    time.Duration `env:"DRAIN_DELAY" default:"2s" what:"on SIGTERM: how long to serve while not ready, so that balancers notice"`
	DrainDeadline time.Duration `env:"DRAIN_DEADLINE" default:"10s" what:"on SIGTERM: how long to wait for work in progress"`
}

// Problems implements config.Problems.
func (c Config) Problems() []string {
	var out []string
	if c.Deadline < time.Millisecond || c.Deadline > 30*time.Second {
		out = append(out, fmt.Sprintf("SEATRIAL_PUBLISH_DEADLINE: want 1ms to 30s, got %s", c.Deadline))
	}
	if c.DrainDelay < 0 {
		out = append(out, fmt.Sprintf("SEATRIAL_DRAIN_DELAY: want 0s or more, got %s", c.DrainDelay))
	}
	if c.DrainDeadline <= 0 {
		out = append(out, fmt.Sprintf("SEATRIAL_DRAIN_DEADLINE: want more than 0s, got %s", c.DrainDeadline))
	}
	return out
}

// API is an http.Handler for /task, /task/{id}, /tasks and /stats.
type API struct {
	config   Config
	ledger   Ledger
	records  Records
	gate     Gate
	log      *slog.Logger
	metrics  *metrics
	draining atomic.Bool
}

// New wires an API and registers its metrics.
func New(c Config, ledger Ledger, records Records, gate Gate, r prometheus.Registerer, log *slog.Logger) *API {
	a := &API{config: c, ledger: ledger, records: records, gate: gate, log: log}
	a.metrics = newMetrics(r, func() bool { return a.Ready() == nil })
	return a
}

// Routes adds the API's routes to mux.
func (a *API) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /task", a.metrics.measured("/task", a.postTask))
	mux.HandleFunc("GET /task/{id}", a.metrics.measured("/task/{id}", a.getTask))
	mux.HandleFunc("GET /tasks", a.metrics.measured("/tasks", a.getTasks))
	mux.HandleFunc("GET /stats", a.metrics.measured("/stats", a.getStats))
	for path, allow := range map[string]string{"/task": "POST", "/task/{id}": "GET, HEAD", "/tasks": "GET, HEAD", "/stats": "GET, HEAD"} {
		mux.HandleFunc(path, a.metrics.measured("other", func(w http.ResponseWriter, r *http.Request) { wrongMethod(r, allow).write(w) }))
	}
	mux.HandleFunc("/", a.metrics.measured("other", func(w http.ResponseWriter, _ *http.Request) { noRoute().write(w) }))
}

// Reasons not to be ready.
var (
	errDraining = errors.New("this instance is shutting down")
	errShut     = errors.New("no server has stored anything lately")
)

// Ready returns nil if a Task sent now would very likely be accepted.
func (a *API) Ready() error {
	if a.draining.Load() {
		return errDraining
	}
	if !a.gate.Open() {
		return errShut
	}
	return nil
}

// Drain makes the API not ready. It goes on serving.
func (a *API) Drain() { a.draining.Store(true) }

// ShowState sets the gauges that describe the queue.
func (a *API) ShowState(backlog, replicas int, leader bool) {
	a.metrics.backlog.Set(float64(backlog))
	a.metrics.replicas.Set(float64(replicas))
	a.metrics.leader.Set(0)
	if leader {
		a.metrics.leader.Set(1)
	}
}
