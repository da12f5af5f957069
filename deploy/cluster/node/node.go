//go:build linux

// Package node is a Kubernetes node with its control plane as one tree of
// processes in namespaces of its own: PID, mount, network, UTS, IPC and cgroup,
// with a Debian root of its own. When its first process ends, however it ends,
// the kernel takes everything else back.
//
// It knows nothing of what runs on the cluster.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The node's name and addresses. 198.18.0.0/15 is set aside for benchmarks by
// RFC 2544, so none of them is anybody's; all live in the node's own network
// namespace.
const (
	Name           = "seatrial"
	Address        = "198.19.255.1"
	podRange       = "198.18.0.0/16"
	nodePods       = "198.18.0.0/24"
	serviceRange   = "198.19.0.0/20"
	serviceAddress = "198.19.0.1"
	dnsAddress     = "198.19.0.10"
)

// Config says what a node is made from.
type Config struct {
	State  string // a folder on a real disk that is the node's alone
	Root   string // a Debian root; it is not written to
	Bin    string // folder with Kubernetes' programs and etcd
	Images string // folder with archives of images, NAME.tar
	Cgroup string // name of the cgroup that everything lives in
}

// listenerFD is where the inside finds the listener that the outside opened:
// a socket belongs to the network namespace in which it was made.
const listenerFD = 3

// InsideCommand is the hidden command that the process inside the namespaces
// runs; whoever calls Start must pass its arguments to Inside.
const InsideCommand = "node-inside"

// Start starts the node's first process. What the API server answers is found
// at the listener. The command's output is the node's log.
func Start(c Config, listener *net.TCPListener, out io.Writer) (*exec.Cmd, error) {
	door, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("hand the listener over: %w", err)
	}
	defer door.Close()
	leave, err := joinCgroup(c.Cgroup)
	if err != nil {
		return nil, err
	}
	defer leave()
	cmd := exec.Command("/proc/self/exe", InsideCommand, c.State, c.Root, c.Bin, c.Images)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{door}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		Setpgid:    true,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	return cmd, nil
}

// KubeconfigFile is the file in Config.State that lets an administrator in.
const KubeconfigFile = "kubeconfig"

// Inside is the node's first process. It returns when the node cannot be.
func Inside(args []string) error {
	if len(args) != 4 || os.Getpid() != 1 {
		return fmt.Errorf("%s is for the cluster's own use", InsideCommand)
	}
	c := Config{State: args[0], Root: args[1], Bin: args[2], Images: args[3]}
	unix.CloseOnExec(listenerFD)
	door, err := net.FileListener(os.NewFile(listenerFD, "door"))
	if err != nil {
		return fmt.Errorf("take the listener over: %w", err)
	}
	if err := c.settle(door.Addr().String()); err != nil {
		return err
	}
	if err := network(); err != nil {
		return err
	}
	go forward(door, "127.0.0.1:6443")
	return supervise(programs())
}

// settle makes the node's file system and moves into it.
func (c Config) settle(door string) error {
	root := filepath.Join(c.State, "root")
	if err := c.mountRoot(root); err != nil {
		return err
	}
	if err := writeSettings(root); err != nil {
		return err
	}
	admin, err := writePKI(filepath.Join(root, pki), "https://"+door)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.State, KubeconfigFile), admin, 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return enterRoot(root)
}

// network gives the namespace its own address and rules. A bridge without ports
// is the interface that every kernel has; what is sent there is lost.
func network() error {
	rules := [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "add", "node0", "type", "bridge"},
		{"ip", "address", "add", Address + "/32", "dev", "node0"},
		{"ip", "link", "set", "node0", "up"},
		// Packets to services' addresses must have a way before they are translated.
		{"ip", "route", "add", "default", "dev", "node0", "src", Address},
		{"sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.forwarding=1"},
		// Pods have no IPv6 but for link-local addresses, by which they would reach the node past all policies.
		// A kernel without IPv6 does not know the name.
		{"sysctl", "-eqw", "net.ipv6.conf.default.disable_ipv6=1"},
	}
	for _, argv := range append(rules, policyRules()...) {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
	}
	return nil
}

// PolicyQueue is the queue at which the engine of network policies listens.
const PolicyQueue = 98

