package kube

import (
	"context"
	"fmt"
	"net/netip"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/experiments"
)

// appLabel tells the parts of the system apart.
const appLabel = "app"

// pods lists the pods of the system's namespace.
func (t *Testbed) pods(ctx context.Context) ([]core.Pod, error) {
	var list core.PodList
	if err := t.client.List(ctx, &list, client.InNamespace(t.cfg.Namespace)); err != nil {
		return nil, fmt.Errorf("list the pods of namespace %s: %w", t.cfg.Namespace, err)
	}
	return list.Items, nil
}

// describe shows the pods as a selector sees them. Those that are about to end are
// left out: a fault in them would end with them.
func describe(pods []core.Pod) []experiments.Pod {
	var all []experiments.Pod
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		d := experiments.Pod{
			Name: p.Name, Namespace: p.Namespace, Labels: p.Labels, Annotations: p.Annotations,
			Phase: string(p.Status.Phase), Node: p.Spec.NodeName,
		}
		d.IP, _ = netip.ParseAddr(p.Status.PodIP) // a pod that is pending has none
		for _, c := range p.Spec.Containers {
			d.Containers = append(d.Containers, c.Name)
		}
		all = append(all, d)
	}
	return all
}

// images is the image of every container of every app.
func images(pods []core.Pod) map[string]string {
	all := map[string]string{}
	for _, p := range pods {
		app := p.Labels[appLabel]
		if app == "" {
			continue
		}
		for _, c := range p.Spec.Containers {
			name := app
			if c.Name != app {
				name = app + "/" + c.Name
			}
			all[name] = c.Image
		}
	}
	return all
}

// unready says what keeps a pod from being whole; "" when nothing does.
func unready(p *core.Pod) string {
	if p.DeletionTimestamp != nil {
		return "is about to end"
	}
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil:
			return fmt.Sprintf("container %s waits: %s", c.Name, reason(c.State.Waiting.Reason, c.State.Waiting.Message))
		case c.State.Terminated != nil:
			return fmt.Sprintf("container %s ended: %s", c.Name, reason(c.State.Terminated.Reason, c.State.Terminated.Message))
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type != core.PodReady {
			continue
		}
		if c.Status != core.ConditionTrue {
			return "is not ready: " + reason(c.Reason, c.Message)
		}
		return ""
	}
	return fmt.Sprintf("is %s", p.Status.Phase)
}

func reason(word, message string) string {
	if message == "" {
		return word
	}
	return word + ", " + message
}
