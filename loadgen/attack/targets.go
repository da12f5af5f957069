package attack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/history"
	"seatrial/loadgen/profile"
)

// Limits of Tasks.
const (
	MaxPayload = 64<<10 - 2 // bytes: 64 KiB of JSON, less the quotes
	// A repeat names a task that was first sent at most this many hits earlier, so
	// that some repeats meet the original in flight and others after it.
	repeatReach = 1000
)

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// Targets is what a load sends. Hits are numbered among all replicas of a load.
// Build it with Tasks.Targets or Fixed.
type Targets struct {
	header history.Header // but for Start
	hits   []vegeta.Target
	tasks  *taskSource // nil when every hit is a task of its own
}

// Tasks describes a stream of tasks for POST url. Everything it sends is a pure
// function of Seed and the hit's number.
type Tasks struct {
	URL     string
	Prefix  string // ids are Prefix-number: 1 to 100 of A-Z a-z 0-9 _ -
	Seed    int64
	Payload int     // length of each payload, a JSON string, in bytes without its quotes
	Repeat  float64 // share of hits that repeat an earlier task's id and payload, in [0,1)
}

// Validate returns every mistake as profile.Mistakes, or nil. Fields are named as
// in the control API.
func (t Tasks) Validate() error {
	var m profile.Mistakes
	if err := checkURL(t.URL); err != nil {
		m = append(m, profile.Mistake{Field: "target", Problem: err.Error()})
	}
	if !prefixPattern.MatchString(t.Prefix) {
		m = append(m, profile.Mistake{Field: "prefix", Problem: fmt.Sprintf("%q is not 1 to 100 characters of A-Z, a-z, 0-9, _ and -", t.Prefix)})
	}
	if t.Payload < 0 || t.Payload > MaxPayload {
		m = append(m, profile.Mistake{Field: "payload_bytes", Problem: fmt.Sprintf("%d is not in [0, %d]", t.Payload, MaxPayload)})
	}
	if !(t.Repeat >= 0 && t.Repeat < 1) {
		m = append(m, profile.Mistake{Field: "repeat_ratio", Problem: fmt.Sprintf("%v is not in [0, 1)", t.Repeat)})
	}
	if len(m) > 0 {
		return m
	}
	return nil
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("is missing")
	case err != nil:
		return fmt.Errorf("%q is not a URL", text)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("%q is not an absolute http or https URL", text)
	}
	return nil
}

// Targets validates t and returns what it sends.
func (t Tasks) Targets() (Targets, error) {
	if err := t.Validate(); err != nil {
		return Targets{}, err
	}
	return Targets{
		header: history.Header{Prefix: t.Prefix, Target: t.URL, Seed: t.Seed},
		hits: []vegeta.Target{{Method: http.MethodPost, URL: t.URL,
			Header: http.Header{"Content-Type": {"application/json"}}}},
		tasks: newTaskSource(t),
	}, nil
}

// Fixed sends the given requests in turn, again and again; every hit is a task
// of its own, numbered like the hit. Name becomes the History's target.
func Fixed(name string, requests []vegeta.Target) (Targets, error) {
	if len(requests) == 0 {
		return Targets{}, fmt.Errorf("targets %s: there is none", name)
	}
	for i, r := range requests {
		if err := checkURL(r.URL); err != nil {
			return Targets{}, fmt.Errorf("targets %s: target %d: url %w", name, i+1, err)
		}
	}
	return Targets{header: history.Header{Prefix: "request", Target: name}, hits: slices.Clone(requests)}, nil
}

// Task returns the number of the task that hit sends.
func (t Targets) Task(hit uint64) uint64 {
	if t.tasks == nil {
		return hit
	}
	return t.tasks.number(hit)
}

// taskSource makes tasks out of numbers.
type taskSource struct {
	prefix  string
	seed    uint64
	payload int
	repeat  float64
	noise   string // payloads are cut from it
}

// noiseBytes is how much more noise there is than a payload: how many payloads differ.
const noiseBytes = 8 << 10

func newTaskSource(t Tasks) *taskSource {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	rng := rand.New(rand.NewPCG(uint64(t.Seed), 0))
	noise := make([]byte, t.Payload+noiseBytes)
	for i := range noise {
		noise[i] = letters[rng.IntN(len(letters))]
	}
	return &taskSource{prefix: t.Prefix, seed: uint64(t.Seed), payload: t.Payload, repeat: t.Repeat, noise: string(noise)}
}

// number resolves repeats: a repeat of a repeat names the first of the chain.
func (s *taskSource) number(hit uint64) uint64 {
	if s.repeat == 0 {
		return hit
	}
	for hit > 0 {
		h := mix(s.seed ^ mix(hit))
		if float64(h>>11)/(1<<53) >= s.repeat {
			break
		}
		hit -= 1 + mix(h)%min(hit, repeatReach)
	}
	return hit
}

// body returns the request body of task n.
func (s *taskSource) body(n uint64) []byte {
	at := mix(s.seed+n) % noiseBytes
	b := make([]byte, 0, len(`{"id":"-18446744073709551615","payload":""}`)+len(s.prefix)+s.payload)
	b = append(b, `{"id":"`...)
	b = append(b, s.prefix...)
	b = append(b, '-')
	b = strconv.AppendUint(b, n, 10)
	b = append(b, `","payload":"`...)
	b = append(b, s.noise[at:at+uint64(s.payload)]...)
	return append(b, `"}`...)
}

// size is the length of body(n).
func (s *taskSource) size(n uint64) int {
	digits := 1
	for ; n >= 10; n /= 10 {
		digits++
	}
	return len(`{"id":"-","payload":""}`) + len(s.prefix) + digits + s.payload
}

// mix is a bijection of 64 bits that looks random (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
