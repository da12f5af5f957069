//go:build linux

// Package confine gives a local testbed one lifetime: everything that it
// starts lives in a PID namespace and a mount namespace of its own, and
// whatever it must leave in the host's file system (a folder, cgroups) has a
// second process that removes it.
//
// Two processes share the work. The keeper is the command that the user
// started; it does nothing but wait, pass interrupts on and clean up. The
// confined process is init of the PID namespace and does everything else. If
// the keeper is killed, the confined process sees its lifeline close, kills
// all that runs in the namespace, cleans up and exits. If the confined process
// is killed, the kernel kills all that runs in the namespace and the keeper
// cleans up. If both are killed in the same moment, every process, namespace,
// mount and device is gone with them, and the folder and the cgroups, which
// nobody holds a lock on any more, are removed by the next start (Sweep).
//
// Only the confined process makes anything, and it makes the folder first: a
// keeper that is killed before there is a confined process leaves nothing.
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
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// envName tells a process that it is the confined one, and of which testbed.
const envName = "SEATRIAL_CONFINED"

// lifelineFD is the read end of a pipe of which only the keeper has the other
// end. A byte in it is an interrupt; its end is the keeper's.
const lifelineFD = 3

// Inside returns the name of the testbed that this process is confined to, or
// "" outside of any.
func Inside() string { return os.Getenv(envName) }

// Keep starts this very program again, with the same arguments, as the
// confined process of a testbed called name, waits for it and returns its exit
// status. Interrupts and terminations are passed on to it.
func Keep(name string, stdout, stderr io.Writer) (int, error) {
	if os.Geteuid() != 0 {
		return 2, errors.New("the local testbed needs root (it makes network namespaces and cgroups): run it with sudo")
	}
	if err := checkName(name); err != nil {
		return 2, err
	}
	Sweep()
	// From here on no interrupt is lost, however early it comes.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	lifeline, hold, err := os.Pipe()
	if err != nil {
		return 2, fmt.Errorf("open the lifeline: %w", err)
	}
	defer hold.Close()
	cmd, err := confined(name)
	if err != nil {
		return 2, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	cmd.ExtraFiles = []*os.File{lifeline}
	if err := cmd.Start(); err != nil {
		return 2, fmt.Errorf("start the confined process (it needs CAP_SYS_ADMIN for its namespaces): %w", err)
	}
	lifeline.Close()
	defer reclaim(name)
	return wait(cmd, signals, hold)
}

// confined is the command that becomes the confined process.
func confined(name string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), envName+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		// A process group of its own: a Ctrl-C reaches it once, through the keeper.
		Setpgid: true,
	}
	return cmd, nil
}

// wait passes signals on as bytes, which wait in the pipe until the confined
// process listens; init of a namespace would miss a signal until then.
func wait(cmd *exec.Cmd, signals <-chan os.Signal, hold io.Writer) (int, error) {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case <-signals:
			_, _ = hold.Write([]byte{1})
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

// Enter finishes the confinement from the inside: private mounts, a /proc that
// shows the PID namespace, the testbed's folder, and a watch on the keeper's
// life. It must be the first thing that a confined process does. The returned
// channel has a value for each interrupt that the keeper got.
func Enter() (interrupts <-chan struct{}, err error) {
	if os.Getpid() != 1 {
		return nil, fmt.Errorf("%s is set, but this process is not the first of a PID namespace", envName)
	}
	unix.CloseOnExec(lifelineFD)
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("mount /proc: %w", err)
	}
	if own, err = claim(Inside()); err != nil {
		return nil, err
	}
	got := make(chan struct{}, 2)
	go listen(os.NewFile(lifelineFD, "lifeline"), got)
	return got, nil
}

// own is the confined process's lock on its folder.
var own *os.File

func listen(lifeline io.Reader, interrupts chan<- struct{}) {
	for {
		if n, _ := lifeline.Read(make([]byte, 1)); n == 0 {
			Scuttle(137) // the keeper is gone
		}
		select {
		case interrupts <- struct{}{}:
		default: // two say it all
		}
	}
}

// FinishCommand is the hidden command that Scuttle becomes; whoever calls Enter
// must pass its arguments to Finish.
const FinishCommand = "testbed-finish"

// Scuttle ends the confined process at once, and with it everything in its
// namespaces, after removing what the kernel would not take back.
//
// Other threads may be in the middle of making cgroups, files and processes.
// Becoming another program is what stops them all; only then is it certain
// that nothing appears behind the cleaner's back.
func Scuttle(code int) {
	if own != nil {
		_, _ = unix.FcntlInt(own.Fd(), unix.F_SETFD, 0) // the lock must outlast the change
	}
	argv := []string{os.Args[0], FinishCommand, strconv.Itoa(code)}
	_ = syscall.Exec("/proc/self/exe", argv, os.Environ())
	_ = Finish(argv[2:]) // it could not: as good as it gets
}

// Finish is the rest of Scuttle. It returns only for wrong arguments.
func Finish(args []string) error {
	if len(args) != 1 || os.Getpid() != 1 || Inside() == "" {
		return fmt.Errorf("%s is for the testbed's own use", FinishCommand)
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("%s: %w", FinishCommand, err)
	}
	// As init of the namespace this reaches every process but the caller.
	_ = unix.Kill(-1, unix.SIGKILL)
	clean(Inside())
	os.Exit(code)
	return nil
}
