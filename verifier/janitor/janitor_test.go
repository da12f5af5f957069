package janitor_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/verifier/janitor"
	"seatrial/verifier/kube/bench"
	"seatrial/verifier/kube/cleanup"
	"seatrial/verifier/kube/lease"
)

func TestMain(m *testing.M) { bench.Main(m) }

// promise is what is promised: so long after a run's death, nothing of it is left.
const promise = 30 * time.Second

func TestOrphansAreThoseWhoseRunDoesNotHoldTheLiveLease(t *testing.T) {
	chaos := func(name string, labels map[string]string) client.Object {
		return &v1alpha1.PodChaos{ObjectMeta: meta.ObjectMeta{Name: name, Labels: labels}}
	}
	all := []client.Object{
		chaos("a's", map[string]string{lease.Label: "a"}), chaos("b's", map[string]string{lease.Label: "b"}),
		chaos("nobody's", map[string]string{lease.Label: ""}), chaos("somebody else's", nil),
		chaos("somebody else's, too", map[string]string{"seatrial/experiment": "a"}),
	}
	for name, c := range map[string]struct {
		view lease.View
		want string
	}{
		"a lives":             {lease.View{Holder: "a", Live: true}, "b's, nobody's"},
		"b lives":             {lease.View{Holder: "b", Live: true}, "a's, nobody's"},
		"a is dead":           {lease.View{Holder: "a"}, "a's, b's, nobody's"},
		"another one lives":   {lease.View{Holder: "c", Live: true}, "a's, b's, nobody's"},
		"nobody holds it":     {lease.View{}, "a's, b's, nobody's"},
		"one with a's prefix": {lease.View{Holder: "a-2", Live: true}, "a's, b's, nobody's"},
	} {
		var got []string
		for _, o := range janitor.Orphans(all, c.view) {
			got = append(got, o.GetName())
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: orphans %q, want %q", name, strings.Join(got, ", "), c.want)
		}
	}
}

// TestThePromiseHoldsWheneverARunDies: by virtual time, for deaths at all moments
// between two looks and two renewals, and a fault that Chaos Mesh never takes back.
func TestThePromiseHoldsWheneverARunDies(t *testing.T) {
	for offset := time.Duration(0); offset < 5*time.Second; offset += 250 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse()
			j := h.janitor(t)
			kill := live(t, h, "doomed")
			chaos, pod := stuck(t, h, "seatrial", "orphan", "doomed")
			time.Sleep(time.Minute + offset)
			if !there(t, h, chaos) || !there(t, h, pod) {
				t.Fatal("the experiment of a live run was removed")
			}
			if got := metric(j, "janitor_lease_held"); got != "1" {
				t.Errorf("the lease is held, says %q", got)
			}
			kill()
			died := time.Now()
			for there(t, h, chaos) || there(t, h, pod) {
				if time.Since(died) > promise-cleanup.Grace {
					t.Fatalf("died %s after a minute: %s later something is left", offset, time.Since(died))
				}
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Second)
			if got := metric(j, `janitor_removed_total{forced="true"}`); got != "1" {
				t.Errorf("removed by force: %q, want 1", got)
			}
			if got := metric(j, "janitor_lease_held"); got != "0" {
				t.Errorf("the lease is free, says %q", got)
			}
			if got := events(t, h, chaos); !slices.Equal(got, []string{"OrphanForced"}) {
				t.Errorf("events %q", got)
			}
		})
	}
}

func TestOnlyOrphansAreTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.janitor(t)
		kill := live(t, h, "living")
		defer kill()
		foreign, foreignPod := stuck(t, h, "seatrial", "foreign", "")
		mine, _ := stuck(t, h, "seatrial", "mine", "living")
		elsewhere, _ := stuck(t, h, "other", "elsewhere", "dead")
		orphan, _ := stuck(t, h, "seatrial", "orphan", "dead")
		time.Sleep(5 * time.Minute)
		for _, o := range []client.Object{foreign, foreignPod, mine, elsewhere} {
			if !there(t, h, o) {
				t.Errorf("%s was removed", o.GetName())
			}
		}
		if there(t, h, orphan) {
			t.Error("the orphan is there")
		}
	})
}

func TestAReleasedLeaseOrphansAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		held, err := lease.Hold(t.Context(), h, "seatrial-verifier", "run")
		if err != nil {
			t.Fatal(err)
		}
		j := h.janitor(t)
		chaos, _ := stuck(t, h, "seatrial", "forgotten", "run")
		chaos.Finalizers = nil
		if err := h.Update(t.Context(), chaos); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := held.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(janitor.LookEvery + time.Second)
		if there(t, h, chaos) || metric(j, `janitor_removed_total{forced="false"}`) != "1" {
			t.Error("what a run forgot is not removed, or not counted")
		}
		if got := events(t, h, chaos); !slices.Equal(got, []string{"OrphanRemoved"}) {
			t.Errorf("events %q", got)
		}
	})
}

