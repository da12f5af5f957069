package runbook_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"seatrial/verifier/runbook"
)

// good is a runbook without a mistake, in which each sentence of the format occurs. A ' is a
// backtick.
const good = `---
detect_within: 15s
recover_within: 1m   # the queue drains first
also_true: [Other]   # the same servers
also_pages:
  - Other
---

# Good

## Meaning

Something is down. See [the other](Other.md#meaning), [ours](../docs/x.md), '[no](Link.md)'.

It was up.

## Impact

None.

## Diagnosis

How many are left?

'''promql
sum(up{job="a(b"}) # of three )
'''

Expected: '< 3' while it is down;
more is fine.

'''sh kubernetes
kubectl get pods
'''
Look: one that is not ready.

### Cause: It was killed

'''promql
count(up == 0)
'''
Expected: no data

'''sh
uptime
'''
Look, with care: the first column.

| a | table |

Injected by: 'kill', 'kill-again'

### Cause: Nobody knows

Ask around.

'''sh
who
'''
Look: whoever is there.

Not injectable: nobody
knows how.

## Mitigation

1. Look first.
2. Start it:

~~~sh local
seatrial exec a -- start
# done
~~~

   Undo:
   stop it again.

   Mitigates: 'kill', 'kill-again'

3. Then tell somebody.
`

const other = `---
detect_within: 5s
recover_within: 5s
---
# Other
## Meaning
It.
## Impact
It.
## Diagnosis
'''promql
up
'''
Expected: '== 0'
## Mitigation
Wait.
`

func ticked(s string) []byte { return []byte(strings.ReplaceAll(s, "'", "`")) }

// folder is one with the runbook Good as told, and Other.
func folder(good string) fstest.MapFS {
	return fstest.MapFS{
		"Good.md":   {Data: ticked(good)},
		"Other.md":  {Data: ticked(other)},
		"README.md": {Data: []byte("anything")},
		"embed.go":  {Data: []byte("package x")},
	}
}

