package report

import (
	"cmp"
	"maps"
	"slices"

	"seatrial/loadgen/history"
)

// doubtsMax bounds how many doubtful tasks are remembered to list a few of them.
const doubtsMax = 1000

// doubts finds tasks that no Op was accepted for and some Op left unknown. It
// keeps a bit for every accepted task, in words of 64 neighbours.
type doubts struct {
	accepted map[uint64]uint64
	open     map[uint64]bool
	last     uint64 // the latest word, which saves most look-ups
	bits     uint64
	dirty    bool
}

func (d *doubts) see(op *history.Op) {
	switch op.Outcome {
	case history.Accepted:
		d.turn(op.Task / 64)
		d.bits |= 1 << (op.Task % 64)
		d.dirty = true
		if len(d.open) > 0 {
			delete(d.open, op.Task)
		}
	case history.Unknown:
		d.turn(op.Task / 64)
		if d.bits&(1<<(op.Task%64)) == 0 && len(d.open) < doubtsMax {
			if d.open == nil {
				d.open = map[uint64]bool{}
			}
			d.open[op.Task] = true
		}
	}
}

// turn makes word the latest.
func (d *doubts) turn(word uint64) {
	if d.accepted == nil {
		d.accepted = map[uint64]uint64{}
		d.last, d.bits = word, 0
	}
	if word == d.last {
		return
	}
	if d.dirty {
		d.accepted[d.last] = d.bits
	}
	d.last, d.bits, d.dirty = word, d.accepted[word], false
}

// first returns the lowest n of the doubtful task numbers.
func (d *doubts) first(n int) []uint64 {
	all := slices.SortedFunc(maps.Keys(d.open), cmp.Compare[uint64])
	return all[:min(n, len(all))]
}
