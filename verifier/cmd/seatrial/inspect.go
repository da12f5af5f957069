//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
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
	"seatrial/deploy/local/pod"
)

// errKilled says that a testbed's folder is there, but nobody answers.
var errKilled = errors.New("was killed")

// connect returns a client of the testbed called name. A testbed that is not up is
// an error that says how to start it.
func connect(name string) (*http.Client, error) {
	conn, err := net.Dial("unix", socket(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no testbed called %q is up: start it with `seatrial up`", name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("the testbed called %q %w; the next start, or `seatrial down`, removes what is left of it", name, errKilled)
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

func newReplaceCommand() *cobra.Command {
	var name, app string
	var down bool
	cmd := &cobra.Command{
		Use: "replace [POD...]", Short: "end pods of the testbed and start others in their place, one after the other",
		Long: `replace does what a controller does when a pod is deleted: it ends the pod in order, and another
one comes in its place, on its volume, with none of the faults that the old one had. One pod
after the other: the next when the one before is ready.`,
		Example: "  seatrial replace worker-0 worker-1\n  seatrial replace --app nats --down",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := askStatus(cmd.Context(), name)
			if err != nil {
				return err
			}
			pods, err := chosen(s, args, app, down)
			if err != nil {
				return err
			}
			return replacePods(cmd.Context(), cmd.OutOrStdout(), name, pods)
		},
	}
	registerName(cmd, &name)
	cmd.Flags().StringVar(&app, "app", "", "all pods of this `APP`: api, worker, nats or valkey")
	cmd.Flags().BoolVar(&down, "down", false, "of these only the pods that do not run")
	return cmd
}

// chosen are the pods that a command line means: those named, or an app's.
func chosen(s *status, names []string, app string, down bool) (pods []string, err error) {
	if (len(names) == 0) == (app == "") {
		return nil, errors.New("want the names of pods, or --app APP")
	}
	for _, name := range names {
		if _, err := podOf(s, name); err != nil {
			return nil, err
		}
	}
	known := false
	for _, p := range s.Pods {
		known = known || p.App == app
		runs := !slices.ContainsFunc(p.Containers, func(c pod.ContainerStatus) bool { return !c.Running })
		if (p.App == app || slices.Contains(names, p.Name)) && !(down && runs) {
			pods = append(pods, p.Name)
		}
	}
	if app != "" && !known {
		return nil, fmt.Errorf("no pod belongs to an app called %q", app)
	}
	return pods, nil
}

func replacePods(ctx context.Context, out io.Writer, name string, pods []string) error {
	client, err := connect(name)
	if err != nil {
		return err
	}
	client.Timeout = 0 // the testbed gives up by itself, and says why
	for _, p := range pods {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://testbed/replace?"+url.Values{"pod": {p}}.Encode(), nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("ask testbed %s: %w", name, err)
		}
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(strings.TrimSpace(string(text)))
		}
		fmt.Fprintf(out, "pod %s replaced\n", p)
	}
	if len(pods) == 0 {
		fmt.Fprintln(out, "no such pod: nothing to replace")
	}
	return nil
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

// swept removes what is left of a testbed that was killed, and says whether it
// could. Its last process may still be dying.
func swept(name string) bool {
	for range 50 {
		if slices.Contains(confine.Sweep(), name) {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

func newDownCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "down", Short: "take the testbed down and leave nothing of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(name)
			if errors.Is(err, errKilled) && swept(name) {
				fmt.Fprintf(cmd.OutOrStdout(), "testbed %s had been killed; what was left of it is removed\n", name)
				return nil
			}
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

// capture streams what passes a link until the client has seen enough.
func capture(ctx context.Context, bed *local.Testbed, w http.ResponseWriter, r *http.Request) {
	stop, err := bed.Capture(flushing{w}, r.FormValue("pod"), r.FormValue("other"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	select {
	case <-r.Context().Done():
	case <-ctx.Done():
	}
	_ = stop() // the client is gone, and with it whoever could be told
}

// flushing sends each packet on at once.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if flusher, ok := f.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	return n, err
}

func newCaptureCommand() *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use: "capture POD [POD]", Short: "record what passes between two pods, or to and from one, as pcap", Args: cobra.RangeArgs(1, 2),
		Example: "  seatrial capture api-0 nats-1 -o link.pcap      # Ctrl-C ends it\n  seatrial capture valkey-0 | tcpdump -r -",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			query := url.Values{"pod": args[:1]}
			if len(args) > 1 {
				query["other"] = args[1:]
			}
			w := cmd.OutOrStdout()
			if out != "" {
				f, err := os.Create(out)
				if err != nil {
					return err
				}
				defer f.Close()
				w = f
			}
			return stream(ctx, name, "/capture?"+query.Encode(), w)
		},
	}
	registerName(cmd, &name)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file (default: standard output)")
	return cmd
}

func newTrafficCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "traffic", Short: "show what the testbed's switch has counted, by pair of pods", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return stream(cmd.Context(), name, "/traffic", cmd.OutOrStdout())
		},
	}
	registerName(cmd, &name)
	return cmd
}

// stream copies a testbed's answer until it ends or ctx does.
func stream(ctx context.Context, name, path string, out io.Writer) error {
	client, err := connect(name)
	if err != nil {
		return err
	}
	client.Timeout = 0
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://testbed"+path, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask testbed %s: %w", name, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return errors.New(strings.TrimSpace(string(text)))
	}
	if _, err := io.Copy(out, res.Body); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