func TestGoodRunbookIsReadWhole(t *testing.T) {
	set, err := runbook.Read(folder(good))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(set.Names(), " "); got != "Good Other" {
		t.Fatalf("names %q", got)
	}
	got, err := set.Get("Good")
	if err != nil {
		t.Fatal(err)
	}
	want := &runbook.Runbook{
		Name: "Good", DetectWithin: 15 * time.Second, RecoverWithin: time.Minute,
		AlsoTrue: []string{"Other"}, AlsoPages: []string{"Other"},
		Meaning: "Something is down. See [the other](Other.md#meaning), [ours](../docs/x.md), `[no](Link.md)`.\n\nIt was up.",
		Impact:  "None.",
		Diagnosis: []runbook.Step{
			{
				Line: 25, Question: "How many are left?", Kind: "promql", Query: `sum(up{job="a(b"}) # of three )`,
				Expectation: &runbook.Expectation{Op: "<", Value: 3}, Note: "while it is down;\nmore is fine.",
			},
			{Line: 32, Kind: "sh", Query: "kubectl get pods", Target: "kubernetes", Note: "one that is not ready."},
		},
		Causes: []runbook.Cause{
			{
				Name: "It was killed", Line: 37, Injected: []string{"kill", "kill-again"},
				Steps: []runbook.Step{
					{Line: 39, Kind: "promql", Query: "count(up == 0)", Expectation: &runbook.Expectation{Empty: true}},
					{Line: 44, Kind: "sh", Query: "uptime", Note: "with care: the first column.\n\n| a | table |"},
				},
			},
			{Name: "Nobody knows", Line: 53, Steps: []runbook.Step{{Line: 57, Kind: "sh", Query: "who", Question: "Ask around.", Note: "whoever is there."}}, NotInjectable: "nobody knows how."},
		},
		Mitigations: []runbook.Mitigation{{
			Line: 70, Target: "local", Command: "seatrial exec a -- start\n# done", Undo: "stop it again.", Text: "1. Look first.\n2. Start it:",
			Mitigates: []string{"kill", "kill-again"},
		}},
		Advice: "3. Then tell somebody.",
		Text:   ticked(good),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	plan := []runbook.PlanStep{{
		Query: `sum(up{job="a(b"}) # of three )`, Expect: "< 3", Holds: "count((\nsum(up{job=\"a(b\"}) # of three )\n) < 3)",
	}}
	if got := got.Plan(); !reflect.DeepEqual(got, plan) {
		t.Errorf("plan %#v, want %#v", got, plan)
	}
	cause := []runbook.PlanStep{{Query: "count(up == 0)", Expect: "no data", Holds: "count(\ncount(up == 0)\n)", Empty: true}}
	if got := got.Causes[0].Plan(); !reflect.DeepEqual(got, cause) {
		t.Errorf("the cause's plan is %#v, want %#v", got, cause)
	}
	if _, err := set.Get("Nobody"); err == nil || !strings.Contains(err.Error(), "Good, Other") {
		t.Errorf("asked for one that is not there: %v", err)
	}
}

// TestLineEndsOfWindows: an editor that writes them makes no mistake.
func TestLineEndsOfWindows(t *testing.T) {
	files := folder(good)
	files["Good.md"].Data = []byte("\ufeff" + strings.ReplaceAll(string(files["Good.md"].Data), "\n", "\r\n"))
	set, err := runbook.Read(files)
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := set.Get("Good"); r.Impact != "None." {
		t.Errorf("impact %q", r.Impact)
	}
}

// mistakes each change the good runbook in one place. The mistake is found in the line
// told, and nothing else is.
var mistakes = []struct {
	name, old, now string
	line           int
	want           string
	more           bool // it is told in two ways
}{
	{"no front matter", good[:strings.Index(good, "# Good")], "", 1, "no front matter", false},
	{"front matter not closed", good, "---\ndetect_within: 1s\n", 1, "not closed", false},
	{"unknown key", "also_true:", "also_treu:", 4, `unknown key "also_treu"`, false},
	{"key twice", "also_true: [Other]", "detect_within: 5s", 4, "detect_within stands twice", false},
	{"no duration", "detect_within: 15s\n", "", 1, "no detect_within", false},
	{"bad duration", "15s", "15", 2, `"15" is no duration`, false},
	{"negative duration", "1m ", "-1m ", 3, `"-1m" is no duration`, false},
	{"duration of nothing", "15s", "", 2, `"" is no duration`, false},
	{"no list", "[Other]", "Other", 4, "also_true is no list", false},
	{"list in a list", "[Other]", "[[Other]]", 4, "something else than a name", false},
	{"no mapping", good[4:strings.Index(good, "---\n\n# Good")], "- a\n", 2, "no mapping", false},
	{"no YAML", "[Other]   #", "[Other #", 4, "no YAML: did not find", false},
	{"also_true nowhere", "[Other]", "[Othre]", 4, `also_true names "Othre"`, false},
	{"also_true itself", "[Other]", "[Good]", 4, "also_true names this runbook itself", false},
	{"also_true twice", "[Other]", "[Other, Other]", 4, "also_true names Other twice", false},
	{"also_pages nowhere", "- Other", "- Another", 6, `also_pages names "Another"`, false},

	{"no title", "# Good\n", "", 1, "no title, want # Good", false},
	{"another title", "# Good", "# Goods", 9, `the title is "Goods"`, false},
	{"two titles", "# Good\n", "# Good\n# Good\n", 10, "a second title", false},
	{"a late title", "## Mitigation", "# Good\n\n## Mitigation", 65, "a second title", false},
	{"text before a section", "# Good\n", "# Good\n\nHello.\n", 11, "text outside of a section", false},

	{"no meaning", "## Meaning\n\nSomething", "Something", 11, "text outside of a section", true},
	{"no impact", "## Impact\n\nNone.\n\n", "", 17, "the section ## Impact is missing", false},
	{"no mitigation", good[strings.Index(good, "## Mitigation"):], "", 64, "the section ## Mitigation is missing", false},
	{"section twice", "## Mitigation", "## Impact\n\nNone.\n\n## Mitigation", 65, "## Impact stands twice, first in line 17", false},
	{"section unknown", "## Mitigation", "## Notes\n\n## Mitigation", 65, "unknown section ## Notes", false},
	{"section empty", "\nNone.\n", "", 17, "## Impact says nothing", false},
	{"mitigation empty", good[strings.Index(good, "## Mitigation")+14:], "", 65, "## Mitigation says nothing", false},
	{"block in impact", "\nNone.\n", "\nNone.\n'''promql\nup\n'''\n", 20, "a fenced block in ## Impact", false},
	{"expectation in impact", "\nNone.\n", "\nNone.\nExpected: '> 1'\n", 20, "Expected: belongs to nothing", false},

	{"unknown kind", "'''sh kubernetes", "'''bash", 32, `unknown kind "bash"`, false},
	{"no kind", "'''sh kubernetes", "'''", 32, `unknown kind ""`, false},
	{"unknown testbed", "'''sh kubernetes", "'''sh docker", 32, `unknown kind "sh docker"`, false},
	{"empty block", "kubectl get pods\n", "", 32, "block is empty", false},
	{"unclosed fence", "~~~\n\n", "\n", 70, "not closed", false},
	{"bracket open", "count(up == 0)", "count(\nsum(up == 0)", 40, "the bracket ( is not closed", false},
	{"bracket closed", "count(up == 0)", "count(up == 0))", 40, "the bracket ) closes none", false},
	{"brackets crossed", "count(up == 0)", "count(up[5m) == 0]", 40, "the bracket ) closes none", false},
	{"bracket open below an empty line", "count(up == 0)", "\n\nsum(up", 42, "the bracket ( is not closed", false},
	{"quote open", "count(up == 0)", "count(up{a=\"\\\"}\n)", 40, "the quote \" is not closed in its line", false},
	{"raw quote open", "count(up == 0)", "count(up{a='}\n)", 40, "the quote ` is not closed", false},

	{"nothing expected", "Expected: no data\n", "", 39, "want Expected: or Look: directly after", false},
	{"nothing looked for", "Look: one", "One", 32, "want Look: directly after", false},
	{"expected of a command", "Look: one", "Expected: '> 1' one", 35, "want Look:", false},
	{"expected later", "Expected: no data", "Then:\n\nExpected: no data", 39, "want Expected: or Look: directly after", true},
	{"expected twice", "Expected: no data\n", "Expected: no data\n\nExpected: '> 1'\n", 44, "Expected: belongs to nothing", false},
	{"expected nonsense", "Expected: no data", "Expected: '~ 3'", 42, `"~ 3" is not understood`, false},
	{"expected a word", "Expected: no data", "Expected: '> many'", 42, `"> many" is not understood`, false},
	{"expected NaN", "Expected: no data", "Expected: '!= NaN'", 42, `"!= NaN" is not understood`, false},
	{"expected too much", "Expected: no data", "Expected: '> 1e999'", 42, "no number that there is", false},
	{"expected in words", "Expected: no data", "Expected: more than 3", 42, `"more than 3" is not understood`, false},
	{"expected empty", "Expected: no data", "Expected:", 42, "Expected: says nothing", false},
	{"diagnosis decides nothing", "Expected: '< 3'", "Look:", 21, "the diagnosis decides nothing", false},
	{"undo in the diagnosis", "Look: one", "Look: one\n\nUndo: no", 37, "Undo: belongs to nothing", false},

	{"heading in the diagnosis", "### Cause: It was killed", "### It was killed", 37, "want ### Cause: NAME", false},
	{"cause without a name", "### Cause: It was killed", "### Cause:", 37, "want ### Cause: NAME", false},
	{"cause twice", "Cause: Nobody knows", "Cause: It was killed", 53, "stands twice, first in line 37", false},
	{"cause with neither", "Not injectable: nobody\n", "Nobody\n", 53, "neither of Injected by: and Not injectable:", false},
	{"cause with both", "Not injectable: nobody\n", "Injected by: 'kill'\n\nNot injectable: nobody\n", 64, "more than one of Injected by:", false},
	{"cause without a step", "Ask around.\n\n'''sh\nwho\n'''\nLook: whoever is there.\n", "Ask around.\n", 53, "no step that tells it apart", false},
	{"no experiment", "Injected by: 'kill', 'kill-again'", "Injected by: a kill", 51, "names no experiment", false},
	{"no reason", "Not injectable: nobody\nknows how.", "Not injectable:", 62, "gives no reason", false},
	{"injection outside of a cause", "### Cause: It was killed", "Injected by: 'kill'\n\n### Cause: It was killed", 37, "Injected by: belongs to nothing", false},

	{"no undo", "   Undo:\n   stop it again.\n", "", 70, "want Undo: directly after", true},
	{"undo empty", "Undo:\n   stop it again.", "Undo:", 75, "Undo: says nothing", false},
	{"mitigates nothing", "Mitigates: 'kill'", "Mitigates: much", 78, "Mitigates: \"much, `kill-again`\" names no experiment", false},
	{"mitigates before undo", "   Undo:\n   stop it again.\n", "   Mitigates: 'kill'\n\n   Undo: it.\n", 70, "want Undo: directly after", true},
	{"mitigates in the diagnosis", "Look: one", "Look: one\n\nMitigates: 'kill'", 37, "Mitigates: belongs to nothing", false},
	{"undo of nothing", "3. Then", "Undo: nothing\n\n3. Then", 80, "Undo: belongs to nothing", false},
	{"query in mitigation", "~~~sh local", "~~~promql", 70, "want commands (sh) only", true},

	{"dead link", "(Other.md#meaning)", "(Othre.md#meaning)", 13, "a link to Othre.md", false},
	{"dead link, spelled out", "None.", "[a]: ./Othre.md\n\nNone.", 19, "a link to Othre.md", false},
}

func TestEachMistakeIsFoundInItsLine(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			if strings.Count(good, m.old) != 1 {
				t.Fatalf("%q stands %d times in the good runbook", m.old, strings.Count(good, m.old))
			}
			_, err := runbook.Read(folder(strings.Replace(good, m.old, m.now, 1)))
			found := list(err)
			want := fmt.Sprintf("runbooks/Good.md:%d: ", m.line)
			if len(found) == 0 || !strings.HasPrefix(found[0], want) || !strings.Contains(found[0], m.want) {
				t.Errorf("found %q, want first %s… %s", found, want, m.want)
			}
			if len(found) > 1 && !m.more {
				t.Errorf("found more: %q", found[1:])
			}
		})
	}
}

