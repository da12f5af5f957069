// Package rules is the alerts of the system under trial, as Prometheus reads them.
//
// It is a leaf: it knows what an alert is called and where it links to, and evaluates nothing.
package rules

import (
	_ "embed"
	"fmt"

	"sigs.k8s.io/yaml"
)

//go:embed seatrial.rules.yaml
var file []byte

// Alert is what a rule promises to whoever is called.
type Alert struct {
	Name       string
	Severity   string // "page" or "ticket"
	Summary    string // a template
	RunbookURL string // a path in this repository, or a URL that ends in one
}

// Alerts lists the alerts in the order of the file.
func Alerts() ([]Alert, error) {
	var groups struct {
		Groups []struct {
			Rules []struct {
				Alert       string            `json:"alert"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(file, &groups); err != nil {
		return nil, fmt.Errorf("read seatrial.rules.yaml: %w", err)
	}
	var all []Alert
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue // a recording rule
			}
			all = append(all, Alert{r.Alert, r.Labels["severity"], r.Annotations["summary"], r.Annotations["runbook_url"]})
		}
	}
	return all, nil
}
