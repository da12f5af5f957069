package history

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// FuzzReader: no bytes make the reader panic or loop, and whatever it accepts as
// complete survives being written and read again.
func FuzzReader(f *testing.F) {
	whole := encode(f, wildOps(5, rand.New(rand.NewPCG(1, 1))))
	f.Add(whole)
	f.Add(whole[:len(whole)-2])
	f.Add(whole[:20])
	f.Add(encode(f, nil))
	f.Add([]byte(magic))
	f.Add([]byte("{}"))
	f.Fuzz(checkReader)
}

// FuzzBlock does the same behind right checksums, which a fuzzer cannot guess:
// data is the payload of the only block.
func FuzzBlock(f *testing.F) {
	for _, ops := range [][]Op{wildOps(5, rand.New(rand.NewPCG(1, 1))), steadyOps(3, rand.New(rand.NewPCG(1, 1)))} {
		w, err := NewWriter(new(bytes.Buffer), header)
		if err != nil {
			f.Fatal(err)
		}
		for i := range ops {
			if err := w.Append(&ops[i]); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(uint8(len(ops)), bytes.Clone(w.payload))
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, ops uint8, payload []byte) {
		var b bytes.Buffer
		w, err := NewWriter(&b, header)
		if err != nil {
			t.Fatal(err)
		}
		frame := binary.AppendUvarint([]byte{tagBlock}, uint64(ops))
		frame = binary.AppendUvarint(frame, uint64(len(payload)))
		frame = append(w.appendSum(frame, payload), payload...)
		w.write(frame)
		w.ops = uint64(ops)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		checkReader(t, b.Bytes())
	})
}

func checkReader(t *testing.T, data []byte) {
	ops, err := decode(bytes.NewReader(data))
	if err != nil {
		return
	}
	again, err := decode(bytes.NewReader(encode(t, ops)))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, again, ops)
}
