package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// The dialect of JUnit XML that CI systems have in common: a suite a feature, a
// case a scenario. Inconclusive becomes skipped: no CI system has a word for
// "we cannot tell", and skipped is the one that is neither pass nor failure.
type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	Name    string   `xml:"name,attr"`
	junitCounts
	Suites []*junitSuite `xml:"testsuite"`
}

type junitCounts struct {
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     junitSeconds `xml:"time,attr"`
}

type junitSuite struct {
	Name string `xml:"name,attr"`
	junitCounts
	Timestamp  string           `xml:"timestamp,attr,omitempty"`
	Properties *junitProperties `xml:"properties,omitempty"`
	Cases      []junitCase      `xml:"testcase"`
}

type junitProperties struct {
	Property []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name      string       `xml:"name,attr"`
	ClassName string       `xml:"classname,attr"`
	Time      junitSeconds `xml:"time,attr"`
	Failure   *junitText   `xml:"failure,omitempty"`
	Skipped   *junitText   `xml:"skipped,omitempty"`
	Out       string       `xml:"system-out,omitempty"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// junitSeconds is written with three decimals and no exponent, as readers want it.
type junitSeconds float64

func (s junitSeconds) MarshalXMLAttr(name xml.Name) (xml.Attr, error) {
	return xml.Attr{Name: name, Value: strconv.FormatFloat(float64(s), 'f', 3, 64)}, nil
}

func (c *junitCounts) add(s verdict.Status, took time.Duration) {
	c.Tests++
	c.Time += junitSeconds(took.Seconds())
	switch s {
	case verdict.Fail:
		c.Failures++
	case verdict.Inconclusive:
		c.Skipped++
	}
}

func junit(w io.Writer, run *evidence.Run) error {
	doc := junitSuites{Name: "seatrial " + run.Run}
	byFeature := map[string]*junitSuite{}
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		name := s.Feature
		if name == "" {
			name = "seatrial"
		}
		suite := byFeature[name]
		if suite == nil {
			suite = newSuite(run, s, name)
			byFeature[name] = suite
			doc.Suites = append(doc.Suites, suite)
		}
		suite.Cases = append(suite.Cases, newCase(s, name))
		suite.add(s.Status, took(s))
		doc.add(s.Status, took(s))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func newSuite(run *evidence.Run, first *evidence.Scenario, name string) *junitSuite {
	suite := &junitSuite{Name: name, Properties: &junitProperties{Property: []junitProperty{
		{"seed", strconv.FormatInt(run.Seed, 10)}, {"target", run.Target},
	}}}
	if scale := scaled("%.3g", run); scale != "" {
		suite.Properties.Property = append(suite.Properties.Property, junitProperty{"load-scale", scale})
	}
	for _, v := range versions(run) {
		suite.Properties.Property = append(suite.Properties.Property, junitProperty{"version." + v.Name, v.Version})
	}
	if !first.Started.IsZero() {
		suite.Timestamp = first.Started.UTC().Format("2006-01-02T15:04:05")
	}
	return suite
}

func newCase(s *evidence.Scenario, feature string) junitCase {
	c := junitCase{Name: s.Name, ClassName: feature, Time: junitSeconds(took(s).Seconds()), Out: caseText(s)}
	switch s.Status {
	case verdict.Fail:
		c.Failure = &junitText{Message: s.Reason, Type: "fail", Text: allReasons(s)}
	case verdict.Inconclusive:
		c.Skipped = &junitText{Message: "inconclusive: " + s.Reason}
	}
	return c
}

// caseText is what a CI system shows below a case.
func caseText(s *evidence.Scenario) string {
	again := heldAgain(s)
	if again != "" {
		again += "\n"
	}
	return fmt.Sprintf("%s: %s\n%sin force: %s, residue: %s\nrate: %s asked, %s achieved\n"+
		"tasks: %d accepted, %d completed, %d lost, %d done more than once, %d refused, %d refused but done, %d unknown\nevidence: %s\n",
		s.Status, s.Reason, again, s.InForce, s.Residue, rate(s.AskedRate), rate(s.AchievedRate),
		s.Accepted, s.Completed, s.Lost, s.Duplicated, s.Refused, s.RefusedButDone, s.Unknown, s.Evidence)
}

// allReasons lists everything in a scenario that did not pass.
func allReasons(s *evidence.Scenario) string {
	text := ""
	add := func(what string, status verdict.Status, reason string) {
		if status != verdict.Pass {
			text += fmt.Sprintf("%s: %s: %s\n", status, what, reason)
		}
	}
	for _, g := range s.Guarantees {
		add(g.Name, g.Status, g.Reason)
	}
	for _, o := range s.SLO {
		add(o.Name+" in the "+o.Window+" window", o.Status, o.Reason)
	}
	for _, a := range s.Alerts {
		add("alert "+a.Name, a.Status, a.Reason)
	}
	for _, d := range s.Diagnoses {
		if d.Status == verdict.Fail {
			add("runbook "+d.Runbook, d.Status, d.Reason)
		}
	}
	for i := range s.Diagnoses {
		for _, c := range doubtfulCauses(&s.Diagnoses[i]) {
			add("cause of "+s.Diagnoses[i].Runbook, c.Status, c.Reason)
		}
	}
	for _, u := range unasked(s) {
		text += fmt.Sprintf("unknown: runbook %s: %s\n", u.names(), u.reason)
	}
	for _, p := range s.Proofs {
		if p.Result != confirmed {
			text += fmt.Sprintf("%s: proof of %s: %s\n", p.Result, p.Experiment, p.Reason)
		}
	}
	if text == "" {
		return s.Reason
	}
	return text
}
