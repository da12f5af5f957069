package image

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tree makes a small root: a program that changes its user, a link, an empty folder.
func tree(t *testing.T, when time.Time) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "empty"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/su"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "usr/bin/su"), 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"usr/bin/su", "usr/bin", "usr", "empty", "."} {
		if err := os.Chtimes(filepath.Join(root, path), when, when); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// specs are two images on one root.
func specs(root string) []Spec {
	base := []File{{Path: "/", From: root}}
	return []Spec{
		{Name: "seatrial/plain:dev", Layers: [][]File{base}, Entrypoint: []string{"/bin/su"}},
		{
			Name: "seatrial/more:dev", User: "65532:65532", Dir: "/data", Entrypoint: []string{"/command"}, Env: []string{"PATH=/bin"},
			Layers: [][]File{base, {
				{Path: "/command", From: filepath.Join(root, "usr/bin/su"), Owner: 7},
				{Path: "/data", Owner: 65532},
				{Path: "/bin/sh", Link: "su"},
			}},
		},
	}
}

func archive(t *testing.T, all []Spec) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.tar")
	if err := Archive(file, all); err != nil {
		t.Fatal(err)
	}
	if rest, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); err != nil || len(rest) != 1 {
		t.Errorf("beside the archive is left: %v %v", rest, err)
	}
	return file
}

func read(t *testing.T, file, tag string) v1.Image {
	t.Helper()
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(file, &ref)
	if err != nil {
		t.Fatalf("read %s back: %v", tag, err)
	}
	return image
}

// layers reads what is in an image's layers, by path.
func layers(t *testing.T, image v1.Image) (all []map[string]*tar.Header) {
	t.Helper()
	list, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		in, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		entries := map[string]*tar.Header{}
		r := tar.NewReader(in)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !h.ModTime.Equal(time.Unix(0, 0)) {
				t.Errorf("%s is of %v; times must not tell when the image was made", h.Name, h.ModTime)
			}
			entries[h.Name] = h
		}
		all = append(all, entries)
	}
	return all
}

func TestArchiveIsReadBack(t *testing.T) {
	file := archive(t, specs(tree(t, time.Unix(1e9, 0))))
	image := read(t, file, "seatrial/more:dev")
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if c.User != "65532:65532" || c.WorkingDir != "/data" || !slices.Equal(c.Entrypoint, []string{"/command"}) ||
		!slices.Equal(c.Env, []string{"PATH=/bin"}) || config.OS != "linux" || config.Architecture == "" {
		t.Errorf("the configuration is %+v of %s/%s", c, config.OS, config.Architecture)
	}
	got := layers(t, image)
	if len(got) != 2 {
		t.Fatalf("%d layers, want 2", len(got))
	}
	su := got[0]["usr/bin/su"]
	if su == nil || su.FileInfo().Mode() != 0o755|fs.ModeSetuid || su.Size != int64(len("program")) {
		t.Errorf("of a tree, /usr/bin/su became %+v", su)
	}
	if l := got[0]["bin"]; l == nil || l.Typeflag != tar.TypeSymlink || l.Linkname != "usr/bin" {
		t.Errorf("of a tree, the link /bin became %+v", l)
	}
	if d := got[0]["empty/"]; d == nil || d.Typeflag != tar.TypeDir {
		t.Errorf("of a tree, the folder /empty became %+v", d)
	}
	for path, owner := range map[string]int{"command": 7, "data/": 65532} {
		if h := got[1][path]; h == nil || h.Uid != owner || h.Gid != owner || h.Uname != "" {
			t.Errorf("/%s became %+v, want owner %d", path, h, owner)
		}
	}
	if l := got[1]["bin/sh"]; l == nil || l.Linkname != "su" {
		t.Errorf("the link /bin/sh became %+v", l)
	}
}

// A runtime keeps a layer once if its bytes are the same in both images.
func TestImagesShareALayer(t *testing.T) {
	file := archive(t, specs(tree(t, time.Unix(1e9, 0))))
	first := func(tag string) string {
		list, err := read(t, file, tag).Layers()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := list[0].DiffID()
		if err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	if a, b := first("seatrial/plain:dev"), first("seatrial/more:dev"); a != b {
		t.Errorf("the root's layer is %s in one image and %s in the other", a, b)
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	count := 0
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, ".tar") {
			count++
		}
	}
	if count != 2 {
		t.Errorf("the archive holds %d layers, want 2: the root once, and what one image has above it", count)
	}
}

func TestTheSameFilesAreTheSameBytes(t *testing.T) {
	var digests []v1.Hash
	for _, when := range []time.Time{time.Unix(1e9, 0), time.Unix(2e9, 0)} {
		digest, err := read(t, archive(t, specs(tree(t, when))), "seatrial/more:dev").Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest)
	}
	if digests[0] != digests[1] {
		t.Errorf("the same files at another time and place: %v and %v", digests[0], digests[1])
	}
}

func TestArchiveRefuses(t *testing.T) {
	for want, s := range map[string]Spec{
		`image "No Name"`:              {Name: "No Name"},
		"image seatrial/api:dev: ":     {Name: "seatrial/api:dev", Layers: [][]File{{{Path: "/command", From: "/nowhere/api"}}}},
		"lstat /nowhere: no such file": {Name: "seatrial/api:dev", Layers: [][]File{{{Path: "/command", From: "/nowhere/api"}}}},
	} {
		file := filepath.Join(t.TempDir(), "all.tar")
		if err := Archive(file, []Spec{s}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", s, err, want)
		}
		if rest, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(rest) > 0 {
			t.Errorf("%+v: left behind: %v", s, rest)
		}
	}
}
