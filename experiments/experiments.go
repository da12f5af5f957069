// Package experiments holds the faults of seatrial: Chaos Mesh manifests, the
// very objects one could `kubectl apply`, read strictly into the typed Chaos
// Mesh API. It says which pods a manifest means and which numbers its strings
// stand for, always with Chaos Mesh's own meaning.
//
// It must not know how a fault is carried out, nor where: it opens no
// connection, starts nothing and has no clock. Every function is a pure one of
// its arguments; chance comes from a generator that the caller seeded.
package experiments

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

//go:embed *.yaml
var manifests embed.FS

// Experiment is one manifest, parsed and found free of mistakes.
type Experiment struct {
	// Name is metadata.name; within a Set no two are the same.
	Name string
	// Namespace is metadata.namespace, possibly empty.
	Namespace string
	// File is the name of the file that it was read from.
	File string
	// Kind is the kind of Chaos Mesh object: PodChaos, NetworkChaos, ...
	Kind string
	// Action is spec.action. For a StressChaos, which has none, it is "cpu",
	// "memory", "cpu+memory" or "stress-ng"; for other kinds without, empty.
	Action string
	// Object is the typed object (*v1alpha1.PodChaos, *v1alpha1.NetworkChaos,
	// ...) with the defaults that Chaos Mesh's own webhook would fill in. It is
	// shared by all readers: DeepCopyObject before a change.
	Object client.Object
	// Duration is how long the fault lasts; 0 for one-shot faults and for a
	// Schedule or a Workflow, whose end is their own affair.
	Duration time.Duration
	// OneShot faults (pod-kill, container-kill, a restart of a machine) happen
	// and are over; nothing is left to be removed.
	OneShot bool
	// Repeat is not zero for a one-shot fault that is to happen several times.
	Repeat Repeat
	// InForce is the PromQL of the fault's signature with its placeholders;
	// Signature fills them in. The fault is in force while the query returns
	// at least one sample, whatever its value, and is not while it returns none.
	InForce string
	// Victims is a PromQL query whose series' `pod` labels narrow the pods that
	// the selector matches; empty when the selector says it all.
	Victims string
	// Summary is one sentence for people; may be empty.
	Summary string
	// NeedsKubernetes says why, a reason each, only real Chaos Mesh can carry
	// the experiment out; empty when every testbed can.
	NeedsKubernetes []string
	// Raw is the manifest as it was read.
	Raw []byte
}

// Span is how long the fault acts from its first injection on: its Duration,
// or the time from the first to the last of its repetitions. 0 for a fault that
// happens once.
func (e *Experiment) Span() time.Duration {
	return max(e.Duration, e.Repeat.Span())
}

// Set is a collection of Experiments with distinct names.
type Set struct {
	byName map[string]*Experiment
}

// Load reads every *.yaml and *.yml at the top of fsys. Its error is a Mistakes
// that holds every mistake of every file, each with its place.
func Load(fsys fs.FS) (*Set, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	set := &Set{byName: map[string]*Experiment{}}
	var all Mistakes
	found := false
	for _, entry := range entries {
		if ext := path.Ext(entry.Name()); entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		found = true
		data, err := fs.ReadFile(fsys, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read manifest %s: %w", entry.Name(), err)
		}
		all = append(all, set.add(entry.Name(), data)...)
	}
	if !found {
		return nil, errors.New("load experiments: the folder has no manifest (*.yaml)")
	}
	if len(all) > 0 {
		return nil, all
	}
	return set, nil
}

// add parses one manifest into the set and returns what is wrong with it.
func (s *Set) add(file string, data []byte) Mistakes {
	e, src, mistakes := parse(file, data)
	if e == nil {
		return mistakes
	}
	if other, taken := s.byName[e.Name]; taken {
		return append(mistakes, src.mistake("metadata.name",
			"the name %q is taken by %s; every experiment needs one of its own", e.Name, other.File))
	}
	// A manifest with other mistakes keeps its name taken, so that a clash is
	// told in the same run.
	s.byName[e.Name] = e
	return mistakes
}

// Get returns the experiment of that name. The error for an unknown name lists
// the nearest names, or all.
func (s *Set) Get(name string) (*Experiment, error) {
	if e, ok := s.byName[name]; ok {
		return e, nil
	}
	return nil, fmt.Errorf("no experiment is named %q; %s", name, suggest(name, s.Names()))
}

// Names returns the names of all experiments, sorted.
func (s *Set) Names() []string {
	return slices.Sorted(maps.Keys(s.byName))
}

// All returns all experiments in the order of their names.
func (s *Set) All() []*Experiment {
	all := make([]*Experiment, 0, len(s.byName))
	for _, name := range s.Names() {
		all = append(all, s.byName[name])
	}
	return all
}

var embedded = sync.OnceValue(func() *Set {
	set, err := Load(manifests)
	if err != nil {
		panic("experiments: a manifest of this very program is wrong:\n" + err.Error())
	}
	return set
})

// Embedded returns the experiments that come with seatrial. They are compiled
// in, and the tests load them, so that it has no error to return.
func Embedded() *Set { return embedded() }

// suggest words a hint for a name that is not among the known ones.
func suggest(name string, known []string) string {
	near := nearest(name, known)
	switch {
	case len(known) == 0:
		return "there are none"
	case len(near) > 0:
		return "did you mean " + strings.Join(near, " or ") + "?"
	default:
		return "there are " + strings.Join(known, ", ")
	}
}

// nearest returns up to three of the known names that contain name or are
// within a third of its letters of it, nearest first; one that is the same but
// for upper and lower case stands alone.
func nearest(name string, known []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if len(name) >= 3 && strings.Contains(k, name) {
			d = 0
		}
		if d <= max(1, len(name)/3) {
			near = append(near, candidate{k, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return a.distance - b.distance })
	names := make([]string, 0, 3)
	for _, c := range near[:min(3, len(near))] {
		if strings.EqualFold(c.name, name) {
			return []string{c.name}
		}
		names = append(names, c.name)
	}
	return names
}

// distance is the number of letters to insert, delete or replace to get from a
// to b. Names longer than 64 bytes are cut: it only serves hints.
func distance(a, b string) int {
	a, b = a[:min(64, len(a))], b[:min(64, len(b))]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
