// Package worker takes Tasks from the queue, does them, records them in the
// store, and only then acknowledges them.
//
// It must not know HTTP, NATS or Valkey. The order is the guarantee: whatever
// fails before the record is on a replica is delivered again, and a record
// makes every later delivery harmless.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"seatrial/services/queue"
	"seatrial/services/store"
	"seatrial/services/task"
)

// Queue delivers Tasks, and takes dead letters.
type Queue interface {
	// Consume hands deliveries to handle, one after the other, until ctx ends.
	Consume(ctx context.Context, handle func(queue.Delivery)) error
	// Bury returns nil when the dead letter is durable.
	Bury(ctx context.Context, t task.Task, reason string) error
	// Consuming reports whether deliveries can arrive now.
	Consuming() bool
}

// Store records Tasks.
type Store interface {
	// Record returns one answer for each report, in the same order.
	Record(ctx context.Context, reports []task.Report) []store.Recorded
	// Writable proves that records can be made.
	Writable(ctx context.Context) error
	// Suspect says that the primary may have been replaced.
	Suspect()
}

// Config is the worker's own settings.
type Config struct {
	Listen        string        `env:"WORKER_LISTEN" default:":8000" what:"address of metrics and health"`
	Concurrency   int           `env:"WORKER_CONCURRENCY" default:"8" what:"tasks that are worked on at the same time"`
	Kind          string        `env:"WORK_KIND" default:"hash" what:"hash, sleep or cpu"`
	Rounds        int           `env:"WORK_ROUNDS" default:"1" what:"hash: how often the payload is hashed"`
	Time          time.Duration `env:"WORK_TIME" default:"5ms" what:"sleep, cpu: how long each task takes"`
	MaxDeliveries int           `env:"WORKER_MAX_DELIVERIES" default:"5" what:"a task that fails in this delivery is given up"`
	RetryDelay    time.Duration `env:"WORKER_RETRY_DELAY" default:"1s" what:"before the second delivery of a task that failed; it doubles up to 10s"`
	DrainDeadline time.Duration `env:"DRAIN_DEADLINE" default:"10s" what:"on SIGTERM: how long to wait for work in progress"`
}

// Problems implements config.Problems.
func (c Config) Problems() []string {
	var out []string
	if c.Concurrency < 1 || c.Concurrency > 1024 {
		out = append(out, fmt.Sprintf("SEATRIAL_WORKER_CONCURRENCY: want 1 to 1024, got %d", c.Concurrency))
	}
	if works[c.Kind] == nil {
		out = append(out, fmt.Sprintf("SEATRIAL_WORK_KIND: want hash, sleep or cpu, got %q", c.Kind))
	}
	if c.Rounds < 1 {
		out = append(out, fmt.Sprintf("SEATRIAL_WORK_ROUNDS: want at least 1, got %d", c.Rounds))
	}
	if c.MaxDeliveries < 1 {
		out = append(out, fmt.Sprintf("SEATRIAL_WORKER_MAX_DELIVERIES: want at least 1, got %d", c.MaxDeliveries))
	}
	durations := map[string]time.Duration{"SEATRIAL_WORK_TIME": c.Time, "SEATRIAL_WORKER_RETRY_DELAY": c.RetryDelay, "SEATRIAL_DRAIN_DEADLINE": c.DrainDeadline}
	for key, d := range durations {
		if d <= 0 {
			out = append(out, fmt.Sprintf("%s: want more than 0s, got %s", key, d))
		}
	}
	slices.Sort(out)
	return out
}

// Worker does Tasks.
type Worker struct {
	config  Config
	pod     string
	queue   Queue
	store   Store
	work    Work
	log     *slog.Logger
	metrics *metrics
	gate    *gate
	held    *held
}

// New wires a Worker and registers its metrics. pod is what records say about
// who made them.
func New(c Config, pod string, q Queue, s Store, work Work, r prometheus.Registerer, log *slog.Logger) *Worker {
	w := &Worker{config: c, pod: pod, queue: q, store: s, work: work, log: log, gate: newGate(), held: newHeld()}
	w.metrics = newMetrics(r, w.held.count)
	return w
}

// Reasons not to be ready.
var (
	errNoQueue = errors.New("the queue delivers nothing to this instance")
	errNoStore = errors.New("the store takes no records")
)

