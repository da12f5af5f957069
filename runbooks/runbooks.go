// Package runbooks holds a runbook for each alert, named like it.
package runbooks

import "embed"

// Files holds <AlertName>.md.
//
//go:embed *.md
var Files embed.FS
