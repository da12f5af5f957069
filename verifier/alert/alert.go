// Package alert knows which alerts rang: it reads them from Alertmanager, and
// judges them against what a plan expected.
//
// The judgement is pure. It knows no Prometheus rules.
package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// Manager is a client of an Alertmanager.
type Manager struct {
	url    string
	client *http.Client
}

// NewManager returns a client of the Alertmanager at url, reached through transport.
func NewManager(url string, transport http.RoundTripper) *Manager {
	return &Manager{url, &http.Client{Transport: transport, Timeout: 3 * time.Second}}
}

// active is one element of GET /api/v2/alerts, as Alertmanager's OpenAPI file
// (api/v2/openapi.yaml, gettableAlert) describes it.
type active struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	EndsAt      time.Time         `json:"endsAt"`
	Status      struct {
		State string `json:"state"`
	} `json:"status"`
}

// always says whether an alert fires by design, to show that alerts come through: users' clusters have
// kube-prometheus' Watchdog and InfoInhibitor. A severity of none is their convention.
func (a active) always() bool {
	return a.Labels["severity"] == "none" || a.Labels["alertname"] == "Watchdog"
}

// Active lists the alerts that are firing, suppressed ones included, and those not that fire by design.
func (m *Manager) Active(ctx context.Context) ([]evidence.SeenAlert, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+"/api/v2/alerts?active=true&inhibited=true&silenced=true", nil)
	if err != nil {
		return nil, err
	}
	res, err := m.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask Alertmanager: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask Alertmanager: %s", res.Status)
	}
	var all []active
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("ask Alertmanager: %w", err)
	}
	return firing(all, time.Now()), nil
}

// firing keeps one entry an alert name, suppressed only if each instance is.
func firing(all []active, now time.Time) []evidence.SeenAlert {
	var seen []evidence.SeenAlert
	index := map[string]int{}
	for _, a := range all {
		if a.always() || !a.EndsAt.IsZero() && a.EndsAt.Before(now) {
			continue
		}
		name, suppressed := a.Labels["alertname"], a.Status.State == "suppressed"
		if i, ok := index[name]; ok {
			seen[i].Silenced = seen[i].Silenced && suppressed
			continue
		}
		index[name] = len(seen)
		seen = append(seen, evidence.SeenAlert{
			Name: name, Severity: a.Labels["severity"],
			RunbookURL: a.Annotations["runbook_url"], Silenced: suppressed,
		})
	}
	return seen
}

// Judge compares what rang with what was expected. Times are counted from
// inForce, the moment at which the fault was proven; a zero inForce leaves
// every expectation open, and so does a watch that ended before an alert's time
// was up. Alerts that nobody expected are listed as seen and judged by nobody
// here.
func Judge(expected []evidence.AlertPlan, seen []evidence.SeenAlert, inForce, watched time.Time) []evidence.Alert {
	var all []evidence.Alert
	rang := map[string]evidence.SeenAlert{}
	for _, s := range seen {
		rang[s.Name] = s
	}
	for _, e := range expected {
		s, ok := rang[e.Name]
		a := view(e.Name, s, ok)
		a.Expected = true
		a.Status, a.Reason = judge(e, s, ok, inForce, watched)
		all = append(all, a)
		delete(rang, e.Name)
	}
	for _, s := range seen {
		if _, left := rang[s.Name]; left {
			a := view(s.Name, s, true)
			a.Status = verdict.Pass
			all = append(all, a)
		}
	}
	return all
}

func view(name string, s evidence.SeenAlert, fired bool) evidence.Alert {
	a := evidence.Alert{Name: name, Fired: fired, Severity: s.Severity, RunbookURL: s.RunbookURL, ResolvedAt: s.ResolvedAt, Silenced: s.Silenced}
	if fired {
		a.FiredAt = &s.FiredAt
	}
	return a
}

func judge(e evidence.AlertPlan, s evidence.SeenAlert, fired bool, inForce, watched time.Time) (verdict.Status, string) {
	limit := time.Duration(e.Within)
	switch {
	case inForce.IsZero():
		return verdict.Inconclusive, fmt.Sprintf("alert %s: the fault was not seen in force", e.Name)
	case !fired && watched.Sub(inForce) < limit:
		return verdict.Inconclusive, fmt.Sprintf("alert %s: the fault ended before its %v were up", e.Name, limit)
	case !fired:
		return verdict.Fail, fmt.Sprintf("alert %s did not fire within %v of the fault", e.Name, limit)
	case s.FiredAt.Sub(inForce) > limit:
		return verdict.Fail, fmt.Sprintf("alert %s fired %.1f s after the fault was in force, want %v", e.Name, s.FiredAt.Sub(inForce).Seconds(), limit)
	case s.RunbookURL == "":
		return verdict.Fail, fmt.Sprintf("alert %s has no runbook_url", e.Name)
	}
	return verdict.Pass, ""
}

// MustBeQuiet fails every alert that has paged. A ticket calls nobody, and so does a page that
// is inhibited.
func MustBeQuiet(all []evidence.Alert) {
	for i := range all {
		if all[i].Fired && all[i].Severity == "page" && !all[i].Silenced {
			all[i].Status = verdict.Fail
			all[i].Reason = fmt.Sprintf("alert %s paged, and nobody was to be called", all[i].Name)
		}
	}
}
