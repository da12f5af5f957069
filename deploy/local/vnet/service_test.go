//go:build linux

package vnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestService(t *testing.T) {
	n := newNet(t)
	a, b, c := attach(t, n, ipA), attach(t, n, ipB), attach(t, n, ipC)
	say := func(name string) func(net.Conn) {
		return func(conn net.Conn) {
			for {
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					return
				}
				conn.Write([]byte(name))
			}
		}
	}
	serve(t, b, ":8080", say("b"))
	serve(t, c, ":8080", say("c"))
	s, err := n.Service(netip.MustParseAddrPort("198.18.9.9:80"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(conn net.Conn) string {
		t.Helper()
		conn.Write([]byte{1})
		answer := make([]byte, 1)
		if _, err := conn.Read(answer); err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	refused := func(when string) {
		t.Helper()
		if _, err := dial(a, "tcp4", "198.18.9.9:80", 5*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want refused", when, err)
		}
	}
	refused("without endpoints")
	endB, endC := netip.AddrPortFrom(ipB, 8080), netip.AddrPortFrom(ipC, 8080)
	if err := s.SetEndpoints([]netip.AddrPort{endB, endC}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for range 40 {
		conn := mustDial(t, a, "tcp4", "198.18.9.9:80")
		seen[ask(conn)]++
		conn.Close()
	}
	if seen["b"] < 5 || seen["c"] < 5 {
		t.Errorf("40 connections went to %v", seen)
	}
	s.SetEndpoints([]netip.AddrPort{endB})
	old := mustDial(t, a, "tcp4", "198.18.9.9:80")
	if got := ask(old); got != "b" {
		t.Errorf("%s answers, want b", got)
	}
	s.SetEndpoints([]netip.AddrPort{endC})
	if got := ask(old); got != "b" {
		t.Errorf("an old connection moved to %s", got)
	}
	if got := ask(mustDial(t, a, "tcp4", "198.18.9.9:80")); got != "c" {
		t.Errorf("a new connection goes to %s, want c", got)
	}
	// Faults are about pods, also for what came by way of the service.
	f := impair(t, n, Impairment{Partition: Reject}, Link{ipA, ipC})
	refused("with the only endpoint cut off")
	f.Remove()
	// The address behind it stays reachable by itself.
	if got := ask(mustDial(t, a, "tcp4", "198.19.1.3:8080")); got != "c" {
		t.Errorf("%s answers directly, want c", got)
	}
	s.SetEndpoints(nil)
	refused("without endpoints again")
	s.Close()
	if _, err := n.Service(netip.MustParseAddrPort("198.18.9.9:80")); err != nil {
		t.Errorf("make a closed service again: %v", err)
	}
}

// A large answer through a service has its addresses changed in offloaded
// packets.
func TestServiceBulk(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	echo(t, b)
	s, err := n.Service(netip.MustParseAddrPort("198.18.9.9:80"))
	if err != nil {
		t.Fatal(err)
	}
	s.SetEndpoints([]netip.AddrPort{netip.AddrPortFrom(ipB, 7)})
	conn := mustDial(t, a, "tcp4", "198.18.9.9:80")
	data := randomBytes(4 << 20)
	go conn.Write(data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo through the service: %v, intact %v", err, bytes.Equal(got, data))
	}
}

func TestForward(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	echo(t, b)
	addr, err := n.Forward(t.Context(), "127.0.0.1:0", a, "198.18.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := randomBytes(1 << 20)
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo through the forward: %v, intact %v", err, bytes.Equal(got, data))
	}
	_, err = n.Forward(t.Context(), addr.String(), a, "198.18.0.2:7")
	if err == nil || !strings.Contains(err.Error(), addr.String()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port in use: %v", err)
	}
	nowhere, err := n.Forward(t.Context(), "127.0.0.1:0", a, "198.18.0.2:8")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp4", nowhere.String()); err == nil {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a forward to nowhere ends with %v, want a reset", err)
		}
	}
	n.Close()
	if _, err := net.Dial("tcp4", addr.String()); err == nil {
		t.Error("the forward outlives the network")
	}
}
