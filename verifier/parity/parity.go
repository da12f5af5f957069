// Package parity puts two runs of the same scenarios side by side, one on the local
// testbed and one on Kubernetes: what each experiment was seen to do to the system
// and its users on either.
//
// It reads Evidence and nothing else. It judges nothing: verdicts are quoted, and
// what a run does not hold is said to be not recorded.
package parity

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"seatrial/verifier/evidence"
)

// The targets of the runs that are compared.
const (
	local      = "local"
	kubernetes = "kubernetes"
)

// run is a run's folder.
type run struct {
	evidence.Run
	trials []*trial // by name
}

// trial is a trial's folder, and what was observed in it.
type trial struct {
	plan     evidence.Plan
	record   evidence.Record
	scenario evidence.Scenario
	kinds    map[string]string // experiment -> "PodChaos pod-kill"
	effect   effect
}

// Write compares the runs in the folders one and other, of the targets local and
// kubernetes, as Markdown. The same folders give the same bytes. A folder that is no
// run, or of the wrong target, is an error that names it.
func Write(w io.Writer, one, other string) error {
	l, err := read(one, local)
	if err != nil {
		return err
	}
	k, err := read(other, kubernetes)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, page(l, k))
	return err
}

func read(dir, target string) (*run, error) {
	r := &run{}
	if err := evidence.LoadJSON(filepath.Join(dir, evidence.VerdictFile), &r.Run); err != nil {
		return nil, fmt.Errorf("compare %s: %w", dir, err)
	}
	if r.Target != target {
		return nil, fmt.Errorf("compare %s: it is a run on %q, want one on %q here", dir, r.Target, target)
	}
	folders, err := evidence.Trials(dir)
	if err != nil {
		return nil, fmt.Errorf("compare %s: %w", dir, err)
	}
	for _, f := range folders {
		t, err := readTrial(f)
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", dir, err)
		}
		r.trials = append(r.trials, t)
	}
	slices.SortStableFunc(r.trials, func(a, b *trial) int { return cmp.Compare(a.plan.Name, b.plan.Name) })
	return r, nil
}

func readTrial(dir evidence.Dir) (*trial, error) {
	t := &trial{kinds: map[string]string{}}
	if err := dir.Load(evidence.PlanFile, &t.plan); err != nil {
		return nil, err
	}
	// A trial that was killed has neither record nor verdict.
	for file, into := range map[string]any{evidence.RecordFile: &t.record, evidence.VerdictFile: &t.scenario} {
		if err := dir.Load(file, into); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	for _, name := range t.plan.Experiments {
		kind, err := kindOf(dir.Path(evidence.ManifestsDir, name+".yaml"))
		if err != nil {
			return nil, err
		}
		t.kinds[name] = kind
	}
	effect, err := observe(dir, t)
	t.effect = effect
	return t, err
}

// kindOf reads the kind and the action of a manifest; "" when the trial ended before
// it was saved.
func kindOf(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var manifest struct {
		Kind string
		Spec struct {
			Action    string
			Stressors map[string]any
		}
	}
	if err == nil {
		err = yaml.Unmarshal(text, &manifest)
	}
	if err != nil {
		return "", fmt.Errorf("read manifest %s: %w", path, err)
	}
	what := []string{manifest.Kind, manifest.Spec.Action}
	for stressor := range manifest.Spec.Stressors {
		what = append(what, stressor)
	}
	slices.Sort(what[2:])
	return strings.Join(strings.Fields(strings.Join(what, " ")), " "), nil
}

// row is an experiment in a scenario, on both testbeds; nil where it was not run.
type row struct {
	experiment, scenario string
	local, kubernetes    *trial
}

// rows lists every experiment of every scenario, by experiment and then scenario.
func rows(l, k *run) []row {
	all := map[[2]string]*row{}
	add := func(r *run, put func(*row, *trial)) {
		for _, t := range r.trials {
			for _, e := range t.plan.Experiments {
				key := [2]string{e, t.plan.Name}
				if all[key] == nil {
					all[key] = &row{experiment: e, scenario: t.plan.Name}
				}
				put(all[key], t)
			}
		}
	}
	add(l, func(r *row, t *trial) { r.local = t })
	add(k, func(r *row, t *trial) { r.kubernetes = t })
	var sorted []row
	for _, r := range all {
		sorted = append(sorted, *r)
	}
	slices.SortFunc(sorted, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.experiment, b.experiment), cmp.Compare(a.scenario, b.scenario))
	})
	return sorted
}

// kind is what an experiment is, as either run applied it.
func (r row) kind() string {
	for _, t := range []*trial{r.local, r.kubernetes} {
		if t != nil && t.kinds[r.experiment] != "" {
			return t.kinds[r.experiment]
		}
	}
	return ""
}
