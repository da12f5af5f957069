package check

import (
	"io"
	"log"
	"os"
	"testing"
)

// TestMain silences Helm's loader, which tells of every symbolic link that it follows.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
