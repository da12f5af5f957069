package kube

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/verifier/kube/cleanup"
)

// mesh plays Chaos Mesh's controllers in one namespace, with their habits: the
// finalizer first, conditions that lie, records that go through Wait, rules in
// PodNetworkChaos, a deleted object kept until all records are taken back.
type mesh struct {
	t      *testing.T
	client client.Client
	ns     string

	mu      sync.Mutex
	refuses string   // the message with which injections fail; "" for none
	stuck   bool     // nothing is ever taken back
	slow    bool     // it comes to one pod's rules at a time, to others' when the object is to go
	came    []string // pods whose rules it has tried to set
	seen    []client.Object
}

func playMesh(t *testing.T, c client.Client, ns string) *mesh {
	m := &mesh{t: t, client: c, ns: ns}
	ctx, cancel := context.WithCancel(context.Background())
	var playing sync.WaitGroup
	playing.Go(func() {
		for sleep(ctx, 30*time.Millisecond) {
			for _, kind := range []string{v1alpha1.KindPodChaos, v1alpha1.KindNetworkChaos} {
				m.reconcile(ctx, v1alpha1.AllKinds()[kind].SpawnList())
			}
			m.endPods(ctx)
		}
	})
	t.Cleanup(func() { cancel(); playing.Wait() })
	return m
}

func (m *mesh) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// created are the experiments that were created, in order, as first seen.
func (m *mesh) created() []client.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.seen)
}

func (m *mesh) reconcile(ctx context.Context, list client.ObjectList) {
	if m.client.List(ctx, list, client.InNamespace(m.ns)) != nil {
		return // the test has ended
	}
	items, err := apimeta.ExtractList(list)
	if err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, item := range items {
		object := item.(v1alpha1.InnerObjectWithSelector)
		old := object.DeepCopyObject().(client.Object)
		if !m.step(ctx, object) {
			continue
		}
		// A conflict, or an object that is gone, is for the next look.
		_ = m.client.Patch(ctx, object, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{}))
	}
}

// endPods plays the kubelet: what is to end, ends.
func (m *mesh) endPods(ctx context.Context) {
	var pods core.PodList
	if m.client.List(ctx, &pods, client.InNamespace(m.ns)) != nil {
		return
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.DeletionTimestamp != nil {
			_ = m.client.Delete(ctx, p, client.GracePeriodSeconds(0), client.Preconditions{UID: &p.UID})
		}
	}
}

// step does the next thing to an object and tells whether it changed.
func (m *mesh) step(ctx context.Context, object v1alpha1.InnerObjectWithSelector) bool {
	status := object.GetStatus()
	switch {
	case object.GetDeletionTimestamp() != nil:
		return m.undo(ctx, object)
	case len(object.GetFinalizers()) == 0:
		m.seen = append(m.seen, object.DeepCopyObject().(client.Object))
		object.SetFinalizers([]string{cleanup.Finalizer})
		status.Conditions = []v1alpha1.ChaosCondition{{Type: v1alpha1.ConditionAllRecovered, Status: core.ConditionTrue}}
		return true
	case status.Experiment.Records == nil:
		status.Experiment.DesiredPhase = v1alpha1.RunningPhase
		for key, s := range object.GetSelectorSpecs() {
			m.choose(object, key, s)
		}
		return true
	}
	changed := false
	for _, r := range status.Experiment.Records {
		if r.Phase != v1alpha1.Injected && len(r.Events) < 5 {
			m.apply(ctx, object, r)
			changed = true
		}
	}
	return changed
}

func (m *mesh) choose(object v1alpha1.InnerObjectWithSelector, key string, selector any) {
	var s *v1alpha1.PodSelector
	suffix := ""
	switch selector := selector.(type) {
	case *v1alpha1.PodSelector:
		s = selector
	case *v1alpha1.ContainerSelector:
		s = &selector.PodSelector
	}
	if s == nil {
		return
	}
	if c, ok := object.(*v1alpha1.PodChaos); ok && len(c.Spec.ContainerNames) > 0 {
		suffix = "/" + c.Spec.ContainerNames[0]
	}
	if s.Mode != v1alpha1.AllMode || len(s.Selector.Pods) == 0 {
		m.t.Errorf("%s %s: mode %s of %v; want all of named pods", object.GetName(), key, s.Mode, s.Selector.Pods)
	}
	for ns, names := range s.Selector.Pods {
		for _, name := range names {
			status := object.GetStatus()
			status.Experiment.Records = append(status.Experiment.Records, &v1alpha1.Record{Id: ns + "/" + name + suffix, SelectorKey: key, Phase: v1alpha1.NotInjected})
		}
	}
}

