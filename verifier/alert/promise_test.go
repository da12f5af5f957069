package alert

import (
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

func TestPromises(t *testing.T) {
	within := func(s int) evidence.Duration { return evidence.Duration(time.Duration(s) * time.Second) }
	books := []evidence.RunbookPlan{
		{Name: "Down", DetectWithin: within(10), RecoverWithin: within(30), AlsoPages: []string{"Slow"}}, {Name: "Slow"}, {Name: "Other"},
	}
	down := func(fired, resolved int) evidence.Alert {
		f, r := at(fired), at(resolved)
		a := evidence.Alert{Name: "Down", Expected: true, Fired: true, FiredAt: &f, ResolvedAt: &r, RunbookURL: "https://host/runbooks/Down.md", Status: verdict.Pass}
		if resolved < 0 {
			a.ResolvedAt = nil
		}
		return a
	}
	linked := func(url string) evidence.Alert {
		a := down(5, 40)
		a.RunbookURL = url
		return a
	}
	stray := func(name, severity string, silenced bool) evidence.Alert {
		f := at(6)
		return evidence.Alert{Name: name, Fired: true, FiredAt: &f, Severity: severity, Silenced: silenced, Status: verdict.Pass}
	}
	fine := down(5, 40)
	for name, c := range map[string]struct {
		all     []evidence.Alert
		watched int
		want    verdict.Status
		says    string
	}{
		"kept":                      {[]evidence.Alert{fine}, 60, verdict.Pass, ""},
		"late":                      {[]evidence.Alert{down(11, 40)}, 60, verdict.Fail, "its runbook promises 10s"},
		"cleared late":              {[]evidence.Alert{down(5, 51)}, 60, verdict.Fail, "cleared 31.0 s after"},
		"not cleared":               {[]evidence.Alert{down(5, -1)}, 60, verdict.Fail, "did not clear within 30s"},
		"not cleared, not watched":  {[]evidence.Alert{down(5, -1)}, 49, verdict.Inconclusive, "ended before its 30s"},
		"a dead link":               {[]evidence.Alert{linked("runbooks/Gone.md")}, 60, verdict.Fail, "runbooks/Gone.md, which is not its runbook"},
		"another one's runbook":     {[]evidence.Alert{linked("runbooks/Other.md")}, 60, verdict.Fail, "not its runbook"},
		"a page nobody declared":    {[]evidence.Alert{stray("Other", "page", false), fine}, 60, verdict.Fail, "alert Other paged"},
		"a page that is declared":   {[]evidence.Alert{stray("Slow", "page", false), fine}, 60, verdict.Pass, ""},
		"a page that was inhibited": {[]evidence.Alert{stray("Other", "page", true), fine}, 60, verdict.Pass, ""},
		"a ticket":                  {[]evidence.Alert{stray("Other", "ticket", false), fine}, 60, verdict.Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			Promises(c.all, books, Moments{InForce: at(0), Removed: at(20), Watched: at(c.watched)})
			NoOtherPages(c.all, books)
			if got := c.all[0]; got.Status != c.want || !strings.Contains(got.Reason, c.says) {
				t.Errorf("%v %q; want %v: …%s…", got.Status, got.Reason, c.want, c.says)
			}
		})
	}
}

func TestLinksToARunbook(t *testing.T) {
	for link, want := range map[string]bool{
		"runbooks/Down.md":  true,
		"/runbooks/Down.md": true,
		"https://git.example/team/seatrial/blob/main/runbooks/Down.md":           true,
		"https://git.example/team/seatrial/runbooks/Down.md?ref=main#mitigation": true,
		"https://gone.example/x/Down.md":                                         false,
		"https://gone.example/my-runbooks/Down.md":                               false,
		"https://gone.example/?page=runbooks/Down.md":                            false,
		"https://gone.example/#runbooks/Down.md":                                 false,
		"https://gone.example/runbooks/Down.md/edit":                             false,
		"https://git.example/runbooks/Other.md":                                  false,
		"https://git.example/runbooks/BreakDown.md":                              false,
		"Down.md":                       false,
		"my-runbooks/Down.md":           false,
		"runbooks/Down":                 false,
		"runbooks/old/Down.md":          false,
		"https://[::1/runbooks/Down.md": false,
	} {
		fired, cleared := at(5), at(40)
		all := []evidence.Alert{{Name: "Down", Expected: true, Fired: true, FiredAt: &fired, ResolvedAt: &cleared, RunbookURL: link, Status: verdict.Pass}}
		Promises(all, []evidence.RunbookPlan{{Name: "Down"}, {Name: "Other"}}, Moments{InForce: at(0), Removed: at(20), Watched: at(60)})
		if got := all[0].Status == verdict.Pass; got != want {
			t.Errorf("%s: %v %s; want a pass: %v", link, all[0].Status, all[0].Reason, want)
		}
	}
}

func TestPromisesLeaveWhatIsJudgedAlready(t *testing.T) {
	all := []evidence.Alert{{Name: "Down", Expected: true, Status: verdict.Fail, Reason: "late"}, {Name: "Down", Expected: true, Status: verdict.Inconclusive, Reason: "open"}}
	Promises(all, []evidence.RunbookPlan{{Name: "Down"}}, Moments{})
	if all[0].Reason != "late" || all[1].Reason != "open" {
		t.Errorf("%+v", all)
	}
}
