package alert

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Moments are those of a trial that promises count from.
type Moments struct {
	InForce time.Time // when the fault was proven
	Removed time.Time // when its removal began; zero leaves the clearing open
	Watched time.Time // until when alerts were looked at
}

// Promises judges alerts by what their runbooks promise, beside what the plan
// asked of them: an expected one rings in time, links to its runbook and clears in
// time after the fault.
func Promises(all []evidence.Alert, books []evidence.RunbookPlan, m Moments) {
	byName := map[string]evidence.RunbookPlan{}
	for _, b := range books {
		byName[b.Name] = b
	}
	for i := range all {
		if a := &all[i]; a.Status == verdict.Pass && a.Fired && a.Expected && len(books) > 0 {
			a.Status, a.Reason = keeps(a, byName, m)
		}
	}
}

// NoOtherPages fails what called somebody beside the expected alerts, unless a runbook of
// theirs says that it may.
func NoOtherPages(all []evidence.Alert, books []evidence.RunbookPlan) {
	var also []string
	for _, b := range books {
		if slices.ContainsFunc(all, func(a evidence.Alert) bool { return a.Expected && a.Name == b.Name }) {
			also = append(also, b.AlsoPages...)
		}
	}
	for i := range all {
		a := &all[i]
		if len(books) > 0 && a.Status == verdict.Pass && a.Fired && !a.Expected && a.Severity == "page" && !a.Silenced && !slices.Contains(also, a.Name) {
			a.Status, a.Reason = verdict.Fail, fmt.Sprintf("alert %s paged, and no runbook of this fault says that it may", a.Name)
		}
	}
}

// keeps judges an expected alert that fired in time.
func keeps(a *evidence.Alert, byName map[string]evidence.RunbookPlan, m Moments) (verdict.Status, string) {
	book, ok := byName[a.Name]
	if !ok || !leadsTo(a.RunbookURL, a.Name) {
		return verdict.Fail, fmt.Sprintf("alert %s links to %s, which is not its runbook: want runbooks/%s.md, or an address that ends so", a.Name, a.RunbookURL, a.Name)
	}
	detect, limit := time.Duration(book.DetectWithin), time.Duration(book.RecoverWithin)
	switch {
	case detect > 0 && a.FiredAt.Sub(m.InForce) > detect:
		return verdict.Fail, fmt.Sprintf("alert %s fired %.1f s after the fault was in force, and its runbook promises %v", a.Name, a.FiredAt.Sub(m.InForce).Seconds(), detect)
	case limit == 0 || m.Removed.IsZero():
		return verdict.Pass, ""
	case a.ResolvedAt == nil && m.Watched.Sub(m.Removed) < limit:
		return verdict.Inconclusive, fmt.Sprintf("alert %s: the trial ended before its %v to clear were up", a.Name, limit)
	case a.ResolvedAt == nil:
		return verdict.Fail, fmt.Sprintf("alert %s did not clear within %v of the fault's removal", a.Name, limit)
	case a.ResolvedAt.Sub(m.Removed) > limit:
		return verdict.Fail, fmt.Sprintf("alert %s cleared %.1f s after the fault's removal, want %v", a.Name, a.ResolvedAt.Sub(m.Removed).Seconds(), limit)
	}
	return verdict.Pass, ""
}

// leadsTo says whether a link is one to the runbook of an alert: its path in this project,
// or the address at which somebody has put the project's runbooks. Nobody is asked whether
// they are there.
func leadsTo(link, alert string) bool {
	u, err := url.Parse(link)
	return err == nil && strings.HasSuffix("/"+u.Path, "/runbooks/"+alert+".md")
}
