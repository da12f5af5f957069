//go:build linux

package pod

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// host is a Port in the host's own network. Like the real one it starts
// processes on a thread that ends, for the thread enters the pod's cgroup.
type host struct{}

func (h host) Start(cmd *exec.Cmd, prepare func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the main thread never ends
			done <- h.Start(cmd, prepare)
			runtime.UnlockOSThread()
			return
		}
		if err := prepare(); err != nil {
			done <- err
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}

var pods atomic.Int32

// sh is a container that runs a shell script.
func sh(name, script string) Container {
	return Container{Name: name, Restart: true, Command: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")}}
}

// newPod makes a pod and starts it; it is stopped with the test.
func newPod(t *testing.T, spec Spec) *Pod {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("cgroups need root")
	}
	spec.Name, spec.Addr = fmt.Sprintf("pod-%d", pods.Add(1)), netip.MustParseAddr("127.0.0.1")
	p, err := New(spec, host{}, fmt.Sprintf("seatrial-podtest-%d.%s", os.Getpid(), spec.Name), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(time.Second); err != nil {
			t.Error(err)
		}
		for _, dir := range p.cg.dirs {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is still there", dir)
			}
		}
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// eventually waits until check returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// restarted waits for the n-th restart of a container.
func restarted(t *testing.T, p *Pod, container string, n int) ContainerStatus {
	t.Helper()
	var got ContainerStatus
	eventually(t, func() error {
		got = statusOf(p, container)
		if !got.Running || got.Restarts != n {
			return fmt.Errorf("%s: %+v, want it running after %d restarts", container, got, n)
		}
		return nil
	})
	return got
}

func statusOf(p *Pod, container string) ContainerStatus {
	all := p.Status()
	return all[slices.IndexFunc(all, func(s ContainerStatus) bool { return s.Name == container })]
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

func TestContainersShareTheirCgroup(t *testing.T) {
	p := newPod(t, Spec{CPUs: 0.5, Memory: 64 << 20, Containers: []Container{
		sh("one", "echo from one; sleep 1000 & wait"), sh("two", "echo from two >&2; exec sleep 1000"),
	}})
	if !p.Running() {
		t.Fatalf("not all run: %+v", p.Status())
	}
	eventually(t, func() error {
		if n := len(p.cg.pids()); n != 3 { // a shell, its child, and the other's sleep
			return fmt.Errorf("%d processes in the cgroup, want 3", n)
		}
		return nil
	})
	for name, want := range map[string]string{"one": "from one\n", "two": "from two\n"} {
		eventually(t, func() error {
			if log, err := os.ReadFile(p.Log(name)); err != nil || string(log) != want {
				return fmt.Errorf("log of %s: %q, %v; want %q", name, log, err, want)
			}
			return nil
		})
	}
	for file, want := range map[string]string{
		"cpu.max": "50000 100000", "cpu.cfs_quota_us": "50000", "memory.max": "67108864", "memory.limit_in_bytes": "67108864",
	} {
		for _, dir := range p.cg.dirs {
			got, err := os.ReadFile(filepath.Join(dir, file))
			if err == nil && strings.TrimSpace(string(got)) != want {
				t.Errorf("%s is %q, want %q", filepath.Join(dir, file), got, want)
			}
		}
	}
}

// TestKilledContainerComesBack after a back-off that doubles; its log goes on,
// and the other container does not notice.
func TestKilledContainerComesBack(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("victim", "echo life; exec sleep 1000"), sh("other", "exec sleep 1000")}})
	other := statusOf(p, "other")
	lives := func(n int) func() error {
		return func() error {
			if log, _ := os.ReadFile(p.Log("victim")); string(log) != strings.Repeat("life\n", n) {
				return fmt.Errorf("log %q, want %d lives", log, n)
			}
			return nil
		}
	}
	for n := 1; n <= 2; n++ {
		eventually(t, lives(n))
		killed := time.Now()
		before := statusOf(p, "victim")
		if err := p.KillContainers("victim"); err != nil {
			t.Fatal(err)
		}
		after := restarted(t, p, "victim", n)
		if least := firstBackOff << (n - 1); after.Started.Sub(killed) < least {
			t.Errorf("back after %v, want a back-off of %v", after.Started.Sub(killed), least)
		}
		if after.PID == before.PID || alive(before.PID) || after.LastExit != "signal: killed" {
			t.Errorf("was %+v, is %+v", before, after)
		}
	}
	if now := statusOf(p, "other"); now != other {
		t.Errorf("the other container was %+v, is %+v", other, now)
	}
	eventually(t, lives(3))
	if err := p.KillContainers("victim", "nobody"); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("an unknown container: %v", err)
	}
	if statusOf(p, "victim").Restarts != 2 {
		t.Error("a kill that is refused must kill nobody")
	}
}

