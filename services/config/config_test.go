package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type inner struct {
	URLs []string `env:"NATS_URLS" default:"a,b" what:"where"`
}

type sample struct {
	Name  string        `env:"NAME" default:"x" what:"who"`
	Wait  time.Duration `env:"WAIT" default:"2s" what:"how long"`
	Count int           `env:"COUNT" default:"3" what:"how many"`
	Inner inner
}

func (s *sample) Problems() []string {
	var out []string
	if s.Wait <= 0 {
		out = append(out, "SEATRIAL_WAIT: want more than 0s")
	}
	if s.Count < 1 {
		out = append(out, "SEATRIAL_COUNT: want at least 1")
	}
	return out
}

func env(pairs map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) { v, ok := pairs[k]; return v, ok }
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadOrder(t *testing.T) {
	file := write(t, "name: from-file\nwait: 5s\nnats_urls: [c, d]\n")
	var s sample
	if err := Load(&s, file, env(map[string]string{"SEATRIAL_NAME": "from-env"})); err != nil {
		t.Fatal(err)
	}
	if s.Name != "from-env" || s.Wait != 5*time.Second || s.Count != 3 || strings.Join(s.Inner.URLs, "+") != "c+d" {
		t.Fatalf("got %+v", s)
	}
}

func TestLoadNamesAllMistakes(t *testing.T) {
	file := write(t, "colour: red\nCOUNT: 1\nname: {a: b}\n")
	var s sample
	err := Load(&s, file, env(map[string]string{"SEATRIAL_WAIT": "soon", "SEATRIAL_COUNT": "0"}))
	var m Mistakes
	if !errors.As(err, &m) || len(m) != 5 {
		t.Fatalf("want five mistakes, got %v", err)
	}
	for _, want := range []string{"colour is no setting", "COUNT is no setting", "name: want text", `SEATRIAL_WAIT: want a duration such as 500ms or 4s, got "soon"`, "SEATRIAL_COUNT: want at least 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestLoadFile(t *testing.T) {
	var s sample
	if err := Load(&s, filepath.Join(t.TempDir(), "none.yaml"), env(nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := Load(&s, write(t, "name: a\nname: b\n"), env(nil)); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("repeated key: %v", err)
	}
}

func TestSettings(t *testing.T) {
	got := Settings(&sample{})
	if len(got) != 4 || got[3] != (Setting{"SEATRIAL_NATS_URLS", "a,b", "where"}) {
		t.Fatalf("got %+v", got)
	}
}
