//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/gameday"
	"seatrial/verifier/postmortem"
	"seatrial/verifier/verdict"
)

var prometheusDoor = regexp.MustCompile(`Prometheus +(http://127\.0\.0\.1:\d+)`)

// gameSeed draws the second of the two scenarios in testdata/gameday; gameday.txtar shows it.
const gameSeed = "5"

// secrets are what tells either scenario.
var secrets = []string{"Nobody works", "worker-down", "Nothing can be stored", "nats-quorum-lost"}

// TestGameDay plays a surprise at a terminal, on a real testbed: a facilitator who
// types, and a crew that looks at the real Prometheus and at the pods.
func TestGameDay(t *testing.T) {
	needTestbed(t)
	state, reports, name := t.TempDir(), t.TempDir(), fmt.Sprintf("game-%d", os.Getpid())
	seatrial := filepath.Join(commands(t), "seatrial")
	command := func(args ...string) *exec.Cmd { return withState(exec.Command(seatrial, args...), state) }
	left := newTraces(state, name)
	game := atTerminal(t, command("gameday", "--surprise", "--seed", gameSeed, "--name", name, "--deps", dependencies(t), "--report", reports,
		"--features", "testdata/gameday/features", "--api-port", "0", "--prometheus-port", "0", "--alertmanager-port", "0"))

	game.await(t, "one of 2 scenarios, drawn by the seed "+gameSeed, 3*time.Minute)
	game.await(t, "commands: ack, hint, mitigated, abort", 3*time.Minute)
	game.enter(t, "ack")
	game.await(t, "ack: the fault is not in force yet", 30*time.Second)
	game.await(t, "the crew is at work", 5*time.Minute)
	left.note()
	game.await(t, "alert WorkerDown (page)", 30*time.Second)
	game.enter(t, "ack")
	game.await(t, "acknowledged 00:", 10*time.Second)
	game.enter(t, "hint")
	game.await(t, "hint 1 of ", 10*time.Second)

	crewDiagnoses(t, game)
	if out, err := command("status", "--name", name).CombinedOutput(); err != nil || !strings.Contains(string(out), "worker-0") {
		t.Errorf("the crew's seatrial status: %v\n%s", err, out)
	}
	for _, secret := range secrets {
		if strings.Contains(game.text(), secret) {
			t.Errorf("the facilitator's terminal has shown %q before the reveal", secret)
		}
	}
	game.enter(t, "mitigated")
	game.await(t, "it was: Nobody works any more", 5*time.Minute)
	game.await(t, "runbook WorkerDown, experiments worker-down, on worker-0, worker-1, seed "+gameSeed, 10*time.Second)
	select {
	case <-game.ended:
	case <-time.After(time.Minute):
		t.Fatal("the game does not end")
	}
	gone(t, left.all)
	leftBehind(t, reports, game)
}

// crewDiagnoses waits until the crew's Prometheus says what the runbook asks it, and for whole
// seconds of it, in which the record is kept.
func crewDiagnoses(t *testing.T, game *terminal) {
	t.Helper()
	const query = `sum(max_over_time(up{job="worker"}[5s])) or vector(0)`
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		answer := ask(t, game.text(), query)
		if strings.Contains(answer, `,"0"]`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the crew's Prometheus says of the workers: %s", answer)
		}
	}
	time.Sleep(3 * time.Second)
}

// withState lets a command use testbeds below state, and a terminal if it has one.
func withState(cmd *exec.Cmd, state string) *exec.Cmd {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CI=") })
	cmd.Env = append(env, "SEATRIAL_STATE="+state, "TERM=xterm")
	return cmd
}

