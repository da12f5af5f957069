package control

import (
	"net/http"
	"os"
)

// File names what can be read of an attack that is over.
type File string

// The files of an attack.
const (
	History File = "history" // package history's format
	Results File = "results" // Vegeta's own encoding
	Report  File = "report"  // Vegeta's text report
	HDR     File = "hdr"     // Vegeta's HDR histogram
	Plot    File = "plot"    // Vegeta's HTML plot
)

// serveFile streams the file at path with its length, so that a client sees a cut.
func serveFile(w http.ResponseWriter, r *http.Request, id string, file File, path string) {
	f, err := os.Open(path)
	if err != nil {
		unreadable(w, id, file, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		unreadable(w, id, file, err)
		return
	}
	http.ServeContent(w, r, "", info.ModTime(), f)
}
