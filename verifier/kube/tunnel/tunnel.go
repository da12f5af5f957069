// Package tunnel reaches the pods and services of a cluster from wherever the
// verifier runs: from inside of the cluster straight, from outside through the API
// server, as `kubectl port-forward` does. That way no network policy and no fault
// of the pods' network is in between.
//
// It must not know what is spoken over a connection, nor why.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Dialer dials into a cluster. Addresses are
//
//	SERVICE.NAMESPACE:PORT     a pod of the Service that is ready, any; PORT is the Service's
//	POD.pod.NAMESPACE:PORT     this pod; PORT is the container's
type Dialer struct {
	// Client reads Services and pods.
	Client client.Reader
	// Config is how the API server is reached.
	Config *rest.Config
	// Inside says that this process runs in the cluster.
	Inside bool
}

// Transport returns an HTTP transport over the Dialer. Its connections are kept
// for half a minute; those to a pod that ends are noticed and replaced.
func (d *Dialer) Transport() *http.Transport {
	return &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second}
}

// DialContext opens a connection. The error names the Service or pod, and what is
// wrong with it.
func (d *Dialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	t, err := parse(address)
	if err != nil {
		return nil, err
	}
	conn, err := d.dial(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", t, err)
	}
	return conn, nil
}

func (d *Dialer) dial(ctx context.Context, t target) (net.Conn, error) {
	if d.Inside && !t.pod {
		return new(net.Dialer).DialContext(ctx, "tcp", t.inside())
	}
	pod, port, err := d.choose(ctx, t)
	if err != nil {
		return nil, err
	}
	if d.Inside {
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)))
	}
	return forward(ctx, d.Config, pod.Namespace, pod.Name, port)
}

// target is who is to be reached.
type target struct {
	name, namespace string
	pod             bool // name is a pod's, not a Service's
	port            int
}

func (t target) String() string {
	if t.pod {
		return fmt.Sprintf("port %d of pod %s/%s", t.port, t.namespace, t.name)
	}
	return fmt.Sprintf("service %s/%s:%d", t.namespace, t.name, t.port)
}

// inside is a Service's address for who is in the cluster.
func (t target) inside() string {
	return net.JoinHostPort(t.name+"."+t.namespace+".svc", strconv.Itoa(t.port))
}

func parse(address string) (target, error) {
	wrong := fmt.Errorf("address %q: want SERVICE.NAMESPACE:PORT or POD.pod.NAMESPACE:PORT", address)
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		return target{}, wrong
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		return target{}, wrong
	}
	parts := strings.Split(host, ".")
	t := target{name: parts[0], namespace: parts[len(parts)-1], port: int(port)}
	switch {
	case len(parts) == 2:
	case len(parts) == 3 && parts[1] == "pod":
		t.pod = true
	default:
		return target{}, wrong
	}
	if t.name == "" || t.namespace == "" {
		return target{}, wrong
	}
	return t, nil
}

// Validate says what is wrong with an address SERVICE.NAMESPACE:PORT.
func Validate(address string) error {
	_, err := parse(address)
	return err
}

// choose finds the pod to speak to, and its port.
func (d *Dialer) choose(ctx context.Context, t target) (*core.Pod, int, error) {
	key := client.ObjectKey{Namespace: t.namespace, Name: t.name}
	if t.pod {
		var pod core.Pod
		if err := d.Client.Get(ctx, key, &pod); err != nil {
			return nil, 0, err
		}
		return &pod, t.port, nil
	}
	service, pods, err := d.ready(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	pod := &pods[rand.IntN(len(pods))]
	port, err := portOf(service, t.port, pod)
	return pod, port, err
}

// Endpoints are the addresses, for DialContext, of every ready pod of the Service
// that address names; at least one, or the error says why there is none.
func (d *Dialer) Endpoints(ctx context.Context, address string) ([]string, error) {
	t, err := parse(address)
	if err != nil || t.pod {
		return []string{address}, err
	}
	service, pods, err := d.ready(ctx, client.ObjectKey{Namespace: t.namespace, Name: t.name})
	if err != nil {
		return nil, fmt.Errorf("find the pods of %s: %w", t, err)
	}
	var all []string
	for i := range pods {
		port, err := portOf(service, t.port, &pods[i])
		if err != nil {
			return nil, fmt.Errorf("find the pods of %s: %w", t, err)
		}
		all = append(all, net.JoinHostPort(pods[i].Name+".pod."+t.namespace, strconv.Itoa(port)))
	}
	slices.Sort(all)
	return all, nil
}

// ready reads a Service and those of its pods that are ready and stay, at least one.
func (d *Dialer) ready(ctx context.Context, key client.ObjectKey) (*core.Service, []core.Pod, error) {
	var service core.Service
	if err := d.Client.Get(ctx, key, &service); err != nil {
		return nil, nil, err
	}
	if len(service.Spec.Selector) == 0 {
		return nil, nil, errors.New("it selects no pods")
	}
	var pods core.PodList
	if err := d.Client.List(ctx, &pods, client.InNamespace(key.Namespace), client.MatchingLabels(service.Spec.Selector)); err != nil {
		return nil, nil, err
	}
	n := len(pods.Items)
	ready := slices.DeleteFunc(pods.Items, func(p core.Pod) bool { return p.DeletionTimestamp != nil || !isReady(&p) })
	if len(ready) == 0 {
		return nil, nil, fmt.Errorf("none of its %d pods is ready", n)
	}
	return &service, ready, nil
}

func isReady(pod *core.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == core.PodReady {
			return c.Status == core.ConditionTrue
		}
	}
	return false
}

// portOf is the port of the pod behind a port of its Service.
func portOf(service *core.Service, port int, pod *core.Pod) (int, error) {
	for _, p := range service.Spec.Ports {
		if int(p.Port) != port {
			continue
		}
		switch {
		case p.TargetPort.Type == intstr.String:
			return namedPort(pod, p.TargetPort.StrVal)
		case p.TargetPort.IntVal != 0:
			return int(p.TargetPort.IntVal), nil
		}
		return port, nil
	}
	return 0, fmt.Errorf("it has no port %d", port)
}

func namedPort(pod *core.Pod, name string) (int, error) {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return int(p.ContainerPort), nil
			}
		}
	}
	return 0, fmt.Errorf("pod %s has no port called %s", pod.Name, name)
}
