package report_test

import (
	"os"
	"testing"

	"seatrial/verifier/report"
)

// REPORT_SAMPLE=folder keeps the sample report there, to be looked at.
func TestSampleRunIsReported(t *testing.T) {
	dir := os.Getenv("REPORT_SAMPLE")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := report.Write(sampleRun(t, dir)); err != nil {
		t.Fatal(err)
	}
}
