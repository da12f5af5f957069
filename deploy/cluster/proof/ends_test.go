package proof

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// nobody is a port that no program of the system has. On each pod that is tried a
// listener stands behind it, so that a policy that lets it through shows.
const nobody = "9999"

// end is the pods of one kind, or a program of the node: a side of the connections that are tried.
type end struct {
	name, namespace string
	pods            []core.Pod
	container       string // from which is connected
	node            []door // instead of pods
}

// door is where an end is connected to.
type door struct {
	name, ip string
	ports    []string
}

func (e end) doors() []door {
	all := slices.Clone(e.node)
	for i := range e.pods {
		all = append(all, door{e.pods[i].Name, e.pods[i].Status.PodIP, ports(&e.pods[i])})
	}
	return all
}

// listen is what a container does from which is connected: answer on the port of
// nobody, and end when it is told or forgotten. TERM needs a handler, for a
// process with the number 1 has none.
const listen = `trap 'exit 0' TERM; nc -ll -p ` + nobody + ` -e true & sleep 900 & wait $!`

// gather makes every end ready to connect from and to. A kind that runs gets a debug
// container in each of its pods: their own addresses, labels and policies, and no
// Service takes notice. For who does not run, pods with the labels stand in that
// are never ready.
func (c *cluster) gather(t *testing.T, h home, n needs) []end {
	t.Helper()
	image := c.shellImage(t)
	container := fmt.Sprintf("proof-%05d", rand.IntN(100_000))
	if slices.Contains(h.kinds, "loadgen") {
		c.twoLoadgens(t)
	}
	ends := []end{}
	for _, kind := range h.kinds {
		ends = append(ends, c.debugged(t, kind, h.namespace, "app="+kind, container, image))
	}
	for _, kind := range h.atTimes {
		ends = append(ends, c.standIns(t, kind, h.namespace, map[string]string{"app": kind}, image))
	}
	for _, o := range n.Outsiders {
		switch {
		case o.Name == "api-server":
			ends = append(ends, end{name: o.Name, node: c.apiServer(t)})
		case o.Name == "kubelet":
			ends = append(ends, end{name: o.Name, node: c.kubelets(t)})
		case o.Namespace == "": // nobody outside of the cluster answers here
		case len(o.Ports) > 0: // it has servers
			ends = append(ends, c.debugged(t, o.Name, o.Namespace, labels.FormatLabels(o.Labels), container, image))
		default:
			ends = append(ends, c.standIns(t, o.Name, o.Namespace, o.Labels, image))
		}
	}
	c.awaitListeners(t, ends)
	return ends
}

// twoLoadgens makes loadgen a kind with another pod of its kind.
func (c *cluster) twoLoadgens(t *testing.T) {
	t.Helper()
	was, err := c.scale(t.Context(), "loadgen", 2)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, "scale loadgen back", func(ctx context.Context) error {
		_, err := c.scale(ctx, "loadgen", was)
		return err
	})
	c.awaitWhole(t)
}

// debugged adds a debug container to each pod of a kind. It cannot be taken out of the
// pod again, only ended.
func (c *cluster) debugged(t *testing.T, name, namespace, selector, container, image string) end {
	t.Helper()
	pods, err := c.pods(t.Context(), namespace, selector)
	if err != nil || len(pods) == 0 {
		t.Fatalf("%s: no pod with %s runs in namespace %s: %v", name, selector, namespace, err)
	}
	e := end{name: name, namespace: namespace, pods: pods, container: container}
	for i := range pods {
		p := pods[i].DeepCopy()
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, core.EphemeralContainer{EphemeralContainerCommon: core.EphemeralContainerCommon{
			Name: container, Image: image, ImagePullPolicy: core.PullIfNotPresent,
			Command: []string{"/bin/sh", "-c", listen}, SecurityContext: restricted(),
		}})
		if _, err := c.api.CoreV1().Pods(namespace).UpdateEphemeralContainers(t.Context(), p.Name, p, meta.UpdateOptions{}); err != nil {
			t.Fatalf("debug pod %s: %v", p.Name, err)
		}
		cleanup(t, "end the debug container in pod "+p.Name, func(ctx context.Context) error {
			return c.endDebug(ctx, namespace, p.Name, container)
		})
	}
	return e
}

// endDebug ends a debug container; its pod may be gone meanwhile.
func (c *cluster) endDebug(ctx context.Context, namespace, pod, container string) error {
	var last error
	for ctx.Err() == nil {
		p, err := c.api.CoreV1().Pods(namespace).Get(ctx, pod, meta.GetOptions{})
		if err != nil {
			return gone(err)
		}
		i := slices.IndexFunc(p.Status.EphemeralContainerStatuses, func(s core.ContainerStatus) bool { return s.Name == container })
		if i < 0 || p.Status.EphemeralContainerStatuses[i].State.Running == nil {
			return nil
		}
		// The shell that kills is killed with the rest, before it can say that all went well.
		_, last = c.exec(ctx, namespace, pod, container, "kill 1")
		time.Sleep(250 * time.Millisecond)
	}
	return errors.Join(ctx.Err(), last)
}

