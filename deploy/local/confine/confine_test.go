//go:build linux

package confine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The test's own binary plays the program that is confined.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "program":
			os.Exit(program(os.Args[2], os.Args[3]))
		case FinishCommand:
			fmt.Fprintln(os.Stderr, Finish(os.Args[2:]))
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// program is the keeper, and then the confined process, of a testbed.
func program(name, work string) int {
	if Inside() == "" {
		code, err := Keep(name, os.Stdout, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	}
	if work == "late" {
		time.Sleep(500 * time.Millisecond) // an interrupt may come before Enter
	}
	interrupts, err := Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	switch work {
	case "exit":
		return 7
	case "litter":
		go litter(func(n int) { makeCgroup(name, n) })
		go litter(func(n int) {
			_ = os.MkdirAll(filepath.Join(Dir(name), strconv.Itoa(n), "data"), 0o755)
		})
		go litter(func(n int) { spawn(makeCgroup(name, n%20)) })
	}
	fmt.Println("ready")
	<-interrupts
	fmt.Println("interrupted")
	if work == "orderly" || work == "late" {
		return 3
	}
	<-interrupts
	Scuttle(130)
	return 0
}

// litter makes things without end, as a testbed that starts.
func litter(thing func(n int)) {
	for n := range 3000 {
		thing(n)
	}
	select {}
}

// hierarchy is a place for cgroups, "" where there is none.
func hierarchy() string {
	for _, dir := range []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir
		}
	}
	return ""
}

func makeCgroup(name string, n int) string {
	dir := filepath.Join(hierarchy(), fmt.Sprintf("%s.%d", CgroupPrefix(name), n))
	_ = os.Mkdir(dir, 0o755)
	return dir
}

// spawn starts a process in a cgroup that would outlive anything.
func spawn(cgroup string) {
	cmd := exec.Command("sleep", "1000")
	if cmd.Start() != nil {
		return
	}
	_ = os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
	time.Sleep(10 * time.Millisecond)
}

// bed is a program that runs.
type bed struct {
	name   string
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	errors bytes.Buffer
}

var beds atomic.Int32

// state gives the test a folder for testbeds and skips it where there can be none.
func state(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces and cgroups need root")
	}
	if hierarchy() == "" {
		t.Skip("no cgroups here")
	}
	t.Setenv("SEATRIAL_STATE", t.TempDir())
}

func newName() string { return fmt.Sprintf("confine-%d-%d", os.Getpid(), beds.Add(1)) }

func start(t *testing.T, name, work string) *bed {
	t.Helper()
	b := &bed{name: name, cmd: exec.Command("/proc/self/exe", "program", name, work)}
	b.cmd.Stderr = &b.errors
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.lines = bufio.NewScanner(out)
	t.Cleanup(func() { _ = b.cmd.Process.Kill() })
	return b
}

// await reads lines until one is want.
func (b *bed) await(t *testing.T, want string) {
	t.Helper()
	for b.lines.Scan() {
		if b.lines.Text() == want {
			return
		}
	}
	_ = b.cmd.Wait()
	t.Fatalf("%s ended before %q: %s", b.name, want, b.errors.String())
}

// end waits for the keeper's end and returns its exit status, -1 of one that
// was killed.
func (b *bed) end() int {
	for b.lines.Scan() {
	}
	_ = b.cmd.Wait()
	return b.cmd.ProcessState.ExitCode()
}

// confined is the pid of the confined process.
func (b *bed) confined(t *testing.T) int {
	t.Helper()
	for _, pid := range b.pids() {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", b.cmd.Process.Pid)) {
			return pid
		}
	}
	t.Fatalf("%s has no confined process", b.name)
	return 0
}

// pids are all processes that know the testbed's name, but for the keeper.
func (b *bed) pids() (all []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		if environ, _ := os.ReadFile(path); bytes.Contains(environ, []byte(envName+"="+b.name+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			all = append(all, pid)
		}
	}
	return all
}

