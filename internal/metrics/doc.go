// Package metrics makes metrics of client_golang with the few options that firstclick uses.
package metrics
