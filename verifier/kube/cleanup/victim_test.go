package cleanup

import (
	"slices"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func record(id string, phase v1alpha1.Phase, injected, recovered int, applied ...time.Time) *v1alpha1.Record {
	r := &v1alpha1.Record{Id: id, Phase: phase, InjectedCount: injected, RecoveredCount: recovered}
	for _, at := range applied {
		r.Events = append(r.Events, v1alpha1.RecordEvent{Type: v1alpha1.TypeSucceeded, Operation: v1alpha1.Apply, Timestamp: new(meta.NewTime(at))})
	}
	r.Events = append(r.Events, v1alpha1.RecordEvent{
		Type: v1alpha1.TypeFailed, Operation: v1alpha1.Recover, Timestamp: new(meta.NewTime(noon.Add(time.Hour)))})
	return r
}

func TestSuspectsAreWhatWasTouchedAndNotTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		record *v1alpha1.Record
		want   bool
	}{
		"never touched":                      {record("n/p", v1alpha1.NotInjected, 0, 0), false},
		"taken back":                         {record("n/p", v1alpha1.NotInjected, 1, 1), false},
		"taken back as often as it was done": {record("n/p", v1alpha1.NotInjected, 3, 3), false},
		"injected":                           {record("n/p", v1alpha1.Injected, 1, 0), true},
		"its recovery was begun":             {record("n/p", "Injected/Wait", 1, 0), true},
		"its injection was begun":            {record("n/p", "Not Injected/Wait", 0, 0), true},
		"injected again, and fell out":       {record("n/p", v1alpha1.NotInjected, 2, 1), true},
	} {
		if got := len(suspects([]*v1alpha1.Record{c.record})) == 1; got != c.want {
			t.Errorf("%s: suspect is %v, want %v", name, got, c.want)
		}
	}
}

func TestOnlyPodsAsOldAsTheFaultMayHaveIt(t *testing.T) {
	s := suspects([]*v1alpha1.Record{record("n/p", v1alpha1.Injected, 2, 0, noon, noon.Add(time.Minute))})[0]
	for created, want := range map[time.Time]bool{
		noon.Add(-time.Hour): true, noon.Add(30 * time.Second): true, // injected again later
		noon.Add(time.Minute): true, noon.Add(time.Minute + time.Second): true, noon.Add(time.Minute + 2*time.Second): false,
	} {
		if got := s.mayHave(created); got != want {
			t.Errorf("a pod made %s after the first injection may have the fault: %v, want %v", created.Sub(noon), got, want)
		}
	}
	unknown := suspects([]*v1alpha1.Record{record("n/p", "Not Injected/Wait", 0, 0)})[0]
	if !unknown.mayHave(noon.Add(24 * time.Hour)) {
		t.Error("when it is not known when the fault was injected, every pod may have it")
	}
}

func TestPodOfARecord(t *testing.T) {
	for id, want := range map[string]string{
		"seatrial/nats-0": "seatrial/nats-0", "seatrial/nats-0/nats": "seatrial/nats-0", "seatrial/nats-0/nats//data": "seatrial/nats-0",
		"i-0123": "", "/nats-0": "", "seatrial/": "", "": "",
	} {
		got, err := podOf(id)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("podOf(%q) = %q, %v; want %q", id, got, err, want)
		}
	}
}

func TestPatchTestsBeforeItReplaces(t *testing.T) {
	patch, needed := withoutFinalizer([]string{"a", Finalizer, "b"})
	const want = `[{"op":"test","path":"/metadata/finalizers","value":["a","chaos-mesh/records","b"]},` +
		`{"op":"replace","path":"/metadata/finalizers","value":["a","b"]}]`
	if !needed || string(patch) != want {
		t.Errorf("patch %s\nwant  %s", patch, want)
	}
	for _, have := range [][]string{nil, {}, {"a"}} {
		if patch, needed := withoutFinalizer(have); needed {
			t.Errorf("finalizers %q need the patch %s", have, patch)
		}
	}
}

func TestRulesOfAnExperimentAreKnownByTheirSource(t *testing.T) {
	obj := &v1alpha1.NetworkChaos{ObjectMeta: meta.ObjectMeta{Namespace: "n", Name: "cut"}}
	mine, other := v1alpha1.RawRuleSource{Source: "n/cut"}, v1alpha1.RawRuleSource{Source: "n/cut-2"}
	for name, c := range map[string]struct {
		spec v1alpha1.PodNetworkChaosSpec
		want bool
	}{
		"none":          {v1alpha1.PodNetworkChaosSpec{}, false},
		"another's":     {v1alpha1.PodNetworkChaosSpec{IPSets: []v1alpha1.RawIPSet{{RawRuleSource: other}}}, false},
		"a set":         {v1alpha1.PodNetworkChaosSpec{IPSets: []v1alpha1.RawIPSet{{RawRuleSource: other}, {RawRuleSource: mine}}}, true},
		"a filter":      {v1alpha1.PodNetworkChaosSpec{Iptables: []v1alpha1.RawIptables{{RawRuleSource: mine}}}, true},
		"a queue":       {v1alpha1.PodNetworkChaosSpec{TrafficControls: []v1alpha1.RawTrafficControl{{Source: "n/cut"}}}, true},
		"another queue": {v1alpha1.PodNetworkChaosSpec{TrafficControls: []v1alpha1.RawTrafficControl{{Source: "n/other"}}}, false},
	} {
		if got := mentions(&v1alpha1.PodNetworkChaos{Spec: c.spec}, obj); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if !mentions(&v1alpha1.PodIOChaos{Spec: v1alpha1.PodIOChaosSpec{Actions: []v1alpha1.IOChaosAction{{Source: "n/cut"}}}}, obj) ||
		!mentions(&v1alpha1.PodHttpChaos{Spec: v1alpha1.PodHttpChaosSpec{Rules: []v1alpha1.PodHttpChaosRule{{Source: "n/cut"}}}}, obj) {
		t.Error("rules about files and requests are not known by their source")
	}
}

// TestEveryKindIsKnownToNamePodsOrNot: a kind that is new to Chaos Mesh is to be
// looked at, not guessed.
func TestEveryKindIsKnownToNamePodsOrNot(t *testing.T) {
	pods := []string{"DNSChaos", "HTTPChaos", "IOChaos", "JVMChaos", "NetworkChaos", "PodChaos", "StressChaos", "TimeChaos"}
	others := []string{"AWSChaos", "AzureChaos", "BlockChaos", "GCPChaos", "KernelChaos", "PhysicalMachineChaos"}
	for name, kind := range v1alpha1.AllKinds() {
		if known := slices.Contains(pods, name) || slices.Contains(others, name); !known {
			t.Errorf("is a %s undone by restarting pods?", name)
		}
		if got, want := namesPods(kind.SpawnObject()), slices.Contains(pods, name); got != want {
			t.Errorf("namesPods(%s) = %v, want %v", name, got, want)
		}
	}
}
