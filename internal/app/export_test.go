package app

import "github.com/prometheus/client_golang/prometheus"

// Registry has all figures of the node.
func (a *App) Registry() *prometheus.Registry { return a.tel.Registry }
