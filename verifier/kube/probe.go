package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"seatrial/experiments"
)

// probeFor is the duration of a probe's object, for Chaos Mesh to take it back should the
// verifier die; see spare.
const probeFor = 10 * time.Second

// Probe tries whether the kernels of the nodes can do what the experiment asks of them.
// It lets Chaos Mesh do the same, so mildly that nobody notices, in one pod a node, and
// takes it back. A node's kernel is asked once a run; most experiments ask nothing of one.
//
// The error is why the fault cannot be injected, in Chaos Mesh's words, or what is left
// of the probe: then the system is not as it was.
func (f *Fault) Probe(ctx context.Context) error {
	r := f.all()[0].resolution
	unknown := f.bed.unknown(r)
	for _, k := range inOrder(unknown) {
		if err := f.probe(ctx, unknown[k]); err != nil {
			return fmt.Errorf("tried, mildly, whether the kernel can do %s: %w", k, err)
		}
		f.bed.noteAble(k)
	}
	return f.bed.kernelCould(r)
}

func inOrder(all map[task]experiments.Pod) []task {
	return slices.SortedFunc(maps.Keys(all), func(a, b task) int {
		return cmp.Or(strings.Compare(a.discipline, b.discipline), strings.Compare(a.node, b.node))
	})
}

// probe injects the mild fault in a pod and takes it back, also when ctx ends meanwhile.
func (f *Fault) probe(ctx context.Context, victim experiments.Pod) error {
	p, err := f.mild(victim)
	if err != nil {
		return err
	}
	r := p.rounds[0]
	injected := p.inject(ctx, r)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackWithin)
	defer cancel()
	if err := p.remove(ctx, r); err != nil {
		return errors.Join(injected, fmt.Errorf("take it back: %w", err))
	}
	if injected != nil {
		return injected
	}
	left, err := p.Residue(ctx)
	if r.removal.Forced {
		left = append(left, "Chaos Mesh did not take it back: removed by force"+restarted(r.removal.Restarted))
	}
	if len(left) > 0 {
		err = errors.Join(err, errors.New(strings.Join(left, "; ")))
	}
	return err
}

// mild is a fault that takes the experiment's way in one pod, and does next to nothing:
// the same object, with a millisecond of delay or with more bandwidth than is used.
func (f *Fault) mild(victim experiments.Pod) (*Fault, error) {
	whole := f.all()[0].resolution
	chaos := whole.Object.DeepCopyObject().(*v1alpha1.NetworkChaos)
	spec := &chaos.Spec
	if spec.Action == v1alpha1.BandwidthAction {
		spec.TcParameter = v1alpha1.TcParameter{Bandwidth: &v1alpha1.BandwidthSpec{Rate: "1gbit", Limit: 16 << 20, Buffer: 1 << 20}}
	} else {
		spec.Action = v1alpha1.DelayAction
		spec.TcParameter = v1alpha1.TcParameter{Delay: &v1alpha1.DelaySpec{Latency: "1ms"}}
	}
	r := &experiments.Resolution{Object: chaos, Victims: []experiments.Pod{victim}}
	if spec.Target != nil {
		r.Targets = whole.Targets[:1]
		if named(whole.Targets, victim.Name) { // the rules of the other direction
			r.Targets, spec.Device = whole.Victims[:1], spec.TargetDevice
		}
		only(spec.Target, r.Targets[0])
	}
	spec.Direction, spec.TargetDevice = v1alpha1.To, ""
	only(&spec.PodSelector, victim)
	e := *f.exp
	e.Name, e.Action, e.Object, e.Duration = "probe-"+f.exp.Name, string(spec.Action), chaos, probeFor
	p := &Fault{bed: f.bed, exp: &e}
	object, err := p.object(r)
	if err != nil {
		return nil, err
	}
	p.rounds = []*round{{resolution: r, object: object}}
	return p, nil
}

func named(pods []experiments.Pod, name string) bool {
	return slices.ContainsFunc(pods, func(p experiments.Pod) bool { return p.Name == name })
}

// only makes a selector mean this pod.
func only(s *v1alpha1.PodSelector, p experiments.Pod) {
	s.Mode, s.Value = v1alpha1.AllMode, ""
	s.Selector = v1alpha1.PodSelectorSpec{Pods: map[string][]string{p.Namespace: {p.Name}}}
	s.Selector.Namespaces = []string{p.Namespace} // Chaos Mesh's webhook checks permissions by these
}
