// Package nats_test runs the script and the configuration that start a NATS server,
// as a cluster of real servers on loopback addresses. It knows no testbed.
package nats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"seatrial/deploy"
	"seatrial/verifier/lack"
)

// cluster is three real servers on loopback addresses.
type cluster struct {
	t                       *testing.T
	dir, path, scripts      string
	client, routes, monitor string // ports
	procs                   [3]*exec.Cmd
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	bin, err := filepath.Abs("../../.deps/bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "nats-server")); err != nil {
		lack.Of(t, "no nats-server: run make deps (%v)", err)
	}
	c := &cluster{t: t, dir: t.TempDir(), scripts: unpack(t, "nats"), path: "PATH=" + bin + ":" + os.Getenv("PATH"),
		client: freePort(t), routes: freePort(t), monitor: freePort(t)}
	t.Cleanup(c.end)
	return c
}

// unpack writes the embedded scripts into a folder, as a testbed does.
func unpack(t *testing.T, app string) string {
	t.Helper()
	scripts, err := fs.Sub(deploy.Files, app)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, scripts); err != nil {
		t.Fatal(err)
	}
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func host(pod int) string { return fmt.Sprintf("127.0.0.%d", 21+pod) }

func (c *cluster) start(pod int) {
	c.t.Helper()
	log, err := os.OpenFile(fmt.Sprintf("%s/%d.log", c.dir, pod), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("sh", filepath.Join(c.scripts, "start-nats.sh"))
	cmd.Env = []string{c.path, "PEERS=nats-0=127.0.0.21,nats-1=127.0.0.22,nats-2=127.0.0.23",
		fmt.Sprintf("POD_NAME=nats-%d", pod), fmt.Sprintf("DATA_DIR=%s/%d", c.dir, pod), "BIND=" + host(pod),
		"NATS_PORT=" + c.client, "CLUSTER_PORT=" + c.routes, "MONITOR_PORT=" + c.monitor}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("start nats-%d: %v", pod, err)
	}
	c.procs[pod] = cmd
}

func (c *cluster) kill(pod int) {
	if cmd := c.procs[pod]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		c.procs[pod] = nil
	}
}

func (c *cluster) end() {
	for pod := range c.procs {
		c.kill(pod)
		if c.t.Failed() {
			text, _ := os.ReadFile(fmt.Sprintf("%s/%d.log", c.dir, pod))
			c.t.Logf("--- nats-%d\n%s", pod, text)
		}
	}
}

// get reads one page of a server's monitoring into v.
func (c *cluster) get(pod int, page string, v any) error {
	r, err := http.Get("http://" + net.JoinHostPort(host(pod), c.monitor) + page)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return json.NewDecoder(r.Body).Decode(v)
}

// await retries until ok gives no error.
func (c *cluster) await(what string, ok func(ctx context.Context) error) {
	c.t.Helper()
	began, err := time.Now(), error(nil)
	for time.Since(began) < 30*time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err = ok(ctx)
		cancel()
		if err == nil {
			c.t.Logf("%s: after %s", what, time.Since(began).Round(100*time.Millisecond))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.t.Fatalf("%s: %v", what, err)
}

// TestStart forms a cluster, keeps a stream of three replicas through the loss of one server and of
// all at once, and looks at the settings that the promises rest on.
func TestStart(t *testing.T) {
	c := newCluster(t)
	urls := ""
	for pod := range c.procs {
		c.start(pod)
		urls += fmt.Sprintf("nats://%s,", net.JoinHostPort(host(pod), c.client))
	}
	nc, err := nats.Connect(urls[:len(urls)-1], nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c.await("stream of three replicas", func(ctx context.Context) error {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "TASKS", Subjects: []string{"task.>"}, Replicas: 3, Storage: jetstream.FileStorage})
		return err
	})
	publish := func(ctx context.Context) error { _, err := js.Publish(ctx, "task.a", []byte("x")); return err }
	current := func(ctx context.Context) error {
		s, err := js.Stream(ctx, "TASKS")
		if err != nil {
			return err
		}
		info, n := s.CachedInfo(), 0
		for _, r := range info.Cluster.Replicas {
			if r.Current && !r.Offline {
				n++
			}
		}
		if info.Cluster.Leader == "" || n != 2 {
			return fmt.Errorf("leader %q, %d replicas current", info.Cluster.Leader, n)
		}
		return nil
	}
	c.await("first message", publish)
	c.await("replicas current", current)

	var settings struct {
		Config struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
	}
	if err := c.get(0, "/jsz", &settings); err != nil || !settings.Config.SyncAlways {
		t.Errorf("nats-0 acknowledges before the disk has it: %+v, %v", settings, err)
	}
	var routes struct {
		Num int `json:"num_routes"`
	}
	if err := c.get(0, "/routez", &routes); err != nil || routes.Num != 2 {
		t.Errorf("nats-0 has %d routes, %v; want one to each peer", routes.Num, err)
	}

	leader := -1
	if s, err := js.Stream(context.Background(), "TASKS"); err != nil {
		t.Fatal(err)
	} else if _, err := fmt.Sscanf(s.CachedInfo().Cluster.Leader, "nats-%d", &leader); err != nil {
		t.Fatalf("leader %q: %v", s.CachedInfo().Cluster.Leader, err)
	}
	c.kill(leader)
	c.await("message with the leader lost", publish)
	c.start(leader)
	c.await("replicas current again", current)

	for pod := range c.procs {
		c.kill(pod)
	}
	for pod := range c.procs {
		c.start(pod)
	}
	c.await("replicas current after a whole restart", current)
	s, err := js.Stream(context.Background(), "TASKS")
	if err != nil {
		t.Fatal(err)
	}
	// At least: a publish whose answer got lost in the test's retries is stored too.
	if n := s.CachedInfo().State.Msgs; n < 2 {
		t.Errorf("%d messages after a whole restart, 2 were acknowledged", n)
	}
}

// TestSecondServerWaits starts a server on a volume that another one still has, as a
// pod that was deleted by force and its successor do.
func TestSecondServerWaits(t *testing.T) {
	c := newCluster(t)
	id := func(ctx context.Context) (string, error) {
		var v struct {
			ID string `json:"server_id"`
		}
		err := c.get(0, "/varz", &v)
		return v.ID, err
	}
	c.start(0)
	var first string
	c.await("the first server answers", func(ctx context.Context) (err error) { first, err = id(ctx); return err })
	old := c.procs[0]
	c.start(0)
	log := filepath.Join(c.dir, "0.log")
	c.await("the second says that it waits", func(context.Context) error {
		if text, _ := os.ReadFile(log); !strings.Contains(string(text), "another server still has") {
			return errors.New("it says nothing")
		}
		return nil
	})
	if now, err := id(t.Context()); err != nil || now != first {
		t.Errorf("while both run, server %s answers (%v), not the first, %s", now, err, first)
	}
	_ = old.Process.Kill()
	_ = old.Wait()
	c.await("the second server answers", func(ctx context.Context) error {
		if now, err := id(ctx); err != nil || now == first {
			return fmt.Errorf("server %s, %v", now, err)
		}
		return nil
	})
}
