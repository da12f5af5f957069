package cleanup_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"seatrial/verifier/kube/bench"
	"seatrial/verifier/kube/cleanup"
)

func TestMain(m *testing.M) { bench.Main(m) }

// patience of the tests; no Chaos Mesh runs there.
const patience = time.Second

// stage is a namespace with pods and a NetworkChaos that Chaos Mesh cannot take back.
type stage struct {
	client.Client
	ns string
}

// everywhere runs a test against a real API server and against one in memory.
func everywhere(t *testing.T, test func(*testing.T, stage)) {
	t.Run("server", func(t *testing.T) {
		b := bench.Start(t)
		test(t, stage{b.Client, b.Namespace(t)})
	})
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, stage{fake.NewClientBuilder().WithScheme(bench.Scheme()).Build(), "ns"})
		})
	})
}

func (s stage) create(t *testing.T, obj client.Object) {
	t.Helper()
	if err := s.Create(t.Context(), obj); err != nil {
		t.Fatalf("create %T %s: %v", obj, obj.GetName(), err)
	}
}

// pod makes a pod, as a controller would, or without one.
func (s stage) pod(t *testing.T, name string, owned bool) *core.Pod {
	t.Helper()
	p := &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: s.ns, Name: name}, Spec: core.PodSpec{
		Containers: []core.Container{{Name: "main", Image: "none"}},
	}}
	if owned {
		p.OwnerReferences = []meta.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "set", UID: "1", Controller: new(true)}}
	}
	s.create(t, p)
	return p
}

// chaos makes a NetworkChaos with Chaos Mesh's finalizer and a record each id.
func (s stage) chaos(t *testing.T, name string, finalizers []string, injected ...string) *v1alpha1.NetworkChaos {
	t.Helper()
	n := &v1alpha1.NetworkChaos{
		ObjectMeta: meta.ObjectMeta{Namespace: s.ns, Name: name, Finalizers: finalizers},
		Spec:       v1alpha1.NetworkChaosSpec{Action: v1alpha1.PartitionAction, PodSelector: v1alpha1.PodSelector{Mode: v1alpha1.AllMode}},
	}
	for _, pod := range injected {
		n.Status.Experiment.Records = append(n.Status.Experiment.Records,
			&v1alpha1.Record{Id: s.ns + "/" + pod, SelectorKey: ".", Phase: v1alpha1.Injected, InjectedCount: 1})
	}
	n.Status.Experiment.Records = append(n.Status.Experiment.Records,
		&v1alpha1.Record{Id: s.ns + "/bystander", SelectorKey: ".Target", Phase: v1alpha1.NotInjected, InjectedCount: 1, RecoveredCount: 1})
	s.create(t, n)
	return n
}

// rules makes what Chaos Mesh keeps about a pod.
func (s stage) rules(t *testing.T, pod, source string) *v1alpha1.PodNetworkChaos {
	t.Helper()
	r := &v1alpha1.PodNetworkChaos{ObjectMeta: meta.ObjectMeta{Namespace: s.ns, Name: pod}, Spec: v1alpha1.PodNetworkChaosSpec{
		IPSets: []v1alpha1.RawIPSet{{Name: "set", IPSetType: v1alpha1.NetIPSet, RawRuleSource: v1alpha1.RawRuleSource{Source: s.ns + "/" + source}}},
	}}
	s.create(t, r)
	return r
}

// there says whether obj, and no other one of its name, is in the cluster.
func (s stage) there(t *testing.T, obj client.Object) bool {
	t.Helper()
	found := obj.DeepCopyObject().(client.Object)
	err := s.Get(t.Context(), client.ObjectKeyFromObject(obj), found)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil && found.GetUID() == obj.GetUID()
}

func TestWhatChaosMeshLetsGoIsNotForced(t *testing.T) {
	everywhere(t, func(t *testing.T, s stage) {
		victim := s.pod(t, "victim", true)
		n := s.chaos(t, "cut", []string{cleanup.Finalizer}, "victim")
		go func() { // Chaos Mesh
			for n := n.DeepCopy(); ; time.Sleep(20 * time.Millisecond) {
				if err := s.Get(t.Context(), client.ObjectKeyFromObject(n), n); err != nil || n.DeletionTimestamp == nil {
					continue
				}
				n.Finalizers = nil
				_ = s.Update(t.Context(), n)
				return
			}
		}()
		got, err := cleanup.Remove(t.Context(), s, n, time.Minute)
		if err != nil || !got.Deleted || got.Forced || got.Gone || got.Restarted != nil {
			t.Errorf("removal %+v, %v", got, err)
		}
		if s.there(t, n) || !s.there(t, victim) {
			t.Error("the experiment is there, or its victim is not")
		}
		if got, err := cleanup.Remove(t.Context(), s, n, time.Minute); err != nil || !got.Gone {
			t.Errorf("removed again: %+v, %v; want it gone", got, err)
		}
	})
}

