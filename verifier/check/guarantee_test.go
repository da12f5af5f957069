package check_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/check"
	"seatrial/verifier/verdict"
)

// tale is a story with the answer that it deserves.
type tale struct {
	name   string
	story  string
	want   verdict.Status
	reason string // part of the reason
	tasks  string // ids that the Finding lists
}

func judge(t *testing.T, tales []tale, guarantee func(*check.Ledger) check.Finding) {
	t.Helper()
	for _, tc := range tales {
		t.Run(tc.name, func(t *testing.T) {
			f := guarantee(story(t, tc.story))
			if f.Verdict.Status != tc.want {
				t.Errorf("verdict %v (%s), want %v", f.Verdict.Status, f.Verdict.Reason, tc.want)
			}
			if !strings.Contains(f.Verdict.Reason, tc.reason) {
				t.Errorf("reason %q does not say %q", f.Verdict.Reason, tc.reason)
			}
			if got := strings.Join(f.Tasks, " "); got != tc.tasks {
				t.Errorf("tasks %q, want %q", got, tc.tasks)
			}
			if (f.Count > 0) != (f.Verdict.Status == verdict.Fail) {
				t.Errorf("%d tasks broke it, and yet it is %v", f.Count, f.Verdict.Status)
			}
			if !strings.Contains(f.Verdict.Reason, f.Name) {
				t.Errorf("reason %q does not quote the guarantee %q", f.Verdict.Reason, f.Name)
			}
		})
	}
}

func TestExactlyOnce(t *testing.T) {
	judge(t, []tale{
		{"all is well", `
			1: accepted 1s, done 2s
			2: accepted 2s, done 2s`,
			verdict.Pass, "held for 2 accepted, 0 refused and 0 unknown tasks", ""},
		{"the worker was faster than the answer", `
			1: accepted 3s, done 2s`,
			verdict.Pass, "", ""},
		{"others may be refused or unknown, done or not", `
			1: accepted 1s, done 2s
			2: refused 1s
			3: unknown 1s
			4: unknown 1s, done 4s`,
			verdict.Pass, "held for 1 accepted, 1 refused and 2 unknown tasks", ""},
		{"repeated on purpose, accepted again, done once", `
			1: accepted 1s, accepted 2s, accepted 3s, done 2s`,
			verdict.Pass, "held for 1 accepted", ""},
		{"unknown at first, then accepted, done once", `
			1: unknown 1s, accepted 2s, done 2s`,
			verdict.Pass, "held for 1 accepted, 0 refused and 0 unknown", ""},
		{"one is lost", `
			1: accepted 1s, done 2s
			2: accepted 1s`,
			verdict.Fail, `broke "an accepted task is done exactly once": 1 task lost (t-2)`, "t-2"},
		{"many are lost, one is done twice", `
			4: accepted 1s, done twice 2s
			1: accepted 1s
			7: accepted 1s
			9: accepted 1s
			8: accepted 1s
			2: accepted 1s, done 2s`,
			verdict.Fail, `: 4 tasks lost (t-1, t-7, t-8, …), 1 task done twice (t-4)`, "t-1 t-7 t-8 t-9 t-4"},
		{"done far too often", `
			1: accepted 1s, done twice 2s
			2: accepted 1s, done 7 times 2s`,
			verdict.Fail, "2 tasks done up to 7 times (t-1, t-2)", "t-1 t-2"},
		{"accepted once, refused when repeated, not done", `
			1: accepted 1s, refused 2s`,
			verdict.Fail, "1 task lost (t-1)", "t-1"},
		{"a dead letter is a loss", `
			1: accepted 1s, dead`,
			verdict.Fail, "1 task lost (t-1)", "t-1"},
		{"a dead letter that was planned is not", `
			poison expected
			1: accepted 1s, dead
			2: accepted 1s, done 2s`,
			verdict.Pass, "held for 2 accepted", ""},
		{"a planned dead letter may not be done twice either", `
			poison expected
			1: accepted 1s, dead, done twice 2s`,
			verdict.Fail, "1 task done twice", "t-1"},
		{"nothing happened at all", ``,
			verdict.Inconclusive, "only 0 accepted tasks, want at least 1", ""},
		{"too little happened", `
			at least 3 accepted
			1: accepted 1s, done 1s
			2: accepted 1s, done 1s
			3: refused 1s`,
			verdict.Inconclusive, "only 2 accepted tasks, want at least 3", ""},
		{"too little happened, and still one was lost", `
			at least 3 accepted
			1: accepted 1s`,
			verdict.Fail, "1 task lost", "t-1"},
		{"the History is cut", `
			1: accepted 1s, done 1s
			history cut`,
			verdict.Inconclusive, "the History is cut: the file ends in the middle of a block", ""},
		{"the History is cut after a loss", `
			1: accepted 1s
			history cut`,
			verdict.Fail, "1 task lost", "t-1"},
		{"the system told only half, so absence proves nothing", `
			1: accepted 1s
			2: accepted 1s, done 1s
			held cut`,
			verdict.Inconclusive, "what the system holds is not known in full: the answer ended", ""},
		{"the system told only half, and that half is bad", `
			1: accepted 1s
			2: accepted 1s, done twice 1s
			3: accepted 1s, dead
			held cut`,
			verdict.Fail, "1 task lost (t-3), 1 task done twice (t-2)", "t-3 t-2"},
	}, check.ExactlyOnce)
}

