package rules_test

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"seatrial/verifier/promtool"
	"seatrial/verifier/runbook"
)

// Trials judge the causes that an experiment injects. The others are put before the real PromQL engine here, with
// samples as the system would have them: runbooks/testdata/RUNBOOK.yaml.

// courses is a file of samples.
type courses struct {
	At      int               `json:"at"` // the second at which causes are asked
	Common  map[string]string `json:"common"`
	Courses map[string]course `json:"courses"`
	// Quiet are courses of which not even the diagnosis may be true. A file that has them has the diagnosis' own series too.
	Quiet map[string]course `json:"quiet"`
}

type course struct {
	At     int               `json:"at"` // instead of the file's
	Maybe  []string          `json:"maybe"`
	Series map[string]string `json:"series"`
}

// causeOf takes the word off the name of a cause that has several courses.
func causeOf(book *runbook.Runbook, name string) (runbook.Cause, bool) {
	var found runbook.Cause
	for _, c := range book.Causes {
		if (name == c.Name || strings.HasPrefix(name, c.Name+", ")) && len(c.Name) > len(found.Name) {
			found = c
		}
	}
	return found, found.Name != ""
}

// holds is PromQL that is 1 while all expectations of the steps hold, and 0 else; "" if there are none.
func holds(steps []runbook.Step) string {
	var all []string
	for _, s := range steps {
		if s.Kind != runbook.PromQL || s.Expectation == nil {
			continue
		}
		all = append(all, s.Expectation.Holds(s.Query))
	}
	if len(all) == 0 {
		return ""
	}
	return "count(" + strings.Join(all, "\nand on () ") + ") or vector(0)"
}

// begin writes the head of a promtool test of one course.
func (f courses) begin(out *strings.Builder, name string, c course) {
	series := maps.Clone(f.Common)
	maps.Copy(series, c.Series)
	fmt.Fprintf(out, "- name: %s\n  interval: 1s\n  input_series:\n", strconv.Quote(name))
	for _, s := range slices.Sorted(maps.Keys(series)) {
		fmt.Fprintf(out, "  - {series: %s, values: %s}\n", strconv.Quote(s), strconv.Quote(series[s]))
	}
	out.WriteString("  promql_expr_test:\n")
}

// ask writes that the query has this value at the course's second.
func (f courses) ask(out *strings.Builder, what, query string, c course, want int) {
	fmt.Fprintf(out, "  - {expr: %s, eval_time: %ds, exp_samples: [{labels: '{}', value: %d}]}\n",
		strconv.Quote("# "+what+"\n"+query), cmp.Or(c.At, f.At), want)
}

// unit writes a promtool test of one course: which causes are true of it.
func (f courses) unit(t *testing.T, book *runbook.Runbook, name string) string {
	t.Helper()
	own, ok := causeOf(book, name)
	if !ok {
		t.Errorf("%s.yaml: %q is no cause of the runbook", book.Name, name)
	}
	c := f.Courses[name]
	var out strings.Builder
	f.begin(&out, book.Name+": "+name, c)
	if len(f.Quiet) > 0 {
		f.ask(&out, "Diagnosis", holds(book.Diagnosis), c, 1)
	}
	for _, other := range book.Causes {
		query, want := holds(other.Steps), 0
		if query == "" || slices.Contains(c.Maybe, other.Name) {
			continue
		}
		if other.Name == own.Name {
			want = 1
		}
		f.ask(&out, other.Name, query, c, want)
	}
	return out.String()
}

// quietUnit writes a promtool test of a course of which not even the diagnosis is true.
func (f courses) quietUnit(book *runbook.Runbook, name string) string {
	var out strings.Builder
	c := f.Quiet[name]
	f.begin(&out, book.Name+", quiet: "+name, c)
	f.ask(&out, "Diagnosis", holds(book.Diagnosis), c, 0)
	return out.String()
}

// complete says which causes that no trial judges have no course, and which names in it are no cause's.
func (f courses) complete(t *testing.T, book *runbook.Runbook) {
	t.Helper()
	asked := map[string]bool{}
	for name, c := range f.Courses {
		own, _ := causeOf(book, name)
		asked[own.Name] = true
		for _, other := range c.Maybe {
			if !slices.ContainsFunc(book.Causes, func(c runbook.Cause) bool { return c.Name == other && c.Name != own.Name }) {
				t.Errorf("%s.yaml: %s: maybe %q, which is no other cause", book.Name, name, other)
			}
		}
	}
	for _, c := range book.Causes {
		if len(c.Injected) == 0 && holds(c.Steps) != "" && !asked[c.Name] {
			t.Errorf("%s.yaml: no trial judges the cause %q, and no course does", book.Name, c.Name)
		}
	}
}

func TestCausesAreToldApartByTheirSeries(t *testing.T) {
	files, err := filepath.Glob(runbooks + "/testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no courses: %v", err)
	}
	books := read(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			book, ok := books[name]
			if !ok {
				t.Fatalf("%s belongs to no runbook", file)
			}
			var f courses
			if err := yaml.UnmarshalStrict(slurp(t, file), &f); err != nil {
				t.Fatal(err)
			}
			f.complete(t, book)
			var units strings.Builder
			for _, course := range slices.Sorted(maps.Keys(f.Courses)) {
				units.WriteString(f.unit(t, book, course))
			}
			for _, course := range slices.Sorted(maps.Keys(f.Quiet)) {
				units.WriteString(f.quietUnit(book, course))
			}
			promtool.Judge(t, units.String())
		})
	}
}
