package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// system is a whole one: owners and pods.
func system() ([]owner, []core.Pod) {
	var owners []owner
	var pods []core.Pod
	for _, part := range parts {
		n := int32(2)
		owners = append(owners, owner{kind: "Deployment", name: part, app: part, want: n, ready: n, updated: n, seen: true})
		for i := range n {
			pods = append(pods, core.Pod{
				ObjectMeta: meta.ObjectMeta{Name: part + "-" + string('0'+i), Labels: map[string]string{appLabel: part}},
				Status: core.PodStatus{
					Phase: core.PodRunning, Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
					ContainerStatuses: []core.ContainerStatus{{Name: part, State: core.ContainerState{Running: &core.ContainerStateRunning{}}}},
				},
			})
		}
	}
	return owners, pods
}

func TestWhole(t *testing.T) {
	now := meta.Now()
	for name, c := range map[string]struct {
		spoil func(o []owner, p []core.Pod)
		want  string // "" for whole
	}{
		"all is well":          {func([]owner, []core.Pod) {}, ""},
		"a part is missing":    {func(o []owner, _ []core.Pod) { o[0].app = "other" }, "nats: no Deployment or StatefulSet"},
		"scaled to nothing":    {func(o []owner, _ []core.Pod) { o[2].want = 0 }, "api: deployment api asks for no pods"},
		"a pod is missing":     {func(_ []owner, p []core.Pod) { p[1].Labels = nil }, "nats: deployment nats asks for 2 pods, and there are 1"},
		"a pod ends":           {func(_ []owner, p []core.Pod) { p[4].DeletionTimestamp = &now }, "pod api-0 is about to end"},
		"a pod is not ready":   {func(_ []owner, p []core.Pod) { p[9].Status.Conditions[0].Status = core.ConditionFalse }, "pod loadgen-1 is not ready"},
		"a rollout goes on":    {func(o []owner, _ []core.Pod) { o[3].updated = 1 }, "worker: deployment worker: of 2 pods 2 are ready and 1 up to date"},
		"a change is not seen": {func(o []owner, _ []core.Pod) { o[3].seen = false }, "worker"},
		"a container waits to be restarted": {func(_ []owner, p []core.Pod) {
			p[6].Status.ContainerStatuses[0].State = core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"}}
		}, "pod worker-0 container worker waits: CrashLoopBackOff, back-off 10s"},
		"a container has ended": {func(_ []owner, p []core.Pod) {
			p[6].Status.ContainerStatuses[0].State = core.ContainerState{Terminated: &core.ContainerStateTerminated{Reason: "OOMKilled"}}
		}, "pod worker-0 container worker ended: OOMKilled"},
		"a pod is pending": {func(_ []owner, p []core.Pod) {
			p[0].Status = core.PodStatus{Phase: core.PodPending}
		}, "pod nats-0 is Pending"},
	} {
		owners, pods := system()
		c.spoil(owners, pods)
		err := whole(owners, pods)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestHealthySeesExperimentsOfOthers(t *testing.T) {
	c := newCluster(t)
	if err := c.bed.undisturbed(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := c.prepare(t, "worker-down", time.Minute)
	if err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.bed.undisturbed(t.Context()); err != nil {
		t.Errorf("its own: %v", err)
	}
	other := c.other(func(bed *Testbed) { bed.cfg.Run = "another" })
	if err := other.undisturbed(t.Context()); err == nil || !strings.Contains(err.Error(), "none of this run's") {
		t.Errorf("another's: %v", err)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string]client.Object{
		"TimeChaos skew": &v1alpha1.TimeChaos{Spec: v1alpha1.TimeChaosSpec{TimeOffset: "1m"}},
		"DNSChaos names": &v1alpha1.DNSChaos{Spec: v1alpha1.DNSChaosSpec{Action: v1alpha1.ErrorAction}},
	} {
		object.SetNamespace(c.ns)
		object.SetName(strings.Fields(name)[1])
		pinned := object.(v1alpha1.InnerObjectWithSelector)
		for _, s := range selectorsOf(pinned) {
			s.Mode, s.Selector = v1alpha1.AllMode, v1alpha1.PodSelectorSpec{Pods: map[string][]string{c.ns: {"worker-0"}}}
		}
		if err := c.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		if err := c.bed.undisturbed(t.Context()); err == nil || !strings.Contains(err.Error(), name+" is in force") {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Client.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.bed.undisturbed(t.Context()); err != nil {
		t.Errorf("when they are gone: %v", err)
	}
}

// TestAKindThatIsNotThereDisturbsNobody: an older Chaos Mesh has fewer.
func TestAKindThatIsNotThereDisturbsNobody(t *testing.T) {
	absent := func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
		return &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "chaos-mesh.org", Kind: fmt.Sprintf("%T", list)}}
	}
	refused := func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errors.New("not allowed")
	}
	bed := &Testbed{client: interceptor.NewClient(nil, interceptor.Funcs{List: absent})}
	if err := bed.undisturbed(t.Context()); err != nil {
		t.Error(err)
	}
	bed.client = interceptor.NewClient(nil, interceptor.Funcs{List: refused})
	if err := bed.undisturbed(t.Context()); err == nil || !strings.Contains(err.Error(), "list every DNSChaos") {
		t.Errorf("a kind that may not be looked for: %v", err)
	}
}