// policyRules send the first packet of each connection between pods, and from a pod to
// the node itself (the API server, kubelet), to the engine of network policies, which
// answers for the rest of it. The engine would make such rules itself, with an
// expression (nft_queue) that not every kernel has; the target NFQUEUE of xtables is the
// older and more common way to the same queue, and the engine is built to leave rules alone
// (deploy/cluster/deps/build.sh). While nobody listens nothing passes: the
// policies fail closed.
//
// What the node itself sends is not judged, as Kubernetes wants it: kubelet's probes and
// the API server's calls leave by OUTPUT, and their answers are ESTABLISHED. What it
// sends to itself comes in by lo: so the engine reaches the API server while it does not
// answer yet. Everything else that comes in is from a pod, whatever address it claims.
func policyRules() (all [][]string) {
	add := func(chain string, rest ...string) {
		all = append(all, append([]string{"iptables-legacy", "-A", chain}, rest...))
	}
	queue := []string{"-j", "NFQUEUE", "--queue-num", fmt.Sprint(PolicyQueue)}
	for _, chain := range []string{"FORWARD", "INPUT"} {
		add(chain, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
	}
	add("FORWARD", queue...)
	add("INPUT", append([]string{"!", "-i", "lo"}, queue...)...)
	return all
}

// forward joins each connection at the door with one to address.
func forward(door net.Listener, address string) {
	for {
		outside, err := door.Accept()
		if err != nil {
			return
		}
		go func() {
			defer outside.Close()
			inside, err := net.Dial("tcp", address)
			if err != nil {
				return // the API server is not there yet; the client tries again
			}
			defer inside.Close()
			var both sync.WaitGroup
			for _, way := range [][2]net.Conn{{inside, outside}, {outside, inside}} {
				both.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].(*net.TCPConn).CloseWrite()
				})
			}
			both.Wait()
		}()
	}
}

// A program that ends is started again; one that ends so often in a row, each
// time soon, cannot run here and ends the node.
const (
	restartDelay = time.Second
	tooOften     = 30 // times
	soon         = 30 * time.Second
)

// supervise keeps all programs running and reaps whatever was left to the
// first process.
func supervise(all []program) error {
	if err := os.MkdirAll(logDir, 0o755); err != nil {
		return fmt.Errorf("make the log folder: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	started := newChildren()
	for _, p := range all {
		go func() { cancel(started.keep(p)) }()
	}
	go started.reap()
	go func() {
		if err := started.importImages(); err != nil {
			cancel(err)
		}
	}()
	<-ctx.Done()
	return context.Cause(ctx)
}

// children are the processes that the first one started. Only one place may
// wait for processes, or it would take the exit status of another's child.
type children struct {
	mutex sync.Mutex
	ends  map[int]chan unix.WaitStatus
}

func newChildren() *children { return &children{ends: map[int]chan unix.WaitStatus{}} }

// keep runs a program again and again.
func (c *children) keep(p program) error {
	path := filepath.Join(logDir, p.name+".log")
	for ended := 0; ended < tooOften; {
		log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("open the log of %s: %w", p.name, err)
		}
		started := time.Now()
		status, err := c.run(p, log)
		if err != nil {
			return err
		}
		fmt.Fprintf(log, "node: %s ended: %s\n", p.name, words(status))
		log.Close()
		if ended++; time.Since(started) > soon {
			ended = 0
		}
		time.Sleep(restartDelay)
	}
	text, _ := os.ReadFile(path)
	return fmt.Errorf("%s ended %d times; its log ends with:\n%s", p.name, tooOften, text[max(0, len(text)-1500):])
}

// run starts a program and waits until it ends.
func (c *children) run(p program, log *os.File) (unix.WaitStatus, error) {
	c.mutex.Lock() // reap must not see the end before it is known whose it is
	process, err := os.StartProcess(p.argv[0], p.argv, &os.ProcAttr{
		Dir: "/", Env: environment(), Files: []*os.File{nil, log, log},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		c.mutex.Unlock()
		return 0, fmt.Errorf("start %s: %w", p.name, err)
	}
	end := make(chan unix.WaitStatus, 1)
	c.ends[process.Pid] = end
	c.mutex.Unlock()
	return <-end, nil
}

func words(status unix.WaitStatus) string {
	if status.Signaled() {
		return status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// ImagePath is where the node sees a file of Config.Images.
func ImagePath(file string) string { return filepath.Join(imageDir, file) }

// importAttempts outlast containerd's start.
const importAttempts = 150

// importImages brings every image to containerd, which is being started meanwhile.
func (c *children) importImages() error {
	archives, err := filepath.Glob(filepath.Join(imageDir, "*.tar"))
	if err != nil || len(archives) == 0 {
		return fmt.Errorf("there are no images in %s: %w", imageDir, err)
	}
	log, err := os.Create(filepath.Join(logDir, "images.log"))
	if err != nil {
		return fmt.Errorf("open the log of the images: %w", err)
	}
	defer log.Close()
	for _, archive := range archives {
		ctr := program{"ctr", []string{"/usr/bin/ctr", "--namespace=k8s.io", "images", "import", archive}}
		for attempt := 0; ; attempt++ {
			status, err := c.run(ctr, log)
			if err != nil {
				return err
			}
			if status == 0 {
				break
			}
			if attempt == importAttempts {
				return fmt.Errorf("import %s: ctr: %s; its log is images.log", filepath.Base(archive), words(status))
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

// reap waits for every process, its own and those that others left.
func (c *children) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			time.Sleep(100 * time.Millisecond) // none is there yet
			continue
		}
		c.mutex.Lock()
		if end, ours := c.ends[pid]; ours {
			end <- status
			delete(c.ends, pid)
		}
		c.mutex.Unlock()
	}
}

// environment is what the programs see; the machine's settings stay outside.
func environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + binDir, "HOME=/root", "GOTRACEBACK=single",
	}
}
