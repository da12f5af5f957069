package check

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	core "k8s.io/api/core/v1"
)

// fakeCLI writes a valkey-cli that gives one answer.
func fakeCLI(t *testing.T, answer string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "valkey-cli")
	if err := os.WriteFile(file, []byte("#!/bin/sh\ncat <<'END'\n"+answer+"\nEND\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func probe(t *testing.T, answer string, command ...string) bool {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.Env = append(os.Environ(), "VALKEY_CLI="+fakeCLI(t, answer))
	out, err := c.CombinedOutput()
	if err == nil {
		return true
	}
	if _, exited := err.(*exec.ExitError); !exited || len(out) == 0 {
		t.Fatalf("%v: %v, and no reason given: %q", command, err, out)
	}
	return false
}

// TestValkeyReady: a primary by itself is ready, a replica only in touch with it.
func TestValkeyReady(t *testing.T) {
	for _, c := range []struct {
		script, answer string
		want           bool
	}{
		{"ready.sh", "role:master\r\nconnected_slaves:0\r", true},
		{"ready.sh", "role:slave\r\nmaster_link_status:up\r", true},
		{"ready.sh", "role:slave\r\nmaster_link_status:down\r", false},
		{"ready.sh", "Could not connect to Valkey", false},
		{"ready-sentinel.sh", "valkey-0.valkey\n6379", true},
		{"ready-sentinel.sh", "", false},
		{"ready-sentinel.sh", "Could not connect to Valkey", false},
	} {
		if got := probe(t, c.answer, "/bin/sh", "../valkey/files/"+c.script); got != c.want {
			t.Errorf("%s with %q: ready is %v", c.script, c.answer, got)
		}
	}
}

// TestValkeyAlive: whoever waits to become the server is alive; a server is that answers,
// be it with an error. Process 1 is a shell in one case and another program in the other.
func TestValkeyAlive(t *testing.T) {
	contained := []string{"unshare", "--pid", "--fork", "--mount-proc"}
	if err := exec.Command(contained[0], append(contained[1:], "true")...).Run(); err != nil {
		t.Skipf("cannot make a PID namespace: %v", err)
	}
	const script = "/bin/sh ../valkey/files/alive.sh 6379"
	for _, c := range []struct {
		first  []string
		answer string
		want   bool
	}{
		{[]string{"/bin/sh", "-c", script + "; exit $?"}, "Could not connect to Valkey", true},
		{[]string{"awk", `BEGIN { exit system("` + script + `") }`}, "PONG", true},
		{[]string{"awk", `BEGIN { exit system("` + script + `") }`}, "LOADING Valkey is loading the dataset in memory", true},
		{[]string{"awk", `BEGIN { exit system("` + script + `") }`}, "MASTERDOWN Link with MASTER is down", true},
		{[]string{"awk", `BEGIN { exit system("` + script + `") }`}, "Could not connect to Valkey", false},
	} {
		if got := probe(t, c.answer, append(contained, c.first...)...); got != c.want {
			t.Errorf("process 1 is %s, the answer %q: alive is %v", c.first[0], c.answer, got)
		}
	}
}

// TestHelmTestSubmits runs the script of `helm test` against an API that refuses at first.
func TestHelmTestSubmits(t *testing.T) {
	if _, err := exec.LookPath("wget"); err != nil {
		t.Skip("no wget here")
	}
	var posts, gets atomic.Int32
	var id atomic.Value
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/task" {
			body := make([]byte, 1000)
			n, _ := r.Body.Read(body)
			if old := id.Swap(string(body[:n])); old != nil && old != string(body[:n]) {
				t.Errorf("submitted %q after %q", body[:n], old)
			}
			if posts.Add(1) == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusAccepted)
			return
		}
		task := strings.TrimPrefix(r.URL.Path, "/task/")
		if sent, _ := id.Load().(string); !strings.Contains(sent, fmt.Sprintf("%q", task)) {
			t.Errorf("asked for %s, submitted %v", task, sent)
		}
		status := "accepted"
		if gets.Add(1) > 1 {
			status = "done"
		}
		fmt.Fprintf(w, `{"id":%q,"status":%q}`, task, status)
	}))
	defer api.Close()
	out, err := exec.Command("/bin/sh", "../seatrial/files/submit.sh", api.URL, "60").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "is done") || gets.Load() < 2 || posts.Load() < 2 {
		t.Errorf("%v after %d submissions and %d looks: %s", err, posts.Load(), gets.Load(), out)
	}
}

// TestHelmTestAsks runs what the charts' pods of `helm test` run, with programs that fail once.
func TestHelmTestAsks(t *testing.T) {
	for _, p := range Of[*core.Pod](system(t, false)) {
		args := p.Spec.Containers[0].Args
		if args[0] != "-c" {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			dir := t.TempDir()
			for name, bad := range map[string]string{"wget": "exit 1", "valkey-cli": `printf 'slave\nvalkey-0\n6379\nconnecting\n'; exit 0`} {
				text := "#!/bin/sh\necho \"$*\" >>" + dir + "/calls\n[ $(grep -c . " + dir + "/calls) -gt 1 ] || { " + bad + "; }\necho connected\n"
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("/bin/sh", args...)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			asked := args[3:]
			for _, at := range asked {
				if !strings.Contains(string(out), at+" answers\n") {
					t.Errorf("it does not say that %s answers: %s", at, out)
				}
			}
			if calls := strings.Count(string(read(t, filepath.Join(dir, "calls"))), "\n"); calls != len(asked)+1 {
				t.Errorf("%d calls for %d to ask, the first of which failed once: %s", calls, len(asked), out)
			}
		})
	}
}

// TestHelmTestGivesUp: a Task that is never done is no success.
func TestHelmTestGivesUp(t *testing.T) {
	if _, err := exec.LookPath("wget"); err != nil {
		t.Skip("no wget here")
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"id":"x","status":"accepted"}`)
	}))
	defer api.Close()
	out, err := exec.Command("/bin/sh", "../seatrial/files/submit.sh", api.URL, "2").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "time is up: is_done") {
		t.Errorf("%v: %s", err, out)
	}
}
