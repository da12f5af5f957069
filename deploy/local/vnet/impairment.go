package vnet

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Link is one direction between two addresses. The zero Addr stands for any.
type Link struct{ From, To netip.Addr }

// Partition says how a link is cut.
type Partition int

const (
	Connected Partition = iota // not cut
	Drop                       // packets vanish
	Reject                     // packets are answered: TCP with a reset, others with ICMP port unreachable
)

// Impairment is what a fault does to the packets of its links. Its fields mean
// what they mean to Linux netem and tbf at the source's network device:
//
//   - Delay holds each packet back by Delay ± Jitter, evenly spread. Without
//     jitter the order stays; with it packets may overtake one another.
//   - Loss, Duplicate, Corrupt and Reorder are shares of packets from 0 to 1,
//     each decided by itself, and their correlations (0 to 1) say how much a
//     decision resembles the one before. Corrupt turns over one random bit.
//     Reorder sends the share at once while others are delayed (so it needs a
//     Delay), and only every ReorderGap-th packet is a candidate (0 is 1).
//   - Rate in bytes a second is a token bucket of Burst bytes, before which up
//     to Limit bytes queue and more are dropped. A packet longer than Burst
//     never passes. Sources have a bucket each, which all their destinations
//     share; so it is for the queue of delayed packets.
//   - Partition makes all the rest meaningless.
//
// A fault that only delays treats a packet with segmentation offload as one,
// as netem does; all others see the packets of at most MTU bytes that would be
// on a wire.
type Impairment struct {
	Delay, Jitter                   time.Duration
	DelayCorrelation                float64
	Loss, LossCorrelation           float64
	Duplicate, DuplicateCorrelation float64
	Corrupt, CorruptCorrelation     float64
	Reorder, ReorderCorrelation     float64
	ReorderGap                      int
	Rate                            uint64 // bytes a second
	Burst, Limit                    uint64 // bytes
	Partition                       Partition
}

// queueLimit is how many packets of a source one fault delays at most; more
// are dropped. It is netem's default, which Chaos Mesh leaves alone.
const queueLimit = 1000

// perPacket reports whether the impairment decides about packets as they would
// be on a wire.
func (i *Impairment) perPacket() bool {
	return i.Loss > 0 || i.Duplicate > 0 || i.Corrupt > 0 || i.Reorder > 0 || i.Rate > 0
}

// validate names all mistakes at once.
func (i *Impairment) validate() error {
	var errs []error
	for _, s := range []struct {
		name  string
		value float64
	}{
		{"delay correlation", i.DelayCorrelation},
		{"loss", i.Loss}, {"loss correlation", i.LossCorrelation},
		{"duplicate", i.Duplicate}, {"duplicate correlation", i.DuplicateCorrelation},
		{"corrupt", i.Corrupt}, {"corrupt correlation", i.CorruptCorrelation},
		{"reorder", i.Reorder}, {"reorder correlation", i.ReorderCorrelation},
	} {
		if !(s.value >= 0 && s.value <= 1) { // NaN too
			errs = append(errs, fmt.Errorf("%s is %v, not between 0 and 1", s.name, s.value))
		}
	}
	if i.Delay < 0 || i.Jitter < 0 || i.ReorderGap < 0 {
		errs = append(errs, fmt.Errorf("delay %v, jitter %v or reorder gap %d is negative", i.Delay, i.Jitter, i.ReorderGap))
	}
	if i.Reorder > 0 && i.Delay == 0 {
		errs = append(errs, errors.New("reorder without a delay: nothing can be overtaken"))
	}
	if i.Rate > 0 && (i.Burst == 0 || i.Limit == 0) {
		errs = append(errs, errors.New("a rate needs a burst and a limit"))
	}
	if i.Partition < Connected || i.Partition > Reject {
		errs = append(errs, fmt.Errorf("unknown partition %d", i.Partition))
	}
	if *i == (Impairment{}) {
		errs = append(errs, errors.New("it impairs nothing"))
	}
	return errors.Join(errs...)
}
