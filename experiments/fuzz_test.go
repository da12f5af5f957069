package experiments

import (
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// FuzzParse: whatever the text, parsing ends with an experiment that the rest
// of the package can work with, or with mistakes that have a place.
func FuzzParse(f *testing.F) {
	entries, err := fs.ReadDir(manifests, ".")
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(manifests, entry.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{good, goodKill, goodStress} {
		f.Add([]byte(text))
	}
	for _, kind := range []string{"PhysicalMachineChaos", "Schedule", "Workflow", "IOChaos", "JVMChaos", "HTTPChaos", "BlockChaos"} {
		f.Add([]byte("apiVersion: chaos-mesh.org/v1alpha1\nkind: " + kind + "\nmetadata: {name: x, annotations: {seatrial.dev/in-force: up}}\nspec: {duration: 5s, mode: one, selector: {labelSelectors: {app: api}}}\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse("fuzz.yaml", data)
		if err != nil {
			mistakes, ok := err.(Mistakes)
			if !ok || len(mistakes) == 0 || e != nil {
				t.Fatalf("%v, %#v", e, err)
			}
			for _, m := range mistakes {
				if m.Line < 1 || m.What == "" || m.File != "fuzz.yaml" {
					t.Errorf("a mistake without a place: %#v", m)
				}
			}
			return
		}
		if e.Name == "" || e.Kind == "" || e.InForce == "" || e.Duration < 0 || e.OneShot && e.Duration != 0 {
			t.Errorf("accepted %+v", e)
		}
		use(t, e)
	})
}

// use does with an accepted experiment what a testbed would.
func use(t *testing.T, e *Experiment) {
	switch chaos := e.Object.(type) {
	case *v1alpha1.NetworkChaos:
		n, err := NetemOf(chaos)
		if err != nil || n.Loss < 0 || n.Loss > 1 || n.Rate < 0 || n.Delay < 0 || n == (Netem{Direction: n.Direction}) {
			t.Errorf("accepted, but reads as %+v, %v", n, err)
		}
	case *v1alpha1.StressChaos:
		if s, err := StressOf(chaos); err != nil || s == (Stress{}) {
			t.Errorf("accepted, but reads as %+v, %v", s, err)
		}
	}
	r, err := e.Resolve(system(), []string{"nats-0", "valkey-1", "worker-0"}, rand.New(rand.NewPCG(1, 2)))
	if err == nil {
		_ = e.Signature(time.Unix(0, 0), r.VictimNames())
		for _, v := range r.Victims {
			for _, target := range r.Targets {
				if same(v, target) {
					t.Errorf("%s is its own target", v.Name)
				}
			}
		}
	}
}
