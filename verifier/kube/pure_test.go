package kube

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"seatrial/experiments"
	"seatrial/verifier/kube/lease"
)

func status(records ...*v1alpha1.Record) *v1alpha1.ChaosStatus {
	return &v1alpha1.ChaosStatus{Experiment: v1alpha1.ExperimentStatus{Records: records}}
}

func record(phase v1alpha1.Phase, injected, recovered int) *v1alpha1.Record {
	return &v1alpha1.Record{Id: "ns/pod", Phase: phase, InjectedCount: injected, RecoveredCount: recovered}
}

func TestInForceAndRecovered(t *testing.T) {
	const wait, undoing = "Not Injected/Wait", "Injected/Wait"
	lying := status(record(v1alpha1.NotInjected, 0, 0))
	lying.Conditions = []v1alpha1.ChaosCondition{
		{Type: v1alpha1.ConditionAllRecovered, Status: core.ConditionTrue}, {Type: v1alpha1.ConditionAllInjected, Status: core.ConditionTrue},
	}
	for name, c := range map[string]struct {
		status             *v1alpha1.ChaosStatus
		inForce, recovered bool
	}{
		"nothing selected yet":                    {status(), false, false},
		"conditions say what is not so":           {lying, false, false},
		"injected":                                {status(record(v1alpha1.Injected, 1, 0)), true, false},
		"one of two":                              {status(record(v1alpha1.Injected, 1, 0), record(v1alpha1.NotInjected, 0, 0)), false, false},
		"rules not set in the pod yet":            {status(record(v1alpha1.Injected, 1, 0), record(wait, 0, 0)), false, false},
		"injected by phase, counted never":        {status(record(v1alpha1.Injected, 0, 0)), false, false},
		"being taken back":                        {status(record(undoing, 1, 0)), false, false},
		"taken back":                              {status(record(v1alpha1.NotInjected, 1, 1)), false, true},
		"taken back once, injected twice":         {status(record(v1alpha1.NotInjected, 2, 1)), false, false},
		"one taken back, the other never started": {status(record(v1alpha1.NotInjected, 1, 1), record(v1alpha1.NotInjected, 0, 0)), false, false},
		"injected again after it was taken back":  {status(record(v1alpha1.Injected, 2, 1)), true, false},
	} {
		if got := inForce(c.status); got != c.inForce {
			t.Errorf("%s: in force %v, want %v", name, got, c.inForce)
		}
		if c.inForce && halfway(c.status) || name == "rules not set in the pod yet" && !halfway(c.status) {
			t.Errorf("%s: halfway %v", name, halfway(c.status))
		}
		if got := recovered(c.status); got != c.recovered {
			t.Errorf("%s: recovered %v, want %v", name, got, c.recovered)
		}
	}
}

