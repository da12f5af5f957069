package profile

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The kinds of profile.
const (
	Steady  = "steady"  // rate
	Ramp    = "ramp"    // from, to, over
	Spike   = "spike"   // base, peak, at, for
	Diurnal = "diurnal" // mean, amplitude, period; begins at the trough
)

// Limits of a Config.
const (
	MaxRate     = 1e6                // hits per second
	MaxDuration = 7 * 24 * time.Hour // of a load
	MaxHits     = 1 << 40            // of a load
)

// Config describes a Profile in JSON or YAML. Only the fields of its kind may be
// set; rates are hits per second.
type Config struct {
	Kind     string   `json:"kind"`
	Duration Duration `json:"duration"`

	Rate float64 `json:"rate,omitempty"` // steady

	From float64  `json:"from,omitempty"` // ramp
	To   float64  `json:"to,omitempty"`
	Over Duration `json:"over,omitempty"` // from From to To, and To from then on; 0 is all of the duration

	Base float64  `json:"base,omitempty"` // spike: the rate outside the plateau
	Peak float64  `json:"peak,omitempty"` // and on it
	At   Duration `json:"at,omitempty"`   // when the plateau begins
	For  Duration `json:"for,omitempty"`  // how long it lasts

	Mean      float64  `json:"mean,omitempty"` // diurnal
	Amplitude float64  `json:"amplitude,omitempty"`
	Period    Duration `json:"period,omitempty"`
}

// Duration is a time.Duration that is written "1m30s" in JSON and YAML.
type Duration time.Duration

// String writes d as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration like 40s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

// Mistake is one thing that is wrong with one field.
type Mistake struct {
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

// Mistakes is everything that is wrong with a Config. As an error it names them all.
type Mistakes []Mistake

// Error lists the mistakes, separated by semicolons.
func (m Mistakes) Error() string {
	texts := make([]string, len(m))
	for i, x := range m {
		texts[i] = x.Field + ": " + x.Problem
	}
	return strings.Join(texts, "; ")
}

func (m *Mistakes) add(field, format string, args ...any) {
	*m = append(*m, Mistake{field, fmt.Sprintf(format, args...)})
}

// fields are the values by name, in the order of the documentation.
func (c Config) fields() []field {
	return []field{
		{"rate", Steady, c.Rate}, {"from", Ramp, c.From}, {"to", Ramp, c.To}, {"over", Ramp, time.Duration(c.Over).Seconds()},
		{"base", Spike, c.Base}, {"peak", Spike, c.Peak}, {"at", Spike, time.Duration(c.At).Seconds()}, {"for", Spike, time.Duration(c.For).Seconds()},
		{"mean", Diurnal, c.Mean}, {"amplitude", Diurnal, c.Amplitude}, {"period", Diurnal, time.Duration(c.Period).Seconds()},
	}
}

type field struct {
	name, kind string
	value      float64 // rate, or seconds
}

// Validate returns every mistake as Mistakes, or nil.
func (c Config) Validate() error {
	var m Mistakes
	if kinds := []string{Steady, Ramp, Spike, Diurnal}; !slices.Contains(kinds, c.Kind) {
		m.add("kind", "%q is none of %s", c.Kind, strings.Join(kinds, ", "))
	}
	if d := time.Duration(c.Duration); d <= 0 || d > MaxDuration {
		m.add("duration", "%v is not in (0, %v]", d, MaxDuration)
	}
	for _, f := range c.fields() {
		switch {
		case f.value == 0:
		case f.kind != c.Kind && slices.Contains([]string{Steady, Ramp, Spike, Diurnal}, c.Kind):
			m.add(f.name, "belongs to kind %s, not to %s", f.kind, c.Kind)
		case f.value < 0 || math.IsNaN(f.value):
			m.add(f.name, "%v is negative or no number", f.value)
		case f.name != "at" && f.name != "for" && f.name != "period" && f.name != "over" && f.value > MaxRate:
			m.add(f.name, "%v hits per second, at most %v", f.value, float64(MaxRate))
		}
	}
	c.checkKind(&m)
	if len(m) == 0 {
		if hits := c.curve().hits(time.Duration(c.Duration).Seconds()); hits < rounding || hits > MaxHits {
			m.add("duration", "the load has %.0f hits, at least 1 and at most %d are possible", hits, uint64(MaxHits))
		}
	}
	if len(m) > 0 {
		return m
	}
	return nil
}

// checkKind adds what only a kind can get wrong.
func (c Config) checkKind(m *Mistakes) {
	switch c.Kind {
	case Steady:
		if c.Rate == 0 {
			m.add("rate", "is missing")
		}
	case Ramp:
		if c.From == 0 && c.To == 0 {
			m.add("to", "from and to are both zero")
		}
		if c.Over > max(0, c.Duration) {
			m.add("over", "%v is longer than the load's %v", c.Over, c.Duration)
		}
	case Spike:
		if c.Peak <= c.Base {
			m.add("peak", "%v is not above base %v", c.Peak, c.Base)
		}
		if c.For == 0 {
			m.add("for", "is missing")
		}
		if end := c.At + c.For; end > c.Duration {
			m.add("for", "the spike ends at %v, after the load's %v", end, c.Duration)
		}
	case Diurnal:
		if c.Mean == 0 {
			m.add("mean", "is missing")
		}
		if c.Amplitude > c.Mean {
			m.add("amplitude", "%v is above mean %v: the rate would be negative", c.Amplitude, c.Mean)
		}
		if c.Period == 0 {
			m.add("period", "is missing")
		}
	}
}

func (c Config) curve() curve {
	length := time.Duration(c.Duration).Seconds()
	switch c.Kind {
	case Ramp:
		over := time.Duration(c.Over).Seconds()
		if over == 0 {
			over = length
		}
		return ramp{c.From, (c.To - c.From) / over, over}
	case Spike:
		start := time.Duration(c.At).Seconds()
		return spike{c.Base, c.Peak, start, start + time.Duration(c.For).Seconds()}
	case Diurnal:
		return diurnal{c.Mean, c.Amplitude, time.Duration(c.Period).Seconds()}
	}
	return steady(c.Rate)
}

// peak is the highest rate within the duration.
func (c Config) peak() float64 {
	switch c.Kind {
	case Ramp:
		return max(c.From, c.To)
	case Spike:
		return c.Peak
	case Diurnal:
		if c.Duration >= c.Period/2 {
			return c.Mean + c.Amplitude
		}
		return c.curve().rate(time.Duration(c.Duration).Seconds())
	}
	return c.Rate
}
