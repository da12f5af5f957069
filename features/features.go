// Package features holds the scenarios, in Gherkin. A new one needs no Go: see
// docs/features.md for the sentences.
package features

import "embed"

// Files holds *.feature.
//
//go:embed *.feature
var Files embed.FS