// TestKillReachesWhatWasForked: a shell that dies must not leave its server.
func TestKillReachesWhatWasForked(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("tree", "sleep 1000 & sleep 1000 & wait")}})
	eventually(t, func() error {
		if len(p.cg.pids()) != 3 {
			return errors.New("not all of the tree runs")
		}
		return nil
	})
	tree := p.cg.pids()
	p.Hold()
	eventually(t, func() error {
		for _, pid := range tree {
			if slices.Contains(p.cg.pids(), pid) {
				return fmt.Errorf("process %d outlived its pod", pid)
			}
		}
		return nil
	})
}

func TestHeldPodStaysDown(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("one", "exec sleep 1000"), sh("two", "exec sleep 1000")}})
	if err := p.KillContainers("one"); err != nil { // a restart is planned
		t.Fatal(err)
	}
	p.Hold()
	if !p.Held() || p.Running() {
		t.Fatalf("held: %v, running: %v", p.Held(), p.Running())
	}
	time.Sleep(firstBackOff + 200*time.Millisecond)
	for _, s := range p.Status() {
		if s.Running {
			t.Errorf("%s came back while the pod was held", s.Name)
		}
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	if p.Held() || !p.Running() {
		t.Errorf("after Release: held %v, running %v", p.Held(), p.Running())
	}
	before := p.Status()
	if err := p.Release(); err != nil { // of a pod that is not held: nothing
		t.Fatal(err)
	}
	if !slices.Equal(before, p.Status()) {
		t.Errorf("a second Release changed %+v into %+v", before, p.Status())
	}
}

// TestReplacedPod: all containers die together and come back together, with
// the back-off of a new pod.
func TestReplacedPod(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("one", "exec sleep 1000"), sh("two", "exec sleep 1000")}})
	for range 2 {
		if err := p.KillContainers("one"); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if !p.Running() {
				return errors.New("not back")
			}
			return nil
		})
	}
	before := p.Status()
	replaced := time.Now()
	p.Replace(0)
	for _, s := range p.Status() {
		if s.Running {
			t.Errorf("%s survived", s.Name)
		}
	}
	for i, name := range []string{"one", "two"} {
		s := restarted(t, p, name, before[i].Restarts+1)
		if s.Started.Sub(replaced) < recreateAfter || s.PID == before[i].PID {
			t.Errorf("%s: %+v at %v after the kill", name, s, s.Started.Sub(replaced))
		}
	}
}

