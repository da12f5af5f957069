package results

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

func write(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results.bin")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	encode := vegeta.NewEncoder(f)
	start := time.Unix(1_700_000_000, 0)
	for i := range n {
		r := vegeta.Result{Seq: uint64(i), Code: 202, Timestamp: start.Add(time.Duration(i) * time.Millisecond), Latency: time.Millisecond}
		if i%10 == 9 {
			r.Code, r.Error = 503, "503 Service Unavailable"
		}
		if err := encode(&r); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestWhatVegetaMakesOfThem(t *testing.T) {
	path := write(t, 1000)
	var text, hdr, page bytes.Buffer
	if err := Text(&text, path); err != nil || !strings.Contains(text.String(), "202:900  503:100") {
		t.Errorf("%v\n%s", err, &text)
	}
	if err := HDR(&hdr, path); err != nil || !strings.Contains(hdr.String(), "1.000000") {
		t.Errorf("%v\n%s", err, &hdr)
	}
	if err := Plot(&page, path, "a <title>"); err != nil || !strings.Contains(page.String(), "a &lt;title&gt;") {
		t.Errorf("%v\n%.300s", err, &page)
	}
}

func TestNoResults(t *testing.T) {
	path := write(t, 0)
	var b bytes.Buffer
	if err := Text(&b, path); err != nil {
		t.Error(err)
	}
	if err := Plot(&b, path, ""); err != nil {
		t.Error(err)
	}
}

func TestUnreadableResultsAreNamed(t *testing.T) {
	path := write(t, 100)
	if err := os.Truncate(path, 1003); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(foreign, []byte("hello, this is no gob"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, foreign, "/nowhere"} {
		if err := Text(&bytes.Buffer{}, p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v", p, err)
		}
	}
}