func TestRefusedNeverDone(t *testing.T) {
	judge(t, []tale{
		{"refused and left alone", `
			1: refused 1s
			2: accepted 1s, done 1s`,
			verdict.Pass, "held for 1 accepted, 1 refused", ""},
		{"nothing was refused, over enough traffic", `
			1: accepted 1s, done 1s`,
			verdict.Pass, "0 refused", ""},
		{"refused, then accepted, then done", `
			1: refused 1s, accepted 2s, done 3s`,
			verdict.Pass, "", ""},
		{"refused, then unknown, then done", `
			1: refused 1s, unknown 2s, done 3s
			2: accepted 1s, done 1s`,
			verdict.Pass, "", ""},
		{"refused and put aside, but never done", `
			1: refused 1s, dead
			2: accepted 1s, done 1s`,
			verdict.Pass, "", ""},
		{"refused and done", `
			1: refused 1s, refused 2s, done 3s
			2: accepted 1s, done 1s`,
			verdict.Fail, `broke "a refused task is never done": 1 task done although refused (t-1)`, "t-1"},
		{"everything was refused: is anybody there?", `
			1: refused 1s
			2: refused 1s`,
			verdict.Inconclusive, "only 0 accepted tasks", ""},
		{"a missing request might have been the accepted one", `
			1: refused 1s, done 3s
			2: accepted 1s, done 1s
			history cut`,
			verdict.Inconclusive, "the History is cut", ""},
		{"the system told only half", `
			1: refused 1s
			2: accepted 1s, done 1s
			held cut`,
			verdict.Inconclusive, "not known in full", ""},
		{"the system told only half, and that half is bad", `
			1: refused 1s, done 1s
			held cut`,
			verdict.Fail, "1 task done although refused", "t-1"},
	}, check.RefusedNeverDone)
}

