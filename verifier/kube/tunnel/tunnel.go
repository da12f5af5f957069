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
	var service core.Service
	if err := d.Client.Get(ctx, key, &service); err != nil {
		return nil, 0, err
	}
	if len(service.Spec.Selector) == 0 {
		return nil, 0, errors.New("it selects no pods")
	}
	var pods core.PodList
	if err := d.Client.List(ctx, &pods, client.InNamespace(t.namespace), client.MatchingLabels(service.Spec.Selector)); err != nil {
		return nil, 0, err
	}
	pod := pickReady(pods.Items)
	if pod == nil {
		return nil, 0, fmt.Errorf("none of its %d pods is ready", len(pods.Items))
	}
	port, err := portOf(&service, t.port, pod)
	return pod, port, err
}

// pickReady is any of the pods that is ready and stays; nil when none is.
func pickReady(pods []core.Pod) *core.Pod {
	var ready []*core.Pod
	for i := range pods {
		if pods[i].DeletionTimestamp == nil && isReady(&pods[i]) {
			ready = append(ready, &pods[i])
		}
	}
	if len(ready) == 0 {
		return nil
	}
	return ready[rand.IntN(len(ready))]
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