// left is everything that there is of the testbed.
func (b *bed) left() (all []string) {
	for _, pid := range b.pids() {
		all = append(all, fmt.Sprintf("process %d", pid))
	}
	cgroups, _ := filepath.Glob(filepath.Join(hierarchy(), CgroupPrefix(b.name)+".*"))
	all = append(all, cgroups...)
	if _, err := os.Stat(Dir(b.name)); err == nil {
		all = append(all, Dir(b.name))
	}
	return all
}

// mustVanish waits until nothing is left, and makes sure that it stays so.
func (b *bed) mustVanish(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(b.left()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left of %s:\n%s", b.name, strings.Join(b.left(), "\n"))
		}
	}
	time.Sleep(50 * time.Millisecond)
	if left := b.left(); len(left) > 0 {
		t.Fatalf("appeared behind the cleaner's back:\n%s", strings.Join(left, "\n"))
	}
}

func TestExitStatusIsPassedOn(t *testing.T) {
	state(t)
	b := start(t, newName(), "exit")
	if code := b.end(); code != 7 {
		t.Errorf("exit status %d, want 7: %s", code, b.errors.String())
	}
	b.mustVanish(t)
}

// TestEndings: however a testbed that is busy making things ends, nothing is
// left of it.
func TestEndings(t *testing.T) {
	signal := func(s syscall.Signal) func(*testing.T, *bed) {
		return func(_ *testing.T, b *bed) { _ = b.cmd.Process.Signal(s) }
	}
	for name, end := range map[string]func(*testing.T, *bed){
		"keeper killed":   signal(syscall.SIGKILL),
		"confined killed": func(t *testing.T, b *bed) { _ = syscall.Kill(b.confined(t), syscall.SIGKILL) },
		"two interrupts": func(t *testing.T, b *bed) {
			_ = b.cmd.Process.Signal(syscall.SIGINT)
			b.await(t, "interrupted")
			_ = b.cmd.Process.Signal(syscall.SIGTERM)
		},
		"both killed, then swept": func(t *testing.T, b *bed) {
			child := b.confined(t)
			_ = b.cmd.Process.Signal(syscall.SIGSTOP)
			_ = syscall.Kill(child, syscall.SIGSTOP)
			// The child first: the kernel continues it when its parent dies.
			_ = syscall.Kill(child, syscall.SIGKILL)
			_ = b.cmd.Process.Kill()
			b.end()
			for deadline := time.Now().Add(20 * time.Second); len(b.pids()) > 0 && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			if len(b.left()) == 0 {
				t.Error("nothing was left to sweep: the test shows nothing")
			}
			if swept := Sweep(); len(swept) != 1 || swept[0] != b.name {
				t.Errorf("swept %q, want %s", swept, b.name)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			state(t)
			for range 3 {
				b := start(t, newName(), "litter")
				b.await(t, "ready")
				time.Sleep(100 * time.Millisecond)
				end(t, b)
				b.end()
				b.mustVanish(t)
			}
		})
	}
}

func TestInterrupts(t *testing.T) {
	for _, work := range []string{"orderly", "late"} {
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			t.Run(fmt.Sprintf("%s %v", work, s), func(t *testing.T) {
				state(t)
				b := start(t, newName(), work)
				if work == "orderly" {
					b.await(t, "ready")
				} else {
					for len(b.pids()) == 0 { // confined, but deaf
						time.Sleep(time.Millisecond)
					}
				}
				_ = b.cmd.Process.Signal(s)
				if code := b.end(); code != 3 {
					t.Errorf("exit status %d, want 3: %s", code, b.errors.String())
				}
				b.mustVanish(t)
			})
		}
	}
}

