package kube

import (
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
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
