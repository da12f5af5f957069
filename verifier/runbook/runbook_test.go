package runbook

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const good = `---
detect_within: 15s
recover_within: 1m
also_true: [Other] # a comment
---

# Down

## Meaning

It is down.

## Impact

Users wait.

## Diagnosis

Is it there?

` + "```promql\nsum(up) or vector(0) # it's \"one\n```" + `

Expected: ` + "`< 2`" + `; with more of them
it is not this.

What does it say?

` + "```sh kubernetes\nkubectl logs POD\n```" + `
Look: for its last words.

### Cause: Killed

` + "```promql\nkills\n```" + `

Expected: ` + "`no data`" + `

Injected by: ` + "`kill`, `other-kill`" + `

### Cause: Broken disk

` + "```promql\ndisk\n```" + `
Look: at it.

Not injectable: there is no
disk to break.

## Mitigation

1. Start it.

   ` + "```sh local\n   start\n     now\n   ```" + `

   Undo: stop it
   again.
`

// other is a good runbook too, for links to it.
var other = strings.NewReplacer("# Down", "# Other", "also_true: [Other] # a comment", "also_pages: [Down]").Replace(good)

func folder(down string) fstest.MapFS {
	return fstest.MapFS{"Down.md": {Data: []byte(down)}, "Other.md": {Data: []byte(other)}, "README.md": {Data: []byte("no runbook")}}
}