func TestComplaintsAreChaosMeshsOwnWords(t *testing.T) {
	r := record("Not Injected/Wait", 0, 0)
	event := func(kind v1alpha1.RecordEventType, op v1alpha1.RecordEventOperation, text string) {
		r.Events = append(r.Events, v1alpha1.RecordEvent{Type: kind, Operation: op, Message: text})
	}
	event(v1alpha1.TypeFailed, v1alpha1.Apply, "unable to flush\n  tcs: exit status 2")
	event(v1alpha1.TypeFailed, v1alpha1.Apply, "unable to flush tcs: exit status 2")
	event(v1alpha1.TypeFailed, v1alpha1.Recover, "cannot undo")
	event(v1alpha1.TypeSucceeded, v1alpha1.Apply, "")
	if got := complaints(status(r, r), v1alpha1.Apply); !slices.Equal(got, []string{"unable to flush tcs: exit status 2"}) {
		t.Errorf("%q", got)
	}
	if got, want := progress(status(r, record(v1alpha1.Injected, 1, 0))), "Chaos Mesh has injected 1 of 2, not ns/pod"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestVersions(t *testing.T) {
	says := func(label string, tags ...string) meshPod { return meshPod{"pod", tags, label} }
	pods := func(all ...meshPod) []meshPod { return all }
	for name, c := range map[string]struct {
		pods   []meshPod
		stated string
		want   string // or a part of the error
	}{
		"by the label":                      {pods(says("2.8.3", "dev")), "", "2.8.3"},
		"by the image":                      {pods(says("", "v2.7.3")), "", "2.7.3"},
		"too old":                           {pods(says("", "2.7.2")), "", "CVE-2025-59358"},
		"what it says of itself counts":     {pods(says("", "2.7.2")), "2.8.0", "CVE-2025-59361"},
		"ten is more than seven":            {pods(says("2.10.0")), "", "2.10.0"},
		"a commit after a release":          {pods(says("2.8.5-0.20260902003049-47411975a8cb", "dev")), "", "2.8.5-0.20260902003049-47411975a8cb"},
		"a candidate of a later one":        {pods(says("", "v3.0.0-rc.1")), "", "3.0.0-rc.1"},
		"a candidate of the oldest":         {pods(says("", "v2.7.3-rc.1")), "", "Chaos Mesh 2.7.3-rc.1 lets"},
		"an older image than the chart":     {pods(says("2.8.4", "v2.7.0")), "", "Chaos Mesh 2.7.0 lets"},
		"a newer image than the chart":      {pods(says("2.7.0", "v2.8.4")), "", "2.8.4"},
		"an older daemon":                   {pods(says("2.8.4", "v2.8.4"), says("2.8.4", "v2.8.4"), says("2.8.4", "v2.7.2")), "", "Chaos Mesh 2.7.2 lets"},
		"the oldest of several":             {pods(says("", "v2.9.0"), says("", "v2.8.1"), says("", "v2.8.3")), "", "2.8.1"},
		"the oldest image of a pod":         {pods(says("", "v2.9.0", "v2.7.1")), "", "Chaos Mesh 2.7.1 lets"},
		"a build":                           {pods(says("0.0.0", "latest")), "", `(pod pod has images tagged ["latest"] and the label "0.0.0"); if it is 2.7.3 or later, say which with --chaos-mesh-version`},
		"a build, stated":                   {pods(says("0.0.0", "dev")), "2.8.3", "2.8.3 (as stated)"},
		"one that tells, one that does not": {pods(says("", "v2.8.0"), says("", "dev")), "", "does not tell its version"},
		"the same, stated as newer":         {pods(says("", "v2.8.0"), says("", "dev")), "2.8.3", "2.8.0"},
		"the same, stated as older":         {pods(says("", "v2.8.0"), says("", "dev")), "2.7.4", "2.7.4 (as stated)"},
		"stated as too old":                 {pods(says("", "dev")), "2.6.0", "CVE-2025-59360"},
		"stated as no version":              {pods(says("", "dev")), "newest", "want a version such as"},
		"nobody":                            {nil, "", "does not tell its version"},
		"no versions":                       {pods(says("2.8", "2.8.3.1", "99999999999999999999.0.0")), "", "does not tell"},
	} {
		got, err := acceptable(c.pods, c.stated)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || err == nil && got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	pod := core.Pod{Spec: core.PodSpec{Containers: []core.Container{{Name: "chaos-daemon", Image: "r/chaos-daemon:v2.8.4"}, {Name: "istio-proxy", Image: "proxy:1.20.0"}}}}
	if got := meshPodOf(&pod).tags; !slices.Equal(got, []string{"v2.8.4"}) {
		t.Errorf("tags %q: somebody else's container has versions of its own", got)
	}
	for image, want := range map[string]string{
		"registry:5000/a/b": "", "registry:5000/a/b:v1": "v1", "b:v1@sha256:00": "v1", "b@sha256:00": "", "b": "",
	} {
		if got := tagOf(image); got != want {
			t.Errorf("tag of %s: %q, want %q", image, got, want)
		}
	}
}

func TestChangesOfVictims(t *testing.T) {
	before := map[string]life{
		"a": {"1", map[string]int32{"x": 0, "y": 2}}, "b": {"2", nil}, "c": {"3", nil}, "d": {"4", map[string]int32{"x": 1}},
	}
	after := map[string]life{
		"a": {"1", map[string]int32{"x": 1, "y": 4}}, "b": {"9", nil}, "d": {"4", map[string]int32{"x": 1}}, "e": {"5", nil},
	}
	if got, want := strings.Join(changes(before, after), "; "), "a/x restarted once; a/y restarted 2 times; b was replaced; c is gone"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if struck(before, after) {
		t.Error("d is as it was: not every victim was struck")
	}
	delete(before, "d")
	if !struck(before, after) {
		t.Error("every victim was struck")
	}
	if struck(nil, after) {
		t.Error("no victim cannot be struck")
	}
}

func TestWhatBecameOfVictims(t *testing.T) {
	before := map[string]life{"a": {"1", map[string]int32{"x": 1, "y": 2}}, "b": {"2", map[string]int32{"x": 0}}, "c": {"3", nil}}
	after := map[string]life{"a": {"1", map[string]int32{"x": 3, "y": 2}}, "b": {"9", map[string]int32{"x": 4}}, "late": {"5", nil}}
	got := victimPods([]string{"a", "b", "c", "late"}, before, after)
	want := []VictimPod{
		{Name: "a", UIDBefore: "1", UIDAfter: "1", Restarts: map[string]int{"x": 2}},
		{Name: "b", UIDBefore: "2", UIDAfter: "9"}, // another pod's restarts are none of the victim's
		{Name: "c", UIDBefore: "3"},
		{Name: "late", UIDAfter: "5"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestWhatIsAskedOfKernels(t *testing.T) {
	on := func(name, node string) experiments.Pod { return experiments.Pod{Name: name, Node: node} }
	victims, targets := []experiments.Pod{on("a", "1"), on("b", "2"), on("c", "1")}, []experiments.Pod{on("d", "3")}
	for name, c := range map[string]struct {
		spec v1alpha1.NetworkChaosSpec
		want string
	}{
		"delay":                    {v1alpha1.NetworkChaosSpec{Action: v1alpha1.DelayAction, Direction: v1alpha1.To}, "netem on 1: a, netem on 2: b"},
		"bandwidth both ways":      {v1alpha1.NetworkChaosSpec{Action: v1alpha1.BandwidthAction, Direction: v1alpha1.Both}, "tbf on 1: a, tbf on 2: b, tbf on 3: d"},
		"what the targets send":    {v1alpha1.NetworkChaosSpec{Action: v1alpha1.LossAction, Direction: v1alpha1.From}, "netem on 3: d"},
		"a partition asks nothing": {v1alpha1.NetworkChaosSpec{Action: v1alpha1.PartitionAction, Direction: v1alpha1.Both}, ""},
	} {
		all := tasks(&experiments.Resolution{Object: &v1alpha1.NetworkChaos{Spec: c.spec}, Victims: victims, Targets: targets})
		var got []string
		for _, k := range inOrder(all) {
			got = append(got, k.String()+": "+all[k].Name)
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	if all := tasks(&experiments.Resolution{Object: &v1alpha1.StressChaos{}, Victims: victims}); len(all) > 0 {
		t.Errorf("stress: %v", all)
	}
}

// TestAProbeGoesTheExperimentsWay and harms nobody.
func TestAProbeGoesTheExperimentsWay(t *testing.T) {
	for name, latency := range map[string]string{"worker-valkey-delay": "1ms", "api-nats-loss": "1ms", "api-nats-bandwidth": ""} {
		e, err := experiments.Embedded().Get(name)
		if err != nil {
			t.Fatal(err)
		}
		e = relocate(e, "ns")
		var pods []experiments.Pod
		for _, app := range []string{"api", "worker", "nats", "valkey"} {
			for i := range 2 {
				pods = append(pods, experiments.Pod{Name: fmt.Sprint(app, i), Namespace: "ns", Labels: map[string]string{appLabel: app}, Node: "node"})
			}
		}
		r, err := e.Resolve(pods, nil, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		f := &Fault{bed: &Testbed{cfg: Config{Run: "r"}}, exp: e, rounds: []*round{{resolution: r}}}
		for _, victim := range []experiments.Pod{r.Victims[1], r.Targets[0]} {
			p, err := f.mild(victim)
			if err != nil {
				t.Fatal(err)
			}
			spec := p.rounds[0].object.(*v1alpha1.NetworkChaos).Spec
			if got := spec.Selector.Pods["ns"]; !slices.Equal(got, []string{victim.Name}) || len(spec.Target.Selector.Pods["ns"]) != 1 || slices.Equal(got, spec.Target.Selector.Pods["ns"]) {
				t.Errorf("%s in %s: from %v to %v", name, victim.Name, got, spec.Target.Selector.Pods)
			}
			if latency != "" && (spec.Delay == nil || spec.Delay.Latency != latency) || spec.Loss != nil || (spec.Bandwidth == nil) != (latency != "") {
				t.Errorf("%s: %+v", name, spec.TcParameter)
			}
			if spec.Direction != v1alpha1.To || *spec.Duration != (probeFor+spare).String() || p.rounds[0].object.GetLabels()[lease.Label] != "r" {
				t.Errorf("%s: %+v", name, spec)
			}
		}
		if *r.Object.(*v1alpha1.NetworkChaos).Spec.Duration != e.Duration.String() || len(r.Object.(*v1alpha1.NetworkChaos).Spec.Selector.Pods["ns"]) != 2 {
			t.Error("the experiment itself was changed")
		}
	}
}

func TestEveryKindThatBreaksPodsIsLookedFor(t *testing.T) {
	if got := breaking(); len(got) != len(kinds) || !slices.Contains(got, v1alpha1.KindTimeChaos) || !slices.Contains(got, v1alpha1.KindDNSChaos) {
		t.Errorf("%q of %q", got, kinds)
	}
}

func TestMarksOfAFaultInItsVictims(t *testing.T) {
	whole := core.PodStatus{Phase: core.PodRunning, Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}}}
	pods := []core.Pod{
		{ObjectMeta: meta.ObjectMeta{Name: "a", Annotations: map[string]string{"chaos-mesh-worker-down-abcde-pod-failure-worker-normal-image": "x", "other": "y"}}, Status: whole},
		{ObjectMeta: meta.ObjectMeta{Name: "b", Annotations: map[string]string{"chaos-mesh-older-pod-failure": "x"}}, Status: whole},
		{ObjectMeta: meta.ObjectMeta{Name: "bystander"}},
	}
	got := marks(pods, []string{"a", "b"}, "worker-down-abcde")
	if len(got) != 1 || !strings.Contains(got[0], "pod a still has the annotation") {
		t.Errorf("%q", got)
	}
	pods[1].Status.Conditions[0].Status = core.ConditionFalse // shared: both are not ready now
	if got := marks(pods, []string{"b"}, "x"); len(got) != 1 || !strings.HasPrefix(got[0], "pod b is not ready") {
		t.Errorf("%q", got)
	}
}

func TestAnExperimentMovesToItsNamespace(t *testing.T) {
	e, err := experiments.Embedded().Get("nats-partition")
	if err != nil {
		t.Fatal(err)
	}
	moved := relocate(e, "elsewhere")
	c := moved.Object.(*v1alpha1.NetworkChaos)
	if c.Namespace != "elsewhere" || c.Spec.Selector.Namespaces[0] != "elsewhere" || c.Spec.Target.Selector.Namespaces[0] != "elsewhere" {
		t.Errorf("%+v", c)
	}
	if e.Object.GetNamespace() != "seatrial" || e.Object.(*v1alpha1.NetworkChaos).Spec.Selector.Namespaces[0] != "seatrial" {
		t.Error("the experiment itself was changed, which others share")
	}
}

func TestEveryExperimentSuitsAndKeepsItsMeaning(t *testing.T) {
	for _, e := range experiments.Embedded().All() {
		if err := suits(e); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if e.Duration == 0 {
			continue
		}
		object := e.Object.DeepCopyObject().(v1alpha1.InnerObject)
		if err := experiments.SetDuration(object, e.Duration+spare); err != nil {
			t.Fatal(err)
		}
		until, left, err := object.DurationExceeded(object.GetCreationTimestamp().Add(e.Duration))
		if until || err != nil || left != spare {
			t.Errorf("%s: %v after its duration it ends in %v, %v; want %v", e.Name, until, left, err, spare)
		}
	}
}

func TestUnsuitableExperiments(t *testing.T) {
	network := &v1alpha1.NetworkChaos{}
	network.Spec.RemoteCluster = "far"
	for name, c := range map[string]struct {
		exp  *experiments.Experiment
		want string
	}{
		"a schedule":       {&experiments.Experiment{Kind: "Schedule", Object: &v1alpha1.Schedule{}}, "seatrial.dev/repeat"},
		"a cloud":          {&experiments.Experiment{Kind: "AWSChaos", Object: &v1alpha1.AWSChaos{}}, "breaks no pods"},
		"a remote cluster": {&experiments.Experiment{Kind: "NetworkChaos", Object: network}, "remoteCluster far"},
	} {
		if err := suits(c.exp); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestNamesAreUniqueAndShort(t *testing.T) {
	one, two := uniqueName("worker-kill"), uniqueName("worker-kill")
	if one == two || !strings.HasPrefix(one, "worker-kill-") {
		t.Errorf("%s, %s", one, two)
	}
	if long := uniqueName(strings.Repeat("a-", 60)); len(long) > 56 || strings.Contains(long, "--") {
		t.Errorf("%s", long)
	}
}

// TestTheRightsInTheDocumentation: the Roles of docs/kubernetes.md are what rules says.
func TestTheRightsInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```yaml\n")
	block, _, closed := strings.Cut(block, "```")
	if !ok || !closed {
		t.Fatal("docs/kubernetes.md has no block of Roles")
	}
	var documented, wanted []string
	places := []place{inSystem, inMonitoring, inChaosMesh, inVerifier}
	for i, doc := range strings.Split(block, "---\n") {
		var role struct {
			Rules []struct{ APIGroups, Resources, Verbs []string }
		}
		if err := yaml.UnmarshalStrict([]byte(doc), &role); err != nil || i >= len(places) {
			t.Fatalf("document %d: %v", i, err)
		}
		for _, r := range role.Rules {
			documented = append(documented, strings.Join([]string{string(places[i]), strings.Join(r.APIGroups, ","), strings.Join(r.Resources, ","), strings.Join(r.Verbs, ",")}, " "))
		}
	}
	for _, r := range rules {
		wanted = append(wanted, strings.Join([]string{string(r.place), r.group, strings.Join(r.resources, ","), strings.Join(r.verbs, ",")}, " "))
	}
	slices.Sort(documented)
	slices.Sort(wanted)
	if !slices.Equal(documented, wanted) {
		t.Errorf("documented:\n%s\nneeded:\n%s", strings.Join(documented, "\n"), strings.Join(wanted, "\n"))
	}
}

func TestEventsAreInOrderAndOfThisTrial(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) meta.Time { return meta.NewTime(now.Add(time.Duration(seconds) * time.Second)) }
	events := []core.Event{
		{LastTimestamp: at(5), Type: "Warning", Reason: "Failed", Message: "two\nlines", Count: 3, InvolvedObject: core.ObjectReference{Kind: "PodChaos", Name: "x"}},
		{EventTime: meta.NewMicroTime(now.Add(time.Second)), Type: "Normal", Reason: "Killing", Message: "m"},
		{LastTimestamp: at(-9), Reason: "Old"},
	}
	lines := strings.Split(strings.TrimSpace(eventLines(events, now)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "Killing") || !strings.Contains(lines[1], "PodChaos x  two lines  (3 times)") {
		t.Errorf("%q", lines)
	}
}

func TestOnlyTheEndOfALongLogIsKept(t *testing.T) {
	var end tail
	for range 3 * maxLog / 1024 {
		_, _ = end.Write([]byte(strings.Repeat("a", 1023) + "\n"))
	}
	_, _ = end.Write([]byte("last"))
	if got := end.bytes(); len(got) != maxLog || !strings.HasSuffix(string(got), "\nlast") {
		t.Errorf("%d bytes, ending %q", len(got), got[len(got)-8:])
	}
}

func TestErrorsInADaemonsLog(t *testing.T) {
	const at = "2026-11-23T02:51:55.315Z\t"
	log := at + `INFO	chaos-daemon	tc_server.go:1	build command	{"namespacedName": "ns/a", "error": "not one"}
` + at + `ERROR	chaos-daemon	pb.go:2	error while adding prio	{"namespacedName": "ns/a", "error": "exit status 2, msg: Error: Specified qdisc kind is unknown.\n", "errorVerbose": "long"}
a line of a stack
` + at + `ERROR	chaos-daemon	server.go:3	again	{"namespacedName": "ns/a", "error": "exit status 2, msg: Error: Specified qdisc kind is unknown.\n"}
` + at + `ERROR	chaos-daemon	server.go:3	another's	{"namespacedName": "ns/ab", "error": "x"}
` + at + `ERROR	chaos-daemon	server.go:3	not JSON	{"namespacedName": "ns/a"
`
	got := errorsAbout(log, []string{"ns/a", "ns/c"})
	if want := []string{"exit status 2, msg: Error: Specified qdisc kind is unknown."}; !slices.Equal(got, want) || !beyondKernel(got[0]) {
		t.Errorf("%q, want %q", got, want)
	}
}
