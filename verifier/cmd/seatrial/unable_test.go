//go:build linux

package main

import (
	"testing"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

func TestWhatMayBeInconclusive(t *testing.T) {
	pass := evidence.Scenario{Status: verdict.Pass}
	fail := evidence.Scenario{Status: verdict.Fail}
	open := evidence.Scenario{Status: verdict.Inconclusive}
	unable := evidence.Scenario{Status: verdict.Inconclusive, Unable: true}
	for name, tt := range map[string]struct {
		scenarios []evidence.Scenario
		run, want verdict.Status
	}{
		"unable beside pass":     {[]evidence.Scenario{pass, unable}, verdict.Inconclusive, verdict.Pass},
		"another open question":  {[]evidence.Scenario{pass, unable, open}, verdict.Inconclusive, verdict.Inconclusive},
		"a failure stays":        {[]evidence.Scenario{fail, unable}, verdict.Fail, verdict.Fail},
		"nothing could be tried": {[]evidence.Scenario{unable}, verdict.Inconclusive, verdict.Inconclusive},
	} {
		r := &evidence.Run{Status: tt.run, Scenarios: tt.scenarios}
		if got := (&runFlags{allowUnable: true}).told(r); got != tt.want {
			t.Errorf("%s: told %s, want %s", name, got, tt.want)
		}
		if got := (&runFlags{}).told(r); got != tt.run {
			t.Errorf("%s: without the flag told %s, want %s", name, got, tt.run)
		}
	}
}
