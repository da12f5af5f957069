package vnet

import "encoding/binary"

// refusal builds in buf the frame that tells the sender of the IPv4 packet ip
// that it was refused, as `iptables -j REJECT` does: a reset for TCP, "port
// unreachable" for the rest. It returns nil where no answer is due: to a
// reset, to an ICMP error, to a later fragment. buf has room for at least
// headerLen+128 bytes.
func refusal(buf, ip []byte, p *packet) []byte {
	switch {
	case p.proto == protoTCP:
		if !p.ports || p.flags&tcpRST != 0 {
			return nil
		}
		return reset(buf, ip, p)
	case p.proto == protoICMP && (len(ip) <= p.l4 || ip[p.l4] != 8 && ip[p.l4] != 13):
		return nil // neither an echo nor a timestamp request
	case binary.BigEndian.Uint16(ip[6:])&0x1fff != 0:
		return nil
	}
	return unreachable(buf, ip, p)
}

// reset answers a TCP segment as a host without that connection would (RFC
// 9293, section 3.5.2).
func reset(buf, ip []byte, p *packet) []byte {
	frame := buf[:headerLen+40]
	answerHeader(frame, p, protoTCP)
	in, out := ip[p.l4:], frame[headerLen+20:]
	binary.BigEndian.PutUint16(out, p.dport)
	binary.BigEndian.PutUint16(out[2:], p.sport)
	out[12] = 5 << 4
	if p.flags&tcpACK != 0 {
		copy(out[4:8], in[8:12])
		out[13] = tcpRST
	} else {
		size := uint32(max(0, len(in)-int(in[12]>>4)*4))
		if p.flags&tcpSYN != 0 {
			size++
		}
		if p.flags&tcpFIN != 0 {
			size++
		}
		binary.BigEndian.PutUint32(out[8:], binary.BigEndian.Uint32(in[4:])+size)
		out[13] = tcpRST | tcpACK
	}
	setPartialChecksum(frame, 20, 16, pseudoSum(p.dst, p.src, protoTCP, 20))
	return frame
}

// unreachable is ICMP type 3, code 3, quoting the header and eight bytes.
func unreachable(buf, ip []byte, p *packet) []byte {
	quote := ip[:min(len(ip), p.l4+8)]
	frame := buf[:headerLen+20+8+len(quote)]
	answerHeader(frame, p, protoICMP)
	out := frame[headerLen+20:]
	out[0], out[1] = 3, 3
	copy(out[8:], quote)
	binary.BigEndian.PutUint16(out[2:], ^fold(sum16(out)))
	return frame
}

// answerHeader clears frame and gives it the IPv4 header of an answer to p.
func answerHeader(frame []byte, p *packet, proto uint8) {
	clear(frame)
	ip := frame[headerLen:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[6] = 0x40 // do not fragment
	ip[8] = 64
	ip[9] = proto
	binary.BigEndian.PutUint32(ip[12:], p.dst)
	binary.BigEndian.PutUint32(ip[16:], p.src)
	setIPChecksum(ip[:20])
}