func TestUnknownAtMostOnce(t *testing.T) {
	judge(t, []tale{
		{"unknown, and not done", `
			1: unknown 1s
			2: accepted 1s, done 1s`,
			verdict.Pass, "1 unknown", ""},
		{"unknown, and done", `
			1: unknown 1s, unknown 2s, done 1s
			2: accepted 1s, done 1s`,
			verdict.Pass, "", ""},
		{"unknown, and done twice", `
			1: unknown 1s, refused 2s, done twice 1s
			2: accepted 1s, done 1s`,
			verdict.Fail, `broke "an unknown task is done at most once": 1 task done twice (t-1)`, "t-1"},
		{"an accepted task that is done twice is another guarantee's", `
			1: accepted 1s, unknown 1s, done twice 1s`,
			verdict.Pass, "", ""},
		{"nothing was accepted", `
			1: unknown 1s`,
			verdict.Inconclusive, "only 0 accepted tasks", ""},
		{"the History is cut", `
			1: accepted 1s, done 1s
			history cut`,
			verdict.Inconclusive, "the History is cut", ""},
		{"whatever is missing, twice is twice", `
			1: unknown 1s, done twice 1s
			history cut
			held cut`,
			verdict.Fail, "1 task done twice", "t-1"},
	}, check.UnknownAtMostOnce)
}

func TestDoneWithin(t *testing.T) {
	within := func(l *check.Ledger) check.Finding { return check.DoneWithin(l, 10*time.Second, 5*time.Second) }
	judge(t, []tale{
		{"before recovery is soon enough", `
			1: accepted 1s, done 9s`,
			verdict.Pass, "everything accepted is done within 5s after recovery: held for 1 accepted", ""},
		{"at the very last moment", `
			1: accepted 1s, done 15s`,
			verdict.Pass, "", ""},
		{"a moment too late", `
			1: accepted 1s, done 15001ms
			2: accepted 1s, done 15s`,
			verdict.Fail, `broke "everything accepted is done within 5s after recovery": 1 task done too late (t-1)`, "t-1"},
		{"accepted long after recovery, done soon after that", `
			1: accepted 60s, done 64s`,
			verdict.Pass, "", ""},
		{"accepted long after recovery, done too late", `
			1: accepted 60s, done 66s`,
			verdict.Fail, "1 task done too late (t-1)", "t-1"},
		{"the first promise starts the clock, in whatever order it is read", `
			1: accepted 70s, accepted 60s, accepted 65s, done 66s`,
			verdict.Fail, "1 task done too late", "t-1"},
		{"lost tasks are never done", `
			1: accepted 1s
			2: accepted 1s, done 99s`,
			verdict.Fail, "1 task done too late (t-2), 1 task not done at all (t-1)", "t-2 t-1"},
		{"unknown and refused tasks may take their time", `
			1: unknown 1s, done 99s
			2: refused 1s, done 99s
			3: accepted 1s, done 1s`,
			verdict.Pass, "", ""},
		{"a dead letter that was planned has no bound", `
			poison expected
			1: accepted 1s, dead
			2: accepted 1s, done 1s`,
			verdict.Pass, "", ""},
		{"nobody knows when it was done", `
			1: accepted 1s, done sometime`,
			verdict.Inconclusive, "the system does not say when it did 1 accepted task", ""},
		{"nobody knows when it was done, nor what else is held", `
			1: accepted 1s, done sometime
			held cut`,
			verdict.Inconclusive, "not known in full", ""},
		{"nobody knows of one, and another was late", `
			1: accepted 1s, done sometime
			2: accepted 1s, done 99s`,
			verdict.Fail, "1 task done too late", "t-2"},
		{"nothing was accepted", `
			1: unknown 1s, done 1s`,
			verdict.Inconclusive, "only 0 accepted tasks", ""},
		{"the system told only half", `
			1: accepted 1s
			held cut`,
			verdict.Inconclusive, "not known in full", ""},
		{"the History is cut, and what is there was late", `
			1: accepted 1s, done 99s
			history cut`,
			verdict.Fail, "1 task done too late", "t-1"},
	}, within)
}

func TestDoneWithinNeedsARecovery(t *testing.T) {
	l := story(t, `1: accepted 1s, done 2s`)
	f := check.DoneWithin(l, -1, time.Second)
	if f.Verdict.Status != verdict.Inconclusive || !strings.Contains(f.Verdict.Reason, "recovery was not seen") {
		t.Errorf("got %v: %s", f.Verdict.Status, f.Verdict.Reason)
	}
}

