package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"seatrial/loadgen/control"
	"seatrial/loadgen/profile"
)

// locked is a log that is read while it is written.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestServeUntilItIsTold(t *testing.T) {
	addr := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr locked
	done := make(chan error, 1)
	dir := filepath.Join(t.TempDir(), "attacks")
	go func() {
		done <- run(ctx, []string{"serve", "--listen", addr, "--dir", dir}, &stderr, &stderr)
	}()
	client := control.NewClient("http://"+addr, http.DefaultClient)
	for deadline := time.Now().Add(10 * time.Second); client.Health(ctx) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not listen")
		}
	}
	// An attack that runs when the process is told to end is closed, not lost.
	_, err := client.Start(ctx, control.Spec{ID: "a", Target: "http://" + addr + "/task", Prefix: "p",
		Profile: profile.Config{Kind: profile.Steady, Rate: 20, Duration: profile.Duration(time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stderr.b.String(), `"state":"done"`) {
		t.Errorf("log: %s", &stderr.b)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = run(t.Context(), []string{"serve", "--listen", l.Addr().String(), "--dir", t.TempDir()}, &locked{}, &locked{})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--version", "loadgen version dev"},
		{"--help", "serve"},
		{"serve --help", "--listen"},
		{"attack --help", "--profile"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(tt.args), &out, &out); err != nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: %v\n%s", tt.args, err, &out)
		}
	}
	if err := run(t.Context(), []string{"dance"}, &locked{}, &locked{}); err == nil || !strings.Contains(err.Error(), "dance") {
		t.Errorf("an unknown command: %v", err)
	}
}
