package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Mistake says which field of a submission is wrong and how. Field is "" when
// the body as a whole is wrong.
type Mistake struct {
	Field    string
	What     string
	TooLarge bool // the field is well formed but over its limit
}

// Error names the field first.
func (m *Mistake) Error() string {
	if m.Field == "" {
		return m.What
	}
	return m.Field + ": " + m.What
}

// Decode reads one submission, {"payload": any JSON, "id": optional}, strictly:
// an unknown or repeated field, a missing payload, a bad id or anything after
// the object is a *Mistake. The id of the Task is "" when none was sent. The
// payload is a copy; body may be reused.
func Decode(body []byte) (Task, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := opensObject(dec); err != nil {
		return Task{}, err
	}
	var t Task
	seen := map[string]bool{}
	for dec.More() {
		if err := decodeField(dec, &t, seen); err != nil {
			return Task{}, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return Task{}, malformed(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Task{}, &Mistake{What: "want one JSON object and nothing after it"}
	}
	if !seen["payload"] {
		return Task{}, &Mistake{Field: "payload", What: "is missing"}
	}
	return t, nil
}

func opensObject(dec *json.Decoder) error {
	tok, err := dec.Token()
	if err != nil {
		return malformed(err)
	}
	if tok != json.Delim('{') {
		return &Mistake{What: "want a JSON object with the fields payload and id"}
	}
	return nil
}

func decodeField(dec *json.Decoder, t *Task, seen map[string]bool) error {
	tok, err := dec.Token()
	if err != nil {
		return malformed(err)
	}
	name, _ := tok.(string) // inside an object the decoder yields only string keys
	if seen[name] {
		return &Mistake{Field: shorten(name), What: "appears twice"}
	}
	seen[name] = true
	switch name {
	case "payload":
		return decodePayload(dec, t)
	case "id":
		return decodeID(dec, t)
	}
	return &Mistake{Field: shorten(name), What: "is no field of a task, which has payload and id"}
}

func decodePayload(dec *json.Decoder, t *Task) error {
	if err := dec.Decode(&t.Payload); err != nil {
		return malformed(err)
	}
	if len(t.Payload) > MaxPayload {
		what := fmt.Sprintf("is %d bytes, want at most %d", len(t.Payload), MaxPayload)
		return &Mistake{Field: "payload", What: what, TooLarge: true}
	}
	return nil
}

func decodeID(dec *json.Decoder, t *Task) error {
	var v any
	if err := dec.Decode(&v); err != nil {
		return malformed(err)
	}
	id, ok := v.(string)
	if !ok || !ValidID(id) {
		return &Mistake{Field: "id", What: idRule}
	}
	t.ID = id
	return nil
}

func malformed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Mistake{What: "malformed JSON: it ends too early"}
	}
	return &Mistake{What: "malformed JSON: " + err.Error()}
}

// shorten keeps a hostile field name out of logs and answers.
func shorten(name string) string {
	if len(name) > 40 {
		name = name[:40]
	}
	return fmt.Sprintf("%q", name)
}