func TestNoPhantoms(t *testing.T) {
	judge(t, []tale{
		{"all that is held was asked for", `
			1: accepted 1s, done 1s
			2: refused 1s, done 1s
			3: unknown 1s, dead`,
			verdict.Pass, "", ""},
		{"one was done that nobody asked for", `
			1: accepted 1s, done 1s
			5: done 2s`,
			verdict.Fail, `broke "nothing is done that nobody asked for": 1 task held that no request named (t-5)`, "t-5"},
		{"one was put aside that nobody asked for", `
			1: accepted 1s, done 1s
			5: dead`,
			verdict.Fail, "1 task held that no request named (t-5)", "t-5"},
		{"an id from elsewhere", `
			1: accepted 1s, done 1s
			foreign t-01
			foreign t-x`,
			verdict.Fail, "2 tasks held that no request named (t-01, t-x)", "t-01 t-x"},
		{"its request may be in the missing part", `
			1: accepted 1s, done 1s
			5: done 2s
			history cut`,
			verdict.Inconclusive, "the History is cut", ""},
		{"no missing part can explain an id from elsewhere", `
			1: accepted 1s, done 1s
			5: done 2s
			foreign t-x
			history cut`,
			verdict.Fail, "1 task held that no request named (t-x)", "t-x"},
		{"nothing was accepted", ``,
			verdict.Inconclusive, "only 0 accepted tasks", ""},
		{"the system told only half", `
			1: accepted 1s, done 1s
			held cut`,
			verdict.Inconclusive, "not known in full", ""},
	}, check.NoPhantoms)
}

func TestFindingsListTwentyTasksAndCountAll(t *testing.T) {
	var b strings.Builder
	for n := range 500 {
		b.WriteString(strings.Replace("N: accepted 1s\n", "N", itoa(n), 1))
	}
	f := check.ExactlyOnce(story(t, b.String()))
	if f.Count != 500 || len(f.Tasks) != 20 || f.Tasks[0] != "t-0" || f.Tasks[19] != "t-19" {
		t.Errorf("count %d, tasks %v", f.Count, f.Tasks)
	}
	if !strings.HasSuffix(f.Verdict.Reason, "500 tasks lost (t-0, t-1, t-2, …)") {
		t.Errorf("reason %q", f.Verdict.Reason)
	}
}

func TestFindingsListTwentyTasksOfAllKinds(t *testing.T) {
	var b strings.Builder
	for n := range 15 {
		b.WriteString(strings.ReplaceAll("1N: accepted 1s\n2N: accepted 1s, done twice 2s\n", "N", itoa(10+n)))
	}
	f := check.ExactlyOnce(story(t, b.String()))
	if f.Count != 30 || len(f.Tasks) != 20 || f.Tasks[14] != "t-124" || f.Tasks[15] != "t-210" {
		t.Errorf("count %d, tasks %v", f.Count, f.Tasks)
	}
}

// A dead letter may have a time, at which it was put aside: it was not done then.
func TestATimeOfDeathIsNoTimeOfDoing(t *testing.T) {
	l := story(t, `
		poison expected
		1: accepted 1s, done 1s
		2: accepted 1s`)
	if err := l.Hold(check.Held{Task: 2, Dead: true, DoneAt: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if f := check.DoneWithin(l, time.Second, time.Minute); f.Verdict.Status != verdict.Pass {
		t.Error(f.Verdict.Reason)
	}
}

func TestJudgingTwiceSaysTheSame(t *testing.T) {
	l := story(t, `
		1: accepted 1s
		2: accepted 1s, done twice 1s`)
	a, b := check.ExactlyOnce(l), check.ExactlyOnce(l)
	if a.Verdict != b.Verdict || a.Count != b.Count || !slices.Equal(a.Tasks, b.Tasks) {
		t.Errorf("first %+v, then %+v", a, b)
	}
}
