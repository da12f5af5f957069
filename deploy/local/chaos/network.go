//go:build linux

package chaos

import (
	"fmt"

	"seatrial/deploy/local/vnet"
	"seatrial/experiments"
)

// linksOf translates links; a pod without a name is everyone.
func linksOf(links []experiments.Link) []vnet.Link {
	all := make([]vnet.Link, len(links))
	for i, l := range links {
		all[i] = vnet.Link{From: l.From.IP, To: l.To.IP}
	}
	return all
}

// impairmentOf translates a manifest's numbers into the switch's.
func impairmentOf(n experiments.Netem) vnet.Impairment {
	i := vnet.Impairment{
		Delay: n.Delay, Jitter: n.Jitter, DelayCorrelation: n.DelayCorrelation,
		Loss: n.Loss, LossCorrelation: n.LossCorrelation,
		Duplicate: n.Duplicate, DuplicateCorrelation: n.DuplicateCorrelation,
		Corrupt: n.Corrupt, CorruptCorrelation: n.CorruptCorrelation,
		Reorder: n.Reorder, ReorderCorrelation: n.ReorderCorrelation, ReorderGap: n.Gap,
		Rate: uint64(n.Rate), Burst: uint64(n.Burst), Limit: uint64(n.Limit),
	}
	switch {
	case n.Reject:
		i.Partition = vnet.Reject
	case n.Partition:
		i.Partition = vnet.Drop
	}
	return i
}

// account puts the switch's counters of a fault into words.
func account(c vnet.Counters) string {
	text := fmt.Sprintf("%d packets met the fault", c.Packets)
	for _, what := range []struct {
		n    uint64
		word string
	}{
		{c.Dropped, "dropped"}, {c.Rejected, "rejected"}, {c.Delayed, "delayed"}, {c.Duplicated, "duplicated"},
		{c.Corrupted, "corrupted"}, {c.Reordered, "reordered"},
	} {
		if what.n > 0 {
			text += fmt.Sprintf(", %d %s", what.n, what.word)
		}
	}
	return text
}
