//go:build tools

// Names the commands that are built from this module, so that `go mod tidy`
// keeps what they need and go.sum pins it.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
