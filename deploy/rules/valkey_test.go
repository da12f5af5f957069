package rules_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestValkeyExporterHasTheNames asks the exporter itself, about a server of its own.
func TestValkeyExporterHasTheNames(t *testing.T) {
	server, exporter := freeAddress(t), freeAddress(t)
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		t.Fatal(err)
	}
	// A replica has the names of a primary and some of its own, also one whose primary nobody is.
	start(t, "valkey-server", "--bind", host, "--port", port, "--save", "", "--appendonly", "yes", "--dir", t.TempDir(), "--replicaof", host, "1")
	start(t, "valkey-exporter", "-redis.addr", "redis://"+server, "-web.listen-address", exporter)
	scrape(t, "http://"+exporter+"/metrics") // its own commands are what the next one counts
	page := scrape(t, "http://"+exporter+"/metrics")
	var names []string
	for _, name := range ofOthers {
		if strings.HasPrefix(name, "redis_") {
			names = append(names, name)
		}
	}
	if missing := notIn(page, names); len(names) == 0 || len(missing) > 0 {
		t.Errorf("of %q valkey-exporter does not export %q", names, missing)
	}
	if missing := notIn(page, []string{"redis_up", "redis_connected_replicas", "redis_u"}); !slices.Equal(missing, []string{"redis_connected_replicas", "redis_u"}) {
		t.Errorf("of names that it does not export, it is only seen of %q", missing)
	}
}

// notIn lists the names of which a page of metrics has no sample.
func notIn(page string, names []string) (missing []string) {
	for _, name := range names {
		if !strings.Contains(page, "\n"+name+"{") && !strings.Contains(page, "\n"+name+" ") {
			missing = append(missing, name)
		}
	}
	return missing
}

// start runs a program of .deps until the test ends.
func start(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(tool(t, name), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// scrape returns the page of metrics as soon as it is about a server that answers.
func scrape(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	said := fmt.Errorf("no answer")
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		res, err := client.Get(url)
		if err != nil {
			said = err
			continue
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil && strings.Contains(string(page), "\nredis_up 1\n") {
			return string(page)
		}
		said = fmt.Errorf("%s, %v, and no redis_up 1", res.Status, err)
	}
	t.Fatalf("%s: %v", url, said)
	return ""
}

// freeAddress is free at the time of asking.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
