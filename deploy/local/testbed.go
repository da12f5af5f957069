//go:build linux

// Package local is the testbed that runs on one machine: every server of the
// system as real processes, each pod in a network namespace of its own, joined
// by a switch in user space.
//
// It must run inside confine's namespaces, which is what takes everything back.
// It knows no trial and judges nothing.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"seatrial/deploy"
	"seatrial/deploy/local/chaos"
	"seatrial/deploy/local/pod"
	"seatrial/deploy/local/vnet"
	"seatrial/experiments"
)

// Config says what to start and from where.
type Config struct {
	Name  string // of the testbed; part of its cgroups' names
	State string // folder for data, logs and configuration; it goes with the testbed
	Bin   string // folder with our own commands
	Deps  string // folder with the servers, as make deps leaves it
	// Binaries swaps a program for another by name, for example nats-server
	// for an older one.
	Binaries     map[string]string
	CgroupPrefix string
	Seed         int64 // of the switch
}

// programs is every program that the testbed runs. Those that are ours come
// from Config.Bin.
var programs = map[string]bool{
	"nats-server": false, "prometheus": false, "alertmanager": false, "valkey-exporter": false,
	"valkey-server": false, "valkey-sentinel": false, "valkey-cli": false,
	"api": true, "worker": true, "nats-exporter": true, "loadgen": true,
}

// Validate names every mistake: an unknown name in Binaries, a program that is
// not there.
func (c *Config) Validate() error {
	var mistakes []error
	for name, path := range c.Binaries {
		if _, ok := programs[name]; !ok {
			mistakes = append(mistakes, fmt.Errorf("--binary %s=%s: the testbed runs no program of that name; it runs %s", name, path, strings.Join(programNames(), ", ")))
		}
	}
	for _, name := range programNames() {
		path := c.path(name)
		if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			mistakes = append(mistakes, fmt.Errorf("%s is not at %s: run `make deps build`, or name it with --binary %s=PATH", name, path, name))
		}
	}
	return errors.Join(mistakes...)
}

func programNames() []string {
	var names []string
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *Config) path(name string) string {
	if path := c.Binaries[name]; path != "" {
		return path
	}
	if programs[name] {
		return filepath.Join(c.Bin, name)
	}
	return filepath.Join(c.Deps, "bin", name)
}

// Testbed is a running system.
type Testbed struct {
	cfg      Config
	net      *vnet.Net
	node     *vnet.Port
	api      *vnet.Service
	http     *http.Client
	pods     []*pod.Pod
	versions map[string]string
	logged   map[string]int64 // by log file, how much of it Logs has copied

	behind        atomic.Int32 // APIs behind the Service's address
	stopReadiness context.CancelFunc
	watching      sync.WaitGroup
}

func (t *Testbed) binary(name string) string { return t.cfg.path(name) }

// Up starts everything and returns when all of it is ready, or says what is
// not. say is told each step. On an error everything is taken down again.
func Up(ctx context.Context, cfg Config, say func(string)) (t *Testbed, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t = &Testbed{cfg: cfg, stopReadiness: func() {}, logged: map[string]int64{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.tail())
			t.Down()
			t = nil
		}
	}()
	if err := errors.Join(roomFor(cfg.State), tunDevice()); err != nil {
		return t, err
	}
	if err := t.files(); err != nil {
		return t, err
	}
	if t.versions, err = t.askVersions(ctx); err != nil {
		return t, err
	}
	say("network: a switch with a port for each pod")
	if err := t.network(); err != nil {
		return t, err
	}
	say(fmt.Sprintf("pods: %d", len(t.plan())))
	if err := t.startPods(); err != nil {
		return t, err
	}
	if err := t.awaitReady(ctx, readyWithin); err != nil {
		return t, err
	}
	say("ready")
	return t, nil
}

// leastRoom is what the servers' data need at the least: three NATS servers
// and three Valkey servers keep every task of a run on disk.
const leastRoom = 256 << 20 // bytes

// roomFor refuses a disk on which the servers would soon end, each with an
// error of its own.
func roomFor(dir string) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("look for room in %s: %w", dir, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < leastRoom {
		return fmt.Errorf("no room for the servers' data: %s has %d MiB free, and %d MiB are needed; SEATRIAL_STATE names another folder", dir, free>>20, leastRoom>>20)
	}
	return nil
}

// tunDevice says what to do where the kernel or a container hides TUN devices.
func tunDevice() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the pods' network needs TUN devices: %w (`modprobe tun`, or give the container /dev/net/tun)", err)
	}
	return f.Close()
}

// files writes scripts and configuration into the state folder.
func (t *Testbed) files() error {
	root := filepath.Join(t.cfg.State, "deploy")
	err := fs.WalkDir(deploy.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := deploy.Files.ReadFile(path)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(root, path), data)
	})
	if err == nil {
		err = writeFile(t.script("prometheus.yaml"), []byte(t.prometheusConfig()))
	}
	if err != nil {
		return fmt.Errorf("write the testbed's files: %w", err)
	}
	return nil
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func (t *Testbed) network() (err error) {
	if t.net, err = vnet.New(vnet.Config{Seed: t.cfg.Seed}); err != nil {
		return err
	}
	if t.node, err = t.net.Attach("node", nodeAddr); err != nil {
		return err
	}
	if t.api, err = t.net.Service(apiVIP); err != nil {
		return err
	}
	t.http = &http.Client{Transport: &http.Transport{
		DialContext: t.node.DialContext, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second,
	}}
	return nil
}

