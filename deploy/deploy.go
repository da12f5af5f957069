// Package deploy embeds the files that every testbed deploys as they are:
// start scripts of the servers, alert rules and Alertmanager's configuration.
//
// It is a leaf, and holds no code.
package deploy

import "embed"

// Files holds nats/, valkey/ and rules/.
//
//go:embed nats valkey rules
var Files embed.FS
