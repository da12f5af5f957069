//go:build linux

package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// readinessPeriod is how often an API is asked whether it is ready, and
// readinessPatience how long it may take (a readinessProbe's periodSeconds and
// timeoutSeconds, at a quarter of the scale).
const (
	readinessPeriod   = 250 * time.Millisecond
	readinessPatience = 500 * time.Millisecond
)

// watchReadiness keeps the Service's endpoints to the APIs that are ready, as
// kubelet and kube-proxy do. An API leaves after one failed probe.
func (t *Testbed) watchReadiness(ctx context.Context) {
	for {
		var ready []netip.AddrPort
		for _, p := range t.pods {
			if p.Labels["app"] != "api" {
				continue
			}
			probe, cancel := context.WithTimeout(ctx, readinessPatience)
			if p.Running() && p.Ready(probe) == nil {
				ready = append(ready, netip.AddrPortFrom(p.Addr, apiPort))
			}
			cancel()
		}
		t.api.SetEndpoints(ready)
		t.behind.Store(int32(len(ready)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(readinessPeriod):
		}
	}
}

// awaitReady waits until every pod is ready.
func (t *Testbed) awaitReady(parent context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	for {
		err := t.Healthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-parent.Done():
			return fmt.Errorf("interrupted before the testbed was ready: %w", parent.Err())
		case <-ctx.Done():
			return fmt.Errorf("the testbed is not ready: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Healthy returns nil when every container runs, every pod is ready, and the Service leads to every API.
func (t *Testbed) Healthy(ctx context.Context) error {
	var all errgroup.Group
	for _, p := range t.pods {
		all.Go(func() error {
			for _, c := range p.Status() {
				if !c.Running {
					return fmt.Errorf("pod %s: %s is down (%s)", p.Name, c.Name, c.LastExit)
				}
			}
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			if err := p.Ready(ctx); err != nil {
				return fmt.Errorf("pod %s is not ready: %w", p.Name, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	// Its endpoints follow the probes: for a moment all APIs may be ready and connections refused.
	if n := t.behind.Load(); int(n) != pair {
		return fmt.Errorf("of %d APIs %d are behind the Service's address", pair, n)
	}
	return nil
}

func (t *Testbed) httpReady(a netip.Addr, port uint16, path string) func(context.Context) error {
	url := "http://" + netip.AddrPortFrom(a, port).String() + path
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := t.http.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300))
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s %s", path, res.Status, strings.TrimSpace(string(text)))
		}
		return nil
	}
}

// valkeyReady asks PING and, of a replica, that it is linked to its primary; of
// a primary, that both replicas are.
func (t *Testbed) valkeyReady(a netip.Addr) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := t.node.DialContext(ctx, "tcp", netip.AddrPortFrom(a, 6379).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline)
		}
		if _, err := fmt.Fprintf(conn, "INFO replication\r\nQUIT\r\n"); err != nil {
			return err
		}
		info, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		field := func(key string) string { return infoField(string(info), key) }
		switch field("role") {
		case "master":
			if field("connected_slaves") != strconv.Itoa(replica-1) {
				return fmt.Errorf("primary with %s replicas, want %d", field("connected_slaves"), replica-1)
			}
		case "slave":
			if field("master_link_status") != "up" {
				return fmt.Errorf("replica's link to its primary is %s", field("master_link_status"))
			}
		default:
			return fmt.Errorf("INFO replication answered %.80q", info)
		}
		return nil
	}
}

func infoField(info, key string) string {
	lines := bufio.NewScanner(strings.NewReader(info))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
