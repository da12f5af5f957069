//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"seatrial/deploy/cluster/node"
	"seatrial/deploy/local/confine"
)

// name of the one cluster that a machine has, beside its local testbeds.
const name = "cluster"

// patience is how long a part of the cluster may take to come up on a busy
// machine of two cores.
const patience = 5 * time.Minute

func control() string { return filepath.Join(confine.Dir(name), "control.sock") }

func newUpCommand() *cobra.Command {
	var p places
	var port int
	cmd := &cobra.Command{
		Use: "up", Short: "start the cluster with Chaos Mesh and leave it running", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return errors.New("the cluster needs root (it makes namespaces and cgroups): run it with sudo")
			}
			if err := p.resolve(); err != nil {
				return err
			}
			show := newSteps(cmd.OutOrStdout())
			if running() {
				show.say("the cluster is running; what it should hold is applied again")
			} else if err := startServer(cmd.Context(), port, &p, show); err != nil {
				return err
			}
			ctx, stop := whileRunning(cmd.Context())
			defer stop()
			err := platform(ctx, &p, show)
			if err != nil && !running() {
				return errors.Join(errors.New("the cluster ended while it came up"), err, tail(p.serverLog()))
			}
			if err != nil {
				return fmt.Errorf("%w (`make cluster-status` shows more; `make cluster-down` ends it)", err)
			}
			show.say("ready: export KUBECONFIG=%s", p.kubeconfig())
			return nil
		},
	}
	p.register(cmd)
	cmd.Flags().IntVar(&port, "port", 0, "port on 127.0.0.1 for the API server, 0 for any free one")
	return cmd
}

// steps tells a person how far it is.
type steps struct {
	out     io.Writer
	started time.Time
}

func newSteps(out io.Writer) *steps { return &steps{out, time.Now()} }

func (s *steps) say(format string, args ...any) {
	fmt.Fprintf(s.out, "cluster %5.1f s  %s\n", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...))
}

// running says whether a cluster answers.
func running() bool {
	c, err := net.Dial("unix", control())
	if err == nil {
		c.Close()
	}
	return err == nil
}

// whileRunning is a context that ends soon after the cluster does: whoever waits for pods would else wait for minutes.
func whileRunning(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		defer cancel()
		for running() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	return ctx, cancel
}

const serveCommand, readyLine = "serve", "node is there"

// startServer starts the process that keeps the node, in a session of its own.
func startServer(ctx context.Context, port int, p *places, show *steps) error {
	// What this process was given besides (a lock, a pipe) is not for one that stays.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep open files to this process: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", serveCommand, "--repository="+p.repository, "--deps="+p.deps, fmt.Sprintf("--port=%d", port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Whoever reads this command's output waits for its end; the server stays.
	output, err1 := cmd.StdoutPipe()
	complaints, err2 := os.Create(p.serverLog())
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	defer complaints.Close()
	cmd.Stderr = complaints
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the cluster: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == readyLine {
			show.say("the API server answers")
			return copyFile(filepath.Join(confine.Dir(name), node.KubeconfigFile), p.kubeconfig())
		}
		show.say("%s", lines.Text())
	}
	ended := cmd.Wait()
	return errors.Join(errors.New("the cluster ended before it was there"), ended, ctx.Err(), tail(complaints.Name()))
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func newServeCommand() *cobra.Command {
	var p places
	var port int
	cmd := &cobra.Command{
		Use: serveCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.resolve(); err != nil {
				return err
			}
			if confine.Inside() == "" {
				code, err := confine.Keep(name, cmd.OutOrStdout(), cmd.ErrOrStderr())
				_ = os.Remove(p.kubeconfig())
				if err != nil || code == 0 {
					return err
				}
				return &exitError{code}
			}
			return serve(&p, port, cmd.OutOrStdout())
		},
	}
	p.register(cmd)
	cmd.Flags().IntVar(&port, "port", 0, "")
	return cmd
}

// serve is the process that keeps the node, confined.
func serve(p *places, port int, out io.Writer) error {
	interrupts, err := confine.Enter()
	if err != nil {
		return err
	}
	door, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("open the API server's door: %w", err)
	}
	state := confine.Dir(name)
	log, err := os.Create(filepath.Join(state, "node.log"))
	if err != nil {
		return err
	}
	inside, err := node.Start(node.Config{
		State: state, Root: p.root(), Bin: p.bin(), Images: p.images(), Cgroup: confine.CgroupPrefix(name) + ".node",
	}, door.(*net.TCPListener), log)
	if err != nil {
		return err
	}
	door.Close() // the node has it
	ended := make(chan error, 1)
	go func() { ended <- inside.Wait() }()
	stock, err := newStock(p.images(), inside.Process.Pid)
	if err != nil {
		return err
	}
	asked, err := listen(stock)
	if err != nil {
		return err
	}
	address := "https://" + door.Addr().String()
	up := make(chan error, 1)
	go func() { up <- answers(address, filepath.Join(state, node.KubeconfigFile)) }()
	for {
		select {
		case err := <-up:
			if err != nil {
				return errors.Join(err, tail(log.Name()))
			}
			fmt.Fprintln(out, readyLine)
		case err := <-ended:
			return errors.Join(fmt.Errorf("the node ended: %w", err), tail(log.Name()))
		case <-asked:
			return nil
		case <-interrupts:
			return nil
		}
	}
}

// listen opens the control socket, on which askEnd ends the cluster and askImages renews its images.
func listen(images *stock) (<-chan struct{}, error) {
	l, err := net.Listen("unix", control())
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	asked := make(chan struct{}, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wish := make([]byte, 1)
			_, _ = c.Read(wish) // who only looks whether there is a cluster writes nothing
			switch wish[0] {
			case askEnd:
				asked <- struct{}{}
			case askImages:
				_, _ = io.WriteString(c, images.renew())
			}
			c.Close()
		}
	}()
	return asked, nil
}

// tail is the end of a log, as an error for a person.
func tail(path string) error {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return err
	}
	return fmt.Errorf("its log ends with:\n%s", data[max(0, len(data)-2000):])
}

func newDownCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "end the cluster; nothing is left of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := net.Dial("unix", control())
			if err != nil {
				if swept := confine.Sweep(); slices.Contains(swept, name) {
					fmt.Fprintln(cmd.OutOrStdout(), "cluster: removed what a killed one had left")
					return nil
				}
				fmt.Fprintln(cmd.OutOrStdout(), "cluster: none is running")
				return nil
			}
			defer c.Close()
			if _, err := c.Write([]byte{askEnd}); err != nil {
				return fmt.Errorf("ask the cluster to end: %w", err)
			}
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				if _, err := os.Stat(confine.Dir(name)); os.IsNotExist(err) {
					fmt.Fprintln(cmd.OutOrStdout(), "cluster: ended")
					return nil
				}
				if time.Now().After(deadline) {
					return fmt.Errorf("a minute after it was asked to end, the cluster's folder %s is still there", confine.Dir(name))
				}
			}
		},
	}
}
