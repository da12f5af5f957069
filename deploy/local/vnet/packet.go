package vnet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// A frame is what a TUN device with IFF_VNET_HDR reads and writes: a
// virtio_net_hdr of headerLen bytes, then an IPv4 packet. The header says that
// the transport checksum is still to be filled in, and that the packet stands
// for several (segmentation offload); both may be left to the receiver, which
// is the same kernel.
const (
	headerLen = 10 // flags, gsoType uint8; hdrLen, gsoSize, csumStart, csumOffset uint16
	maxPacket = 65535
	maxFrame  = headerLen + maxPacket

	flagNeedsChecksum = 1
	gsoNone           = 0

	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17

	tcpFIN = 1 << 0
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpPSH = 1 << 3
	tcpACK = 1 << 4
	tcpCWR = 1 << 7
)

// packet is what the switch needs to know of an IPv4 packet. Addresses are in
// host order.
type packet struct {
	src, dst     uint32
	sport, dport uint16 // 0 unless TCP or UDP and not a later fragment
	proto        uint8
	flags        uint8 // TCP flags
	ports        bool  // sport, dport and flags are there
	l4           int   // offset of the transport header in the packet
}

// parse reads the headers of the IPv4 packet ip; ok is false if it is not one
// or is cut short.
func parse(ip []byte) (p packet, ok bool) {
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return p, false
	}
	p.l4 = int(ip[0]&15) * 4
	if p.l4 < 20 || len(ip) < p.l4 || int(binary.BigEndian.Uint16(ip[2:])) != len(ip) {
		return p, false
	}
	p.proto = ip[9]
	p.src = binary.BigEndian.Uint32(ip[12:])
	p.dst = binary.BigEndian.Uint32(ip[16:])
	if binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 { // a fragment
		return p, true
	}
	switch {
	case p.proto == protoTCP && len(ip) >= p.l4+20:
		p.flags = ip[p.l4+13]
	case p.proto == protoUDP && len(ip) >= p.l4+8:
	default:
		return p, true
	}
	p.ports = true
	p.sport = binary.BigEndian.Uint16(ip[p.l4:])
	p.dport = binary.BigEndian.Uint16(ip[p.l4+2:])
	return p, true
}

