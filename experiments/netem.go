package experiments

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// Netem is a NetworkChaos in numbers: what happens to the packets of a link.
// Probabilities and correlations are from 0 to 1 (manifests have percentages).
// A correlation is netem's: how much of each random number is the one before.
type Netem struct {
	Delay, Jitter    time.Duration // each packet waits Delay ± Jitter, uniformly
	DelayCorrelation float64

	Loss, LossCorrelation           float64
	Duplicate, DuplicateCorrelation float64
	Corrupt, CorruptCorrelation     float64 // one bit of the packet is flipped

	// Reorder is the probability that a packet skips the delay and so overtakes
	// others, decided for every Gap-th packet (0 and 1: for every one). It means
	// nothing without a Delay.
	Reorder, ReorderCorrelation float64
	Gap                         int

	// Rate is the bandwidth in bytes a second; 0 is unlimited. Burst bytes may
	// pass at once, and of what waits, more than Limit bytes are dropped. The
	// rate of action netem has neither in the manifest: here it is one packet,
	// and netem's own queue.
	Rate         float64
	Burst, Limit uint32

	// Partition lets nothing pass; Reject tells the sender so (a TCP reset)
	// instead of keeping silent.
	Partition, Reject bool

	// Direction is of the impaired traffic, seen from the victims.
	Direction v1alpha1.Direction
}

// NetemOf turns a NetworkChaos into numbers. The error names each field that
// cannot be read, and its value.
func NetemOf(chaos *v1alpha1.NetworkChaos) (Netem, error) {
	n, findings := netemOf(chaos.Spec)
	errs := make([]error, len(findings))
	for i, f := range findings {
		errs[i] = f
	}
	if err := errors.Join(errs...); err != nil {
		return Netem{}, err
	}
	return n, nil
}

// reading collects what is wrong with the fields that are read through it.
type reading struct{ findings []finding }

func (r *reading) wrong(path, format string, args ...any) {
	r.findings = append(r.findings, found(path, format, args...))
}

func netemOf(spec v1alpha1.NetworkChaosSpec) (Netem, []finding) {
	n := Netem{Direction: spec.Direction, Partition: spec.Action == v1alpha1.PartitionAction}
	if n.Direction == "" {
		n.Direction = v1alpha1.To
	}
	n.Reject = n.Partition && spec.PartitionBehavior == v1alpha1.RejectPartitionBehavior
	r := &reading{}
	r.delay(&n, spec.Delay)
	if l := spec.Loss; l != nil {
		n.Loss = r.percent("spec.loss.loss", l.Loss, true)
		n.LossCorrelation = r.percent("spec.loss.correlation", l.Correlation, false)
	}
	if d := spec.Duplicate; d != nil {
		n.Duplicate = r.percent("spec.duplicate.duplicate", d.Duplicate, true)
		n.DuplicateCorrelation = r.percent("spec.duplicate.correlation", d.Correlation, false)
	}
	if c := spec.Corrupt; c != nil {
		n.Corrupt = r.percent("spec.corrupt.corrupt", c.Corrupt, true)
		n.CorruptCorrelation = r.percent("spec.corrupt.correlation", c.Correlation, false)
	}
	if spec.Rate != nil {
		n.Rate = r.rate("spec.rate.rate", spec.Rate.Rate)
		n.Burst, n.Limit = minBurst, netemQueue*minBurst
	}
	if b := spec.Bandwidth; b != nil {
		n.Rate = r.rate("spec.bandwidth.rate", b.Rate)
		n.Limit = r.size("spec.bandwidth.limit", b.Limit, 1)
		n.Burst = r.size("spec.bandwidth.buffer", b.Buffer, minBurst)
	}
	return n, r.findings
}

func (r *reading) delay(n *Netem, d *v1alpha1.DelaySpec) {
	if d == nil {
		return
	}
	n.Delay = r.duration("spec.delay.latency", d.Latency, true)
	n.Jitter = r.duration("spec.delay.jitter", d.Jitter, false)
	n.DelayCorrelation = r.percent("spec.delay.correlation", d.Correlation, false)
	if o := d.Reorder; o != nil {
		n.Reorder = r.percent("spec.delay.reorder.reorder", o.Reorder, true)
		n.ReorderCorrelation = r.percent("spec.delay.reorder.correlation", o.Correlation, false)
		n.Gap = o.Gap
		if o.Gap < 0 {
			r.wrong("spec.delay.reorder.gap", "%d; want 0 or more", o.Gap)
		}
	}
}

// plainDuration is the form that Chaos Mesh's resource definition accepts for
// delays: one number with one unit.
var plainDuration = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$`)

// maxDelay is what fits Chaos Mesh's 32 bits of microseconds.
const maxDelay = math.MaxUint32 * time.Microsecond

func (r *reading) duration(path, text string, required bool) time.Duration {
	if text == "" && !required {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || !plainDuration.MatchString(text) || d > maxDelay || required && d == 0 {
		r.wrong(path, `%q is not a delay; want one number and one unit, such as "50ms", up to 71m`, text)
		return 0
	}
	return d
}

// percent reads "25" as 0.25. A required one is the fault itself, and without
// it there is none.
func (r *reading) percent(path, text string, required bool) float64 {
	if text == "" && !required {
		return 0
	}
	v, err := strconv.ParseFloat(text, 32)
	if err != nil || !(v >= 0 && v <= 100) || required && v == 0 {
		if required {
			r.wrong(path, `%q is not a percentage above 0; want one up to 100 without a sign, such as "25"`, text)
		} else {
			r.wrong(path, `%q is not a percentage; want one from 0 to 100 without a sign, such as "25"`, text)
		}
		return 0
	}
	return v / 100
}

// bytesPerSecond are the units of rates. Chaos Mesh (since 2.7) hands the text
// to tc, for which "bit" is a bit, "bps" is a byte and all prefixes are decimal.
var bytesPerSecond = []struct {
	unit  string
	bytes float64
}{
	{"tbit", 1e12 / 8}, {"gbit", 1e9 / 8}, {"mbit", 1e6 / 8}, {"kbit", 1e3 / 8}, {"bit", 1.0 / 8},
	{"tbps", 1e12}, {"gbps", 1e9}, {"mbps", 1e6}, {"kbps", 1e3}, {"bps", 1},
}

// maxRate is far beyond any network, and still an exact number of bytes.
const maxRate = 1e18

func (r *reading) rate(path, text string) float64 {
	for _, u := range bytesPerSecond {
		number, ok := strings.CutSuffix(strings.ToLower(text), u.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if rate := float64(n) * u.bytes; err == nil && rate >= 1 && rate <= maxRate {
			return rate
		}
		break
	}
	r.wrong(path, `%q is not a rate; want a whole number and bit, kbit, mbit, gbit, tbit (bits a second) or bps, kbps, mbps, gbps, tbps (bytes a second), from 8bit to 1000000tbps`, text)
	return 0
}

// minBurst is the least that lets a full packet of an Ethernet pass: tc's token
// bucket drops every packet that is larger than the bucket.
const minBurst = 1514

// netemQueue is how many packets netem holds unless told otherwise.
const netemQueue = 1000

func (r *reading) size(path string, n, least uint32) uint32 {
	if n < least {
		r.wrong(path, "%d; want bytes, at least %d", n, least)
	}
	return n
}
