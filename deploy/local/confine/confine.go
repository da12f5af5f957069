//go:build linux

// Package confine gives a local testbed one lifetime: everything that it
// starts lives in a PID namespace and a mount namespace of its own, and
// whatever it must leave in the host's file system (a folder, cgroups) has a
// second process that removes it.
//
// Two processes share the work. The keeper is the command that the user
// started; it does nothing but wait, pass signals on and clean up. The
// confined process is init of the PID namespace and does everything else. If
// the keeper is killed, the confined process sees its lifeline close, kills
// all that runs in the namespace, cleans up and exits. If the confined process
// is killed, the kernel kills all that runs in the namespace and the keeper
// cleans up. If both are killed in the same moment, every process, namespace,
// mount and device is gone with them, and the folder and the cgroups, which a
// file lock marks as ownerless, are removed by the next start (Sweep).
//
// It knows nothing of pods, networks or trials.
package confine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// envName tells a process that it is the confined one, and of which testbed.
const envName = "SEATRIAL_CONFINED"

// File descriptors that the confined process inherits.
const (
	lifelineFD = 3 // read end of a pipe that the keeper holds open
	lockFD     = 4 // the lock on the testbed's folder, shared with the keeper
)

// Root is the folder under which every testbed has a folder of its own.
// It must be on a real disk: JetStream's and Valkey's data live there.
func Root() string {
	if dir := os.Getenv("SEATRIAL_STATE"); dir != "" {
		return dir
	}
	return "/var/tmp/seatrial"
}

// Inside returns the name of the testbed that this process is confined to, or
// "" outside of any.
func Inside() string { return os.Getenv(envName) }

// Dir returns the folder of the testbed called name.
func Dir(name string) string { return filepath.Join(Root(), name) }

// CgroupPrefix returns the prefix of every cgroup of the testbed called name.
func CgroupPrefix(name string) string { return "seatrial-" + name }

// ErrTaken says that a testbed of that name is alive.
var ErrTaken = errors.New("a testbed of this name is already running")

// Keep starts this very program again, with the same arguments, as the
// confined process of a testbed called name, waits for it and returns its exit
// status. Interrupts and terminations are passed on to it.
func Keep(name string, stdout, stderr io.Writer) (int, error) {
	if os.Geteuid() != 0 {
		return 2, errors.New("the local testbed needs root (it makes network namespaces and cgroups): run it with sudo, or use --target kubernetes")
	}
	Sweep()
	lock, err := claim(name)
	if err != nil {
		return 2, err
	}
	defer lock.Close()
	defer Clean(name)

	lifeline, hold, err := os.Pipe()
	if err != nil {
		return 2, fmt.Errorf("open the lifeline: %w", err)
	}
	defer hold.Close()
	self, err := os.Executable()
	if err != nil {
		return 2, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	cmd.Env = append(os.Environ(), envName+"="+name)
	cmd.ExtraFiles = []*os.File{lifeline, lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		// A process group of its own: a Ctrl-C reaches it once, through the keeper.
		Setpgid: true,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 2, fmt.Errorf("start the confined process: %w", err)
	}
	lifeline.Close()
	return wait(cmd, signals)
}

func wait(cmd *exec.Cmd, signals <-chan os.Signal) (int, error) {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s)
		case err := <-done:
			var exit *exec.ExitError
			if err == nil {
				return 0, nil
			}
			if !errors.As(err, &exit) {
				return 2, err
			}
			if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return 128 + int(status.Signal()), fmt.Errorf("the testbed's process was ended by %v", status.Signal())
			}
			return exit.ExitCode(), nil
		}
	}
}

// claim makes the testbed's folder and locks it; the lock lives as long as any
// process that holds the file.
func claim(name string) (*os.File, error) {
	if name == "" || strings.ContainsAny(name, "/ \t\n.") {
		return nil, fmt.Errorf("testbed name %q: want letters, digits and dashes", name)
	}
	if err := os.MkdirAll(Dir(name), 0o755); err != nil {
		return nil, fmt.Errorf("make the testbed's folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(Dir(name), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the testbed's folder: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%w: %s (in %s)", ErrTaken, name, Dir(name))
	}
	return lock, nil
}

// Enter finishes the confinement from the inside: private mounts, a /proc that
// shows the PID namespace, and a watch on the keeper's life. It must be the
// first thing that a confined process does.
func Enter() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("%s is set, but this process is not the first of a PID namespace", envName)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	unix.CloseOnExec(lifelineFD)
	unix.CloseOnExec(lockFD)
	go func() {
		lifeline := os.NewFile(lifelineFD, "lifeline")
		_, _ = lifeline.Read(make([]byte, 1)) // returns when the keeper is gone
		Scuttle(137)
	}()
	return nil
}

// Scuttle ends the confined process at once, and with it everything in its
// namespaces, after removing what the kernel would not take back.
func Scuttle(code int) {
	// As init of the namespace this reaches every process but the caller.
	_ = unix.Kill(-1, unix.SIGKILL)
	Clean(Inside())
	os.Exit(code)
}

// Clean removes the cgroups and the folder of the testbed called name. The
// processes in them must be dead or dying: it waits up to five seconds for
// them. It is safe to call it from both processes at once, and again.
func Clean(name string) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		left := removeCgroups(CgroupPrefix(name))
		if left == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for os.RemoveAll(Dir(name)) != nil && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	_ = os.Remove(Root()) // only when it is empty
}

// removeCgroups removes every cgroup with the prefix in every hierarchy
// (v1 and v2), one level deep, and returns how many are still there.
func removeCgroups(prefix string) (left int) {
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		dirs, _ := filepath.Glob(pattern + prefix + ".*")
		for _, dir := range dirs {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
				left++
			}
		}
	}
	return left
}

// Sweep removes what testbeds left behind whose processes are all dead. It
// returns their names.
func Sweep() []string {
	var swept []string
	dirs, _ := os.ReadDir(Root())
	for _, d := range dirs {
		lock, err := os.Open(filepath.Join(Root(), d.Name(), "lock"))
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			Clean(d.Name())
			swept = append(swept, d.Name())
		}
		lock.Close()
	}
	return swept
}
