package vnet

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"time"
)

// dice makes the decisions of one fault about the packets of one source. What
// it decides about packet k is a pure function of (seed, fault name, source,
// k): each kind of decision draws exactly one number a packet from a lane of
// its own, whatever was decided before, so nothing shifts.
//
// Shares, correlations, jitter, reordering and the gap are those of Linux
// netem. In particular correlation is first-order (the number drawn is mixed
// with the one before), which, as there, makes shares other than one half
// rarer or more frequent than they say.
type dice struct {
	imp   *Impairment
	key   uint64
	k     uint64
	last  [lanes]uint32
	since int // packets since one was sent ahead of its turn
}

// The kinds of decision, each with its own lane of random numbers.
const (
	laneDuplicate = iota
	laneLoss
	laneCorrupt
	laneDelay
	laneReorder
	laneBit
	lanes
)

// decision is what happens to a packet.
type decision struct {
	lose, duplicate, corrupt bool
	ahead                    bool          // sent at once although others wait
	delay                    time.Duration // 0 if ahead
	bit                      uint64        // which bit to turn over: bit modulo the packet's length in bits
}

func newDice(seed int64, fault string, source uint32, imp *Impairment) *dice {
	h := fnv.New64a()
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(seed))
	binary.BigEndian.PutUint32(b[8:], source)
	h.Write(b[:])
	h.Write([]byte(fault))
	d := &dice{imp: imp, key: mix(h.Sum64())}
	for lane := range d.last {
		d.last[lane] = uint32(mix(d.key + uint64(lane)))
	}
	return d
}

// mix is the finaliser of splitmix64: every bit of v moves every bit of it.
func mix(v uint64) uint64 {
	v ^= v >> 30
	v *= 0xbf58476d1ce4e5b9
	v ^= v >> 27
	v *= 0x94d049bb133111eb
	return v ^ v>>31
}

func (d *dice) raw(lane uint64) uint64 {
	return mix(d.key + (d.k*lanes+lane+1)*0x9e3779b97f4a7c15)
}

// draw returns a number that resembles the lane's last one as much as
// correlation (0 to 1) asks.
func (d *dice) draw(lane int, correlation float64) uint32 {
	fresh := uint32(d.raw(uint64(lane)) >> 32)
	if correlation == 0 {
		return fresh
	}
	rho := uint64(share(correlation)) + 1
	mixed := uint32((uint64(fresh)*(1<<32-rho) + uint64(d.last[lane])*rho) >> 32)
	d.last[lane] = mixed
	return mixed
}

// share scales 0..1 to the whole range of 32 bits, as tc does.
func share(f float64) uint32 { return uint32(math.Round(f * math.MaxUint32)) }

func (d *dice) hit(lane int, probability, correlation float64) bool {
	if probability == 0 {
		return false
	}
	return share(probability) >= d.draw(lane, correlation)
}

// next decides about the next packet.
func (d *dice) next() decision {
	imp := d.imp
	dec := decision{
		duplicate: d.hit(laneDuplicate, imp.Duplicate, imp.DuplicateCorrelation),
		lose:      d.hit(laneLoss, imp.Loss, imp.LossCorrelation),
		corrupt:   d.hit(laneCorrupt, imp.Corrupt, imp.CorruptCorrelation),
		delay:     d.delay(),
	}
	if dec.corrupt {
		dec.bit = d.raw(laneBit)
	}
	if reorder := d.hit(laneReorder, imp.Reorder, imp.ReorderCorrelation); imp.Reorder > 0 {
		if reorder && d.since >= max(1, imp.ReorderGap)-1 {
			dec.ahead, dec.delay = true, 0
			d.since = 0
		} else {
			d.since++
		}
	}
	d.k++
	return dec
}

// delay is spread evenly over Delay ± Jitter, and never negative.
func (d *dice) delay() time.Duration {
	if d.imp.Jitter <= 0 {
		return d.imp.Delay
	}
	u := int64(d.draw(laneDelay, d.imp.DelayCorrelation))
	span := 2 * int64(d.imp.Jitter)
	offset := int64(float64(span) * (float64(u) / (1 << 32)))
	return max(0, d.imp.Delay-d.imp.Jitter+time.Duration(offset))
}
