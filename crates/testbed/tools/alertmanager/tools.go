//go:build tools

// Names the command that is built from this module, so that `go mod tidy`
// keeps what it needs and go.sum pins it.
package tools

import _ "github.com/prometheus/alertmanager/cmd/alertmanager"
