// Package nats holds the script and the configuration that start a NATS server, as
// they run in every testbed. It is a leaf: it starts nothing itself and knows no testbed.
package nats

import "embed"

// Scripts has start-nats.sh and nats.conf, which must lie beside it. The environment is
// described at the top of the script.
//
//go:embed start-nats.sh nats.conf
var Scripts embed.FS
