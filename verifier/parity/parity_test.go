package parity

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/parity.golden.md anew")

// twin is the local run of testdata as if it had been held on Kubernetes, with what can go
// wrong there. (The runs of testdata are real ones, with every twentieth Op.)
func twin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/local")); err != nil {
		t.Fatal(err)
	}
	edit(t, dir+"/verdict.json", func(v map[string]any) {
		v["target"], v["run"], v["load_scale"] = "kubernetes", "20261124-000000-seed1", 0.4
	})
	killed := dir + "/evidence/a-worker-is-killed-under-load"
	edit(t, killed+"/record.json", func(v map[string]any) { v["restarts"] = map[string]any{"worker-5f7c9-x2x4b": 1} })
	edit(t, killed+"/verdict.json", func(v map[string]any) { v["status"], v["reason"] = "fail", "alert WorkerDown did not fire | in 15s" })
	delayed := dir + "/evidence/workers-reach-valkey-with-a-delay"
	edit(t, delayed+"/record.json", func(v map[string]any) {
		delete(v, "proofs")
		delete(v, "inject_at")
		delete(v, "removed_at")
		v["windows"] = v["windows"].([]any)[:1]
		v["stopping"] = "inject worker-valkey-delay: not injected: Specified qdisc kind is unknown."
	})
	edit(t, delayed+"/verdict.json", func(v map[string]any) {
		v["status"], v["in_force"], v["reason"] = "inconclusive", "inconclusive", "inject worker-valkey-delay: not injected: Specified qdisc kind is unknown."
	})
	for _, gone := range []string{
		"an-api-is-killed", // not run
		"the-workers-processors-are-stressed/history.seatrial",         // lost
		"the-workers-processors-are-stressed/samples.json",             // lost
		"a-worker-dies-while-a-nats-server-is-killed/record.json",      // the trial was killed
		"a-worker-dies-while-a-nats-server-is-killed/verdict.json",     //
		"a-worker-dies-while-a-nats-server-is-killed/history.seatrial", //
	} {
		if err := os.RemoveAll(filepath.Join(dir, "evidence", gone)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func edit(t *testing.T, path string, change func(map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	change(v)
	if text, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, one, other string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, one, other); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Two real runs.
func TestGolden(t *testing.T) {
	const golden = "testdata/parity.golden.md"
	have := write(t, "testdata/local", "testdata/kubernetes")
	if again := write(t, "testdata/local", "testdata/kubernetes"); again != have {
		t.Error("the same runs give another text")
	}
	if *update {
		if err := os.WriteFile(golden, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("it differs from %s; look at it, then run with -update:\n%s", golden, have)
	}
}

// What a reader must find, whatever the page looks like.
func TestWhatIsSaid(t *testing.T) {
	text := write(t, "testdata/local", twin(t))
	summary, sections, _ := strings.Cut(text, "\n## ")
	for _, want := range []string{
		"| load, times what the scenarios say | 1 | 0.4 |",
		"| api-kill | An API is killed | pass | not run | cannot be compared |",
		"| worker-kill | A worker is killed under load | pass | fail | verdict |",
		"| nats-leader-kill | A worker dies while a NATS server is killed | pass | not judged | cannot be compared |",
		"| worker-valkey-delay | Workers reach Valkey with a delay | pass | inconclusive | cannot be compared |",
	} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary lacks %s", want)
		}
	}
	all := map[string]string{}
	for section := range strings.SplitSeq(sections, "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		name, _, _ := strings.Cut(title, ":")
		all[name] += body
	}
	for name, wants := range map[string][]string{
		"worker-kill":         {"PodChaos pod-kill", "| servers started anew | not recorded | 1 |", `fail: alert WorkerDown did not fire \| in 15s`},
		"worker-valkey-delay": {"NetworkChaos delay", "not injected (inject worker-valkey-delay: not injected: Specified qdisc kind is unknown.)", "| verdict | pass | inconclusive |", "| error ratio in the fault window | 0.00 % | not injected |"},
		"worker-cpu-stress":   {"StressChaos cpu", "| error ratio in the fault window | 0.00 % | not recorded |", "| longest round trip to NATS, baseline → fault |"},
		"api-kill":            {"| in force after | 0.8 s | not run |"},
		"nats-leader-kill":    {"| in force after | 1.0 s | not recorded |", "| lost, duplicated | 0, 0 of"},
	} {
		for _, want := range wants {
			if !strings.Contains(all[name], want) {
				t.Errorf("%s lacks %q:\n%s", name, want, all[name])
			}
		}
	}
	if strings.Contains(text, "steady-state") {
		t.Error("a trial without an experiment is compared")
	}
}

func TestRunsThatCannotBeCompared(t *testing.T) {
	for _, tt := range []struct{ one, other, want string }{
		{"testdata/nowhere", "testdata/local", "testdata/nowhere"},
		{"testdata/local", "testdata/local", `it is a run on "local", want one on "kubernetes"`},
		{t.TempDir(), "testdata/local", "verdict.json"},
	} {
		if err := Write(&bytes.Buffer{}, tt.one, tt.other); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: %v, want %q", tt.one, tt.other, err, tt.want)
		}
	}
	damaged := twin(t)
	if err := os.WriteFile(damaged+"/evidence/steady-state/record.json", []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(&bytes.Buffer{}, "testdata/local", damaged); err == nil || !strings.Contains(err.Error(), "record.json") {
		t.Errorf("a damaged record: %v", err)
	}
}
