package tunnel

import (
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestAddresses(t *testing.T) {
	for address, want := range map[string]target{
		"api.seatrial:80":            {"api", "seatrial", false, 80},
		"loadgen-x.pod.seatrial:809": {"loadgen-x", "seatrial", true, 809},
		"api:80":                     {}, "api.seatrial": {}, "api.seatrial:http": {}, "api.seatrial:0": {}, "api.seatrial:70000": {},
		"a.b.c:1": {}, "a.pod.b.c:1": {}, ".b:1": {}, "a.:1": {}, "": {},
	} {
		got, err := parse(address)
		if got != want || (err == nil) != (want != target{}) {
			t.Errorf("%q: %+v, %v; want %+v", address, got, err, want)
		}
	}
	if got := (target{"api", "seatrial", false, 80}).inside(); got != "api.seatrial.svc:80" {
		t.Error(got)
	}
}

// podsAndService are a Service "api" of three pods: one is ready, one is not, one ends.
func podsAndService() []client.Object {
	pod := func(name string, ready core.ConditionStatus) *core.Pod {
		return &core.Pod{
			ObjectMeta: meta.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"app": "api"}},
			Spec:       core.PodSpec{Containers: []core.Container{{Ports: []core.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
			Status:     core.PodStatus{Conditions: []core.PodCondition{{Type: core.PodReady, Status: ready}}},
		}
	}
	ending := pod("ending", core.ConditionTrue)
	ending.Finalizers, ending.DeletionTimestamp = []string{"test/keep"}, new(meta.Now())
	return []client.Object{
		pod("ready", core.ConditionTrue), pod("unready", core.ConditionFalse), ending,
		&core.Service{ObjectMeta: meta.ObjectMeta{Namespace: "ns", Name: "api"}, Spec: core.ServiceSpec{
			Selector: map[string]string{"app": "api"},
			Ports: []core.ServicePort{
				{Port: 80, TargetPort: intstr.FromString("http")}, {Port: 81, TargetPort: intstr.FromInt32(8081)}, {Port: 82}, {Port: 83, TargetPort: intstr.FromString("other")},
			},
		}},
		&core.Service{ObjectMeta: meta.ObjectMeta{Namespace: "ns", Name: "outside"}, Spec: core.ServiceSpec{Ports: []core.ServicePort{{Port: 80}}}},
		&core.Service{ObjectMeta: meta.ObjectMeta{Namespace: "ns", Name: "empty"}, Spec: core.ServiceSpec{Selector: map[string]string{"app": "x"}, Ports: []core.ServicePort{{Port: 80}}}},
	}
}

func TestChooseAReadyPodAndItsPort(t *testing.T) {
	d := Dialer{Client: fake.NewClientBuilder().WithObjects(podsAndService()...).Build()}
	for address, want := range map[string]struct {
		port int
		err  string
	}{
		"api.ns:80": {8080, ""}, "api.ns:81": {8081, ""}, "api.ns:82": {82, ""}, "ready.pod.ns:7": {7, ""},
		"api.ns:83": {0, "no port called other"}, "api.ns:84": {0, "it has no port 84"},
		"outside.ns:80": {0, "selects no pods"}, "empty.ns:80": {0, "none of its 0 pods is ready"},
		"none.ns:80": {0, "not found"}, "none.pod.ns:80": {0, "not found"},
	} {
		to, err := parse(address)
		if err != nil {
			t.Fatal(err)
		}
		pod, port, err := d.choose(t.Context(), to)
		switch {
		case want.err != "":
			if err == nil || !strings.Contains(err.Error(), want.err) {
				t.Errorf("%s: %v, want %s", address, err, want.err)
			}
		case err != nil || port != want.port || pod.Name != "ready":
			t.Errorf("%s: port %d of %v, %v; want %d of the one that is ready", address, port, pod, err, want.port)
		}
	}
}

func TestEndpoints(t *testing.T) {
	d := Dialer{Client: fake.NewClientBuilder().WithObjects(podsAndService()...).Build()}
	got, err := d.Endpoints(t.Context(), "api.ns:80")
	if err != nil || !slices.Equal(got, []string{"ready.pod.ns:8080"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.Endpoints(t.Context(), "empty.ns:80"); err == nil || !strings.Contains(err.Error(), "service ns/empty:80") {
		t.Errorf("%v", err)
	}
}
