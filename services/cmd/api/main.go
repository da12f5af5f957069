// Command api is the HTTP API of the service: see package api.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"seatrial/services/api"
	"seatrial/services/config"
	"seatrial/services/queue"
	"seatrial/services/store"
	"seatrial/services/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
	}
	os.Exit(config.Exit(err))
}

type settings struct {
	API     api.Config
	Queue   queue.Config
	Store   store.Config
	Service telemetry.Config
}

// Problems implements config.Problems.
func (s *settings) Problems() []string {
	out := append(s.API.Problems(), s.Queue.Problems()...)
	out = append(out, s.Store.Problems()...)
	return append(out, s.Service.Problems()...)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	command := config.Command{Name: "api", What: "accepts tasks over HTTP and says what became of them", Version: telemetry.VersionOf("api")}
	if done, err := command.Parse(&s, args, os.LookupEnv, stdout); done || err != nil {
		return err
	}
	telemetry.Collect()
	pod, log := s.Service.Name(), s.Service.Logger(stderr)
	registry := telemetry.NewRegistry()
	q, err := queue.Open(s.Queue, pod, log)
	if err != nil {
		return err
	}
	defer q.Close()
	records, gate := store.Open(s.Store, pod, log), queue.NewGate(log)
	a := api.New(s.API, q, records, gate, registry, log)

	// What serves requests outlives ctx, until the last request is answered.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer func() { stop(); background.Wait() }()
	background.Go(func() { records.Run(serving) })
	background.Go(func() {
		// Nothing can be accepted before there is a stream to accept it.
		if q.Persist(serving, q.Ensure) == nil {
			background.Go(func() { showState(serving, q, a) })
			gate.Watch(serving, q.Probe, q.Elsewhere)
		}
	})
	background.Go(func() { telemetry.NewDependency(registry, "nats", q.Ping).Run(serving) })
	background.Go(func() { telemetry.NewDependency(registry, "valkey", records.Ping).Run(serving) })

	mux := http.NewServeMux()
	a.Routes(mux)
	telemetry.Routes(mux, registry, a.Ready)
	return telemetry.Serve(drained(ctx, a, s.API.DrainDelay, log), s.API.Listen, mux, s.API.DrainDeadline, log)
}

// drained ends some time after ctx, and makes the API not ready in between, so
// that balancers stop sending before the API stops listening.
func drained(ctx context.Context, a *api.API, delay time.Duration, log *slog.Logger) context.Context {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		log.Info("draining")
		a.Drain()
		time.AfterFunc(delay, end)
	})
	return later
}

// showState keeps the gauges about the queue fresh.
func showState(ctx context.Context, q *queue.Queue, a *api.API) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := (queue.State{}); ; {
		one, cancel := context.WithTimeout(ctx, time.Second)
		now, err := q.State(one)
		cancel()
		if err != nil {
			now.Backlog = last.Backlog // what is waiting still waits
		}
		last = now
		a.ShowState(now.Backlog, now.Replicas, now.Leader)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
