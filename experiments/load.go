package experiments

import (
	"fmt"
	"maps"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// ForLoad returns the set for a load that is scale times what the features say. A bandwidth is a share of what the load
// needs: it and its queue are scaled along. Every other fault is the same at any load, and so is a bandwidth within a
// Schedule or a Workflow. What is returned shares with s what is not scaled.
func (s *Set) ForLoad(scale float64) *Set {
	set := &Set{byName: maps.Clone(s.byName)}
	for name, e := range s.byName {
		chaos, ok := e.Object.(*v1alpha1.NetworkChaos)
		if !ok || scale == 1 || chaos.Spec.Bandwidth == nil && chaos.Spec.Rate == nil {
			continue
		}
		chaos = chaos.DeepCopy()
		if r := chaos.Spec.Rate; r != nil {
			r.Rate = scaledRate(r.Rate, scale)
		}
		if b := chaos.Spec.Bandwidth; b != nil {
			b.Rate = scaledRate(b.Rate, scale)
			b.Limit = uint32(min(max(float64(b.Limit)*scale, minBurst), 1<<31))
			if p := b.Peakrate; p != nil {
				*p = uint64(float64(*p) * scale)
			}
		}
		scaled := *e
		scaled.Object = chaos
		set.byName[name] = &scaled
	}
	return set
}

// scaledRate is scale times a rate such as 384kbit, in whole bits a second. Text that is no rate stays, for whoever
// reads it to refuse.
func scaledRate(text string, scale float64) string {
	var r reading
	bytes := r.rate("", text)
	if bytes == 0 {
		return text
	}
	return fmt.Sprintf("%.0fbit", min(max(bytes*scale, 1), maxRate)*8)
}
