// Package valkey holds the scripts that start a Valkey and its sentinel safely, as
// they run in every testbed. It is a leaf: it starts nothing itself and knows no testbed.
package valkey

import "embed"

// Scripts has start-valkey.sh and start-sentinel.sh, and ask.sh and decide.sh, which
// both read from their own folder. Their environment is described at the top of each.
//
//go:embed *.sh
var Scripts embed.FS