func TestWhatIsStuckIsForcedAndOnlyItsVictimsRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, s stage) {
		victim, bystander, other := s.pod(t, "victim", true), s.pod(t, "bystander", true), s.pod(t, "other", true)
		mine, others := s.rules(t, "victim", "cut"), s.rules(t, "other", "another-cut")
		n := s.chaos(t, "cut", []string{cleanup.Finalizer}, "victim", "gone-already")
		got, err := cleanup.Remove(t.Context(), s, n, patience)
		if err != nil || !got.Deleted || !got.Forced || !slices.Equal(got.Restarted, []string{s.ns + "/victim"}) {
			t.Errorf("removal %+v, %v; want it forced, with the victim restarted", got, err)
		}
		for _, obj := range []client.Object{n, victim, mine} {
			if s.there(t, obj) {
				t.Errorf("%T %s is still there", obj, obj.GetName())
			}
		}
		for _, obj := range []client.Object{bystander, other, others} {
			if !s.there(t, obj) {
				t.Errorf("%T %s had nothing to do with it, and is gone", obj, obj.GetName())
			}
		}
	})
}

func TestAVictimThatNobodyWouldMakeAnewIsLeftAlone(t *testing.T) {
	everywhere(t, func(t *testing.T, s stage) {
		lonely, owned := s.pod(t, "lonely", false), s.pod(t, "owned", true)
		n := s.chaos(t, "cut", []string{cleanup.Finalizer}, "lonely", "owned")
		got, err := cleanup.Remove(t.Context(), s, n, patience)
		if err == nil || !strings.Contains(err.Error(), "NetworkChaos "+s.ns+"/cut: victim "+s.ns+"/lonely") {
			t.Errorf("want an error that names experiment and victim, got %v", err)
		}
		if !got.Forced || !s.there(t, n) || !s.there(t, lonely) || s.there(t, owned) {
			t.Errorf("%+v: want experiment and victim kept, and the other victim restarted", got)
		}
	})
}

// TestAgainAfterADeathInBetween: the victim was restarted, and the process died
// before it let the object go. The one in its place is younger than the fault.
func TestAgainAfterADeathInBetween(t *testing.T) {
	everywhere(t, func(t *testing.T, s stage) {
		n := s.chaos(t, "cut", []string{cleanup.Finalizer}, "victim")
		long := meta.NewTime(time.Now().Add(-time.Hour))
		n.Status.Experiment.Records[0].Events = []v1alpha1.RecordEvent{{Type: v1alpha1.TypeSucceeded, Operation: v1alpha1.Apply, Timestamp: &long}}
		if err := s.Update(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		young := s.pod(t, "victim", true)
		if young.CreationTimestamp.IsZero() { // in memory, nobody sets it
			young.CreationTimestamp = meta.Now()
			if err := s.Update(t.Context(), young); err != nil {
				t.Fatal(err)
			}
		}
		got, err := cleanup.Remove(t.Context(), s, n, patience)
		if err != nil || !got.Forced || got.Restarted != nil || !s.there(t, young) || s.there(t, n) {
			t.Errorf("removal %+v, %v; want it forced and nothing restarted", got, err)
		}
	})
}

func TestTwoAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, s stage) {
		victim := s.pod(t, "victim", true)
		n := s.chaos(t, "cut", []string{cleanup.Finalizer}, "victim")
		errs := make(chan error)
		for range 2 {
			go func() {
				_, err := cleanup.Remove(t.Context(), s, n, patience)
				errs <- err
			}()
		}
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if s.there(t, n) || s.there(t, victim) {
			t.Error("something is left")
		}
	})
}

// TestWhatIsLeftIsNamed: somebody else's finalizer is not for this package to remove.
func TestWhatIsLeftIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage{fake.NewClientBuilder().WithScheme(bench.Scheme()).Build(), "ns"}
		n := s.chaos(t, "cut", []string{cleanup.Finalizer, "example.org/audit"})
		got, err := cleanup.Remove(t.Context(), s, n, patience)
		if err == nil || !strings.Contains(err.Error(), `still there, with the finalizers ["example.org/audit"]`) || !got.Forced {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestMachinesAreNotUndone: no restart of pods brings a machine back.
func TestMachinesAreNotUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage{fake.NewClientBuilder().WithScheme(bench.Scheme()).Build(), "ns"}
		m := &v1alpha1.AWSChaos{ObjectMeta: meta.ObjectMeta{Namespace: "ns", Name: "stop", Finalizers: []string{cleanup.Finalizer}}}
		m.Status.Experiment.Records = []*v1alpha1.Record{{Id: "i-0123", Phase: v1alpha1.Injected, InjectedCount: 1}}
		s.create(t, m)
		if _, err := cleanup.Remove(t.Context(), s, m, patience); err == nil || !strings.Contains(err.Error(), "i-0123") || !s.there(t, m) {
			t.Errorf("want it kept, and an error that names the machine, got %v", err)
		}
	})
}

// TestAnotherOneOfTheSameNameIsNotTouched.
func TestAnotherOneOfTheSameNameIsNotTouched(t *testing.T) {
	everywhere(t, func(t *testing.T, s stage) {
		old := s.chaos(t, "cut", nil)
		if err := s.Delete(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		old.UID = "00000000-0000-0000-0000-000000000000"
		newer := s.chaos(t, "cut", nil)
		if got, err := cleanup.Remove(t.Context(), s, old, patience); err != nil || !got.Gone || !s.there(t, newer) {
			t.Errorf("%+v, %v; want the old one gone and the newer one kept", got, err)
		}
	})
}

func TestAnEndedContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage{fake.NewClientBuilder().WithScheme(bench.Scheme()).Build(), "ns"}
		n := s.chaos(t, "cut", []string{cleanup.Finalizer})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := cleanup.Remove(ctx, s, n, time.Hour)
		if err == nil || apierrors.IsNotFound(err) || !s.there(t, n) {
			t.Errorf("%v; want an error, and nothing forced", err)
		}
	})
}