// standIns makes two pods that have only the labels of a kind.
func (c *cluster) standIns(t *testing.T, name, namespace string, labels map[string]string, image string) end {
	t.Helper()
	c.namespace(t, namespace)
	labels = maps.Clone(labels)
	labels["seatrial/proof"] = name
	e := end{name: name, namespace: namespace, container: "proof"}
	for n := range 2 {
		p := &core.Pod{
			ObjectMeta: meta.ObjectMeta{Name: fmt.Sprintf("proof-%s-%d", name, n), Namespace: namespace, Labels: labels},
			Spec: core.PodSpec{
				AutomountServiceAccountToken:  ptr(false),
				TerminationGracePeriodSeconds: ptr(int64(1)),
				ActiveDeadlineSeconds:         ptr(int64(900)),
				RestartPolicy:                 core.RestartPolicyNever,
				Containers: []core.Container{{
					Name: "proof", Image: image, ImagePullPolicy: core.PullIfNotPresent,
					Command: []string{"/bin/sh", "-c", listen}, SecurityContext: restricted(),
					// Never ready: no Service sends it anything.
					ReadinessProbe: &core.Probe{ProbeHandler: core.ProbeHandler{Exec: &core.ExecAction{Command: []string{"false"}}}, PeriodSeconds: 60},
				}},
			},
		}
		if _, err := c.api.CoreV1().Pods(namespace).Create(t.Context(), p, meta.CreateOptions{}); err != nil {
			t.Fatalf("stand in for %s: %v", name, err)
		}
		cleanup(t, "delete pod "+p.Name, func(ctx context.Context) error { return c.deletePod(ctx, namespace, p.Name) })
	}
	c.eventually(t, time.Minute, "pods stand in for "+name, func(ctx context.Context) error {
		pods, err := c.pods(ctx, namespace, "seatrial/proof="+name)
		if err == nil && len(pods) < 2 {
			err = fmt.Errorf("%d of 2 run", len(pods))
		}
		e.pods = pods
		return err
	})
	return e
}

func (c *cluster) deletePod(ctx context.Context, namespace, name string) error {
	err := c.api.CoreV1().Pods(namespace).Delete(ctx, name, meta.DeleteOptions{})
	for err == nil && ctx.Err() == nil {
		if _, err = c.api.CoreV1().Pods(namespace).Get(ctx, name, meta.GetOptions{}); err == nil {
			time.Sleep(200 * time.Millisecond)
		}
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.Join(err, ctx.Err())
}

// namespace makes one that is not there, for the time of the test.
func (c *cluster) namespace(t *testing.T, name string) {
	t.Helper()
	_, err := c.api.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name}}, meta.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return
	case err != nil:
		t.Fatalf("make namespace %s: %v", name, err)
	}
	cleanup(t, "delete namespace "+name, func(ctx context.Context) error {
		if err := c.api.CoreV1().Namespaces().Delete(ctx, name, meta.DeleteOptions{}); err != nil {
			return err
		}
		for {
			if _, err := c.api.CoreV1().Namespaces().Get(ctx, name, meta.GetOptions{}); apierrors.IsNotFound(err) {
				return nil
			} else if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(250 * time.Millisecond)
		}
	})
}

// awaitListeners waits until every container from which is connected runs.
func (c *cluster) awaitListeners(t *testing.T, ends []end) {
	t.Helper()
	c.eventually(t, 2*time.Minute, "all containers to connect from run", func(ctx context.Context) error {
		for _, e := range ends {
			for _, pod := range e.pods {
				p, err := c.api.CoreV1().Pods(e.namespace).Get(ctx, pod.Name, meta.GetOptions{})
				if err != nil {
					return err
				}
				all := slices.Concat(p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses)
				i := slices.IndexFunc(all, func(s core.ContainerStatus) bool { return s.Name == e.container })
				if i < 0 || all[i].State.Running == nil {
					return fmt.Errorf("container %s of pod %s does not run", e.container, p.Name)
				}
			}
		}
		return nil
	})
}

// ports lists what is tried of a pod: every port that it names, and nobody's. Of UDP only
// DNS, as nothing else would answer the question that is asked.
func ports(p *core.Pod) []string {
	all := []string{nobody}
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			name := fmt.Sprint(port.ContainerPort)
			if port.Protocol == core.ProtocolUDP {
				name += "/udp"
			}
			if port.Protocol != core.ProtocolUDP || port.ContainerPort == 53 {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
