//go:build linux

package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAwaitWaitsAndSaysWhatWasSaid: it asks again, and gives up with the last answer.
func TestAwaitWaitsAndSaysWhatWasSaid(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/never" || asked.Add(1) == 1 {
			http.Error(w, "nothing was looked at yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	var out, complaints bytes.Buffer
	if code := run(context.Background(), []string{"await", server.URL}, &out, &complaints); code != exitPass || !strings.Contains(out.String(), "answers") || asked.Load() != 2 {
		t.Errorf("status %d after %d questions: %s%s", code, asked.Load(), &out, &complaints)
	}
	code := run(context.Background(), []string{"await", "--within", "1200ms", server.URL + "/never"}, &out, &complaints)
	if code != exitBroken || !strings.Contains(complaints.String(), "503 Service Unavailable: nothing was looked at yet") {
		t.Errorf("status %d: %s", code, &complaints)
	}
}

// TestShelfCommandsRefuseWhatIsWrong: what follows from flags alone.
func TestShelfCommandsRefuseWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"prune --keep 0":             "--keep 0: at least one run is kept",
		"prune --reports /nowhere":   "open the reports' folder: open /nowhere",
		"serve --reports /nowhere":   "open the reports' folder: open /nowhere",
		"await":                      "requires at least 1 arg",
		"janitor --kubeconfig /none": "no cluster to connect to",
		"janitor --namespace= --listen=127.0.0.1:0 --kubeconfig testdata/kubeconfig": "no namespace to look in",
	} {
		var out, complaints bytes.Buffer
		if code := run(context.Background(), strings.Fields(args), &out, &complaints); code != exitBroken || !strings.Contains(complaints.String(), want) {
			t.Errorf("%s: status %d, %s; want %q", args, code, &complaints, want)
		}
	}
}
