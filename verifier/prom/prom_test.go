package prom_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seatrial/verifier/lack"
	"seatrial/verifier/prom"
)

// server starts the real Prometheus that `make deps` built; it scrapes nobody.
func server(t *testing.T) string {
	t.Helper()
	deps := os.Getenv("SEATRIAL_DEPS")
	if deps == "" {
		deps = filepath.Join("..", "..", ".deps")
	}
	program, err := filepath.Abs(filepath.Join(deps, "bin", "prometheus"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		lack.Of(t, "no Prometheus: run `make deps` (%v)", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	url := "http://" + addr
	for range 200 {
		if res, err := http.Get(url + "/-/ready"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return url
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("Prometheus is not ready after 10 s")
	return ""
}

func TestAgainstTheRealPrometheus(t *testing.T) {
	c, err := prom.New(server(t), http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	t.Run("vector", func(t *testing.T) {
		got, err := c.Vector(t.Context(), `label_replace(vector(3), "pod", "a", "", "")`, now)
		if err != nil || len(got) != 1 || got[0].Value != 3 || got[0].Labels["pod"] != "a" {
			t.Error(got, err)
		}
	})
	t.Run("scalar", func(t *testing.T) {
		if got, err := c.Vector(t.Context(), "1 + 1", now); err != nil || len(got) != 1 || got[0].Value != 2 {
			t.Error(got, err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if got, err := c.Vector(t.Context(), "vector(1) > 2", now); err != nil || len(got) != 0 {
			t.Error(got, err)
		}
	})
	t.Run("a string is no vector", func(t *testing.T) {
		if got, err := c.Vector(t.Context(), `"x"`, now); err == nil || !strings.Contains(err.Error(), `query "x"`) {
			t.Error(got, err)
		}
	})
	t.Run("a mistake names the query", func(t *testing.T) {
		if got, err := c.Vector(t.Context(), "sum(", now); err == nil || !strings.Contains(err.Error(), "query sum(") {
			t.Error(got, err)
		}
	})
	t.Run("a range adds its series, a point a second", func(t *testing.T) {
		query := `label_replace(vector(1), "x", "a", "", "") or label_replace(vector(2), "x", "b", "", "")`
		got, err := c.Range(t.Context(), query, now.Add(-5*time.Second), now)
		if err != nil || len(got) != 6 {
			t.Fatal(got, err)
		}
		for i, p := range got {
			if p[1] != 3 || i > 0 && p[0]-got[i-1][0] != 1 {
				t.Error(got)
			}
		}
	})
}

func TestNobodyThere(t *testing.T) {
	c, err := prom.New("http://127.0.0.1:1", http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Vector(context.Background(), "up", time.Now()); err == nil || !strings.Contains(err.Error(), "query up") {
		t.Error(err)
	}
	if _, err := prom.New("://", http.DefaultTransport); err == nil || !strings.Contains(err.Error(), "prometheus ://") {
		t.Error(fmt.Sprint(err))
	}
}