func TestOneOfAName(t *testing.T) {
	state(t)
	first := start(t, newName(), "orderly")
	first.await(t, "ready")
	second := start(t, first.name, "orderly")
	if code := second.end(); code != 2 || !strings.Contains(second.errors.String(), ErrTaken.Error()) {
		t.Errorf("the second ended with %d: %s", code, second.errors.String())
	}
	if swept := Sweep(); len(swept) > 0 {
		t.Errorf("swept %q, which is alive", swept)
	}
	if _, err := os.Stat(Dir(first.name)); err != nil {
		t.Errorf("the second took the first one's folder away: %v", err)
	}
	_ = first.cmd.Process.Signal(syscall.SIGINT)
	if code := first.end(); code != 3 {
		t.Errorf("the first ended with %d, want 3", code)
	}
	first.mustVanish(t)
}

// TestClaimIsExclusive lets many claim, clean and sweep the same folder: never
// have two of them claimed it, and in the end it is gone.
func TestClaimIsExclusive(t *testing.T) {
	t.Setenv("SEATRIAL_STATE", t.TempDir())
	var holders, claims atomic.Int32
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for range 100 {
				lock, err := claim("same")
				if errors.Is(err, ErrTaken) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				claims.Add(1)
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the folder", n)
				}
				if _, err := os.Stat(Dir("same")); err != nil {
					t.Errorf("the folder of its holder is gone: %v", err)
				}
				holders.Add(-1)
				clean("same")
				lock.Close()
			}
		})
	}
	all.Go(func() {
		for range 300 {
			Sweep()
		}
	})
	all.Wait()
	if claims.Load() < 100 {
		t.Errorf("only %d claims", claims.Load())
	}
	if _, err := os.Stat(Dir("same")); err == nil {
		t.Error("the folder is still there")
	}
}

// TestSweepTouchesNothingElse: the state may be in a folder with other things.
func TestSweepTouchesNothingElse(t *testing.T) {
	root := t.TempDir()
	t.Setenv("SEATRIAL_STATE", root)
	kept := []string{"photos", "default", ".testbed", "a b.testbed", "file.testbed"}
	for _, name := range kept[:4] {
		if err := os.MkdirAll(filepath.Join(root, name, "inside"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, kept[4]), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(Dir("dead"), "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "photos"), filepath.Join(Dir("dead"), "link")); err != nil {
		t.Fatal(err)
	}
	if swept := Sweep(); len(swept) != 1 || swept[0] != "dead" {
		t.Errorf("swept %q, want dead", swept)
	}
	for _, name := range append(kept, "photos/inside") {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	if _, err := os.Stat(Dir("dead")); err == nil {
		t.Error("the dead testbed's folder is still there")
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"default": true, "run-12": true, "A_b-9": true, strings.Repeat("x", 40): true,
		"": false, ".": false, "..": false, "a/b": false, "a b": false, "*": false, "a*": false, "[a]": false, "-a": false,
		"a.b": false, "a\n": false, "ä": false, strings.Repeat("x", 41): false,
	} {
		err := checkName(name)
		if (err == nil) != good {
			t.Errorf("checkName(%q) = %v", name, err)
		}
		if err != nil && !strings.Contains(err.Error(), strconv.Quote(name)) {
			t.Errorf("checkName(%q) does not name it: %v", name, err)
		}
	}
}

func TestRootIsAbsolute(t *testing.T) {
	t.Setenv("SEATRIAL_STATE", "here")
	t.Chdir(t.TempDir())
	here, _ := os.Getwd()
	if Root() != filepath.Join(here, "here") {
		t.Errorf("Root() = %s", Root())
	}
	t.Setenv("SEATRIAL_STATE", "")
	if Root() != defaultRoot {
		t.Errorf("Root() = %s, want %s", Root(), defaultRoot)
	}
}

// TestPretending: the commands and variables between the two processes do
// nothing in anybody else's hands.
func TestPretending(t *testing.T) {
	t.Setenv(envName, "pretended")
	if _, err := Enter(); err == nil {
		t.Error("Enter outside of a namespace must be refused")
	}
	for _, args := range [][]string{nil, {"0"}, {"zero"}, {"1", "2"}} {
		if err := Finish(args); err == nil {
			t.Errorf("Finish(%q) must be refused", args)
		}
	}
}
