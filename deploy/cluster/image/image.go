// Package image writes container images without a container engine: each is a
// few layers of files and a configuration, and an archive holds several.
//
// It knows nothing of what the images are for.
package image

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one entry of a layer: a file of this machine, a folder, a link, or a
// whole tree. Owner is for user and group both.
type File struct {
	Path  string // in the image
	From  string // a file here, or a folder here with all that is in it
	Link  string // target of a symbolic link
	Owner int
}

// Spec is an image. Layers are written in their order, the first at the bottom;
// layers with the same files are the same bytes, wherever they are.
type Spec struct {
	Name       string // with a tag
	Layers     [][]File
	User       string // "" is root
	Dir        string // where programs start
	Entrypoint []string
	Env        []string
}

// Archive writes images into one file that container runtimes import. A layer
// that several have is in it once.
func Archive(file string, specs []Spec) error {
	images := map[name.Tag]v1.Image{}
	temporary, err := os.MkdirTemp(filepath.Dir(file), ".layers-")
	if err != nil {
		return fmt.Errorf("make a folder for layers: %w", err)
	}
	defer os.RemoveAll(temporary)
	made := map[string]v1.Layer{}
	for _, s := range specs {
		tag, err := name.NewTag(s.Name)
		if err != nil {
			return fmt.Errorf("image %q: %w", s.Name, err)
		}
		if images[tag], err = s.build(temporary, made); err != nil {
			return fmt.Errorf("image %s: %w", s.Name, err)
		}
	}
	if err := tarball.MultiWriteToFile(file+".new", images); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(file+".new", file)
}

func (s Spec) build(dir string, made map[string]v1.Layer) (v1.Image, error) {
	var layers []v1.Layer
	for _, files := range s.Layers {
		key := fmt.Sprint(files)
		if made[key] == nil {
			path := filepath.Join(dir, fmt.Sprintf("%d.tar", len(made)))
			if err := writeLayer(path, files); err != nil {
				return nil, err
			}
			// It is read on the machine where it is written: packing it would only cost time.
			layer, err := tarball.LayerFromFile(path, tarball.WithCompressionLevel(gzip.NoCompression))
			if err != nil {
				return nil, err
			}
			made[key] = layer
		}
		layers = append(layers, made[key])
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = runtime.GOARCH, "linux" // they run where they are made
	config.Config.User, config.Config.WorkingDir = s.User, s.Dir
	config.Config.Entrypoint, config.Config.Env = s.Entrypoint, s.Env
	return mutate.ConfigFile(image, config)
}

// writeLayer writes files as a tar. Times are all the same, so that the same
// files are the same bytes.
func writeLayer(path string, files []File) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, out.Close()) }()
	w := tar.NewWriter(out)
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b File) int { return cmp.Compare(a.Path, b.Path) }) {
		if err := f.write(w); err != nil {
			return err
		}
	}
	return w.Close()
}

func (f File) write(w *tar.Writer) error {
	switch {
	case f.Link != "":
		return w.WriteHeader(&tar.Header{Name: entry(f.Path), Linkname: f.Link, Typeflag: tar.TypeSymlink, Mode: 0o777, ModTime: time.Unix(0, 0)})
	case f.From == "":
		return w.WriteHeader(&tar.Header{Name: entry(f.Path) + "/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: f.Owner, Gid: f.Owner, ModTime: time.Unix(0, 0)})
	}
	top, err := filepath.EvalSymlinks(f.From) // the walk would not follow it
	if err != nil {
		return err
	}
	return filepath.WalkDir(top, func(from string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(top, from)
		if err != nil {
			return err
		}
		to := path.Join(f.Path, filepath.ToSlash(rest))
		if to == "/" {
			return nil
		}
		return f.copy(w, from, to, d)
	})
}

// copy writes one entry of a tree. Devices and sockets have no place in an image.
func (f File) copy(w *tar.Writer, from, to string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if info.Mode()&(fs.ModeDevice|fs.ModeSocket|fs.ModeNamedPipe) != 0 {
		return nil
	}
	var link string
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(from); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.ModTime, h.Uname, h.Gname, h.Format = entry(to), time.Unix(0, 0), "", "", tar.FormatPAX
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	if f.Path != "/" {
		h.Uid, h.Gid = f.Owner, f.Owner // a whole root keeps its owners
	}
	if info.IsDir() {
		h.Name += "/"
	}
	if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}

func entry(p string) string { return strings.TrimPrefix(path.Clean(p), "/") }
