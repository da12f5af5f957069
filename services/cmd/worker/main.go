// Command worker does the tasks: see package worker.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"seatrial/services/config"
	"seatrial/services/queue"
	"seatrial/services/store"
	"seatrial/services/telemetry"
	"seatrial/services/worker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
	}
	os.Exit(config.Exit(err))
}

type settings struct {
	Worker  worker.Config
	Queue   queue.Config
	Store   store.Config
	Service telemetry.Config
}

// Problems implements config.Problems.
func (s *settings) Problems() []string {
	out := append(s.Worker.Problems(), s.Queue.Problems()...)
	out = append(out, s.Store.Problems()...)
	return append(out, s.Service.Problems()...)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	command := config.Command{Name: "worker", What: "does the tasks, records them once, and acknowledges them", Version: telemetry.VersionOf("worker")}
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
	records := store.Open(s.Store, pod, log)
	w := worker.New(s.Worker, pod, q, records, worker.NewWork(s.Worker), registry, log)

	// What the worker needs outlives ctx, until its last task is recorded.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer func() { stop(); background.Wait() }()
	background.Go(func() { records.Run(working) })
	background.Go(func() { telemetry.NewDependency(registry, "nats", q.Ping).Run(working) })
	background.Go(func() { telemetry.NewDependency(registry, "valkey", records.Ping).Run(working) })

	mux := http.NewServeMux()
	telemetry.Routes(mux, registry, w.Ready)
	consuming, stopConsuming := context.WithCancel(ctx)
	defer stopConsuming()
	served := make(chan error, 1)
	background.Go(func() {
		defer stopConsuming() // a worker that cannot be watched does not work
		served <- telemetry.Serve(working, s.Worker.Listen, mux, time.Second, log)
	})
	err = w.Run(consuming)
	stop()
	return errors.Join(err, <-served)
}
