package experiments

import (
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

func TestLastingLengthensWhatLasts(t *testing.T) {
	for name, c := range map[string]struct {
		duration time.Duration
		times    int
	}{
		"worker-down":           {10 * time.Minute, 0}, // lasts
		"worker-valkey-delay":   {10 * time.Minute, 0}, // another kind
		"worker-kill":           {0, 0},                // happens once
		"worker-container-kill": {0, 100},              // is repeated each 5 s: 121 times is more than may be
	} {
		e, err := Embedded().Get(name)
		if err != nil {
			t.Fatal(err)
		}
		before := e.Duration
		longer, err := e.Lasting(10 * time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if longer.Duration != c.duration || longer.Repeat.Times != c.times {
			t.Errorf("%s lasts %v, %d times; want %v, %d", name, longer.Duration, longer.Repeat.Times, c.duration, c.times)
		}
		if e.Duration != before {
			t.Errorf("%s itself was changed", name)
		}
	}
}

func TestLastingIsInTheObjectToo(t *testing.T) {
	e, err := Embedded().Get("worker-down")
	if err != nil {
		t.Fatal(err)
	}
	longer, err := e.Lasting(90 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got := longer.Object.(*v1alpha1.PodChaos).Spec.Duration; got == nil || *got != "1m30s" {
		t.Errorf("spec.duration is %v, want 1m30s", got)
	}
	if got := e.Object.(*v1alpha1.PodChaos).Spec.Duration; got == nil || *got != "20s" {
		t.Errorf("the original's spec.duration is %v now", *got)
	}
}

func TestCandidatesAreWhatTheSelectorMatches(t *testing.T) {
	var pods []Pod
	for _, name := range []string{"worker-1", "api-0", "worker-0"} {
		pods = append(pods, Pod{Name: name, Namespace: "seatrial", Labels: map[string]string{"app": name[:len(name)-2]}, Phase: "Running"})
	}
	e, err := Embedded().Get("worker-kill")
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Candidates(pods)
	if err != nil || len(got) != 2 || got[0].Name != "worker-0" || got[1].Name != "worker-1" {
		t.Errorf("candidates %v, %v; want both workers, sorted", got, err)
	}
	if e.Mode() != "one" {
		t.Errorf("mode %q, want one", e.Mode())
	}
}
