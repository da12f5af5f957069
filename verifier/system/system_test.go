package system_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seatrial/verifier/system"
)

// golden is the wire contract as the services and the load generator test it.
func golden(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "loadgen", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func api(t *testing.T, status int, body string) *system.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tasks" && r.FormValue("prefix") != "t-" {
			t.Errorf("prefix %q", r.FormValue("prefix"))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return system.New(s.URL, http.DefaultTransport)
}

func TestHeld(t *testing.T) {
	whole := golden(t, "tasks_export.ndjson")
	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	for name, c := range map[string]struct {
		status     int
		body, says string
	}{
		"whole":       {200, whole, ""},
		"cut":         {200, strings.Join(lines[:len(lines)-1], ""), "no closing line"},
		"empty":       {200, "", "no closing line"},
		"unavailable": {503, golden(t, "problem_unknown.json"), "503"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := api(t, c.status, c.body).Held(t.Context(), "t-", &out)
			if c.says == "" && (err != nil || strings.TrimSpace(out.String()) != strings.TrimSpace(c.body)) {
				t.Errorf("%v: %s", err, out.String())
			}
			if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v, want …%s…", err, c.says)
			}
		})
	}
}

func TestBacklog(t *testing.T) {
	if n, err := api(t, 200, `{"queue_backlog_length": 7, "valkey_keys_count": 1}`).Backlog(t.Context()); n != 7 || err != nil {
		t.Error(n, err)
	}
	if _, err := api(t, 200, golden(t, "stats.json")).Backlog(t.Context()); err != nil {
		t.Error(err)
	}
	for name, body := range map[string]string{"not JSON": "<html>", "without the field": `{"valkey_keys_count": 1}`} {
		if _, err := api(t, 200, body).Backlog(t.Context()); err == nil || !strings.Contains(err.Error(), "/stats") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
