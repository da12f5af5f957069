package experiments

import (
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

func TestForLoad(t *testing.T) {
	whole := Embedded()
	for scale, want := range map[float64]struct {
		rate  string
		limit uint32
		bytes float64
	}{
		1:    {"384kbit", 32768, 48000},
		0.4:  {"153600bit", 13107, 19200},
		10:   {"3840000bit", 327680, 480000},
		1e-9: {"8bit", minBurst, 1},
	} {
		set := whole.ForLoad(scale)
		for _, e := range set.All() {
			before, err := whole.Get(e.Name)
			if err != nil {
				t.Fatal(err)
			}
			if e.Name != "api-nats-bandwidth" {
				if e != before {
					t.Errorf("%s is changed at %g times the load", e.Name, scale)
				}
				continue
			}
			b := e.Object.(*v1alpha1.NetworkChaos).Spec.Bandwidth
			n, err := NetemOf(e.Object.(*v1alpha1.NetworkChaos))
			if err != nil || b.Rate != want.rate || b.Limit != want.limit || n.Rate != want.bytes {
				t.Errorf("%g times the load: %+v, read as %+v (%v)", scale, b, n, err)
			}
			if b := before.Object.(*v1alpha1.NetworkChaos).Spec.Bandwidth; b.Rate != "384kbit" || b.Limit != 32768 {
				t.Errorf("the set that was scaled has changed: %+v", b)
			}
		}
		if len(set.All()) != len(whole.All()) {
			t.Errorf("%d experiments of %d", len(set.All()), len(whole.All()))
		}
	}
}