// ask asks the Prometheus whose address was told one query and returns its JSON.
func ask(t *testing.T, told, query string) string {
	t.Helper()
	door := prometheusDoor.FindStringSubmatch(told)
	if door == nil {
		t.Fatal("the crew was not told where Prometheus is")
	}
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get(door[1] + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// leftBehind checks the Evidence of a game day that was played to its end.
func leftBehind(t *testing.T, reports string, game *terminal) {
	t.Helper()
	trials, err := evidence.Trials(filepath.Join(reports, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	var s evidence.Scenario
	var log gameday.Log
	if err := errors.Join(trials[0].Load(evidence.VerdictFile, &s), trials[0].Load(gameday.File, &log)); err != nil {
		t.Fatal(err)
	}
	t.Logf("verdict %v: %s; %+v", s.Status, s.Reason, s.Seconds)
	if s.InForce != "confirmed" || s.Residue != "none" || s.Accepted == 0 || s.Lost+s.Duplicated > 0 {
		t.Errorf("in force %s, residue %s, %d accepted, %d lost, %d duplicated", s.InForce, s.Residue, s.Accepted, s.Lost, s.Duplicated)
	}
	if s.Seconds.InForceToAlert < 0 || s.Seconds.RecoverToSLO < 0 {
		t.Errorf("detected after %v s, recovered after %v s: want both seen", s.Seconds.InForceToAlert, s.Seconds.RecoverToSLO)
	}
	if log.Scenario != "Nobody works any more" || log.Runbook != "WorkerDown" || !log.Surprise || fmt.Sprint(log.Seed) != gameSeed || log.SpentOf == "" {
		t.Errorf("the log is %+v", log)
	}
	if info, err := os.Stat(filepath.Join(reports, "latest", "report.html")); err != nil || info.Size() == 0 {
		t.Errorf("no report: %v", err)
	}
	noted(t, &s, &log, trials[0])
	concluded(t, &s, game)
}

// noted checks what people said, and what the runbooks did.
func noted(t *testing.T, s *evidence.Scenario, log *gameday.Log, dir evidence.Dir) {
	t.Helper()
	var moments []string
	for _, m := range log.Moments {
		moments = append(moments, m.Name)
	}
	if len(moments) != 3 || moments[0] != postmortem.Acknowledged || !strings.HasPrefix(moments[1], "hint 1 of ") || moments[2] != postmortem.Mitigated {
		t.Errorf("moments %q", moments)
	}
	i := slices.IndexFunc(s.Diagnoses, func(d evidence.Diagnosis) bool { return d.Runbook == "WorkerDown" })
	if i < 0 || !s.Diagnoses[i].Noted || s.Diagnoses[i].True == 0 {
		t.Errorf("diagnoses %+v, want that of WorkerDown noted, and true for a while", s.Diagnoses)
	}
	page, err := os.ReadFile(dir.Path(postmortem.File))
	for _, want := range []string{"| acknowledged | said by people |", "alert WorkerDown", "## What the runbooks said", "| WorkerDown | must be true |", "Noted, and not judged"} {
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("the post-mortem (%v) lacks %q:\n%s", err, want, page)
		}
	}
}

// concluded checks the verdict, and that the exit status is its. Only a machine that stood
// still, by its own testimony, excuses another one than pass.
func concluded(t *testing.T, s *evidence.Scenario, game *terminal) {
	t.Helper()
	if s.Status != verdict.Pass && !s.Disturbed {
		t.Errorf("verdict %v: %s; want pass", s.Status, s.Reason)
	}
	var want *exitError
	status := 0
	if errors.As(exitOf(s.Status), &want) {
		status = want.code
	}
	if got := game.cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("exit status %d with the verdict %v", got, s.Status)
	}
	if s.Disturbed {
		t.Skipf("the game proves nothing of its verdict: %s", s.Reason)
	}
}

// TestTypingReachesTheGame: through the relay, also what is typed after a Ctrl-D;
// and when the terminal goes away somebody types abort.
func TestTypingReachesTheGame(t *testing.T) {
	for name, c := range map[string]struct {
		typed    []string // "" is an end of file
		pause    time.Duration
		terminal bool
		want     string
	}{
		"a pipe that ends":         {[]string{"ack\n", ""}, 0, false, "ack\n"},
		"a Ctrl-D in between":      {[]string{"ack\n", "", "mitigated\n", "", "", ""}, 0, true, "ack\nmitigated\n\nabort the terminal is gone\n"},
		"slow Ctrl-Ds end nothing": {[]string{"", "", "", "", "hint\n", "EIO"}, 120 * time.Millisecond, true, "hint\n\nabort the terminal is gone\n"},
		"a terminal that is gone":  {[]string{"EIO"}, 0, true, "\nabort the terminal is gone\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			pass(&got, &typist{c.typed, c.pause}, c.terminal)
			if got.String() != c.want {
				t.Errorf("passed on %q, want %q", got.String(), c.want)
			}
		})
	}
}

// typist answers each Read with the next of its texts.
type typist struct {
	texts []string
	pause time.Duration
}

func (y *typist) Read(b []byte) (int, error) {
	time.Sleep(y.pause)
	if len(y.texts) == 0 {
		return 0, io.EOF
	}
	text := y.texts[0]
	y.texts = y.texts[1:]
	switch text {
	case "":
		return 0, io.EOF
	case "EIO":
		return 0, syscall.EIO
	}
	return copy(b, text), nil
}
