package experiments

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// system is the pods of the local testbed, in no order, and two strangers.
func system() []Pod {
	pod := func(name, app, phase string) Pod {
		return Pod{Name: name, Namespace: "seatrial", Labels: map[string]string{"app": app}, Phase: phase, Node: "here", Containers: []string{app}}
	}
	pods := []Pod{
		pod("worker-1", "worker", "Running"), pod("worker-0", "worker", "Running"),
		pod("api-0", "api", "Running"), pod("api-1", "api", "Pending"),
		pod("nats-2", "nats", "Running"), pod("nats-0", "nats", "Running"), pod("nats-1", "nats", "Running"),
		pod("valkey-0", "valkey", "Running"), pod("valkey-1", "valkey", "Running"), pod("valkey-2", "valkey", "Failed"),
		{Name: "worker-0", Namespace: "other", Labels: map[string]string{"app": "worker"}, Phase: "Running"},
		{Name: "bare", Namespace: "other", Annotations: map[string]string{"team": "red"}, Node: "there"},
	}
	pods[2].IP = netip.MustParseAddr("198.18.0.7")
	return pods
}

func names(pods []Pod) string {
	var all []string
	for _, p := range pods {
		all = append(all, p.Namespace[:1]+"/"+p.Name)
	}
	return strings.Join(all, " ")
}

func TestSelectMeansWhatChaosMeshMeans(t *testing.T) {
	type sel = v1alpha1.PodSelectorSpec
	type gen = v1alpha1.GenericSelectorSpec
	mine := []string{"seatrial"}
	for name, test := range map[string]struct {
		sel  sel
		want string
	}{
		"labels, all namespaces": {sel{GenericSelectorSpec: gen{LabelSelectors: map[string]string{"app": "worker"}}}, "o/worker-0 s/worker-0 s/worker-1"},
		"labels and namespace":   {sel{GenericSelectorSpec: gen{Namespaces: mine, LabelSelectors: map[string]string{"app": "worker"}}}, "s/worker-0 s/worker-1"},
		"all of many labels":     {sel{GenericSelectorSpec: gen{LabelSelectors: map[string]string{"app": "worker", "tier": "x"}}}, ""},
		"any of namespaces":      {sel{GenericSelectorSpec: gen{Namespaces: []string{"other", "seatrial"}, LabelSelectors: map[string]string{"app": "worker"}}}, "o/worker-0 s/worker-0 s/worker-1"},
		"in": {sel{GenericSelectorSpec: gen{Namespaces: mine, ExpressionSelectors: v1alpha1.LabelSelectorRequirements{
			{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"api", "worker"}}}}}, "s/api-0 s/api-1 s/worker-0 s/worker-1"},
		"not in, and exists": {sel{GenericSelectorSpec: gen{ExpressionSelectors: v1alpha1.LabelSelectorRequirements{
			{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"api", "worker", "nats"}},
			{Key: "app", Operator: metav1.LabelSelectorOpExists}}}}, "s/valkey-0 s/valkey-1 s/valkey-2"},
		"does not exist":            {sel{GenericSelectorSpec: gen{ExpressionSelectors: v1alpha1.LabelSelectorRequirements{{Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist}}}}, "o/bare"},
		"annotations":               {sel{GenericSelectorSpec: gen{AnnotationSelectors: map[string]string{"team": "red"}}}, "o/bare"},
		"a pod's name":              {sel{GenericSelectorSpec: gen{FieldSelectors: map[string]string{"metadata.name": "worker-0"}}}, "o/worker-0 s/worker-0"},
		"name, namespace and phase": {sel{GenericSelectorSpec: gen{FieldSelectors: map[string]string{"metadata.name": "worker-0", "metadata.namespace": "other", "status.phase": "Running"}}}, "o/worker-0"},
		"a pod's address":           {sel{GenericSelectorSpec: gen{FieldSelectors: map[string]string{"status.podIP": "198.18.0.7"}}}, "s/api-0"},
		"no address":                {sel{GenericSelectorSpec: gen{Namespaces: []string{"other"}, FieldSelectors: map[string]string{"status.podIP": ""}}}, "o/bare o/worker-0"},
		"a pod's node":              {sel{GenericSelectorSpec: gen{FieldSelectors: map[string]string{"spec.nodeName": "there"}}}, "o/bare"},
		"nodes":                     {sel{Nodes: []string{"there", "nowhere"}}, "o/bare"},
		"any of phases":             {sel{PodPhaseSelectors: []string{"Pending", "Failed"}}, "s/api-1 s/valkey-2"},
		"not a phase":               {sel{GenericSelectorSpec: gen{Namespaces: mine, LabelSelectors: map[string]string{"app": "valkey"}}, PodPhaseSelectors: []string{"!Failed"}}, "s/valkey-0 s/valkey-1"},
		"pods alone count":          {sel{GenericSelectorSpec: gen{LabelSelectors: map[string]string{"app": "nats"}}, Pods: map[string][]string{"seatrial": {"api-0", "gone"}, "other": {"bare"}}}, "o/bare s/api-0"},
		"nothing matches":           {sel{GenericSelectorSpec: gen{LabelSelectors: map[string]string{"app": "none"}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Select(test.sel, system())
			if err != nil || names(got) != test.want {
				t.Errorf("selected %q, %v; want %q", names(got), err, test.want)
			}
		})
	}
}

