package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// life is what tells a pod, and each of its containers, from the one before and the
// one after it.
type life struct {
	uid      types.UID
	restarts map[string]int32 // by container
}

// lives notes the lives of the pods of these names.
func lives(pods []core.Pod, names []string) map[string]life {
	all := map[string]life{}
	for _, p := range pods {
		if !slices.Contains(names, p.Name) {
			continue
		}
		l := life{p.UID, map[string]int32{}}
		for _, c := range p.Status.ContainerStatuses {
			l.restarts[c.Name] = c.RestartCount
		}
		all[p.Name] = l
	}
	return all
}

// changes tells, of every pod noted before, what became of it, sorted by name. A
// pod that is the same is passed over.
func changes(before, after map[string]life) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was := before[name]
		is, there := after[name]
		switch {
		case !there:
			all = append(all, name+" is gone")
			continue
		case is.uid != was.uid:
			all = append(all, name+" was replaced")
			continue
		}
		for _, c := range slices.Sorted(maps.Keys(is.restarts)) {
			if n := is.restarts[c] - was.restarts[c]; n > 0 {
				all = append(all, fmt.Sprintf("%s/%s restarted %s", name, c, times(n)))
			}
		}
	}
	return all
}

// VictimPod is what became of a pod that a fault is in, or whose traffic it is about, from
// the injection until it began to be taken back, or until now.
type VictimPod struct {
	Name string
	// UIDBefore is of the pod of this name at the injection, UIDAfter at the end; "" when
	// there was none.
	UIDBefore, UIDAfter string
	Restarts            map[string]int // of its containers, by name; those that were not are left out
}

// victimPods compares what was noted of these pods with what was noted later.
func victimPods(names []string, before, after map[string]life) []VictimPod {
	var all []VictimPod
	for _, name := range names {
		was, is := before[name], after[name]
		v := VictimPod{Name: name, UIDBefore: string(was.uid), UIDAfter: string(is.uid)}
		for c, n := range is.restarts {
			if was.uid != is.uid || n <= was.restarts[c] {
				continue // another pod counts anew
			}
			if v.Restarts == nil {
				v.Restarts = map[string]int{}
			}
			v.Restarts[c] = int(n - was.restarts[c])
		}
		all = append(all, v)
	}
	return all
}

// VictimPods tells what became of the pods that the fault touches. A pod of another UID
// does not have the fault, for Chaos Mesh selects once. A container that was restarted in
// its pod may have lost it, too: a partition stays in the pod's network, what stresses a
// container ends with it. Of a fault that was not injected it tells nothing.
func (f *Fault) VictimPods(ctx context.Context) ([]VictimPod, error) {
	var all []VictimPod
	for _, r := range f.all() {
		r.mu.Lock()
		sent := r.sent
		r.mu.Unlock()
		if !sent {
			continue
		}
		before, after := r.snapshots()
		if after == nil {
			pods, err := f.bed.pods(ctx)
			if err != nil {
				return nil, err
			}
			after = lives(pods, r.watched())
		}
		all = append(all, victimPods(r.watched(), before, after)...)
	}
	return all, nil
}

func times(n int32) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// struck says whether a fault that happens once has reached every victim: each is
// another pod or gone, or one of its containers was restarted.
func struck(before, after map[string]life) bool {
	for name := range before {
		if len(changes(map[string]life{name: before[name]}, after)) == 0 {
			return false
		}
	}
	return len(before) > 0
}

// account words what Chaos Mesh and the cluster told of a fault.
func account(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

// marks are the annotations by which Chaos Mesh remembers a victim's own images
// (pod-failure), still there; and victims that are not whole.
func marks(pods []core.Pod, victims []string, object string) []string {
	var left []string
	for i := range pods {
		p := &pods[i]
		if !slices.Contains(victims, p.Name) {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
			if strings.Contains(key, "chaos-mesh") && strings.Contains(key, object) {
				left = append(left, fmt.Sprintf("pod %s still has the annotation %s", p.Name, key))
			}
		}
		if why := unready(p); why != "" {
			left = append(left, "pod "+p.Name+" "+why)
		}
	}
	return left
}

// withoutEnding leaves out the pods that are about to end.
func withoutEnding(pods []core.Pod) []core.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p core.Pod) bool { return p.DeletionTimestamp != nil })
}
