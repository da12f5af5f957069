package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// apiServer plays an API server's door to the ports of pods. It is an old one, which
// knows no WebSockets; real ones are met by the runs on a cluster. Port 1 echoes,
// port 2 is one where nobody listens, port 3 never answers.
func apiServer(t *testing.T) *rest.Config {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/ns/pods/pod/portforward" {
			http.Error(w, "no such pod", http.StatusNotFound)
			return
		}
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			http.Error(w, "what is a WebSocket?", http.StatusBadRequest)
			return
		}
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		}
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, serve)
		if conn != nil {
			<-conn.CloseChan()
		}
	}))
	t.Cleanup(s.Close)
	return &rest.Config{Host: s.URL}
}

func serve(stream httpstream.Stream, replied <-chan struct{}) error {
	go func() {
		<-replied
		h := stream.Headers()
		switch h.Get(core.StreamType) + h.Get(core.PortHeader) {
		case "data1":
			_, _ = io.Copy(stream, stream)
		case "error2":
			fmt.Fprint(stream, "connection refused")
			stream.Close()
		}
	}()
	return nil
}

func TestForwardCarriesBytesBothWays(t *testing.T) {
	conn, err := forward(t.Context(), apiServer(t), "ns", "pod", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := strings.Repeat("tasks ", 40_000) // more than a frame, less than the window
	go func() { _, _ = io.WriteString(conn, want) }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if conn.RemoteAddr().String() != "pod:1" {
		t.Errorf("remote %s", conn.RemoteAddr())
	}
}

func TestForwardTellsWhatTheKubeletSays(t *testing.T) {
	conn, err := forward(t.Context(), apiServer(t), "ns", "pod", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "pod:2: connection refused") {
		t.Errorf("%v", err)
	}
}

func TestCloseEndsARead(t *testing.T) {
	conn, err := forward(t.Context(), apiServer(t), "ns", "pod", 3)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	conn.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("read a byte that nobody sent")
		}
	case <-time.After(10 * time.Second):
		t.Error("the read goes on")
	}
}

func TestForwardToNoPodAndWithoutTime(t *testing.T) {
	config := apiServer(t)
	if _, err := forward(t.Context(), config, "ns", "other", 1); err == nil || !strings.Contains(err.Error(), "no such pod") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := forward(ctx, config, "ns", "pod", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