func list(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestSectionsOutOfOrder(t *testing.T) {
	_, err := runbook.Read(fstest.MapFS{"Other.md": {Data: ticked(strings.Replace(other, "# Other\n## Meaning\nIt.\n## Impact\nIt.", "# Other\n## Impact\nIt.\n## Meaning\nIt.", 1))}})
	want := "runbooks/Other.md:8: the section ## Meaning stands after ## Impact, want Meaning, Impact, Diagnosis, Mitigation"
	if found := list(err); len(found) != 1 || found[0] != want {
		t.Errorf("found %q, want %q", found, want)
	}
}

func TestEveryMistakeOfEveryFileIsTold(t *testing.T) {
	files := folder(strings.NewReplacer("15s", "soon", "'< 3'", "'? 3'", "(Other.md#meaning)", "(No.md)").Replace(good))
	files["Other.md"].Data = ticked(strings.Replace(other, "# Other", "# Another", 1))
	files["Empty.md"] = &fstest.MapFile{}
	_, err := runbook.ReadDir(files, "books")
	want := []string{
		"books/Empty.md:1: no front matter",
		"books/Empty.md:1: no title",
		"books/Empty.md:1: the section ## Meaning is missing",
		"books/Empty.md:1: the section ## Impact is missing",
		"books/Empty.md:1: the section ## Diagnosis is missing",
		"books/Empty.md:1: the section ## Mitigation is missing",
		"books/Good.md:2: detect_within",
		"books/Good.md:13: a link to No.md",
		"books/Good.md:29: the expectation",
		`books/Other.md:5: the title is "Another"`,
	}
	found := list(err)
	if len(found) != len(want) {
		t.Fatalf("found %d mistakes, want %d: %q", len(found), len(want), found)
	}
	for i := range want {
		if !strings.HasPrefix(found[i], want[i]) {
			t.Errorf("found %q, want %q", found[i], want[i])
		}
	}
	var m runbook.Mistake
	if !errors.As(err, &m) || m.Line != 1 || m.File != "books/Empty.md" {
		t.Errorf("the first mistake is %+v", m)
	}
}

func TestTwoRunbooksForOneAlert(t *testing.T) {
	t.Run("names that differ in case", func(t *testing.T) {
		_, err := runbook.Read(fstest.MapFS{
			"Other.md": {Data: ticked(other)},
			"other.md": {Data: ticked(strings.Replace(other, "# Other", "# other", 1))},
		})
		want := "runbooks/other.md:5: two runbooks for one alert: runbooks/Other.md differs in case alone"
		if found := list(err); len(found) != 1 || found[0] != want {
			t.Errorf("found %q, want %q", found, want)
		}
	})
	t.Run("one title in two files", func(t *testing.T) {
		_, err := runbook.Read(fstest.MapFS{"Other.md": {Data: ticked(other)}, "OtherToo.md": {Data: ticked(other)}})
		found := list(err)
		want := `runbooks/OtherToo.md:5: two runbooks for one alert: runbooks/Other.md has the title "Other" as well`
		if len(found) != 2 || found[1] != want {
			t.Errorf("found %q, want %q at last", found, want)
		}
	})
}

func TestFolderWithoutRunbooks(t *testing.T) {
	if set, err := runbook.Read(fstest.MapFS{"README.md": {}}); err == nil {
		t.Errorf("read %v from a folder without runbooks", set)
	}
}

// TestFor: only blocks for the testbed, and only those that say that they mitigate it.
func TestFor(t *testing.T) {
	b := runbook.Runbook{Mitigations: []runbook.Mitigation{
		{Command: "look", Target: "local"},
		{Command: "local", Target: "local", Mitigates: []string{"kill"}},
		{Command: "both", Mitigates: []string{"delay", "kill"}},
		{Command: "cluster", Target: "kubernetes", Mitigates: []string{"kill"}},
	}}
	for _, c := range []struct {
		target, experiments, want string
	}{
		{"local", "kill", "local both"}, {"kubernetes", "kill", "both cluster"}, {"local", "delay", "both"},
		{"local", "loss", ""}, {"local", "loss kill", "local both"}, {"local", "", ""},
	} {
		var got []string
		for _, m := range b.For(c.target, strings.Fields(c.experiments)) {
			got = append(got, m.Command)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("on %s for %q: %q, want %q", c.target, c.experiments, got, c.want)
		}
	}
}