func addrToUint(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func uintToAddr(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

func needsChecksum(frame []byte) bool { return frame[0]&flagNeedsChecksum != 0 }
func isGSO(frame []byte) bool         { return frame[1] != gsoNone }
func gsoSize(frame []byte) int        { return int(binary.NativeEndian.Uint16(frame[4:])) }

// wire returns how many packets and bytes of IP the frame would be on a wire.
func wire(frame []byte) (packets, size uint64) {
	size = uint64(len(frame) - headerLen)
	if !isGSO(frame) {
		return 1, size
	}
	head, payload, mss := gsoShape(frame)
	if mss == 0 || payload <= mss {
		return 1, size
	}
	n := (payload + mss - 1) / mss
	return uint64(n), uint64(n*head + payload)
}

// gsoShape returns the length of the headers, of the payload, and of the
// payload of one segment of a TCP frame.
func gsoShape(frame []byte) (head, payload, mss int) {
	ip := frame[headerLen:]
	l4 := int(ip[0]&15) * 4
	if ip[9] != protoTCP || len(ip) < l4+20 {
		return 0, 0, 0
	}
	head = l4 + int(ip[l4+12]>>4)*4
	if head > len(ip) {
		return 0, 0, 0
	}
	return head, len(ip) - head, gsoSize(frame)
}

// segment cuts a TCP frame with segmentation offload into frames of one packet
// each and hands them to emit in order, built in buf, which must not overlap
// frame. Checksums stay partial, so no payload is summed.
func segment(frame, buf []byte, emit func(frame []byte)) {
	head, payload, mss := gsoShape(frame)
	if mss == 0 || payload <= mss {
		n := copy(buf, frame)
		buf[1] = gsoNone
		emit(buf[:n])
		return
	}
	ip := frame[headerLen:]
	l4 := int(ip[0]&15) * 4
	id := binary.BigEndian.Uint16(ip[4:])
	seq := binary.BigEndian.Uint32(ip[l4+4:])
	flags := ip[l4+13]
	src, dst := binary.BigEndian.Uint32(ip[12:]), binary.BigEndian.Uint32(ip[16:])
	for off := 0; off < payload; off += mss {
		size := min(mss, payload-off)
		clear(buf[:headerLen])
		seg := buf[headerLen : headerLen+head+size]
		copy(seg, ip[:head])
		copy(seg[head:], ip[head+off:head+off+size])
		binary.BigEndian.PutUint16(seg[2:], uint16(len(seg)))
		binary.BigEndian.PutUint16(seg[4:], id)
		binary.BigEndian.PutUint32(seg[l4+4:], seq+uint32(off))
		f := flags
		if off+size < payload {
			f &^= tcpFIN | tcpPSH
		}
		if off > 0 {
			f &^= tcpCWR
		}
		seg[l4+13] = f
		setIPChecksum(seg[:l4])
		setPartialChecksum(buf, l4, 16, pseudoSum(src, dst, protoTCP, len(seg)-l4))
		emit(buf[:headerLen+len(seg)])
		id++
	}
}

// setPartialChecksum marks the frame as one whose transport checksum, at
// offset within the header at l4, the receiver need not verify.
func setPartialChecksum(frame []byte, l4, offset int, pseudo uint16) {
	frame[0] = flagNeedsChecksum
	binary.NativeEndian.PutUint16(frame[6:], uint16(l4))
	binary.NativeEndian.PutUint16(frame[8:], uint16(offset))
	binary.BigEndian.PutUint16(frame[headerLen+l4+offset:], pseudo)
}

// completeChecksum fills in the transport checksum that the sender left to the
// hardware, so that what happens to the packet afterwards can be detected.
func completeChecksum(frame []byte) {
	if !needsChecksum(frame) {
		return
	}
	start := int(binary.NativeEndian.Uint16(frame[6:]))
	offset := int(binary.NativeEndian.Uint16(frame[8:]))
	frame[0] &^= flagNeedsChecksum
	ip := frame[headerLen:]
	if start+offset+2 > len(ip) {
		return
	}
	sum := ^fold(sum16(ip[start:]))
	if sum == 0 && ip[9] == protoUDP {
		sum = 0xffff // 0 would mean "none"
	}
	binary.BigEndian.PutUint16(ip[start+offset:], sum)
}

// rewrite changes an address and port of a frame: its source, or else its
// destination. Checksums are updated, never computed anew.
func rewrite(frame []byte, p *packet, source bool, addr uint32, port uint16) {
	ip := frame[headerLen:]
	at, portAt := 16, p.l4+2
	if source {
		at, portAt = 12, p.l4
	}
	old := binary.BigEndian.Uint32(ip[at:])
	oldPort := binary.BigEndian.Uint16(ip[portAt:])
	binary.BigEndian.PutUint32(ip[at:], addr)
	binary.BigEndian.PutUint16(ip[portAt:], port)

	delta := uint64(^uint16(old>>16)) + uint64(^uint16(old)) + addr64(addr)
	updateChecksum(ip[10:], delta)
	offset := 16
	if p.proto == protoUDP {
		offset = 6
	}
	sumAt := ip[p.l4+offset:]
	if p.proto == protoUDP && binary.BigEndian.Uint16(sumAt) == 0 {
		return // UDP without a checksum
	}
	if needsChecksum(frame) {
		// The field holds the sum of the pseudo header, not complemented, in
		// which ports have no part.
		binary.BigEndian.PutUint16(sumAt, fold(uint64(binary.BigEndian.Uint16(sumAt))+delta))
		return
	}
	updateChecksum(sumAt, delta+uint64(^oldPort)+uint64(port))
}

func addr64(a uint32) uint64 { return uint64(a>>16) + uint64(a&0xffff) }

// updateChecksum adds delta, a sum of the new words and of the complements of
// the old ones, to the checksum at b (RFC 1624, equation 3).
func updateChecksum(b []byte, delta uint64) {
	sum := uint64(^binary.BigEndian.Uint16(b)) + delta
	binary.BigEndian.PutUint16(b, ^fold(sum))
}

func setIPChecksum(header []byte) {
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], ^fold(sum16(header)))
}

// pseudoSum is the one's complement sum of the TCP or UDP pseudo header.
func pseudoSum(src, dst uint32, proto uint8, size int) uint16 {
	return fold(addr64(src) + addr64(dst) + uint64(proto) + uint64(size))
}

// sum16 is the sum of the big-endian 16-bit words of b, to be folded.
func sum16(b []byte) uint64 {
	var sum, carry uint64
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	sum = sum>>32 + sum&0xffffffff
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
