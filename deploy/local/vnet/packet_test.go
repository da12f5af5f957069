package vnet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

const (
	alice = 0xc6120001 // 198.18.0.1
	bob   = 0xc6120002
	carol = 0xc6120003
)

// tcpFrame makes a frame with a complete checksum.
func tcpFrame(src, dst uint32, sport, dport uint16, flags uint8, payload []byte) []byte {
	frame := make([]byte, headerLen+40+len(payload))
	ip := frame[headerLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, protoTCP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint32(ip[12:], src)
	binary.BigEndian.PutUint32(ip[16:], dst)
	setIPChecksum(ip[:20])
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, sport)
	binary.BigEndian.PutUint16(tcp[2:], dport)
	binary.BigEndian.PutUint32(tcp[4:], 1000)
	binary.BigEndian.PutUint32(tcp[8:], 2000)
	tcp[12], tcp[13] = 5<<4, flags
	copy(tcp[20:], payload)
	setPartialChecksum(frame, 20, 16, pseudoSum(src, dst, protoTCP, len(tcp)))
	completeChecksum(frame)
	return frame
}

// udpFrame makes a frame with a complete checksum.
func udpFrame(src, dst uint32, sport, dport uint16, payload []byte) []byte {
	frame := make([]byte, headerLen+28+len(payload))
	ip := frame[headerLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, protoUDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint32(ip[12:], src)
	binary.BigEndian.PutUint32(ip[16:], dst)
	setIPChecksum(ip[:20])
	udp := ip[20:]
	binary.BigEndian.PutUint16(udp, sport)
	binary.BigEndian.PutUint16(udp[2:], dport)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[8:], payload)
	setPartialChecksum(frame, 20, 6, pseudoSum(src, dst, protoUDP, len(udp)))
	completeChecksum(frame)
	return frame
}

// slowSum is RFC 1071 read aloud, to check the fast one against.
func slowSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		sum += word
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// checksumsHold verifies the checksums of a frame as a receiver does.
func checksumsHold(frame []byte) bool {
	whole := bytes.Clone(frame)
	completeChecksum(whole)
	ip := whole[headerLen:]
	l4 := int(ip[0]&15) * 4
	if slowSum(ip[:l4]) != 0xffff {
		return false
	}
	if ip[9] == protoICMP {
		return slowSum(ip[l4:]) == 0xffff
	}
	pseudo := append(bytes.Clone(ip[12:20]), 0, ip[9], byte((len(ip)-l4)>>8), byte(len(ip)-l4))
	return slowSum(append(pseudo, ip[l4:]...)) == 0xffff
}

func TestSumAgreesWithTheSlowOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for size := range 200 {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
			if size%3 == 0 {
				b[i] = 0xff // carries everywhere
			}
		}
		got, want := fold(sum16(b)), slowSum(b)
		if got != want && !(got%0xffff == 0 && want%0xffff == 0) {
			t.Errorf("%d bytes: %#x, want %#x", size, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	good := tcpFrame(alice, bob, 1, 2, tcpSYN, nil)[headerLen:]
	p, ok := parse(good)
	if !ok || p.src != alice || p.dst != bob || p.sport != 1 || p.dport != 2 || p.flags != tcpSYN || !p.ports {
		t.Errorf("parse: %+v, %v", p, ok)
	}
	fragment := bytes.Clone(good)
	binary.BigEndian.PutUint16(fragment[6:], 100)
	if p, ok := parse(fragment); !ok || p.ports {
		t.Errorf("a later fragment: %+v, %v; want one without ports", p, ok)
	}
	v6 := bytes.Clone(good)
	v6[0] = 0x65
	longHeader := bytes.Clone(good)
	longHeader[0] = 0x4f
	for name, b := range map[string][]byte{
		"nothing": nil, "IPv6": v6, "cut": good[:30], "half a header": good[:12],
		"too long a header": longHeader, "trailing bytes": append(bytes.Clone(good), 0),
	} {
		if _, ok := parse(b); ok && name != "too long a header" {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(tcpFrame(alice, bob, 1, 2, tcpSYN, []byte("x"))[headerLen:])
	f.Add(udpFrame(alice, bob, 1, 2, []byte("x"))[headerLen:])
	f.Fuzz(func(t *testing.T, ip []byte) {
		if len(ip) > maxPacket {
			return
		}
		p, ok := parse(ip)
		if !ok {
			return
		}
		var buf [headerLen + 128]byte
		if a := refusal(buf[:], ip, &p); a != nil && !checksumsHold(a) {
			t.Errorf("refusal with a wrong checksum: %x", a)
		}
		frame := append(make([]byte, headerLen), ip...)
		frame[1] = 1
		binary.NativeEndian.PutUint16(frame[4:], 100)
		total := 0
		segment(frame, make([]byte, maxFrame), func(f []byte) { total += len(f) })
		if total == 0 {
			t.Error("segments of a frame are nothing")
		}
		if p.ports {
			rewrite(frame, &p, true, carol, 9)
		}
		corrupt(frame, 12345)
	})
}

func TestRewriteKeepsChecksumsRight(t *testing.T) {
	payload := []byte("three words long")
	frames := map[string][]byte{
		"TCP, complete": tcpFrame(alice, bob, 40000, 80, tcpACK, payload),
		"UDP, complete": udpFrame(alice, bob, 40000, 80, payload),
	}
	for _, kind := range []struct {
		name   string
		offset int
		proto  uint8
	}{{"TCP", 16, protoTCP}, {"UDP", 6, protoUDP}} {
		partial := bytes.Clone(frames[kind.name+", complete"])
		setPartialChecksum(partial, 20, kind.offset, pseudoSum(alice, bob, kind.proto, len(partial)-headerLen-20))
		frames[kind.name+", partial"] = partial
	}
	for name, frame := range frames {
		t.Run(name, func(t *testing.T) {
			pk, _ := parse(frame[headerLen:])
			rewrite(frame, &pk, false, carol, 8080)
			rewrite(frame, &pk, true, bob, 12345)
			got, _ := parse(frame[headerLen:])
			if got.src != bob || got.sport != 12345 || got.dst != carol || got.dport != 8080 {
				t.Errorf("rewritten to %+v", got)
			}
			if !checksumsHold(frame) {
				t.Error("checksums are wrong now")
			}
		})
	}
	none := udpFrame(alice, bob, 1, 2, payload)
	none[headerLen+26], none[headerLen+27] = 0, 0
	pk, _ := parse(none[headerLen:])
	rewrite(none, &pk, false, carol, 3)
	if none[headerLen+26] != 0 || none[headerLen+27] != 0 {
		t.Error("UDP without a checksum has got one")
	}
}

func TestSegment(t *testing.T) {
	payload := make([]byte, 3500)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	frame := tcpFrame(alice, bob, 1, 2, tcpACK|tcpPSH|tcpFIN, payload)
	frame[1] = 1 // TCPv4
	binary.NativeEndian.PutUint16(frame[4:], 1460)
	setPartialChecksum(frame, 20, 16, pseudoSum(alice, bob, protoTCP, len(payload)+20))
	var whole []byte
	var sizes []int
	segment(frame, make([]byte, maxFrame), func(f []byte) {
		p, ok := parse(f[headerLen:])
		if !ok || isGSO(f) || !checksumsHold(f) {
			t.Fatalf("segment %d: valid %v, offloaded %v, checksums %v", len(sizes), ok, isGSO(f), checksumsHold(f))
		}
		if seq := binary.BigEndian.Uint32(f[headerLen+24:]); seq != uint32(1000+len(whole)) {
			t.Errorf("segment %d: sequence number %d, want %d", len(sizes), seq, 1000+len(whole))
		}
		if last := len(whole)+len(f)-headerLen-40 == len(payload); (p.flags&(tcpPSH|tcpFIN) != 0) != last {
			t.Errorf("segment %d: flags %#x, last is %v", len(sizes), p.flags, last)
		}
		whole = append(whole, f[headerLen+40:]...)
		sizes = append(sizes, len(f)-headerLen)
	})
	if !bytes.Equal(whole, payload) || len(sizes) != 3 || sizes[0] != 1500 || sizes[2] != 40+580 {
		t.Errorf("segments of %v bytes, payload intact %v", sizes, bytes.Equal(whole, payload))
	}
	if packets, size := wire(frame); packets != 3 || size != 3500+3*40 {
		t.Errorf("on a wire %d packets, %d bytes; want 3, 3620", packets, size)
	}
}

// One flipped bit anywhere is seen by the receiver: that is what completing
// the checksum first is for.
func TestCorruptIsDetectable(t *testing.T) {
	frame := tcpFrame(alice, bob, 1, 2, tcpACK, []byte("payload"))
	setPartialChecksum(frame, 20, 16, pseudoSum(alice, bob, protoTCP, len(frame)-headerLen-20))
	for bit := range uint64(len(frame)-headerLen) * 8 {
		damaged := bytes.Clone(frame)
		corrupt(damaged, bit)
		if needsChecksum(damaged) {
			t.Fatalf("bit %d: the receiver is told not to check", bit)
		}
		if ip := damaged[headerLen:]; ip[0] == 0x45 && ip[9] == protoTCP && checksumsHold(damaged) {
			t.Fatalf("bit %d: the checksums still hold", bit)
		}
	}
}

func TestRefusal(t *testing.T) {
	var buf [headerLen + 128]byte
	for _, tc := range []struct {
		name  string
		frame []byte
		flags uint8 // of the reset, 0: no answer is due
		seq   uint32
		ack   uint32
	}{
		{"SYN", tcpFrame(alice, bob, 5, 80, tcpSYN, nil), tcpRST | tcpACK, 0, 1001},
		{"data", tcpFrame(alice, bob, 5, 80, tcpACK, []byte("hello")), tcpRST, 2000, 0},
		{"FIN without ACK", tcpFrame(alice, bob, 5, 80, tcpFIN, []byte("abc")), tcpRST | tcpACK, 0, 1004},
		{"RST", tcpFrame(alice, bob, 5, 80, tcpRST, nil), 0, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pk, _ := parse(tc.frame[headerLen:])
			got := refusal(buf[:], tc.frame[headerLen:], &pk)
			if tc.flags == 0 {
				if got != nil {
					t.Fatalf("answered with %x", got)
				}
				return
			}
			a, ok := parse(got[headerLen:])
			if !ok || a.src != bob || a.dst != alice || a.sport != 80 || a.dport != 5 || a.flags != tc.flags {
				t.Fatalf("answered with %+v", a)
			}
			seq, ack := binary.BigEndian.Uint32(got[headerLen+24:]), binary.BigEndian.Uint32(got[headerLen+28:])
			if seq != tc.seq || ack != tc.ack || !checksumsHold(got) {
				t.Errorf("seq %d ack %d, checksums %v; want %d, %d, true", seq, ack, checksumsHold(got), tc.seq, tc.ack)
			}
		})
	}
	datagram := udpFrame(alice, bob, 5, 53, []byte("question"))
	pk, _ := parse(datagram[headerLen:])
	got := refusal(buf[:], datagram[headerLen:], &pk)
	ip := got[headerLen:]
	if ip[9] != protoICMP || ip[20] != 3 || ip[21] != 3 || !checksumsHold(got) || !bytes.Equal(ip[28:], datagram[headerLen:headerLen+28]) {
		t.Errorf("UDP is answered with %x", got)
	}
	icmp := bytes.Clone(got)
	pk, _ = parse(icmp[headerLen:])
	if again := refusal(make([]byte, headerLen+128), icmp[headerLen:], &pk); again != nil {
		t.Errorf("an ICMP error is answered with %x", again)
	}
}
