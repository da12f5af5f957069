package alert

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Promises judges alerts by what their runbooks promise, beside what the plan
// asked of them: an expected one links to its runbook and clears in time after the
// fault was removed, and nobody is called for anything else. A zero removed leaves
// the clearing open; watched is when nobody looked any more.
func Promises(all []evidence.Alert, books []evidence.RunbookPlan, removed, watched time.Time) {
	byName := map[string]evidence.RunbookPlan{}
	for _, b := range books {
		byName[b.Name] = b
	}
	also := alsoPages(all, byName)
	for i := range all {
		a := &all[i]
		if a.Status != verdict.Pass || !a.Fired || len(books) == 0 {
			continue
		}
		if !a.Expected {
			if a.Severity == "page" && !a.Silenced && !slices.Contains(also, a.Name) {
				a.Status, a.Reason = verdict.Fail, fmt.Sprintf("alert %s paged, and no runbook of this fault says that it may", a.Name)
			}
			continue
		}
		a.Status, a.Reason = keeps(a, byName, removed, watched)
	}
}

func alsoPages(all []evidence.Alert, byName map[string]evidence.RunbookPlan) (also []string) {
	for _, a := range all {
		if a.Expected {
			also = append(also, byName[a.Name].AlsoPages...)
		}
	}
	return also
}

// keeps judges an expected alert that fired in time.
func keeps(a *evidence.Alert, byName map[string]evidence.RunbookPlan, removed, watched time.Time) (verdict.Status, string) {
	book, ok := byName[strings.TrimSuffix(path.Base(a.RunbookURL), ".md")]
	if !ok || book.Name != a.Name {
		return verdict.Fail, fmt.Sprintf("alert %s links to %s, which is not its runbook", a.Name, a.RunbookURL)
	}
	limit := time.Duration(book.RecoverWithin)
	switch {
	case limit == 0 || removed.IsZero():
		return verdict.Pass, ""
	case a.ResolvedAt == nil && watched.Sub(removed) < limit:
		return verdict.Inconclusive, fmt.Sprintf("alert %s: the trial ended before its %v to clear were up", a.Name, limit)
	case a.ResolvedAt == nil:
		return verdict.Fail, fmt.Sprintf("alert %s did not clear within %v of the fault's removal", a.Name, limit)
	case a.ResolvedAt.Sub(removed) > limit:
		return verdict.Fail, fmt.Sprintf("alert %s cleared %.1f s after the fault's removal, want %v", a.Name, a.ResolvedAt.Sub(removed).Seconds(), limit)
	}
	return verdict.Pass, ""
}
