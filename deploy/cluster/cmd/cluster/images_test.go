//go:build linux

package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archiveOf writes files, pairs of a name and a text, in that order.
func archiveOf(t *testing.T, files ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ours)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestContentsTellImagesApart(t *testing.T) {
	of := func(files ...string) string {
		t.Helper()
		sum, err := contents(archiveOf(t, files...))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	one := of("layer", "of api", "manifest.json", `[{"Config":"sha256:1"}]`)
	if again := of("manifest.json", `[{"Config":"sha256:1"}]`, "layer", "of api"); again != one {
		t.Errorf("the same images in another order: %s and %s", one, again)
	}
	if other := of("layer", "of api", "manifest.json", `[{"Config":"sha256:2"}]`); other == one {
		t.Errorf("other images: %s as well", other)
	}
}

func TestAnArchiveWithoutImagesIsNamed(t *testing.T) {
	path := archiveOf(t, "layer", "of api")
	if _, err := contents(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want an error that names %s", err, path)
	}
	if s := (&stock{archive: path}); s.renew() == imagesSame {
		t.Error("what cannot be read passes for what the node has")
	}
}

func TestTheSameImagesAreNotBroughtAgain(t *testing.T) {
	s, err := newStock(filepath.Dir(archiveOf(t, "manifest.json", "[]")), -1) // no process: an import would fail
	if err != nil {
		t.Fatal(err)
	}
	if got := s.renew(); got != imagesSame {
		t.Errorf("renew says %q", got)
	}
}
