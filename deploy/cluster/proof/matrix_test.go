package proof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/runbooks"
	"seatrial/verifier/confusion"
	"seatrial/verifier/evidence"
	"seatrial/verifier/runbook"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

// row is what the diagnoses of all runbooks came to during the fault of one: a row of the confusion matrix.
type row struct {
	What      string               `json:"what"`
	Fault     string               `json:"fault"` // the runbook whose fault it was
	Diagnoses []evidence.Diagnosis `json:"diagnoses"`
}

// awaitApart waits until no diagnosis is true that must be false during the fault of a runbook: what an
// earlier test broke is not to be taken for what this one does.
func (o *onCall) awaitApart(t *testing.T, c *cluster, name string) {
	t.Helper()
	c.eventually(t, 2*time.Minute, "no runbook is true that "+name+" is to be told from", func(ctx context.Context) error {
		for _, other := range o.books.Names() {
			if slices.Contains(o.books[other].AlsoTrue, name) {
				continue
			}
			if err := o.diagnosed(ctx, other, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// tellsApart asks the diagnoses of all runbooks for every second of a fault, from its proof to its removal, and judges
// them as trials do (docs/runbooks.md): that of the fault's own runbook was true, and no other's that does not declare it.
func (o *onCall) tellsApart(t *testing.T, what, name string, proven, removed time.Time) row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := row{What: what, Fault: name, Diagnoses: o.diagnoses(ctx, name, proven, removed)}
	for _, d := range r.Diagnoses {
		if d.Status != verdict.Pass {
			t.Errorf("%s: %s: %s", what, d.Runbook, d.Reason)
		}
	}
	return r
}

// diagnoses is tellsApart without a test.
func (o *onCall) diagnoses(ctx context.Context, name string, proven, removed time.Time) []evidence.Diagnosis {
	from, to := proven.Truncate(time.Second).Add(time.Second), removed.Truncate(time.Second)
	var plans []evidence.RunbookPlan
	var seen []evidence.SeenDiagnosis
	for _, other := range o.books.Names() {
		plans = append(plans, evidence.RunbookPlan{Name: other, AlsoTrue: o.books[other].AlsoTrue})
		s, err := o.remembered(ctx, o.books[other], from, to)
		if err != nil {
			s = evidence.SeenDiagnosis{Runbook: other, Reason: err.Error()}
		}
		seen = append(seen, s)
	}
	return confusion.Judge(plans, []string{name}, seen, true)
}

// remembered asks Prometheus afterwards at which seconds of a span all steps of a diagnosis held.
func (o *onCall) remembered(ctx context.Context, book *runbook.Runbook, from, to time.Time) (evidence.SeenDiagnosis, error) {
	s := evidence.SeenDiagnosis{Runbook: book.Name}
	if to.Before(from) {
		return s, errors.New("no whole second lies between the proof of the fault and its removal")
	}
	steps := book.Plan()
	answers := make([]map[int64]bool, len(steps)) // of each step, the seconds at which it had one
	for i, step := range steps {
		points, err := o.metrics.Range(ctx, step.Holds, from, to)
		if err != nil {
			return s, err
		}
		answers[i] = map[int64]bool{}
		for _, p := range points {
			answers[i][int64(math.Round(p[0]))] = true
		}
	}
	for at := from.Unix(); at <= to.Unix(); at++ {
		s.Asked++
		holds := true
		for i, step := range steps {
			holds = holds && answers[i][at] != step.Empty
		}
		if holds {
			s.True = append(s.True, at)
		}
	}
	return s, nil
}

func rowsTable(all []row) string {
	text := "\nDiagnoses that were true between the proof of the fault and its removal, at how many of the seconds; all others were false:\n\n" +
		"| what | runbook | true at | of | it |\n|---|---|---|---|---|\n"
	for _, r := range all {
		for _, d := range r.Diagnoses {
			if d.True > 0 {
				text += fmt.Sprintf("| %s | %s | %d | %d | %s |\n", r.What, d.Runbook, d.True, d.Asked, d.Role)
			}
		}
	}
	return text
}

// told is a Prometheus that knows only at which seconds queries have an answer.
type told map[string][]int64

func (m told) Vector(context.Context, string, time.Time) ([]trial.Sample, error) {
	return nil, errors.New("this one is asked afterwards")
}

func (m told) Range(_ context.Context, query string, from, to time.Time) (points [][2]float64, err error) {
	for _, at := range m[query] {
		if at >= from.Unix() && at <= to.Unix() {
			points = append(points, [2]float64{float64(at), 1})
		}
	}
	return points, nil
}

// tell has the diagnosis of a runbook be true at some seconds.
func (m told) tell(t *testing.T, books runbook.Set, name string, at ...int64) {
	t.Helper()
	for _, step := range books[name].Plan() {
		if step.Empty {
			t.Fatalf("%s expects no data, which these tests cannot tell", name)
		}
		m[step.Holds] = append(m[step.Holds], at...)
	}
}

// TestMatrix holds the matrix of the proofs against faults of made-up seconds: who may be true beside the fault says so in
// its own runbook, and nobody else may at any second.
func TestMatrix(t *testing.T) {
	books, err := runbook.Read(runbooks.Files)
	if err != nil {
		t.Fatal(err)
	}
	proven, removed := time.Unix(100, 500_000_000), time.Unix(110, 500_000_000)
	for name, tt := range map[string]struct {
		fault string
		holds map[string][]int64
		wrong []string
	}{
		"its own alone":                 {"RolloutStuck", map[string][]int64{"RolloutStuck": {108}}, nil},
		"not its own":                   {"RolloutStuck", nil, []string{"RolloutStuck"}},
		"before the proof, and after":   {"RolloutStuck", map[string][]int64{"RolloutStuck": {100, 111}}, []string{"RolloutStuck"}},
		"one that declares it":          {"RolloutStuck", map[string][]int64{"RolloutStuck": {108}, "APIDown": {101, 110}}, nil},
		"one that does not":             {"RolloutStuck", map[string][]int64{"RolloutStuck": {108}, "WorkerDown": {101}}, []string{"WorkerDown"}},
		"one that the fault's declares": {"RolloutStuck", map[string][]int64{"RolloutStuck": {108}, "ReleaseBad": {104}}, []string{"ReleaseBad"}},
		"the other way round":           {"ReleaseBad", map[string][]int64{"ReleaseBad": {108}, "RolloutStuck": {104}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			metrics := told{}
			for book, at := range tt.holds {
				metrics.tell(t, books, book, at...)
			}
			var wrong []string
			diagnoses := (&onCall{books: books, metrics: metrics}).diagnoses(t.Context(), tt.fault, proven, removed)
			for _, d := range diagnoses {
				if d.Status != verdict.Pass {
					wrong = append(wrong, d.Runbook)
				}
				if d.Asked != 10 {
					t.Errorf("%s was asked for %d seconds, want 10", d.Runbook, d.Asked)
				}
			}
			if len(diagnoses) != len(books) || !slices.Equal(wrong, tt.wrong) {
				t.Errorf("wrong are %s of %d, want %s of %d", strings.Join(wrong, ", "), len(diagnoses), strings.Join(tt.wrong, ", "), len(books))
			}
		})
	}
}
