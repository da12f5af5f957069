// Command nats-exporter serves the metrics of one nats-server: see package exporter.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"seatrial/services/config"
	"seatrial/services/exporter"
	"seatrial/services/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "nats-exporter:", err)
	}
	os.Exit(config.Exit(err))
}

type settings struct {
	Exporter exporter.Config
	Service  telemetry.Config
}

// Problems implements config.Problems.
func (s *settings) Problems() []string {
	return append(s.Exporter.Problems(), s.Service.Problems()...)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	command := config.Command{Name: "nats-exporter", What: "serves the metrics of one nats-server", Version: telemetry.VersionOf("nats-exporter")}
	if done, err := command.Parse(&s, args, os.LookupEnv, stdout); done || err != nil {
		return err
	}
	log := s.Service.Logger(stderr)
	registry := telemetry.NewRegistry()
	registry.MustRegister(exporter.New(s.Exporter.Monitoring, log))
	mux := http.NewServeMux()
	// It is ready when it can serve: that the server is down is what it reports.
	telemetry.Routes(mux, registry, func() error { return nil })
	return telemetry.Serve(ctx, s.Exporter.Listen, mux, time.Second, log)
}