// apply takes a record one phase on.
func (m *mesh) apply(ctx context.Context, object client.Object, r *v1alpha1.Record) {
	_, network := object.(*v1alpha1.NetworkChaos)
	if network && r.Phase == v1alpha1.NotInjected {
		m.rules(ctx, object, r.Id)
		r.Phase = "Not Injected/Wait"
		return
	}
	if m.refuses != "" {
		r.Events = append(r.Events, v1alpha1.RecordEvent{Type: v1alpha1.TypeFailed, Operation: v1alpha1.Apply, Message: m.refuses, Timestamp: new(meta.Now())})
		return
	}
	if c, ok := object.(*v1alpha1.PodChaos); ok && c.Spec.Action == v1alpha1.PodKillAction {
		m.kill(ctx, r.Id)
	}
	r.Phase, r.InjectedCount = v1alpha1.Injected, r.InjectedCount+1
}

// kill replaces a pod by one of another name, as a Deployment does.
func (m *mesh) kill(ctx context.Context, id string) {
	var pod core.Pod
	if err := m.client.Get(ctx, keyOf(id), &pod); err != nil {
		m.t.Errorf("kill %s: %v", id, err)
		return
	}
	if err := m.client.Delete(ctx, &pod, client.GracePeriodSeconds(0)); err != nil {
		m.t.Errorf("kill %s: %v", id, err)
	}
	makePod(m.t, m.client, m.ns, pod.Name+"x", pod.Labels[appLabel])
}

func keyOf(id string) client.ObjectKey {
	parts := strings.Split(id, "/")
	return client.ObjectKey{Namespace: parts[0], Name: parts[1]}
}

// rules writes an experiment into a pod's PodNetworkChaos, and whether it worked.
func (m *mesh) rules(ctx context.Context, object client.Object, id string) {
	p := &v1alpha1.PodNetworkChaos{ObjectMeta: meta.ObjectMeta{Namespace: keyOf(id).Namespace, Name: keyOf(id).Name}}
	if m.client.Get(ctx, keyOf(id), p) != nil {
		if err := m.client.Create(ctx, p); err != nil {
			m.t.Error(err)
		}
	}
	p.Spec.TrafficControls = append(p.Spec.TrafficControls, v1alpha1.RawTrafficControl{Type: v1alpha1.Netem, Source: sourceOf(object)})
	if err := m.client.Update(ctx, p); err != nil {
		m.t.Error(err)
	}
	if m.slow && len(m.came) > 0 {
		return
	}
	m.came = append(m.came, id)
	m.try(ctx, p)
}

// try plays the controller of a pod's rules, and says whether it could set them.
func (m *mesh) try(ctx context.Context, p *v1alpha1.PodNetworkChaos) {
	p.Status.FailedMessage, p.Status.ObservedGeneration = m.refuses, p.Generation
	if err := m.client.Status().Update(ctx, p); err != nil && !apierrors.IsConflict(err) {
		m.t.Error(err)
	}
}

// undo takes a deleted object's records back, and lets it go when all are.
func (m *mesh) undo(ctx context.Context, object v1alpha1.InnerObjectWithSelector) bool {
	if m.stuck {
		return false
	}
	changed := false
	for _, r := range object.GetStatus().Experiment.Records {
		switch {
		case r.Phase == v1alpha1.Injected:
			m.clear(ctx, object, r.Id)
			r.Phase, r.RecoveredCount = v1alpha1.NotInjected, r.RecoveredCount+1
			return true
		case r.Phase != v1alpha1.NotInjected:
			// It must be injected before it can be taken back, and is when no rule is left.
			var p v1alpha1.PodNetworkChaos
			if m.client.Get(ctx, keyOf(r.Id), &p) == nil && len(p.Spec.TrafficControls) > 0 && m.refuses != "" {
				m.try(ctx, &p)
				return changed
			}
			r.Phase, r.InjectedCount, changed = v1alpha1.Injected, 1, true
		}
	}
	if !changed {
		object.SetFinalizers(nil)
	}
	return true
}

func (m *mesh) clear(ctx context.Context, object client.Object, id string) {
	var p v1alpha1.PodNetworkChaos
	if m.client.Get(ctx, keyOf(id), &p) != nil {
		return
	}
	without(&p, sourceOf(object))
	if err := m.client.Update(ctx, &p); err != nil {
		m.t.Error(err)
	}
}
