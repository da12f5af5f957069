// Package telemetry is what a service says about itself: logs, metrics, health,
// the round trips to its dependencies and the consumption of its own cgroup.
//
// It must not know what the service does.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Version is set when a release is built; otherwise the Go module's is used.
var Version = ""

// VersionOf returns one line about the running binary.
func VersionOf(command string) string {
	return fmt.Sprintf("%s %s %s", command, version(), runtime.Version())
}

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// Collect sets how far the heap grows between collections, unless GOGC does. A
// service keeps a few MiB: at Go's default it would collect many times a second
// under load, for the sake of memory that nobody needs.
func Collect() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// Config is what every service is told about itself.
type Config struct {
	Pod      string `env:"POD" default:"" what:"name of this instance; the host's name if empty"`
	LogLevel string `env:"LOG_LEVEL" default:"info" what:"debug, info, warn or error"`
}

// Problems implements config.Problems.
func (c Config) Problems() []string {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return []string{fmt.Sprintf("SEATRIAL_LOG_LEVEL: want debug, info, warn or error, got %q", c.LogLevel)}
	}
	return nil
}

// Name returns the name of this instance.
func (c Config) Name() string {
	if c.Pod != "" {
		return c.Pod
	}
	name, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return name
}

// Logger writes JSON lines that carry the instance's name.
func (c Config) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // Problems has judged it
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})).With("pod", c.Name())
}

// NewRegistry returns a registry with the collectors that every service has:
// Go, process, build_info{version,goversion} and the own cgroup.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "build_info", Help: "1, labelled by what is running.",
		ConstLabels: prometheus.Labels{"version": version(), "goversion": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, newCgroup(os.DirFS("/")))
	return r
}
