package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	long := strings.Repeat("a", MaxID)
	for name, tc := range map[string]struct {
		body, id, payload string
		want              string // part of the error; "" when it is accepted
		tooLarge          bool
	}{
		"object":            {body: `{"payload":{"a":1},"id":"x-1_Z"}`, id: "x-1_Z", payload: `{"a":1}`},
		"id absent":         {body: ` {"payload":[1, 2]} `, payload: `[1, 2]`},
		"null payload":      {body: `{"payload":null}`, payload: `null`},
		"longest id":        {body: `{"payload":1,"id":"` + long + `"}`, id: long, payload: `1`},
		"id too long":       {body: `{"payload":1,"id":"` + long + `a"}`, want: "id: want 1 to 128"},
		"id empty":          {body: `{"payload":1,"id":""}`, want: "id: want 1 to 128"},
		"id with a dot":     {body: `{"payload":1,"id":"a.b"}`, want: "id: want"},
		"id with a star":    {body: `{"payload":1,"id":"*"}`, want: "id: want"},
		"id is a number":    {body: `{"payload":1,"id":7}`, want: "id: want"},
		"id is null":        {body: `{"payload":1,"id":null}`, want: "id: want"},
		"no payload":        {body: `{"id":"a"}`, want: "payload: is missing"},
		"wrong case":        {body: `{"Payload":1}`, want: `"Payload": is no field`},
		"unknown field":     {body: `{"payload":1,"priority":2}`, want: `"priority": is no field`},
		"repeated field":    {body: `{"payload":1,"payload":2}`, want: `"payload": appears twice`},
		"trailing data":     {body: `{"payload":1} {}`, want: "nothing after it"},
		"trailing garbage":  {body: `{"payload":1}}`, want: "nothing after it"},
		"array":             {body: `[1]`, want: "want a JSON object"},
		"empty":             {body: ``, want: "ends too early"},
		"cut":               {body: `{"payload":{"a":`, want: "ends too early"},
		"not JSON":          {body: `payload=1`, want: "malformed JSON"},
		"largest payload":   {body: `{"payload":"` + strings.Repeat("a", MaxPayload-2) + `"}`, payload: `"` + strings.Repeat("a", MaxPayload-2) + `"`},
		"payload too large": {body: `{"payload":"` + strings.Repeat("a", MaxPayload-1) + `"}`, want: "payload: is 65537 bytes", tooLarge: true},
		"too deep":          {body: `{"payload":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, want: "malformed JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(tc.body))
			if tc.want == "" {
				if err != nil || got.ID != tc.id || string(got.Payload) != tc.payload {
					t.Fatalf("got id %q, payload %.40q, error %v", got.ID, got.Payload, err)
				}
				return
			}
			var m *Mistake
			if !errors.As(err, &m) || !strings.Contains(err.Error(), tc.want) || m.TooLarge != tc.tooLarge {
				t.Fatalf("got %v, want a Mistake with %q, too large %v", err, tc.want, tc.tooLarge)
			}
		})
	}
}

// FuzzDecode: whatever is accepted is a Task by the rules, and says the same
// after it was written and read again.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"payload":1}`, `{"payload":{"poison":true},"id":"a"}`, `{"id":"a","payload":"\ud800"}`,
		`{"payload":1,"payload":2}`, `{"payload":1}x`, "{\"payload\":\"\xff\"}", `{"payload":1e999}`, `{"\u0069d":"a","payload":[]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Decode(body)
		if err != nil {
			var m *Mistake
			if !errors.As(err, &m) || m.What == "" {
				t.Fatalf("error %v is no Mistake", err)
			}
			return
		}
		if !json.Valid(got.Payload) || len(got.Payload) > MaxPayload || got.ID != "" && !ValidID(got.ID) {
			t.Fatalf("accepted id %q, payload %.80q", got.ID, got.Payload)
		}
		again := append(append([]byte(`{"payload":`), got.Payload...), '}')
		second, err := Decode(again)
		if err != nil || !bytes.Equal(second.Payload, got.Payload) {
			t.Fatalf("read again: %v, payload %.80q, was %.80q", err, second.Payload, got.Payload)
		}
	})
}

func TestPoison(t *testing.T) {
	for payload, want := range map[string]bool{
		`{"poison":true}`: true, `{"poison":false}`: false, `{"poison":"true"}`: false, `{}`: false, `[{"poison":true}]`: false, `null`: false,
	} {
		if got := Poison(json.RawMessage(payload)); got != want {
			t.Errorf("Poison(%s) = %v", payload, got)
		}
	}
}

func TestValidID(t *testing.T) {
	if id := NewID(); !ValidID(id) || id == NewID() {
		t.Errorf("NewID gave %q", id)
	}
	for p, want := range map[string]bool{"": true, "t-": true, "a.b": false, "a*": false, "a[": false, "ä": false} {
		if ValidPrefix(p) != want {
			t.Errorf("ValidPrefix(%q) = %v", p, !want)
		}
	}
}
