package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/profile"
)

// Spec is the body of POST /attacks: one load, or one replica's share of it.
type Spec struct {
	ID           string           `json:"id"`     // 1 to 100 of A-Z a-z 0-9 _ -; also the folder's name
	Target       string           `json:"target"` // URL that is sent tasks
	Profile      profile.Config   `json:"profile"`
	Seed         int64            `json:"seed"`
	Prefix       string           `json:"prefix"`            // of the tasks' ids
	Timeout      profile.Duration `json:"timeout,omitempty"` // patience for one answer; attack.DefaultTimeout if 0
	RepeatRatio  float64          `json:"repeat_ratio,omitempty"`
	PayloadBytes int              `json:"payload_bytes,omitempty"`
	Shard        *Shard           `json:"shard,omitempty"` // nil is all of it
	Begin        time.Time        `json:"begin,omitzero"`  // moment of the profile's start, for replicas to share; zero is at once
}

// Shard is a replica's share of a load: every Of-th hit beginning with Index.
type Shard struct {
	Index uint64 `json:"index"`
	Of    uint64 `json:"of"`
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

const maxTimeout = 10 * time.Minute

// How far Begin may be from this machine's clock. Further off, the clocks of the
// replicas do not agree, and neither would the times in their Histories.
const (
	latest   = 3 * time.Second
	earliest = time.Minute
)

// punctual returns an error when s cannot begin when it should.
func (s Spec) punctual(now time.Time) error {
	if s.Begin.IsZero() {
		return nil
	}
	switch ahead := s.Begin.Sub(now); {
	case ahead > earliest:
		return fmt.Errorf("begin is %v ahead of this machine's clock, at most %v", ahead.Round(time.Millisecond), earliest)
	case ahead < -latest:
		return fmt.Errorf("begin is %v behind this machine's clock, at most %v", -ahead.Round(time.Millisecond), latest)
	}
	return nil
}

// Validate returns every mistake as profile.Mistakes, or nil.
func (s Spec) Validate() error {
	var m profile.Mistakes
	add := func(field, format string, args ...any) {
		m = append(m, profile.Mistake{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if !idPattern.MatchString(s.ID) {
		add("id", "%q is not 1 to 100 characters of A-Z, a-z, 0-9, _ and -", s.ID)
	}
	if t := time.Duration(s.Timeout); t < 0 || t > maxTimeout {
		add("timeout", "%v is not in [0, %v]", t, maxTimeout)
	}
	if s.Shard != nil && s.Shard.Index >= s.Shard.Of {
		add("shard", "index %d is not below of %d", s.Shard.Index, s.Shard.Of)
	}
	m = append(m, mistakesOf(s.tasks().Validate(), "")...)
	m = append(m, mistakesOf(s.Profile.Validate(), "profile.")...)
	if len(m) > 0 {
		return m
	}
	return nil
}

func mistakesOf(err error, prefix string) profile.Mistakes {
	m, _ := errors.AsType[profile.Mistakes](err)
	for i := range m {
		m[i].Field = prefix + m[i].Field
	}
	return m
}

func (s Spec) tasks() attack.Tasks {
	return attack.Tasks{URL: s.Target, Prefix: s.Prefix, Seed: s.Seed, Payload: s.PayloadBytes, Repeat: s.RepeatRatio}
}

// config makes the attack of a valid Spec that writes into dir.
func (s Spec) config(dir string, m *attack.Metrics) (attack.Config, error) {
	p, err := profile.New(s.Profile)
	if err != nil {
		return attack.Config{}, err
	}
	if s.Shard != nil {
		p = p.Shard(s.Shard.Index, s.Shard.Of)
	}
	targets, err := s.tasks().Targets()
	if err != nil {
		return attack.Config{}, err
	}
	return attack.Config{Name: s.ID, Profile: p, Targets: targets, Timeout: time.Duration(s.Timeout), Dir: dir, Begin: s.Begin, Metrics: m}, nil
}

// ParseSpec reads a Spec from JSON. Its error is a profile.Mistakes with all that
// is wrong, or one about the text as a whole when it is no JSON object.
func ParseSpec(text []byte) (Spec, error) {
	var s Spec
	var m profile.Mistakes
	var rawProfile, rawShard json.RawMessage
	err := decodeObject(text, "", map[string]any{
		"id": &s.ID, "target": &s.Target, "seed": &s.Seed, "prefix": &s.Prefix, "timeout": &s.Timeout,
		"repeat_ratio": &s.RepeatRatio, "payload_bytes": &s.PayloadBytes, "profile": &rawProfile, "shard": &rawShard, "begin": &s.Begin,
	}, &m)
	if err != nil {
		return Spec{}, err
	}
	if rawProfile != nil {
		if err := decodeObject(rawProfile, "profile.", profileFields(&s.Profile), &m); err != nil {
			m = append(m, profile.Mistake{Field: "profile", Problem: err.Error()})
		}
	}
	if rawShard != nil && string(rawShard) != "null" {
		s.Shard = &Shard{}
		if err := decodeObject(rawShard, "shard.", map[string]any{"index": &s.Shard.Index, "of": &s.Shard.Of}, &m); err != nil {
			m = append(m, profile.Mistake{Field: "shard", Problem: err.Error()})
		}
	}
	// A field that could not be read has its mistake already.
	told := map[string]bool{}
	for _, x := range m {
		told[x.Field] = true
	}
	for _, x := range mistakesOf(s.Validate(), "") {
		whole, _, _ := strings.Cut(x.Field, ".")
		if !told[x.Field] && !told[whole] {
			m = append(m, x)
		}
	}
	if len(m) > 0 {
		return Spec{}, m
	}
	return s, nil
}

func profileFields(c *profile.Config) map[string]any {
	return map[string]any{
		"kind": &c.Kind, "duration": &c.Duration, "rate": &c.Rate, "from": &c.From, "to": &c.To, "over": &c.Over,
		"base": &c.Base, "peak": &c.Peak, "at": &c.At, "for": &c.For,
		"mean": &c.Mean, "amplitude": &c.Amplitude, "period": &c.Period,
	}
}

// decodeObject reads a JSON object field by field, so that one mistake does not
// hide the others. Its error says that text is no object at all.
func decodeObject(text []byte, prefix string, fields map[string]any, m *profile.Mistakes) error {
	var raw map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&raw); err != nil || raw == nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok || err == nil {
			return errors.New("is not a JSON object")
		}
		return fmt.Errorf("is not JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("is followed by more than one JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		into, known := fields[name]
		if !known {
			*m = append(*m, profile.Mistake{Field: prefix + name, Problem: "is no field of this object"})
			continue
		}
		if err := json.Unmarshal(raw[name], into); err != nil {
			*m = append(*m, profile.Mistake{Field: prefix + name, Problem: typeProblem(err, into)})
		}
	}
	return nil
}

// typeProblem says what was wanted in the words of JSON, not of Go.
func typeProblem(err error, into any) string {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err.Error()
	}
	want := "a number"
	switch into.(type) {
	case *string:
		want = "a string"
	case *int, *int64:
		want = "a whole number"
	case *uint64:
		want = "a whole number that is not negative"
	case *profile.Duration:
		want = `a duration like "40s"`
	}
	return fmt.Sprintf("is a %s, want %s", wrong.Value, want)
}