func TestOneShotContainerIsNotRestarted(t *testing.T) {
	once := sh("once", "exit 3")
	once.Restart = false
	p := newPod(t, Spec{Containers: []Container{once}})
	eventually(t, func() error {
		if s := p.Status()[0]; s.Running || s.LastExit != "exit status 3" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	time.Sleep(firstBackOff + 200*time.Millisecond)
	if s := p.Status()[0]; s.Running || s.Restarts > 0 {
		t.Errorf("it came back: %+v", s)
	}
}

// TestCrashLoop: a container that ends at once is started ever more seldom.
func TestCrashLoop(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("crash", "echo crash; exit 1")}})
	eventually(t, func() error {
		if s := p.Status()[0]; s.Restarts < 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	log, _ := os.ReadFile(p.Log("crash"))
	if lives := strings.Count(string(log), "crash"); lives > 4 {
		t.Errorf("%d lives already: that is no back-off", lives)
	}
}

func TestStopAsksBeforeItKills(t *testing.T) {
	note := filepath.Join(t.TempDir(), "note")
	p := newPod(t, Spec{Containers: []Container{
		sh("polite", `trap 'echo bye > `+note+`; exit 0' TERM; touch `+note+`.ready; while :; do sleep 0.05; done`),
		sh("stubborn", `trap '' TERM; touch `+note+`.deaf; while :; do sleep 0.05; done`),
		sh("forker", `setsid sleep 1000 & touch `+note+`.forked; wait`), // leaves its process group
	}})
	for _, name := range []string{".ready", ".deaf", ".forked"} {
		eventually(t, func() error { _, err := os.Stat(note + name); return err })
	}
	all := p.cg.pids()
	if err := p.Stop(time.Second); err != nil {
		t.Fatal(err)
	}
	if said, _ := os.ReadFile(note); string(said) != "bye\n" {
		t.Errorf("the polite one was not asked: %q", said)
	}
	for _, pid := range all {
		// What is left may be a zombie whose new parent is slow.
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(data), ") Z") {
			t.Errorf("process %d is still there: %s", pid, data)
		}
	}
	if err := p.Release(); err != nil || p.Running() {
		t.Errorf("a stopped pod must not come back: %v", err)
	}
}

// TestInjectedProcess lives in the pod's cgroup until it is taken back.
func TestInjectedProcess(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("one", "exec sleep 1000")}})
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & wait")
	stop, err := p.Inject(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if p.Injected() != 1 {
		t.Errorf("%d injected, want 1", p.Injected())
	}
	eventually(t, func() error {
		if n := len(p.cg.pids()); n != 3 {
			return fmt.Errorf("%d processes in the cgroup, want 3", n)
		}
		return nil
	})
	stop()
	eventually(t, func() error {
		if n := len(p.cg.pids()); n != 1 || p.Injected() != 0 {
			return fmt.Errorf("%d processes, %d injected; want 1, 0", n, p.Injected())
		}
		return nil
	})
	if _, err := p.Inject(exec.Command("/no/such/program")); err == nil || p.Injected() != 0 {
		t.Errorf("an injection that cannot be: %v, %d injected", err, p.Injected())
	}
}

// TestInjectedProcessEndsWithItsContainer, which is the first one.
func TestInjectedProcessEndsWithItsContainer(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("one", "exec sleep 1000"), sh("two", "exec sleep 1000")}})
	stop, err := p.Inject(exec.Command("/bin/sh", "-c", "sleep 1000 & wait"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.KillContainers("two"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(aliveAfter)
	if p.Injected() != 1 {
		t.Error("it ended with a container that it is not in")
	}
	if err := p.KillContainers("one"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if n := p.Injected(); n != 0 {
			return fmt.Errorf("%d injected, want 0", n)
		}
		return nil
	})
	stop() // what has ended can be taken back
}

// TestStopWithAnInjectedProcess: a testbed that goes down in a fault.
func TestStopWithAnInjectedProcess(t *testing.T) {
	p := newPod(t, Spec{Containers: []Container{sh("one", "exec sleep 1000")}})
	if _, err := p.Inject(exec.Command("sleep", "1000")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(time.Second); err != nil {
		t.Error(err)
	}
}

func TestBadProgram(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("cgroups need root")
	}
	name := "seatrial-podtest-" + strconv.Itoa(os.Getpid()) + ".bad"
	p, err := New(Spec{Name: "bad", Containers: []Container{{Name: "it", Command: []string{"/no/such/program"}}}}, host{}, name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(time.Second)
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), "pod bad: start it: ") || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("a program that is not there: %v", err)
	}
}
