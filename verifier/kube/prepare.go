package kube

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/experiments"
	"seatrial/verifier/kube/lease"
)

// experimentLabel is the label by which an object names the manifest that it came of.
const experimentLabel = "seatrial/experiment"

// Prepare draws an experiment's victims from the seed and checks that Chaos Mesh
// would take it: the kind, the rights, the victims and their containers, the
// daemons on their nodes, and the object itself, by a dry run. Nothing is touched.
func (t *Testbed) Prepare(ctx context.Context, exp *experiments.Experiment, pick []string, seed int64) (*Fault, error) {
	exp = relocate(exp, t.cfg.Namespace)
	if err := suits(exp); err != nil {
		return nil, fmt.Errorf("%s %s: %w", exp.Kind, exp.Action, err)
	}
	if err := t.mayInject(ctx, strings.ToLower(exp.Kind)); err != nil {
		return nil, err
	}
	pods, err := t.pods(ctx)
	if err != nil {
		return nil, err
	}
	f := &Fault{bed: t, exp: exp, pick: pick, rng: rand.New(rand.NewPCG(uint64(seed), hash(exp.Name)))}
	for range max(1, exp.Repeat.Times) {
		if err := f.draw(pods); err != nil {
			return nil, err
		}
	}
	first := f.rounds[0]
	if err := fit(exp, first.resolution, pods); err != nil {
		return nil, err
	}
	if err := t.kernelCould(first.resolution); err != nil {
		return nil, err
	}
	if needsDaemon(exp) {
		if err := t.daemons(ctx, nodesOf(first.resolution)); err != nil {
			return nil, err
		}
	}
	if err := t.client.Create(ctx, first.object.DeepCopyObject().(client.Object), client.DryRunAll); err != nil {
		return nil, fmt.Errorf("Chaos Mesh would not take it: %w", err)
	}
	return f, nil
}

// hash keeps the experiments of one trial from drawing the same numbers.
func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s)) // never an error
	return h.Sum64()
}

// suits says whether an experiment is of a kind that the verifier can see to its
// end: one fault in pods of one cluster.
func suits(exp *experiments.Experiment) error {
	chaos, ok := exp.Object.(v1alpha1.InnerObjectWithSelector)
	switch {
	case exp.Kind == v1alpha1.KindSchedule || exp.Kind == v1alpha1.KindWorkflow:
		return errors.New("scheduling is the verifier's: seatrial.dev/repeat, or scenarios with two faults")
	case !slices.Contains(kinds, strings.ToLower(exp.Kind)) || !ok:
		return errors.New("it breaks no pods")
	}
	if remote, ok := chaos.(v1alpha1.RemoteObject); ok && remote.GetRemoteCluster() != "" {
		return fmt.Errorf("spec.remoteCluster %s: only the cluster that is asked for is watched", remote.GetRemoteCluster())
	}
	return nil
}

// needsDaemon says whether Chaos Mesh has to do something on the victims' nodes.
// Killing and failing pods, the API server does.
func needsDaemon(exp *experiments.Experiment) bool {
	return exp.Kind != v1alpha1.KindPodChaos || exp.Action == string(v1alpha1.ContainerKillAction)
}

// relocate is an experiment whose own namespace is another one: it and the
// selectors that name it.
func relocate(exp *experiments.Experiment, to string) *experiments.Experiment {
	from := exp.Namespace
	e := *exp
	e.Namespace, e.Object = to, exp.Object.DeepCopyObject().(client.Object)
	e.Object.SetNamespace(to)
	for _, s := range selectorsOf(e.Object) {
		for i, ns := range s.Selector.Namespaces {
			if ns == from {
				s.Selector.Namespaces[i] = to
			}
		}
	}
	return &e
}

// selectorsOf are the selectors of pods in an object; they point into it.
func selectorsOf(object client.Object) []*v1alpha1.PodSelector {
	chaos, ok := object.(v1alpha1.InnerObjectWithSelector)
	if !ok {
		return nil
	}
	var all []*v1alpha1.PodSelector
	for _, s := range chaos.GetSelectorSpecs() {
		switch s := s.(type) {
		case *v1alpha1.PodSelector:
			if s != nil {
				all = append(all, s)
			}
		case *v1alpha1.ContainerSelector:
			if s != nil {
				all = append(all, &s.PodSelector)
			}
		}
	}
	return all
}

// fit says whether the pods that were drawn can have the fault.
func fit(exp *experiments.Experiment, r *experiments.Resolution, pods []core.Pod) error {
	for _, v := range slices.Concat(r.Victims, r.Targets) {
		i := slices.IndexFunc(pods, func(p core.Pod) bool { return p.Name == v.Name })
		if i < 0 || v.Phase != string(core.PodRunning) {
			return fmt.Errorf("pod %s is %s, not running", v.Name, v.Phase)
		}
		if exp.Kind == v1alpha1.KindNetworkChaos && pods[i].Spec.HostNetwork {
			return fmt.Errorf("pod %s uses its node's network, and the fault would hit the node", v.Name)
		}
	}
	return fitContainers(r)
}

// fitContainers says whether every victim has a container that is asked for.
func fitContainers(r *experiments.Resolution) error {
	for _, s := range r.Object.(v1alpha1.InnerObjectWithSelector).GetSelectorSpecs() {
		containers, ok := s.(*v1alpha1.ContainerSelector)
		if !ok || containers == nil {
			continue
		}
		for _, v := range r.Victims {
			if len(experiments.ContainersOf(*containers, v)) == 0 {
				return fmt.Errorf("pod %s has the containers %s, none of %s", v.Name,
					strings.Join(v.Containers, ", "), strings.Join(containers.ContainerNames, ", "))
			}
		}
	}
	return nil
}

func nodesOf(r *experiments.Resolution) []string {
	var nodes []string
	for _, p := range slices.Concat(r.Victims, r.Targets) {
		nodes = append(nodes, p.Node)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// draw adds a round with victims of its own.
func (f *Fault) draw(pods []core.Pod) error {
	r, err := f.exp.Resolve(describe(pods), f.pick, f.rng)
	if err != nil {
		return err
	}
	object, err := f.object(r)
	if err != nil {
		return err
	}
	f.rounds = append(f.rounds, &round{resolution: r, object: object})
	return nil
}

// spare is what an object's own duration has above the fault's. It counts from the
// object's creation, and Chaos Mesh may need a while to inject; the verifier takes
// the fault back when its time is up, and this is for a verifier that died.
const spare = injectWithin + 40*time.Second

// object is what is sent to the cluster for a resolution.
func (f *Fault) object(r *experiments.Resolution) (client.Object, error) {
	object := r.Object.DeepCopyObject().(client.Object)
	if f.exp.Duration > 0 {
		if err := experiments.SetDuration(object, f.exp.Duration+spare); err != nil {
			return nil, fmt.Errorf("%s: set its duration: %w", f.exp.Name, err)
		}
	}
	labels := map[string]string{lease.Label: f.bed.cfg.Run, experimentLabel: lease.ID(f.exp.Name)}
	for k, v := range object.GetLabels() {
		if labels[k] == "" {
			labels[k] = v
		}
	}
	object.SetLabels(labels)
	object.SetName(uniqueName(f.exp.Name))
	return object, nil
}

// longestName leaves room for what Chaos Mesh makes of an object's name.
const longestName = 50

// uniqueName lets an experiment be injected again while what is left of the last
// time still goes.
func uniqueName(name string) string {
	if len(name) > longestName {
		name = strings.TrimRight(name[:longestName], "-.")
	}
	return name + "-" + utilrand.String(5)
}
