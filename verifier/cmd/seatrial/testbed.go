//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"seatrial/deploy/local"
	"seatrial/deploy/local/confine"
)

// upFlags say which testbed, and which doors it opens on this machine.
type upFlags struct {
	localFlags
	doorFlags
	name string
	seed int64
}

// doorFlags are the ports on this machine at which a local testbed answers.
type doorFlags struct{ apiPort, prometheusPort, alertmanagerPort int }

func (f *doorFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.IntVar(&f.apiPort, "api-port", 8080, "port on 127.0.0.1 for the API, 0 for any free one")
	fl.IntVar(&f.prometheusPort, "prometheus-port", 9090, "port on 127.0.0.1 for Prometheus, 0 for any free one")
	fl.IntVar(&f.alertmanagerPort, "alertmanager-port", 9093, "port on 127.0.0.1 for Alertmanager, 0 for any free one")
}

func (f *upFlags) register(cmd *cobra.Command) {
	f.localFlags.register(cmd)
	f.doorFlags.register(cmd)
	registerName(cmd, &f.name)
	cmd.Flags().Int64Var(&f.seed, "seed", 1, "seed of the network's randomness")
}

// nameVariable names a testbed to the commands that a trial on it starts.
const (
	nameVariable = "SEATRIAL_NAME"
	defaultName  = "default"
)

func registerName(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", cmp.Or(os.Getenv(nameVariable), defaultName), "the testbed's name; $"+nameVariable+" if it is set")
	cmd.Flags().Lookup("name").DefValue = defaultName
}

// socket is where a testbed that is up answers.
func socket(name string) string { return filepath.Join(confine.Dir(name), "control.sock") }

func newUpCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use: "up", Short: "start the local testbed, leave it running, and print its addresses", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return errors.New("the local testbed needs root (it makes network namespaces and cgroups): run it with sudo")
			}
			cfg, err := f.config(f.name, f.seed)
			if err != nil {
				return err
			}
			if _, err := connect(f.name); err == nil {
				return fmt.Errorf("%w: %s (`seatrial status` shows it, `seatrial down` ends it)", confine.ErrTaken, f.name)
			}
			if err := errors.Join(cfg.Validate(), f.portsFree(), socketFits(f.name)); err != nil {
				return err
			}
			if err := startServer(cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			return printStatus(cmd.Context(), cmd.OutOrStdout(), f.name)
		},
	}
	f.register(cmd)
	return cmd
}

// longestSocket is what the kernel allows in the path of a Unix socket.
const longestSocket = 107

func socketFits(name string) error {
	if path := socket(name); len(path) > longestSocket {
		return fmt.Errorf("the control socket's path would be %d characters long, of at most %d: %s; let SEATRIAL_STATE or --name be shorter", len(path), longestSocket, path)
	}
	return nil
}

// portsFree names every port that is taken, before anything is started. The
// server finds out again when it opens them.
func (f *doorFlags) portsFree() error {
	var taken []error
	for _, port := range []int{f.apiPort, f.prometheusPort, f.alertmanagerPort} {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			taken = append(taken, fmt.Errorf("port %d: %w; choose others with --api-port, --prometheus-port and --alertmanager-port, 0 for any free one", port, err))
			continue
		}
		l.Close()
	}
	return errors.Join(taken...)
}

// readyLine is what a testbed's server prints when all of it is ready.
const readyLine = "seatrial testbed is ready"

// startServer starts this command line again as a server in a session of its
// own, and returns when it is ready or has failed.
func startServer(stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	args := slices.Clone(os.Args[1:])
	args[slices.Index(args, "up")] = serveCommand
	cmd := exec.Command(self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, err1 := cmd.StdoutPipe()
	complaints, err2 := cmd.StderrPipe()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the testbed: %w", err)
	}
	// The server is in a session of its own: a Ctrl-C is only heard here.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer close(signals)
	defer signal.Stop(signals)
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	told := make(chan struct{})
	go func() { _, _ = io.Copy(stderr, complaints); close(told) }()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == readyLine {
			return nil // it stays when this process ends
		}
		fmt.Fprintln(stdout, lines.Text())
	}
	<-told
	if err := cmd.Wait(); err != nil {
		return &exitError{exitBroken}
	}
	return errors.New("the testbed ended before it was ready")
}

const serveCommand = "testbed-server"

// newServeCommand is the process behind `up`.
func newServeCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use: serveCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return confined(cmd, f.name, func(ctx context.Context, name string) error {
				return f.serve(ctx, name, cmd.OutOrStdout())
			})
		},
	}
	f.register(cmd)
	return cmd
}

// status is what a testbed's server answers.
type status struct {
	Started   time.Time         `json:"started"`
	Addresses map[string]string `json:"addresses"`
	Versions  map[string]string `json:"versions"`
	Pods      []local.PodStatus `json:"pods"`
	Healthy   string            `json:"healthy"` // "" or what is not
	Path      string            `json:"path"`    // folder with the servers' clients
}

func (f *upFlags) serve(ctx context.Context, name string, out io.Writer) error {
	cfg, err := f.config(name, f.seed)
	if err != nil {
		return err
	}
	started := time.Now()
	bed, err := local.Up(ctx, cfg, func(step string) {
		fmt.Fprintf(out, "up %5.1f s  %s\n", time.Since(started).Seconds(), step)
	})
	if err != nil {
		return err
	}
	defer bed.Down()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server, _, err := openDoors(ctx, bed, cfg, &f.doorFlags, started, stop)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, readyLine); err != nil {
		return fmt.Errorf("nobody waits for the testbed any more: %w", err)
	}
	<-ctx.Done()
	return server.Close()
}

// openDoors opens the doors of a testbed on this machine, and its control socket, at which
// `down` calls stop. It returns the doors' addresses.
func openDoors(ctx context.Context, bed *local.Testbed, cfg local.Config, doors *doorFlags, started time.Time, stop func()) (*http.Server, map[string]string, error) {
	addresses, err := bed.Publish(ctx, doors.apiPort, doors.prometheusPort, doors.alertmanagerPort)
	if err != nil {
		return nil, nil, err
	}
	server, err := openControl(ctx, bed, cfg, addresses, started, stop)
	return server, addresses, err
}

// openControl opens a testbed's control socket, at which status, exec, replace and the like
// ask; `down` there calls stop.
func openControl(ctx context.Context, bed *local.Testbed, cfg local.Config, addresses map[string]string, started time.Time, stop func()) (*http.Server, error) {
	listener, err := net.Listen("unix", socket(cfg.Name))
	if err != nil {
		return nil, fmt.Errorf("open the control socket %s: %w", socket(cfg.Name), err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s := status{Started: started, Addresses: addresses, Versions: bed.Versions(), Pods: bed.Status(), Path: filepath.Join(cfg.Deps, "bin")}
		if err := bed.Healthy(r.Context()); err != nil {
			s.Healthy = err.Error()
		}
		_ = json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("GET /traffic", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, bed.Traffic()) })
	mux.HandleFunc("GET /capture", func(w http.ResponseWriter, r *http.Request) { capture(ctx, bed, w, r) })
	mux.HandleFunc("POST /replace", func(w http.ResponseWriter, r *http.Request) {
		if err := bed.Replace(r.Context(), r.FormValue("pod")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // the answer is on its way before there is nobody to give it
		stop()
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	return server, nil
}