func TestAGoodRunbookIsReadWhole(t *testing.T) {
	set, err := Read(folder(good))
	if err != nil {
		t.Fatal(err)
	}
	got := *set["Down"]
	got.Text, got.diagnosisLine = nil, 0
	want := Runbook{
		Name: "Down", DetectWithin: 15 * time.Second, RecoverWithin: time.Minute, AlsoTrue: []string{"Other"},
		Meaning: "It is down.", Impact: "Users wait.",
		Diagnosis: []Step{
			{Line: 21, Question: "Is it there?", Kind: "promql", Query: `sum(up) or vector(0) # it's "one`,
				Expectation: &Expectation{Op: "<", Value: 2}, Note: "with more of them it is not this."},
			{Line: 30, Question: "What does it say?", Kind: "sh", Target: "kubernetes", Query: "kubectl logs POD", Note: "for its last words."},
		},
		Causes: []Cause{
			{Line: 35, Name: "Killed", Injected: []string{"kill", "other-kill"},
				Steps: []Step{{Line: 37, Kind: "promql", Query: "kills", Expectation: &Expectation{Empty: true}}}},
			{Line: 45, Name: "Broken disk", NotInjectable: "there is no disk to break.",
				Steps: []Step{{Line: 47, Kind: "promql", Query: "disk", Note: "at it."}}},
		},
		Mitigations: []Mitigation{{Line: 59, Target: "local", Command: "start\n  now", Undo: "stop it again."}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
	if names := set.Names(); !reflect.DeepEqual(names, []string{"Down", "Other"}) {
		t.Errorf("%q", names)
	}
}

func TestMistakesAreNamedWithFileAndLine(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"no section":           {"## Impact\n\nUsers wait.\n", "", ":63: the section Impact is missing"},
		"sections in disorder": {"## Meaning", "## Mitigation", "Down.md:13: the section Impact comes after Mitigation"},
		"a section twice":      {"## Impact", "## Meaning", "Down.md:13: the section Meaning is there twice"},
		"an unknown section":   {"## Impact", "## Harm", `Down.md:13: unknown section "Harm"`},
		"another title":        {"# Down", "# Up", `Down.md:7: the title is "Up"`},
		"two for one alert":    {"# Down", "# Other", "Down.md:7: two runbooks for one alert: Other.md has this title too"},
		"no front matter":      {"---\ndetect_within: 15s\nrecover_within: 1m\nalso_true: [Other] # a comment\n---", "", "Down.md:1: no front matter"},
		"an open front":        {"a comment\n---", "a comment", "Down.md:1: the front matter does not end"},
		"an unknown promise":   {"recover_within: 1m", "recovers: 1m", `Down.md:1: front matter: error unmarshaling JSON: while decoding JSON: json: unknown field "recovers"`},
		"no duration":          {"recover_within: 1m", "recover_within: soon", `Down.md:3: recover_within is "soon"`},
		"a promise of 0":       {"detect_within: 15s", "detect_within: 0s", `Down.md:2: detect_within is "0s"`},
		"an unknown kind":      {"```sh kubernetes", "```logql", `Down.md:30: unknown kind of step "logql"`},
		"an unknown testbed":   {"```sh kubernetes", "```sh docker", `Down.md:30: unknown kind of step "sh docker"`},
		"an open block":        {"   now\n   ```", "   now", "Down.md:59: the block does not end"},
		"an empty block":       {"kubectl logs POD\n", "", "Down.md:30: the block is empty"},
		"no PromQL":            {"sum(up)", "sum(up", `Down.md:21: the query cannot be PromQL: '(' has no partner`},
		"nothing expected":     {"Look: for its last words.", "", "Down.md:30: nothing is expected of the step"},
		"no expectation":       {"`< 2`", "`less`", `Down.md:25: the expectation "less" is neither`},
		"not a number":         {"`< 2`", "`< two`", `Down.md:25: the expectation "< two" compares with no number`},
		"without quotes":       {"`< 2`", "< 2", "Down.md:25: the expectation"},
		"a judged command":     {"Look: for its", "Expected: `> 0` its", "Down.md:33: Expected: of a command cannot be judged"},
		"always true":          {"Expected: `< 2`", "Look: ", "Down.md:17: the diagnosis expects nothing"},
		"a cause of nothing":   {"Injected by: `kill`, `other-kill`", "", `Down.md:35: the cause "Killed" needs one of`},
		"a cause of both":      {"Not injectable:", "Injected by: `x`\n\nNot injectable:", `Down.md:45: the cause "Broken disk" needs one of`},
		"a bare cause":         {"```promql\ndisk\n```\nLook: at it.\n", "", `Down.md:45: the cause "Broken disk" has no step`},
		"another heading":      {"### Cause: Killed", "### Killed", `Down.md:35: the heading "Killed"`},
		"no undo":              {"   Undo: stop it\n   again.", "", "Down.md:59: the command does not say how to undo it"},
		"an empty undo":        {"Undo: stop it\n   again.", "Undo:", "Down.md:64: Undo: says nothing"},
		"an unknown runbook":   {"also_true: [Other]", "also_true: [Gone]", "Down.md:4: also_true names Gone"},
		"a dead link":          {"It is down.", "See [it](Gone.md).", "Down.md:11: a link to Gone.md"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, c.from) {
				t.Fatalf("the good runbook has no %q to break", c.from)
			}
			_, err := Read(folder(strings.Replace(good, c.from, c.to, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant …%s…", err, c.want)
			}
		})
	}
}

func TestFoldersWithoutOneRunbookAnAlert(t *testing.T) {
	if _, err := Read(fstest.MapFS{"README.md": {Data: []byte("x")}}); err == nil || !strings.Contains(err.Error(), "no runbook") {
		t.Errorf("an empty folder: %v", err)
	}
	twice := folder(good)
	twice["down.md"] = &fstest.MapFile{Data: []byte(strings.Replace(good, "# Down", "# down", 1))}
	if _, err := Read(twice); err == nil || !strings.Contains(err.Error(), "two runbooks for one alert: Down.md and down.md") {
		t.Errorf("two files of one alert: %v", err)
	}
}

func TestExpectations(t *testing.T) {
	for text, c := range map[string]struct {
		fits, not []float64
		holds     string
	}{
		"> 0.5":   {[]float64{0, 1}, []float64{0.5}, "count((\nq\n) > 0.5)"},
		">= 1":    {[]float64{1}, []float64{0.9}, "count((\nq\n) >= 1)"},
		"< 2":     {[]float64{1}, []float64{2, 3}, "count((\nq\n) < 2)"},
		"<= 2":    {[]float64{2}, nil, "count((\nq\n) <= 2)"},
		"== 0":    {[]float64{0}, []float64{1, math.NaN()}, "count((\nq\n) == 0)"},
		"!= 0":    {[]float64{1}, []float64{0}, "count((\nq\n) != 0)"},
		"> 3.2e7": {[]float64{4e7}, []float64{1}, "count((\nq\n) > 3.2e+07)"},
		"no data": {nil, []float64{0}, "count(\nq\n)"},
	} {
		e, err := ParseExpectation(text)
		if err != nil {
			t.Fatal(err)
		}
		if !e.Fits(c.fits) || e.Fits(c.not) || e.Holds("q") != c.holds || e.Empty != (text == "no data") {
			t.Errorf("%s: fits %v: %v, %v: %v, holds %s", text, c.fits, e.Fits(c.fits), c.not, e.Fits(c.not), e.Holds("q"))
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(good)
	f.Add("---\n")
	f.Add("# Down\n## Diagnosis\n```promql\n")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Read(fstest.MapFS{"Down.md": {Data: []byte(text)}})
		if err == nil && len(set["Down"].Diagnosis) == 0 {
			t.Error("a runbook without a diagnosis has no mistake")
		}
	})
}