func TestSelectNamesWhatItCannotKnow(t *testing.T) {
	for want, sel := range map[string]v1alpha1.PodSelectorSpec{
		"nodeSelectors":                        {NodeSelectors: map[string]string{"disk": "ssd"}},
		`fieldSelectors: "spec.restartPolicy"`: {GenericSelectorSpec: v1alpha1.GenericSelectorSpec{FieldSelectors: map[string]string{"spec.restartPolicy": "Always"}}},
		"podPhaseSelectors":                    {PodPhaseSelectors: []string{"Running=yes"}},
		"annotationSelectors":                  {GenericSelectorSpec: v1alpha1.GenericSelectorSpec{AnnotationSelectors: map[string]string{"bad key!": "x"}}},
		"labelSelectors":                       {GenericSelectorSpec: v1alpha1.GenericSelectorSpec{LabelSelectors: map[string]string{"app": "a b"}}},
	} {
		if _, err := Select(sel, system()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to name %s", err, want)
		}
	}
}

func TestPickDrawsAsManyAsTheModeSays(t *testing.T) {
	ten := make([]Pod, 10)
	for i := range ten {
		ten[i] = Pod{Namespace: "s", Name: string(rune('j' - i))}
	}
	for _, test := range []struct {
		mode, value string
		of, want    int
	}{
		{"one", "", 10, 1}, {"one", "", 1, 1}, {"all", "", 10, 10},
		{"fixed", "3", 10, 3}, {"fixed", "30", 10, 10}, {"fixed", "10", 10, 10},
		{"fixed-percent", "100", 10, 10}, {"fixed-percent", "25", 10, 2}, {"fixed-percent", "50", 3, 1},
	} {
		for seed := range uint64(20) {
			got, err := Pick(test.mode, test.value, ten[:test.of], rand.New(rand.NewPCG(seed, 0)))
			if err != nil || len(got) != test.want {
				t.Fatalf("mode %s value %q of %d: %d pods, %v; want %d", test.mode, test.value, test.of, len(got), err, test.want)
			}
			if !slices.IsSortedFunc(got, byName) || len(slices.CompactFunc(slices.Clone(got), same)) != len(got) {
				t.Fatalf("mode %s: %s is not sorted or has a pod twice", test.mode, names(got))
			}
		}
	}
}

func TestPickOfRandomMaxPercentReachesEveryShare(t *testing.T) {
	ten := make([]Pod, 10)
	for i := range ten {
		ten[i] = Pod{Namespace: "s", Name: string(rune('a' + i))}
	}
	seen := map[int]bool{}
	for seed := range uint64(300) {
		got, err := Pick("random-max-percent", "40", ten, rand.New(rand.NewPCG(seed, 1)))
		if err != nil && !strings.Contains(err.Error(), "none of 10 pods") {
			t.Fatal(err)
		}
		seen[len(got)] = true
	}
	for n := range 5 {
		if !seen[n] {
			t.Errorf("never drew %d of 10 pods with at most 40 %%", n)
		}
	}
	if len(seen) != 5 {
		t.Errorf("drew %v pods, want 0 to 4", seen)
	}
}

func TestPickIsReplayableAndFair(t *testing.T) {
	pods := system()[:7]
	shuffled := slices.Clone(pods)
	slices.Reverse(shuffled)
	count := map[string]int{}
	for seed := range uint64(700) {
		a, errA := Pick("one", "", pods, rand.New(rand.NewPCG(seed, 7)))
		b, errB := Pick("one", "", shuffled, rand.New(rand.NewPCG(seed, 7)))
		if errA != nil || errB != nil || a[0].Name != b[0].Name {
			t.Fatalf("seed %d drew %s and %s (%v, %v)", seed, names(a), names(b), errA, errB)
		}
		count[a[0].Name]++
	}
	for _, p := range pods {
		if count[p.Name] < 50 {
			t.Errorf("%s was drawn %d times of 700, want about 100", p.Name, count[p.Name])
		}
	}
}

func TestPickRefusesWhatIsNoDraw(t *testing.T) {
	pods := system()[:2]
	for _, test := range []struct {
		mode, value string
		pods        []Pod
		want        string
	}{
		{"one", "", nil, "matches no pod"},
		{"", "", pods, `mode ""; want one`},
		{"some", "", pods, `mode "some"`},
		{"one", "1", pods, `value "1" has no meaning`},
		{"fixed", "", pods, `value ""`},
		{"fixed", "0", pods, `value "0"`},
		{"fixed", "-1", pods, `value "-1"`},
		{"fixed", "1.5", pods, `value "1.5"`},
		{"fixed-percent", "0", pods, `value "0"`},
		{"fixed-percent", "101", pods, `value "101"`},
		{"fixed-percent", "25%", pods, `value "25%"`},
		{"fixed-percent", "49", pods, "none of 2 pods"},
		{"random-max-percent", "0", pods, `value "0"`},
	} {
		got, err := Pick(test.mode, test.value, test.pods, rand.New(rand.NewPCG(1, 2)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("mode %q value %q: %s, %v; want %q", test.mode, test.value, names(got), err, test.want)
		}
	}
}

func TestContainersOf(t *testing.T) {
	pod := Pod{Containers: []string{"nats", "exporter"}}
	for _, test := range []struct {
		named []string
		pod   Pod
		want  []string
	}{
		{nil, pod, []string{"nats"}},
		{[]string{"exporter", "nats", "other"}, pod, []string{"nats", "exporter"}},
		{[]string{"other"}, pod, nil},
		{nil, Pod{}, nil},
	} {
		got := ContainersOf(v1alpha1.ContainerSelector{ContainerNames: test.named}, test.pod)
		if !slices.Equal(got, test.want) {
			t.Errorf("named %q: %q, want %q", test.named, got, test.want)
		}
	}
}
