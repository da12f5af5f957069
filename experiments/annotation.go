package experiments

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The annotations that seatrial reads; Chaos Mesh passes over them.
const (
	annotationPrefix  = "seatrial.dev/"
	annotationInForce = annotationPrefix + "in-force"
	annotationVictims = annotationPrefix + "victims"
	annotationRepeat  = annotationPrefix + "repeat"
	annotationSummary = annotationPrefix + "summary"
)

var annotationNames = []string{annotationInForce, annotationRepeat, annotationSummary, annotationVictims}

// The placeholders of a signature.
const (
	placeInjected = "$injected"
	placeVictims  = "$victims"
)

// Repeat says that a one-shot fault happens Times times, Every apart; its
// victims are drawn anew each time. Zero: it happens once.
//
// Scheduling is the verifier's, not that of Chaos Mesh's Schedule, whose
// garbage collection deletes faults that are not finished.
type Repeat struct {
	Every time.Duration
	Times int
}

// Span is the time from the first to the last.
func (r Repeat) Span() time.Duration {
	return r.Every * time.Duration(max(0, r.Times-1))
}

// maxRepeats keeps a slip of the finger from filling a day.
const maxRepeats = 100

var repeatForm = regexp.MustCompile(`^(\S+) x (\d+)$`)

// parseRepeat reads "5s x 3": three times, five seconds apart.
func parseRepeat(text string) (Repeat, error) {
	wrong := fmt.Errorf(`%q is no repetition; want "<every> x <times>", such as "5s x 3", with at least 100ms and 2 to %d times`, text, maxRepeats)
	m := repeatForm.FindStringSubmatch(text)
	if m == nil {
		return Repeat{}, wrong
	}
	every, err := time.ParseDuration(m[1])
	if err != nil || every < 100*time.Millisecond || every > 24*time.Hour {
		return Repeat{}, wrong
	}
	times, err := strconv.Atoi(m[2])
	if err != nil || times < 2 || times > maxRepeats {
		return Repeat{}, wrong
	}
	return Repeat{Every: every, Times: times}, nil
}

// readAnnotations reads and checks the annotations that are ours.
func (e *Experiment) readAnnotations(src *source) Mistakes {
	given := e.Object.GetAnnotations()
	at := func(name string) string { return "metadata.annotations." + name }
	var all Mistakes
	for name := range given {
		if strings.HasPrefix(name, annotationPrefix) && !known(name) {
			all = append(all, src.mistake(at(name), "unknown annotation; %s", suggest(name, annotationNames)))
		}
	}
	e.InForce = strings.TrimSpace(given[annotationInForce])
	if e.InForce == "" {
		all = append(all, src.mistake(at(annotationInForce), "missing; it is the PromQL that proves the fault to be in force"))
	} else if err := checkPromQL(e.InForce, placeInjected, placeVictims); err != nil {
		all = append(all, src.mistake(at(annotationInForce), "%v", err))
	}
	e.Victims = strings.TrimSpace(given[annotationVictims])
	if _, ok := given[annotationVictims]; ok {
		if err := checkPromQL(e.Victims); err != nil {
			all = append(all, src.mistake(at(annotationVictims), "%v", err))
		}
	}
	e.Summary = strings.TrimSpace(given[annotationSummary])
	if strings.ContainsAny(e.Summary, "\r\n") {
		all = append(all, src.mistake(at(annotationSummary), "has several lines; want one sentence"))
	}
	return append(all, e.readRepeat(src, at(annotationRepeat), given)...)
}

func known(name string) bool {
	for _, n := range annotationNames {
		if n == name {
			return true
		}
	}
	return false
}

func (e *Experiment) readRepeat(src *source, path string, given map[string]string) Mistakes {
	text, ok := given[annotationRepeat]
	if !ok {
		return nil
	}
	repeat, err := parseRepeat(text)
	if err != nil {
		return Mistakes{src.mistake(path, "%v", err)}
	}
	if !e.OneShot {
		return Mistakes{src.mistake(path, "only faults that happen once can be repeated, and %s %s lasts; give it a longer spec.duration", e.Kind, e.Action)}
	}
	e.Repeat = repeat
	return nil
}

var (
	placeholder  = regexp.MustCompile(`\$[A-Za-z_]\w*`)
	promString   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|` + "`[^`]*`")
	boolModifier = regexp.MustCompile(`\bbool\b`)
)

// checkPromQL finds the slips that can be found without Prometheus's parser,
// which is too large a thing to read four annotations with: the tests put the
// manifests that come with seatrial before the real one.
func checkPromQL(query string, places ...string) error {
	if query == "" {
		return fmt.Errorf("empty; want a PromQL query")
	}
	for _, p := range placeholder.FindAllString(query, -1) {
		if !contains(places, p) {
			return fmt.Errorf("unknown placeholder %s; %s", p, suggest(p, places))
		}
	}
	bare := promString.ReplaceAllString(query, `""`)
	if boolModifier.MatchString(bare) {
		return fmt.Errorf("has the bool modifier, with which a comparison always returns a sample; leave it out")
	}
	var open []rune
	closes := map[rune]rune{')': '(', ']': '[', '}': '{'}
	for _, r := range bare {
		switch want, isClose := closes[r]; {
		case r == '(' || r == '[' || r == '{':
			open = append(open, r)
		case isClose && (len(open) == 0 || open[len(open)-1] != want):
			return fmt.Errorf("has a %q that closes nothing", r)
		case isClose:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("has a %q that is never closed", open[len(open)-1])
	}
	if strings.Count(bare, `"`)%2 != 0 || strings.ContainsAny(bare, "'`") {
		return fmt.Errorf("has a string that is never closed")
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// Signature is the PromQL of InForce with its placeholders filled in:
// $injected by the moment of (the first) injection in Unix seconds, $victims by
// a regular expression that matches exactly the pods of these names. Before the
// injection, ask with the present moment and the victims to come.
func (e *Experiment) Signature(injected time.Time, victims []string) string {
	seconds := strconv.FormatFloat(float64(injected.UnixMilli())/1000, 'f', 3, 64)
	names := make([]string, len(victims))
	for i, v := range victims {
		// Twice: for the regular expression, then for the PromQL string that it
		// stands in.
		names[i] = strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`)
	}
	pods := strings.Join(names, "|")
	if pods == "" {
		pods = "_" // no pod can have this name, and an empty expression matches series without a pod
	}
	return strings.NewReplacer(placeInjected, seconds, placeVictims, pods).Replace(e.InForce)
}
