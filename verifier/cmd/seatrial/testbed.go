//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"seatrial/deploy/local"
	"seatrial/deploy/local/confine"
)

// upFlags say which testbed, and which doors it opens on this machine.
type upFlags struct {
	localFlags
	name                                      string
	seed                                      int64
	apiPort, prometheusPort, alertmanagerPort int
}

func (f *upFlags) register(cmd *cobra.Command) {
	f.localFlags.register(cmd)
	registerName(cmd, &f.name)
	fl := cmd.Flags()
	fl.Int64Var(&f.seed, "seed", 1, "seed of the network's randomness")
	fl.IntVar(&f.apiPort, "api-port", 8080, "port on 127.0.0.1 for the API, 0 for any free one")
	fl.IntVar(&f.prometheusPort, "prometheus-port", 9090, "port on 127.0.0.1 for Prometheus, 0 for any free one")
	fl.IntVar(&f.alertmanagerPort, "alertmanager-port", 9093, "port on 127.0.0.1 for Alertmanager, 0 for any free one")
}

func registerName(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", "default", "the testbed's name")
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
			if err := errors.Join(cfg.Validate(), f.portsFree()); err != nil {
				return err
			}
			if err := startServer(cmd.OutOrStdout()); err != nil {
				return err
			}
			return printStatus(cmd.Context(), cmd.OutOrStdout(), f.name)
		},
	}
	f.register(cmd)
	return cmd
}

// portsFree names every port that is taken, before anything is started. The
// server finds out again when it opens them.
func (f *upFlags) portsFree() error {
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
func startServer(out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	args := slices.Clone(os.Args[1:])
	args[slices.Index(args, "up")] = serveCommand
	cmd := exec.Command(self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
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
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == readyLine {
			return nil // it stays when this process ends
		}
		fmt.Fprintln(out, lines.Text())
	}
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
	addresses, err := bed.Publish(ctx, f.apiPort, f.prometheusPort, f.alertmanagerPort)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket(name))
	if err != nil {
		return fmt.Errorf("open the control socket %s: %w", socket(name), err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s := status{Started: started, Addresses: addresses, Versions: bed.Versions(), Pods: bed.Status(), Path: filepath.Join(cfg.Deps, "bin")}
		if err := bed.Healthy(r.Context()); err != nil {
			s.Healthy = err.Error()
		}
		_ = json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("POST /down", func(http.ResponseWriter, *http.Request) { stop() })
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	if _, err := fmt.Fprintln(out, readyLine); err != nil {
		return fmt.Errorf("nobody waits for the testbed any more: %w", err)
	}
	<-ctx.Done()
	return server.Close()
}

// connect returns a client of the testbed called name. A testbed that is not up is
// an error that says how to start it.
func connect(name string) (*http.Client, error) {
	conn, err := net.Dial("unix", socket(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no testbed called %q is up: start it with `seatrial up`", name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("the testbed called %q was killed; the next start removes what is left of it", name)
	case err != nil:
		return nil, fmt.Errorf("ask testbed %s: %w", name, err)
	}
	conn.Close()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket(name))
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}, nil
}

func askStatus(ctx context.Context, name string) (*status, error) {
	client, err := connect(name)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://testbed/status", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask testbed %s: %w", name, err)
	}
	defer res.Body.Close()
	var s status
	return &s, json.NewDecoder(res.Body).Decode(&s)
}

func newStatusCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "status", Short: "show the pods of the testbed that is up", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printStatus(cmd.Context(), cmd.OutOrStdout(), name)
		},
	}
	registerName(cmd, &name)
	return cmd
}

func printStatus(ctx context.Context, out io.Writer, name string) error {
	s, err := askStatus(ctx, name)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "POD\tADDRESS\tCONTAINER\tSTATE\tRESTARTS\tSINCE")
	for _, p := range s.Pods {
		for _, c := range p.Containers {
			state := "running"
			if !c.Running {
				state = "down (" + c.LastExit + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", p.Name, p.Addr, c.Name, state, c.Restarts, time.Since(c.Started).Round(time.Second))
		}
	}
	fmt.Fprintln(w)
	for _, door := range []string{"API", "Prometheus", "Alertmanager"} {
		fmt.Fprintf(w, "%s\t%s\n", door, s.Addresses[door])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if s.Healthy != "" {
		fmt.Fprintf(out, "not healthy: %s\n", s.Healthy)
	}
	return nil
}

func newLogsCommand() *cobra.Command {
	var name, container string
	var follow bool
	cmd := &cobra.Command{
		Use: "logs POD", Short: "print what a pod of the testbed logged", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := askStatus(cmd.Context(), name)
			if err != nil {
				return err
			}
			path, err := logOf(s, name, args[0], container)
			if err != nil {
				return err
			}
			return printLog(cmd.Context(), cmd.OutOrStdout(), path, follow)
		},
	}
	registerName(cmd, &name)
	cmd.Flags().StringVarP(&container, "container", "c", "", "container (default: the pod's first)")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as it is written")
	return cmd
}