// Ready returns nil if a Task delivered now would very likely be recorded.
func (w *Worker) Ready() error {
	if !w.queue.Consuming() {
		return errNoQueue
	}
	if !w.gate.isOpen() {
		return errNoStore
	}
	return nil
}

// Run works until ctx ends. It then finishes what it holds, until the drain
// deadline; what is not finished by then is delivered to another worker.
func (w *Worker) Run(ctx context.Context) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.config.DrainDeadline, cancel) })()

	todo := make(chan queue.Delivery, w.config.Concurrency)
	finished := make(chan outcome, 4*groupLimit)
	var background, doers, recorder sync.WaitGroup
	background.Go(func() { w.gate.watch(hard, w.store.Writable) })
	background.Go(func() { w.held.keep(hard, w.gate.isOpen) })
	for range w.config.Concurrency {
		doers.Go(func() {
			for d := range todo {
				w.do(hard, d, finished)
			}
		})
	}
	recorder.Go(func() { w.recordAll(hard, finished) })

	err := w.queue.Consume(ctx, func(d queue.Delivery) { w.take(ctx, d, todo) })
	close(todo)
	doers.Wait()
	close(finished)
	recorder.Wait()
	late := hard.Err() != nil
	cancel()
	background.Wait()
	switch {
	case late:
		return fmt.Errorf("drain: work was left undone after %s", w.config.DrainDeadline)
	case ctx.Err() != nil:
		return nil
	}
	return err
}

// take passes a delivery on when the store can take its record.
func (w *Worker) take(ctx context.Context, d queue.Delivery, todo chan<- queue.Delivery) {
	if d.Deliveries > 1 {
		w.metrics.redeliveries.Inc()
	}
	if !w.gate.wait(ctx) {
		_ = d.Later(0)
		return
	}
	w.held.add(d)
	todo <- d // doers run until todo is closed, and that is after this
}

// outcome is a Delivery that was worked on, with what is to be recorded.
type outcome struct {
	delivery queue.Delivery
	report   task.Report
}

// do works on one delivery and passes on what is to be recorded, if anything.
func (w *Worker) do(ctx context.Context, d queue.Delivery, finished chan<- outcome) {
	if !w.gate.isOpen() || ctx.Err() != nil {
		w.giveBack(d, w.delay(1)) // a record could not be made now
		return
	}
	result, err := safely(ctx, w.work, d.Task.Payload)
	switch {
	case err == nil:
		finished <- outcome{d, w.report(d, task.Done, result)}
	case ctx.Err() != nil:
		w.giveBack(d, 0)
	default:
		w.fail(ctx, d, err, finished)
	}
}

// fail tries a Task again until its last delivery, and then gives it up: first
// the dead letter, then the record, then the end of deliveries.
func (w *Worker) fail(ctx context.Context, d queue.Delivery, cause error, finished chan<- outcome) {
	kind := "work"
	if errors.Is(cause, errPanic) {
		kind = "panic"
	}
	w.metrics.fail(kind)
	w.log.Warn("task failed", "task", d.Task.ID, "delivery", d.Deliveries, "error", cause)
	if d.Deliveries < w.config.MaxDeliveries {
		w.giveBack(d, w.delay(d.Deliveries))
		return
	}
	one, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	if err := w.queue.Bury(one, d.Task, cause.Error()); err != nil {
		w.metrics.fail("dead_letter")
		w.log.Error("task not given up", "error", err)
		w.giveBack(d, w.delay(d.Deliveries))
		return
	}
	finished <- outcome{d, w.report(d, task.Dead, cause.Error())}
}

func (w *Worker) report(d queue.Delivery, state task.State, result string) task.Report {
	return task.Report{
		ID: d.Task.ID, State: state, Result: result, Worker: w.pod,
		AcceptedAt: d.AcceptedAt, DoneAt: time.Now(), Deliveries: d.Deliveries,
	}
}

// giveBack ends a delivery without a record.
func (w *Worker) giveBack(d queue.Delivery, after time.Duration) {
	w.held.drop(d)
	if err := d.Later(after); err != nil {
		w.metrics.fail("ack")
	}
}

// delay before the next delivery, after so many.
func (w *Worker) delay(deliveries int) time.Duration {
	return growing(w.config.RetryDelay, deliveries)
}