func (t *Testbed) startPods() error {
	var starting errgroup.Group
	for _, spec := range t.plan() {
		port, err := t.net.Attach(spec.Name, spec.Addr)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(t.data(spec.Name), 0o755); err != nil {
			return err
		}
		p, err := pod.New(spec, port, t.cfg.CgroupPrefix+"."+spec.Name, filepath.Join(t.cfg.State, "logs", spec.Name))
		if err != nil {
			return err
		}
		t.pods = append(t.pods, p)
		starting.Go(p.Start)
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.stopReadiness = cancel
	t.watching.Go(func() { t.watchReadiness(ctx) })
	return nil
}

// Down takes everything down. It is safe on a testbed that is half up.
func (t *Testbed) Down() {
	t.stopReadiness()
	t.watching.Wait()
	var stopping errgroup.Group
	for _, p := range t.pods {
		stopping.Go(func() error { return p.Stop(2 * time.Second) })
	}
	_ = stopping.Wait() // confine removes what is left
	if t.net != nil {
		_ = t.net.Close()
	}
}

// tail quotes the last log lines of every container that is not running.
func (t *Testbed) tail() error {
	var all []error
	for _, p := range t.pods {
		for _, c := range p.Status() {
			if data, err := os.ReadFile(p.Log(c.Name)); err == nil && (!c.Running || c.Restarts > 0) {
				lines := strings.Split(strings.TrimSpace(string(data)), "\n")
				last := lines[max(0, len(lines)-3):]
				all = append(all, fmt.Errorf("log of %s/%s: %s", p.Name, c.Name, strings.Join(last, " | ")))
			}
		}
	}
	return errors.Join(all...)
}

// Prepare resolves an experiment on this testbed; see chaos.Engine.
func (t *Testbed) Prepare(_ context.Context, e *experiments.Experiment, pick []string, seed int64) (*chaos.Fault, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	engine := chaos.Engine{Net: t.net, Pods: t.pods, Namespace: Namespace, Self: self}
	return engine.Prepare(e, pick, seed)
}

// Transport dials into the network from the node's side.
func (t *Testbed) Transport() http.RoundTripper { return t.http.Transport }

// Dial dials into the network from the node's side.
func (t *Testbed) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return t.node.DialContext(ctx, network, address)
}

// Endpoints are the addresses of the testbed's doors, as URLs inside the
// virtual network.
type Endpoints struct {
	API, Loadgen, Prometheus, Alertmanager string
	NATS                                   []string
}

// Endpoints returns the testbed's doors.
func (t *Testbed) Endpoints() Endpoints {
	var nats []string
	for n := range replica {
		nats = append(nats, "nats://"+natsAddr(n).String()+":4222")
	}
	return Endpoints{
		NATS:         nats,
		API:          "http://" + apiVIP.Addr().String(),
		Loadgen:      "http://" + loadgenAddr.String() + ":8090",
		Prometheus:   "http://" + prometheusAddr.String() + ":9090",
		Alertmanager: "http://" + alertmanagerAddr.String() + ":9093",
	}
}

// Versions names every server with its version, asked of the programs themselves.
func (t *Testbed) Versions() map[string]string { return t.versions }

// versionFlags is how each program is asked for its version.
var versionFlags = map[string]string{
	"nats-server": "--version", "valkey-server": "--version", "prometheus": "--version", "alertmanager": "--version",
	"api": "--version", "worker": "--version", "loadgen": "--version",
}

// answerWithin is for programs that take --version for something else. Before it can answer, one of a
// hundred megabytes is read from the disk, which may be busy.
const answerWithin = 2 * time.Minute

func (t *Testbed) askVersions(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	versions := map[string]string{}
	for name, flag := range versionFlags {
		cmd := exec.CommandContext(ctx, t.binary(name), flag)
		cmd.Env, cmd.WaitDelay = t.env("version", nodeAddr), time.Second
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s does not end: %w", t.binary(name), flag, ctx.Err())
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w: %s", t.binary(name), flag, err, firstLine(out))
		}
		versions[name] = versionIn(firstLine(out))
	}
	return versions, nil
}

var versionForm = regexp.MustCompile(`\d+\.\d+\.\d+[\w.+-]*`)

// versionIn finds the version in what a program says of itself; ours may have
// none but "dev".
func versionIn(line string) string {
	line = strings.SplitN(line, " go1.", 2)[0] // the compiler's is none of the program's
	if v := versionForm.FindString(line); v != "" {
		return v
	}
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return "unknown"
	}
	return strings.Trim(fields[len(fields)-1], "()")
}

func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