func podOf(s *status, pod string) (local.PodStatus, error) {
	var names []string
	for _, p := range s.Pods {
		if p.Name == pod {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return local.PodStatus{}, fmt.Errorf("no pod is called %q; there are %s", pod, strings.Join(names, ", "))
}

func logOf(s *status, name, pod, container string) (string, error) {
	p, err := podOf(s, pod)
	if err != nil {
		return "", err
	}
	var names []string
	for _, c := range p.Containers {
		if container == "" || c.Name == container {
			return filepath.Join(confine.Dir(name), "logs", pod, c.Name+".log"), nil
		}
		names = append(names, c.Name)
	}
	return "", fmt.Errorf("pod %s has no container %q; it has %s", pod, container, strings.Join(names, ", "))
}

func printLog(ctx context.Context, out io.Writer, path string, follow bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := io.Copy(out, f); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
		if _, err := os.Stat(path); err != nil {
			return nil // the testbed is down
		}
	}
}

func newExecCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "exec POD -- COMMAND [ARG...]", Short: "run a command in a pod's network, with the servers' clients on PATH", Args: cobra.MinimumNArgs(2),
		Example: "  seatrial exec valkey-0 -- valkey-cli info replication",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := askStatus(cmd.Context(), name)
			if err != nil {
				return err
			}
			p, err := podOf(s, args[0])
			if err != nil {
				return err
			}
			return execIn(name, p, s.Path, args[1:])
		},
	}
	registerName(cmd, &name)
	return cmd
}

// execIn becomes the command, in the pod's network namespace. The testbed
// numbers its processes by its own PID namespace, so the namespace is found
// through the /proc that the testbed sees.
func execIn(name string, p local.PodStatus, path string, argv []string) error {
	keeper, err := peerPID(name)
	if err != nil {
		return err
	}
	pid := 0
	for _, c := range p.Containers {
		pid = max(pid, c.PID)
	}
	if pid == 0 {
		return fmt.Errorf("no container of pod %s is running", p.Name)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/root/proc/%d/ns/net", keeper, pid))
	if err != nil {
		return fmt.Errorf("find the network of pod %s: %w", p.Name, err)
	}
	if err := os.Setenv("PATH", path+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network of pod %s: %w", p.Name, err)
	}
	return fmt.Errorf("run %s: %w", program, syscall.Exec(program, argv, os.Environ()))
}

// peerPID is the process that listens on a testbed's control socket, as this
// process numbers it.
func peerPID(name string) (int, error) {
	conn, err := net.Dial("unix", socket(name))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, fmt.Errorf("ask who runs testbed %s: %w", name, credErr)
	}
	return int(cred.Pid), nil
}

func newDownCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "down", Short: "take the testbed down and leave nothing of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if slices.Contains(confine.Sweep(), name) {
				fmt.Fprintf(cmd.OutOrStdout(), "testbed %s had been killed; what was left of it is removed\n", name)
				return nil
			}
			client, err := connect(name)
			if err != nil {
				return err
			}
			res, err := client.Post("http://testbed/down", "", nil)
			if err != nil {
				return fmt.Errorf("take testbed %s down: %w", name, err)
			}
			res.Body.Close()
			for range 200 {
				if _, err := os.Stat(confine.Dir(name)); os.IsNotExist(err) {
					fmt.Fprintf(cmd.OutOrStdout(), "testbed %s is down\n", name)
					return nil
				}
				time.Sleep(100 * time.Millisecond)
			}
			return fmt.Errorf("testbed %s is still there after 20 s", name)
		},
	}
	registerName(cmd, &name)
	return cmd
}
