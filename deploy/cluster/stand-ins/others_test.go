//go:build linux

package standins

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// As Chaos Mesh does it: start, wait for the process, move it, continue it until its name has changed.
func TestPauseStopsAndBecomesTheProgram(t *testing.T) {
	p := start(t, 0, "pause", "sh", "-c", "echo $$ \"$1\"; exit 5", "sh", "a word")
	pid := p.Process.Pid
	eventually(t, "it is stopped", func() bool { return strings.HasPrefix(status(pid, "State"), "T") })
	if name := status(pid, "Name"); name != "pause" {
		t.Errorf("stopped, it is called %q; Chaos Mesh looks for pause", name)
	}
	if p.output.Len() > 0 {
		t.Errorf("the program ran before it was continued: %q", p.output)
	}
	p.signal(t, syscall.SIGCONT)
	code, out := p.exit(t)
	if want := fmt.Sprintf("%d a word\n", pid); code != 5 || out != want {
		t.Errorf("status %d, printed %q; want 5 and %q: the same process, the arguments untouched", code, out, want)
	}
}

func TestPauseRefuses(t *testing.T) {
	if code, out := start(t, 0, "pause").exit(t); code == 0 || !strings.Contains(out, "usage") {
		t.Errorf("without a program: status %d, said %q", code, out)
	}
	p := start(t, 0, "pause", "no-such-program")
	eventually(t, "it is stopped", func() bool { return strings.HasPrefix(status(p.Process.Pid, "State"), "T") })
	p.signal(t, syscall.SIGCONT)
	if code, out := p.exit(t); code == 0 || !strings.Contains(out, "no-such-program") {
		t.Errorf("status %d, said %q; want an error with the program's name", code, out)
	}
}

// The chain that Chaos Mesh builds for a StressChaos.
func TestPauseChoomNsexecMemstress(t *testing.T) {
	file, id := namespace(t, victim(t), "pid")
	p := start(t, 0, "pause", "choom", "-n", "500", "--", bin+"/nsexec", "-p", file, "--", bin+"/memstress", "--workers", "1", "--size", "8MB")
	eventually(t, "it is stopped", func() bool { return strings.HasPrefix(status(p.Process.Pid, "State"), "T") })
	p.signal(t, syscall.SIGCONT)
	var stress int
	eventually(t, "memory is taken in the victim's namespace", func() bool {
		for _, stress = range children(t, p.Process.Pid) {
			_, in := namespace(t, stress, "pid")
			return in == id && resident(stress) >= 8<<10
		}
		return false
	})
	p.signal(t, syscall.SIGTERM)
	p.exit(t)
	if state := status(stress, "State"); state != "" && !strings.HasPrefix(state, "Z") {
		t.Errorf("memstress is still there: %s", state)
	}
}

// resident memory of a process, in KiB.
func resident(pid int) int {
	kib, _ := strconv.Atoi(strings.TrimSuffix(status(pid, "VmRSS"), " kB"))
	return kib
}

func TestMemstressHoldsWhatIsAsked(t *testing.T) {
	p := start(t, 0, "memstress", "--workers", "2", "--size", "32MB")
	eventually(t, "64 MiB are resident", func() bool { return resident(p.Process.Pid) >= 64<<10 })
	if kib := resident(p.Process.Pid); kib > 96<<10 {
		t.Errorf("%d KiB are resident; 64 MiB were asked", kib)
	}
	p.signal(t, syscall.SIGTERM)
	if code, out := p.exit(t); code != 0 {
		t.Errorf("after SIGTERM: status %d, said %q", code, out)
	}
}

// SIGTERM must not wait until all is taken.
func TestMemstressEndsWhileItTakes(t *testing.T) {
	p := start(t, 0, "memstress", "--size", "640MB", "--time", "1h")
	eventually(t, "some memory is taken", func() bool { return resident(p.Process.Pid) >= 10<<10 })
	p.signal(t, syscall.SIGTERM)
	if code, out := p.exit(t); code != 0 {
		t.Errorf("status %d, said %q", code, out)
	}
}

func TestMemstressRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"size":    {"--size", "much"},
		"workers": {"--workers", "0"},
		"extra":   {"--size", "1MB", "extra"},
		"oom":     {"--oom"},
	} {
		if code, out := start(t, 0, "memstress", args...).exit(t); code == 0 || !strings.Contains(out, want) {
			t.Errorf("memstress %q: status %d, said %q; want an error with %q", args, code, out, want)
		}
	}
}

// As the first process of a pod: whatever its arguments, it stays, reaps and ends when told.
func TestSandboxStaysReapsAndEnds(t *testing.T) {
	needRoot(t)
	p := start(t, syscall.CLONE_NEWPID, "sandbox", "/etc/nats/start-nats.sh", "--any", "argument")
	pid := p.Process.Pid
	// Two orphans: one is held until it was seen to be the sandbox's child.
	enter := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-p", "sh", "-c", "(sleep 1000 &) ; (true &) ; sleep 0")
	if err := enter.Run(); err != nil {
		t.Fatalf("leave orphans in the sandbox: %v", err)
	}
	var orphan int
	eventually(t, "an orphan became its child, the other was reaped", func() bool {
		all := children(t, pid)
		if len(all) == 1 {
			orphan = all[0]
		}
		return len(all) == 1 && status(orphan, "Name") == "sleep"
	})
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the orphan was reaped", func() bool { return status(orphan, "State") == "" })
	p.signal(t, syscall.SIGTERM)
	if code, _ := p.exit(t); code != 0 {
		t.Errorf("after SIGTERM: status %d", code)
	}
}
