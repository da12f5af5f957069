package alert

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

var zero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return zero.Add(time.Duration(seconds) * time.Second) }

func TestJudge(t *testing.T) {
	expected := []evidence.AlertPlan{{Name: "Down", Within: evidence.Duration(10 * time.Second)}}
	rang := func(when int, url string) []evidence.SeenAlert {
		return []evidence.SeenAlert{{Name: "Down", FiredAt: at(when), RunbookURL: url}}
	}
	for name, c := range map[string]struct {
		seen             []evidence.SeenAlert
		inForce, watched time.Time
		want             verdict.Status
		says             string
	}{
		"in time":                 {rang(9, "runbooks/Down.md"), at(0), at(60), verdict.Pass, ""},
		"before the proof":        {rang(-1, "runbooks/Down.md"), at(0), at(60), verdict.Pass, ""},
		"late":                    {rang(11, "runbooks/Down.md"), at(0), at(60), verdict.Fail, "fired 11.0 s after"},
		"silent":                  {nil, at(0), at(60), verdict.Fail, "did not fire within 10s"},
		"silent, watch too short": {nil, at(0), at(9), verdict.Inconclusive, "ended before"},
		"without a runbook":       {rang(5, ""), at(0), at(60), verdict.Fail, "no runbook_url"},
		"fault not proven":        {rang(5, "x"), time.Time{}, at(60), verdict.Inconclusive, "not seen in force"},
		"another one":             {[]evidence.SeenAlert{{Name: "Up", FiredAt: at(1)}}, at(0), at(60), verdict.Fail, "Down did not fire"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(expected, c.seen, c.inForce, c.watched)[0]
			if got.Name != "Down" || !got.Expected || got.Status != c.want || !strings.Contains(got.Reason, c.says) {
				t.Errorf("%+v; want %v: …%s…", got, c.want, c.says)
			}
		})
	}
}

func TestUnexpectedAlertsAreListedAndFailOnlyAQuietTrial(t *testing.T) {
	seen := []evidence.SeenAlert{{Name: "Page", Severity: "page", FiredAt: at(1)}, {Name: "Ticket", Severity: "ticket", FiredAt: at(2)}, {Name: "Inhibited", Severity: "page", FiredAt: at(3), Silenced: true}}
	all := Judge(nil, seen, at(0), at(60))
	if len(all) != 3 || all[0].Status != verdict.Pass || all[0].Expected || !all[0].Fired {
		t.Fatalf("%+v", all)
	}
	MustBeQuiet(all)
	if all[0].Status != verdict.Fail || !strings.Contains(all[0].Reason, "Page paged") || all[1].Status != verdict.Pass || all[2].Status != verdict.Pass {
		t.Errorf("%+v", all)
	}
}

func TestActiveReadsAlertmanagersAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`[
		 {"labels":{"alertname":"A","severity":"page"},"annotations":{"runbook_url":"runbooks/A.md"},"endsAt":"2999-01-01T00:00:00Z","status":{"state":"suppressed"}},
		 {"labels":{"alertname":"A","severity":"page"},"annotations":{},"endsAt":"2999-01-01T00:00:00Z","status":{"state":"active"}},
		 {"labels":{"alertname":"B"},"annotations":{},"endsAt":"2999-01-01T00:00:00Z","status":{"state":"suppressed"}},
		 {"labels":{"alertname":"Over"},"annotations":{},"endsAt":"2001-01-01T00:00:00Z","status":{"state":"active"}}]`))
	}))
	defer server.Close()
	got, err := NewManager(server.URL, http.DefaultTransport).Active(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if got[0].Name != "A" || got[0].RunbookURL != "runbooks/A.md" || got[0].Silenced || !got[1].Silenced {
		t.Errorf("%+v", got)
	}
}

// TestAlertsThatFireByDesignAreNotSeen: on a cluster of one's own they would keep every trial from starting.
func TestAlertsThatFireByDesignAreNotSeen(t *testing.T) {
	alert := func(name, severity string) active {
		return active{Labels: map[string]string{"alertname": name, "severity": severity}}
	}
	got := firing([]active{alert("Watchdog", "none"), alert("InfoInhibitor", "none"), alert("Watchdog", "critical"), alert("DeadMansSwitch", "none"),
		alert("WorkerDown", "page"), alert("Nameless", "")}, zero)
	if len(got) != 2 || got[0].Name != "WorkerDown" || got[1].Name != "Nameless" {
		t.Errorf("%+v, want WorkerDown and Nameless", got)
	}
}

func TestActiveErrors(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"not JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			if got, err := NewManager(server.URL, http.DefaultTransport).Active(t.Context()); err == nil || !strings.Contains(err.Error(), "ask Alertmanager") {
				t.Error(got, err)
			}
		})
	}
}
