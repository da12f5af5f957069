//go:build linux

package standins

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestNsexecEntersEachNamespace(t *testing.T) {
	pid := victim(t)
	for option, kind := range map[string]string{"-n": "net", "-i": "ipc", "-m": "mnt"} {
		file, id := namespace(t, pid, kind)
		code, out := start(t, 0, "nsexec", option, file, "--", "readlink", "/proc/self/ns/"+kind).exit(t)
		if code != 0 || strings.TrimSpace(out) != id {
			t.Errorf("nsexec %s: status %d, in %q; want %q", option, code, out, id)
		}
		if _, own := namespace(t, os.Getpid(), kind); own == id {
			t.Errorf("the victim has no %s namespace of its own: nothing was tested", kind)
		}
	}
}

// A namespace of processes is that of children: the program must be one, and see itself numbered there.
func TestNsexecRunsAsAChildInANamespaceOfProcesses(t *testing.T) {
	pid := victim(t)
	file, id := namespace(t, pid, "pid")
	p := start(t, 0, "nsexec", "-p", file, "--", "sleep", "1000")
	eventually(t, "a child runs sleep in the victim's namespace", func() bool {
		for _, child := range children(t, p.Process.Pid) {
			if _, in := namespace(t, child, "pid"); in == id && status(child, "Name") == "sleep" {
				return true
			}
		}
		return false
	})
}

// All at once, in the order in which Chaos Mesh writes them, which is none.
func TestNsexecEntersSeveralNamespaces(t *testing.T) {
	pid := victim(t)
	var args []string
	var want string
	for _, kind := range []string{"mnt", "ipc", "net"} {
		file, id := namespace(t, pid, kind)
		args = append(args, "-"+kind[:1], file)
		want += id + "\n"
	}
	file, _ := namespace(t, pid, "pid")
	args = append(args, "-p", file, "--", "readlink", "/proc/self/ns/mnt", "/proc/self/ns/ipc", "/proc/self/ns/net")
	if code, out := start(t, 0, "nsexec", args...).exit(t); code != 0 || out != want {
		t.Errorf("status %d, in %q; want %q", code, out, want)
	}
}

func TestNsexecPassesOnStatusAndSignals(t *testing.T) {
	if code, _ := start(t, 0, "nsexec", "--", "sh", "-c", "exit 7").exit(t); code != 7 {
		t.Errorf("the program's status 7 became %d", code)
	}
	file, _ := namespace(t, victim(t), "pid")
	if code, _ := start(t, 0, "nsexec", "-p", file, "--", "sh", "-c", "exit 7").exit(t); code != 7 {
		t.Errorf("the program's status 7 became %d on its way out of a namespace of processes", code)
	}
	p := start(t, 0, "nsexec", "-p", file, "--", "sh", "-c", "trap 'echo told; exit 3' TERM; while :; do sleep 0.01; done")
	eventually(t, "the trap is set", func() bool {
		for _, child := range children(t, p.Process.Pid) {
			if status(child, "Name") == "sh" && catches(child, syscall.SIGTERM) {
				return true
			}
		}
		return false
	})
	p.signal(t, syscall.SIGTERM)
	if code, out := p.exit(t); code != 3 || !strings.Contains(out, "told") {
		t.Errorf("SIGTERM: status %d, printed %q; want the program's 3 and its word", code, out)
	}
}

// Chaos Mesh's daemon may be killed, and its children with it; what they run must not go on.
func TestNsexecKilledTakesTheProgramAlong(t *testing.T) {
	file, _ := namespace(t, victim(t), "pid")
	p := start(t, 0, "nsexec", "-p", file, "--", "sleep", "1000")
	var child int
	eventually(t, "the program runs", func() bool {
		for _, child = range children(t, p.Process.Pid) {
			return status(child, "Name") == "sleep"
		}
		return false
	})
	p.signal(t, syscall.SIGKILL)
	eventually(t, "the program is gone", func() bool { return status(child, "State") == "" })
}

func TestNsexecRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"no program":    {"-n", "/proc/self/ns/net"},
		"after --":      {"-n", "/proc/self/ns/net", "--"},
		`"-x"`:          {"-x", "--", "true"},
		`"-n"`:          {"-n"},
		"/nowhere":      {"-n", "/nowhere", "--", "true"},
		"not supported": {"-l", "-m", "/proc/self/ns/mnt", "--", "true"},
		"start none":    {"--", "none"},
	} {
		if code, out := start(t, 0, "nsexec", args...).exit(t); code == 0 || !strings.Contains(out, want) {
			t.Errorf("nsexec %q: status %d, said %q; want an error with %q", args, code, out, want)
		}
	}
}
