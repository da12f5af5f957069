package vnet

import (
	"testing"
	"time"
)

var (
	vip  = endpoint{0xc61200ff, 80}
	api0 = endpoint{carol, 8080}
	api1 = endpoint{carol + 1, 8080}
)

// toVIP and fromAPI are packets of a client's flow.
func toVIP(port uint16, flags uint8) *packet {
	return &packet{src: alice, sport: port, dst: vip.addr, dport: vip.port, proto: protoTCP, flags: flags, ports: true}
}

func fromAPI(e endpoint, port uint16, flags uint8) *packet {
	return &packet{src: e.addr, sport: e.port, dst: alice, dport: port, proto: protoTCP, flags: flags, ports: true}
}

const second = int64(time.Second)

func TestNATFlowStaysWithItsEndpoint(t *testing.T) {
	n := newNAT(1)
	n.set(vip, []endpoint{api0})
	if e, v := n.in(0, toVIP(1000, tcpSYN)); e != api0 || v != translated {
		t.Fatalf("SYN: %v, %v", e, v)
	}
	if back, ok := n.out(0, fromAPI(api0, 1000, tcpSYN|tcpACK)); !ok || back != vip {
		t.Fatalf("the answer comes from %v, %v; want %v", back, ok, vip)
	}
	n.set(vip, []endpoint{api1})
	if e, v := n.in(second, toVIP(1000, tcpACK)); e != api0 || v != translated {
		t.Errorf("after the endpoints changed the flow goes to %v, %v; want %v", e, v, api0)
	}
	if e, _ := n.in(second, toVIP(1001, tcpSYN)); e != api1 {
		t.Errorf("a new flow goes to %v, want %v", e, api1)
	}
	n.set(vip, nil)
	if _, v := n.in(second, toVIP(1002, tcpSYN)); v != refused {
		t.Errorf("without endpoints a new flow is %v, want refused", v)
	}
	if _, v := n.in(second, toVIP(1000, tcpACK)); v != translated {
		t.Errorf("without endpoints the old flow is %v, want translated", v)
	}
}

func TestNATUnknown(t *testing.T) {
	n := newNAT(1)
	n.set(vip, []endpoint{api0})
	if _, v := n.in(0, toVIP(1, tcpACK)); v != refused {
		t.Errorf("the middle of an unknown flow is %v, want refused", v)
	}
	other := toVIP(1, tcpSYN)
	other.dport = 81
	if _, v := n.in(0, other); v != refused {
		t.Errorf("a port without a service is %v, want refused", v)
	}
	ping := &packet{src: alice, dst: vip.addr, proto: protoICMP}
	if _, v := n.in(0, ping); v != ignored {
		t.Errorf("a ping is %v, want ignored", v)
	}
	if _, ok := n.out(0, fromAPI(api0, 9, tcpACK)); ok {
		t.Error("what an endpoint says to others is translated")
	}
}

func TestNATTimeouts(t *testing.T) {
	handshake := []func(*nat, int64){
		func(n *nat, at int64) { n.in(at, toVIP(1, tcpSYN)) },
		func(n *nat, at int64) { n.out(at, fromAPI(api0, 1, tcpSYN|tcpACK)) },
		func(n *nat, at int64) { n.in(at, toVIP(1, tcpACK)) },
	}
	clientFIN := func(n *nat, at int64) { n.in(at, toVIP(1, tcpFIN|tcpACK)) }
	serverFIN := func(n *nat, at int64) { n.out(at, fromAPI(api0, 1, tcpFIN|tcpACK)) }
	serverRST := func(n *nat, at int64) { n.out(at, fromAPI(api0, 1, tcpRST)) }
	for _, tc := range []struct {
		name  string
		steps []func(*nat, int64)
		keep  int64
	}{
		{"unanswered", handshake[:1], keepNew},
		{"open", handshake, keepOpen},
		{"half closed", append(handshake[:3:3], clientFIN), keepHalf},
		{"a repeated FIN closes no more", append(handshake[:3:3], clientFIN, clientFIN), keepHalf},
		{"closed", append(handshake[:3:3], clientFIN, serverFIN), keepClosed},
		{"closed from the other side", append(handshake[:3:3], serverFIN, clientFIN), keepClosed},
		{"reset", append(handshake[:3:3], serverRST), keepReset},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, late := range []bool{false, true} {
				n := newNAT(1)
				n.set(vip, []endpoint{api0})
				for _, step := range tc.steps {
					step(n, 0)
				}
				at := tc.keep - 1
				if late {
					at = tc.keep + 1
				}
				want := translated
				if late {
					want = refused
				}
				if _, got := n.in(at, toVIP(1, tcpACK)); got != want {
					t.Errorf("after %v a packet is %v, want %v", time.Duration(at), got, want)
				}
			}
		})
	}
}

