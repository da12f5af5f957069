package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/control"
)

func newServeCommand() *cobra.Command {
	var listen, dir string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run as a process that is controlled over HTTP",
		Long: `Listen for the control API: POST /attacks starts an attack, GET /attacks/{id}
tells how it is doing, DELETE /attacks/{id} ends it, and GET /attacks/{id}/history,
results, report, hdr and plot hand out what it recorded. GET /metrics is for
Prometheus. SIGTERM ends all attacks, waits for their last answers and exits.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&listen, "listen", ":8090", "address of the control API")
	cmd.Flags().StringVar(&dir, "dir", "attacks", "folder that keeps the attacks, one subfolder each")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return serve(ctx, listen, dir, cmd.ErrOrStderr())
	}
	return cmd
}

// serve runs the control API until ctx ends.
func serve(ctx context.Context, listen, dir string, stderr io.Writer) error {
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	registry, metrics, err := newMetrics()
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	api, err := control.NewServer(dir, metrics, page, log)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen for the control API: %w", err)
	}
	server := &http.Server{Handler: api, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	log.Info("listening", "address", l.Addr().String(), "dir", dir)
	select {
	case err = <-served:
		err = fmt.Errorf("serve the control API: %w", err)
	case <-ctx.Done():
		log.Info("ending", "reason", context.Cause(ctx).Error())
	}
	// The attacks first: a DELETE that waits for one gets its answer.
	api.Close()
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(last))
}

func newMetrics() (*prometheus.Registry, *attack.Metrics, error) {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "build_info", Help: "1, labelled by what is running.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	for _, c := range []prometheus.Collector{build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil {
			return nil, nil, err
		}
	}
	metrics, err := attack.NewMetrics(registry)
	return registry, metrics, err
}