// TestAnAPIServerThatIsAwayIsAskedAgain, and nothing is removed by guess meanwhile.
func TestAnAPIServerThatIsAwayIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		j := h.janitor(t)
		time.Sleep(5 * time.Second)
		if status(j, "/readyz") != http.StatusOK {
			t.Error("not ready, though it looks")
		}
		h.down.Store(true)
		time.Sleep(2 * time.Minute)
		if status(j, "/readyz") == http.StatusOK || status(j, "/healthz") != http.StatusOK {
			t.Errorf("without an API server: ready %d, alive %d; want not ready, but alive", status(j, "/readyz"), status(j, "/healthz"))
		}
		if got := metric(j, "janitor_look_errors_total"); got == "0" || got == "" {
			t.Errorf("errors counted: %q", got)
		}
		h.down.Store(false)
		orphan, _ := stuck(t, h, "seatrial", "orphan", "dead")
		time.Sleep(promise)
		if there(t, h, orphan) || status(j, "/readyz") != http.StatusOK {
			t.Error("the orphan is there, or the janitor is not ready, though the API server is back")
		}
	})
}

func TestTwoJanitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		a := h.janitor(t)
		time.Sleep(700 * time.Millisecond)
		b := h.janitor(t)
		orphan, _ := stuck(t, h, "seatrial", "orphan", "dead")
		time.Sleep(2 * time.Minute)
		if there(t, h, orphan) {
			t.Error("the orphan is there")
		}
		for _, j := range []*janitor.Janitor{a, b} {
			if got := metric(j, "janitor_remove_errors_total"); got != "0" {
				t.Errorf("errors: %q", got)
			}
		}
	})
}

// TestWhatCannotBeRemovedIsTold: again and again, and does not keep others.
func TestWhatCannotBeRemovedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		j := h.janitor(t)
		lonely, pod := stuck(t, h, "seatrial", "lonely", "dead")
		pod.OwnerReferences = nil
		if err := h.Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		other, _ := stuck(t, h, "seatrial", "other", "dead")
		time.Sleep(time.Minute)
		if !there(t, h, lonely) || !there(t, h, pod) || there(t, h, other) {
			t.Error("want the lonely one kept and the other one removed")
		}
		if got := events(t, h, lonely); !slices.Equal(got, []string{"OrphanStuck"}) {
			t.Errorf("events %q", got)
		}
		if got := metric(j, "janitor_remove_errors_total"); got == "0" || metric(j, "janitor_orphans") != "1" {
			t.Errorf("errors %q, orphans %q; want some, and 1", got, metric(j, "janitor_orphans"))
		}
	})
}

func TestAnIncompleteConfigIsRefused(t *testing.T) {
	good := janitor.Config{Client: newHouse(), Namespaces: []string{"n"}, LeaseNamespace: "l", Log: slog.Default()}
	if _, err := janitor.New(good); err != nil {
		t.Errorf("a complete one: %v", err)
	}
	for _, spoil := range []func(*janitor.Config){
		func(c *janitor.Config) { c.Client = nil }, func(c *janitor.Config) { c.Log = nil },
		func(c *janitor.Config) { c.Namespaces = nil }, func(c *janitor.Config) { c.Namespaces = []string{"n", ""} },
		func(c *janitor.Config) { c.LeaseNamespace = "" },
	} {
		c := good
		spoil(&c)
		if _, err := janitor.New(c); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
}

// TestOnARealServer: the same story in real time, with kinds that the server knows.
func TestOnARealServer(t *testing.T) {
	b := bench.Start(t)
	for _, ns := range []string{"seatrial", "seatrial-verifier"} {
		b.EnsureNamespace(t, ns)
	}
	j := start(t, b.Client)
	kill := live(t, b.Client, "doomed")
	chaos, pod := stuck(t, b.Client, "seatrial", "orphan", "doomed")
	foreign, _ := stuck(t, b.Client, "seatrial", "foreign", "")
	time.Sleep(6 * time.Second)
	if !there(t, b.Client, chaos) {
		t.Fatal("the experiment of a live run was removed")
	}
	kill()
	died := time.Now()
	for there(t, b.Client, chaos) || there(t, b.Client, pod) {
		if time.Since(died) > promise {
			t.Fatalf("%s after the death something is left", promise)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("removed %s after the death", time.Since(died).Round(100*time.Millisecond))
	time.Sleep(time.Second)
	if got := events(t, b.Client, chaos); !slices.Equal(got, []string{"OrphanForced"}) || !there(t, b.Client, foreign) {
		t.Errorf("events %q; the one without a run is there: %v", got, there(t, b.Client, foreign))
	}
	if metric(j, "janitor_look_errors_total") != "0" {
		t.Error("there were errors while looking")
	}
}