// A client port used again gets a fresh choice once the old flow is over.
func TestNATPortReuse(t *testing.T) {
	n := newNAT(1)
	n.set(vip, []endpoint{api0})
	n.in(0, toVIP(1, tcpSYN))
	n.out(0, fromAPI(api0, 1, tcpRST|tcpACK))
	n.set(vip, []endpoint{api1})
	if e, v := n.in(0, toVIP(1, tcpSYN)); e != api1 || v != translated {
		t.Errorf("the new flow goes to %v, %v; want %v", e, v, api1)
	}
	if _, ok := n.out(0, fromAPI(api0, 1, tcpACK)); ok {
		t.Error("the old endpoint's answers are still translated")
	}
}

func TestNATDirectConnection(t *testing.T) {
	direct := func(port uint16) *packet {
		return &packet{src: alice, sport: port, dst: api0.addr, dport: api0.port, proto: protoTCP, flags: tcpSYN, ports: true}
	}
	n := newNAT(1)
	n.set(vip, []endpoint{api0})
	n.in(0, toVIP(1, tcpSYN))
	n.out(0, fromAPI(api0, 1, tcpRST))
	n.direct(0, direct(1))
	if _, ok := n.out(0, fromAPI(api0, 1, tcpSYN|tcpACK)); ok {
		t.Error("the answer to a direct connection is translated because of a flow that is over")
	}
	n.in(0, toVIP(2, tcpSYN))
	n.direct(0, direct(2))
	if _, ok := n.out(0, fromAPI(api0, 2, tcpSYN|tcpACK)); !ok {
		t.Error("a live flow was forgotten")
	}
}

func TestNATSpreadsAndForgets(t *testing.T) {
	n := newNAT(7)
	n.set(vip, []endpoint{api0, api1})
	count := map[endpoint]int{}
	const flows = 20_000
	for i := range uint16(flows) {
		e, _ := n.in(0, toVIP(i+1, tcpSYN))
		count[e]++
	}
	for e, c := range count {
		if c < flows*45/100 || c > flows*55/100 {
			t.Errorf("%v got %d of %d flows", e, c, flows)
		}
	}
	for i := range uint16(2 * flows) { // others, later
		p := toVIP(i+1, tcpSYN)
		p.src = bob
		n.in(keepNew+second, p)
	}
	if len(n.flows) > 2*flows+flows/20 || len(n.answers) != len(n.flows) {
		t.Errorf("%d flows and %d answers are remembered, want about %d", len(n.flows), len(n.answers), 2*flows)
	}
	n.remove(vip)
	if len(n.flows) != 0 || len(n.answers) != 0 {
		t.Errorf("%d flows and %d answers are left of a removed service", len(n.flows), len(n.answers))
	}
}

func TestNATDrawsBySeed(t *testing.T) {
	draw := func(seed int64) (ends []endpoint) {
		n := newNAT(seed)
		n.set(vip, []endpoint{api0, api1})
		for i := range uint16(64) {
			e, _ := n.in(0, toVIP(i+1, tcpSYN))
			ends = append(ends, e)
		}
		return ends
	}
	a, b, c := draw(1), draw(1), draw(2)
	same := 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("flow %d goes to %v, then to %v with the same seed", i, a[i], b[i])
		}
		if a[i] == c[i] {
			same++
		}
	}
	if same == len(a) {
		t.Error("another seed draws the same endpoints")
	}
}
