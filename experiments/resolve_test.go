package experiments

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/genericwebhook"
	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

func mustGet(t *testing.T, name string) *Experiment {
	t.Helper()
	e, err := Embedded().Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustParse(t *testing.T, manifest string) *Experiment {
	t.Helper()
	e, err := Parse("x.yaml", []byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

func TestResolveSplitsTheBrain(t *testing.T) {
	e := mustGet(t, "valkey-primary-partition")
	r, err := e.Resolve(system(), []string{"valkey-1", "worker-0", "elsewhere-0"}, seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	if names(r.Victims) != "s/valkey-1 s/worker-0" || names(r.Targets) != "s/valkey-0 s/valkey-2" {
		t.Errorf("victims %q, targets %q", names(r.Victims), names(r.Targets))
	}
	if got := strings.Join(r.VictimNames(), " "); got != "valkey-1 worker-0" {
		t.Errorf("victims' names %q", got)
	}
	links, err := r.Links()
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, l := range links {
		text = append(text, l.From.Name+">"+l.To.Name)
	}
	slices.Sort(text)
	want := "valkey-0>valkey-1 valkey-0>worker-0 valkey-1>valkey-0 valkey-1>valkey-2 valkey-2>valkey-1 valkey-2>worker-0 worker-0>valkey-0 worker-0>valkey-2"
	if strings.Join(text, " ") != want {
		t.Errorf("links %q, want %q", text, want)
	}
}

func TestResolveNamesThePodsInTheObject(t *testing.T) {
	e := mustGet(t, "nats-partition")
	before := e.Object.DeepCopyObject()
	r, err := e.Resolve(system(), []string{"nats-0", "nats-2"}, seeded(3))
	if err != nil {
		t.Fatal(err)
	}
	chaos := r.Object.(*v1alpha1.NetworkChaos)
	victim := r.Victims[0].Name
	if len(r.Victims) != 1 || len(r.Targets) != 2 || slices.Contains(chaos.Spec.Target.Selector.Pods["seatrial"], victim) {
		t.Errorf("victims %q, targets %q", names(r.Victims), names(r.Targets))
	}
	spec := chaos.Spec.PodSelector
	if spec.Mode != v1alpha1.AllMode || spec.Value != "" || !slices.Equal(spec.Selector.Pods["seatrial"], []string{victim}) ||
		len(spec.Selector.LabelSelectors) > 0 || !slices.Equal(spec.Selector.Namespaces, []string{"seatrial"}) {
		t.Errorf("the object's selector is %+v", spec)
	}
	if errs := genericwebhook.Validate(chaos); len(errs) > 0 {
		t.Errorf("Chaos Mesh would refuse the object: %v", errs)
	}
	if got := e.Object.(*v1alpha1.NetworkChaos); got.Spec.Mode != before.(*v1alpha1.NetworkChaos).Spec.Mode || len(got.Spec.Selector.Pods) > 0 {
		t.Error("the experiment's own object was changed")
	}
	// What is pinned selects the same pods again, whatever the seed.
	again, err := Select(spec.Selector, system())
	if err != nil || names(again) != names(r.Victims) {
		t.Errorf("the pinned selector selects %q, %v", names(again), err)
	}
}

func TestResolveIsReplayable(t *testing.T) {
	e := mustGet(t, "nats-quorum-lost")
	drawn := map[string]bool{}
	for seed := range uint64(60) {
		a, errA := e.Resolve(system(), nil, seeded(seed))
		b, errB := e.Resolve(system(), nil, seeded(seed))
		if errA != nil || errB != nil || names(a.Victims) != names(b.Victims) || len(a.Victims) != 2 {
			t.Fatalf("seed %d: %v %v", seed, errA, errB)
		}
		drawn[names(a.Victims)] = true
	}
	if len(drawn) != 3 {
		t.Errorf("drew %v, want each of the three pairs", drawn)
	}
}

func TestResolveAlwaysWithinTheSelector(t *testing.T) {
	named := []string{"nats-2", "valkey-0", "worker-1"}
	pods := append(system(), Pod{Name: "loadgen-0", Namespace: "seatrial", Labels: map[string]string{"app": "loadgen"}, Phase: "Running"})
	for _, e := range Embedded().All() {
		r, err := e.Resolve(pods, named, seeded(9))
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if len(r.Victims) == 0 {
			t.Errorf("%s has no victim", e.Name)
		}
		for _, p := range append(r.Victims, r.Targets...) {
			if p.Namespace != "seatrial" {
				t.Errorf("%s reaches %s/%s", e.Name, p.Namespace, p.Name)
			}
		}
	}
}

func TestResolveTellsWhyThereIsNoVictim(t *testing.T) {
	kill := mustGet(t, "nats-leader-kill")
	for name, test := range map[string]struct {
		e     *Experiment
		pods  []Pod
		named []string
		want  string
	}{
		"the query found none":  {kill, system(), nil, "resolve nats-leader-kill: spec.selector: the query in seatrial.dev/victims named no pod; the selector matches nats-0, nats-1, nats-2"},
		"the query found other": {kill, system(), []string{"api-0"}, "named api-0, none of which the selector matches: nats-0, nats-1, nats-2"},
		"no pods at all":        {kill, nil, []string{"nats-0"}, "resolve nats-leader-kill: spec: the selector matches no pod"},
		"no target left":        {mustGet(t, "nats-partition"), system()[4:5], []string{"nats-2"}, "resolve nats-partition: spec.target: the selector matches no pod"},
		"labels of nodes":       {mustParse(t, strings.Replace(good, "labelSelectors", "nodeSelectors", 1)), system(), nil, "spec.selector: nodeSelectors"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.e.Resolve(test.pods, test.named, seeded(1))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestResolveOfKindsThatSelectNoPods(t *testing.T) {
	e := mustParse(t, "apiVersion: chaos-mesh.org/v1alpha1\nkind: AWSChaos\nmetadata:\n  name: x\n  annotations: {seatrial.dev/in-force: up}\n"+
		"spec:\n  duration: 5s\n  action: ec2-stop\n  awsRegion: eu\n  ec2Instance: i-1\n")
	r, err := e.Resolve(system(), nil, seeded(1))
	if err != nil || len(r.Victims) != 0 || r.Object.GetName() != "x" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := r.Links(); err == nil || !strings.Contains(err.Error(), "only a NetworkChaos") {
		t.Errorf("links: %v", err)
	}
}

func TestLinksFollowTheDirection(t *testing.T) {
	target := "  target: {mode: all, selector: {labelSelectors: {app: api}}}\n"
	partition := spoil(t, good, "action: delay", "action: partition", "  delay:\n    latency: 50ms\n", "", "mode: one", "mode: all")
	with := func(manifest, direction string) string {
		return spoil(t, manifest, "mode: all", "mode: all\n  direction: "+direction)
	}
	pods := []Pod{system()[0], system()[2]} // worker-1, api-0
	for name, test := range map[string]struct{ manifest, want string }{
		"to":             {with(partition+target, "to"), "worker-1>api-0"},
		"from":           {with(partition+target, "from"), "api-0>worker-1"},
		"both":           {with(partition+target, "both"), "worker-1>api-0 api-0>worker-1"},
		"default is to":  {partition + target, "worker-1>api-0"},
		"everyone":       {with(partition, "to"), "worker-1>"},
		"from everyone":  {with(partition, "from"), ">worker-1"},
		"everyone, both": {with(partition, "both"), "worker-1> >worker-1"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := mustParse(t, test.manifest).Resolve(pods, nil, seeded(1))
			if err != nil {
				t.Fatal(err)
			}
			links, err := r.Links()
			var text []string
			for _, l := range links {
				text = append(text, l.From.Name+">"+l.To.Name)
			}
			if err != nil || strings.Join(text, " ") != test.want {
				t.Errorf("links %q, %v; want %q", text, err, test.want)
			}
		})
	}
	outside := mustParse(t, spoil(t, good, "mode: one", "mode: one\n  externalTargets: [192.0.2.1]"))
	r, err := outside.Resolve(system(), nil, seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Links(); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("links to the outside: %v", err)
	}
}
