package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

//go:embed page.gohtml
var pageText string

//go:embed matrix.gohtml
var matrixText string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"num": num, "rate": rate, "secs": secs, "long": long, "latency": latency, "ratio": ratio, "share": share,
	"plural": plural, "clock": clock, "add": func(a, b int) int { return a + b },
}).Parse(pageText + matrixText))

// page is what the template sees.
type page struct {
	Run      *evidence.Run
	Tally    tally
	Scenes   []*scene
	Trouble  []*scene // what did not pass, failures first
	Matrix   *matrix  // nil where no diagnosis was judged
	Versions []version
	CSS      template.CSS
	JS       template.JS
	Policy   string // what the page may load: nothing but itself
}

// html writes the page of the run in the folder dir.
func html(w io.Writer, dir string, run *evidence.Run) error {
	p := page{
		Run: run, Tally: tallyOf(run), Versions: versions(run), Matrix: matrixOf(dir, run),
		CSS: template.CSS(pageCSS), JS: template.JS(pageJS), Policy: policy(pageJS),
	}
	for i := range run.Scenarios {
		p.Scenes = append(p.Scenes, stage(dir, &run.Scenarios[i], i))
	}
	for _, status := range []verdict.Status{verdict.Fail, verdict.Inconclusive} {
		for _, s := range p.Scenes {
			if s.Status == status {
				p.Trouble = append(p.Trouble, s)
			}
		}
	}
	return pageTemplate.Execute(w, p)
}

// policy lets a browser refuse whatever is not in the file, should a hostile
// name in the Evidence ever get past the escaping.
func policy(js string) string {
	sum := sha256.Sum256([]byte(js))
	return "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// version is a server's.
type version struct{ Name, Version string }

func versions(run *evidence.Run) []version {
	var all []version
	for name, v := range run.Versions {
		all = append(all, version{name, v})
	}
	slices.SortFunc(all, func(a, b version) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// scene is a scenario with what its Evidence holds.
type scene struct {
	*evidence.Scenario
	N           int
	Anchor      string
	RunbookLink string // "" when no such file is known
	FirstLink   string // to the Evidence of the time before, "" when it is not there
	Figure      *figure
	Spark       *spark
	Windows     []windowRow
	Splits      []split
	Ledger      []entry
	Lists       []idList
	AlertRows   []alertRow
	True        []diagnosisRow // and those that should be
	Silent      []string       // sentences about the other diagnoses
	Material    material
	Latency     []latencyRow
	Fates       []fateRow
	Mitigated   *mitigationRow // nil where no mitigation was asked for
}

// anchor is where the page tells of the scenario with this index.
func anchor(i int) string { return "s" + strconv.Itoa(i+1) }

// stage puts together all that the page shows of a scenario.
func stage(dir string, s *evidence.Scenario, i int) *scene {
	m := gather(dir, s)
	sc := &scene{Scenario: s, N: i + 1, Anchor: anchor(i), Material: m}
	sc.RunbookLink = runbookLink(dir, s)
	sc.FirstLink = folderLink(dir, s.FirstEvidence)
	if s.Mitigation != nil {
		sc.Mitigated = &mitigationRow{s.Mitigation, s.Name, bookLink(dir, s.Mitigation.Runbook)}
	}
	sc.Figure = draw(s, m.timeline, m.samples, m.noTimeline)
	sc.Spark = sc.Figure.spark(m.timeline)
	sc.Windows = windowRows(s, &m)
	sc.Splits = splits(s)
	sc.Ledger = ledger(s)
	sc.Lists = idLists(s, m.timeline)
	sc.AlertRows = alertRows(s)
	sc.True, sc.Silent = diagnosisRows(dir, s), silent(s)
	sc.Latency = latencyRows(s)
	sc.Fates = fateRows(s)
	return sc
}

// HasFault says whether the scenario asked for a fault at all.
func (s *scene) HasFault() bool { return len(s.Experiments) > 0 }

// Rang are the alerts that were expected or rang unasked.
func (s *scene) Rang() []alertRow {
	return slices.DeleteFunc(slices.Clone(s.AlertRows), func(a alertRow) bool { return !a.Expected && !a.Fired })
}

// RateOK says whether the load came up to what was asked.
func (s *scene) RateOK() bool { return s.AchievedRate >= 0.999*s.AskedRate }

// Took is how long the scenario ran, in seconds.
func (s *scene) Took() float64 { return took(s.Scenario).Seconds() }
