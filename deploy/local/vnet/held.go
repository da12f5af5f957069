//go:build linux

package vnet

import "cmp"

// held is a frame that waits at a fault.
type held struct {
	when  int64 // nanoseconds since the network was made
	seq   uint64
	pair  *pair
	stage *stage
	frame []byte
}

func compareHeld(a, b held) int {
	if c := cmp.Compare(a.when, b.when); c != 0 {
		return c
	}
	return cmp.Compare(a.seq, b.seq)
}

// heap is a binary heap of held frames, first come first served among those of
// the same time. (container/heap would allocate for every frame.)
type heap struct {
	items []held
	seq   uint64
}

// first returns the earliest time in the heap.
func (h *heap) first() (when int64, ok bool) {
	if len(h.items) == 0 {
		return 0, false
	}
	return h.items[0].when, true
}

func (h *heap) push(x held) {
	h.seq++
	x.seq = h.seq
	h.items = append(h.items, x)
	i := len(h.items) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if compareHeld(h.items[parent], h.items[i]) <= 0 {
			return
		}
		h.items[parent], h.items[i] = h.items[i], h.items[parent]
		i = parent
	}
}

func (h *heap) pop() held {
	top := h.items[0]
	last := len(h.items) - 1
	h.items[0] = h.items[last]
	h.items[last] = held{}
	h.items = h.items[:last]
	h.sink(0)
	return top
}

func (h *heap) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.items); child++ {
			if compareHeld(h.items[child], h.items[least]) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		h.items[i], h.items[least] = h.items[least], h.items[i]
		i = least
	}
}

// remove takes out every frame that match approves, in no order.
func (h *heap) remove(match func(*held) bool) []held {
	var out []held
	kept := h.items[:0]
	for _, x := range h.items {
		if match(&x) {
			out = append(out, x)
		} else {
			kept = append(kept, x)
		}
	}
	clear(h.items[len(kept):])
	h.items = kept
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
	return out
}

// buffers lends memory for frames, in three sizes: small talk, one MTU, and
// offloaded segments.
type buffers struct {
	idle [3][][]byte
}

var bufferSizes = [3]int{256, 2048, maxFrame}

// copy returns a copy of frame in lent memory.
func (b *buffers) copy(frame []byte) []byte {
	class := 0
	for len(frame) > bufferSizes[class] {
		class++
	}
	var buf []byte
	if n := len(b.idle[class]); n > 0 {
		buf = b.idle[class][n-1]
		b.idle[class] = b.idle[class][:n-1]
	} else {
		buf = make([]byte, bufferSizes[class])
	}
	return buf[:copy(buf, frame)]
}

// free takes back what copy lent.
func (b *buffers) free(frame []byte) {
	for class, size := range bufferSizes {
		if cap(frame) == size {
			b.idle[class] = append(b.idle[class], frame[:size])
		}
	}
}

// trim gives large amounts of idle memory back to the garbage collector.
func (b *buffers) trim() {
	for class := range b.idle {
		if len(b.idle[class])*bufferSizes[class] > 1<<20 {
			b.idle[class] = nil
		}
	}
}
