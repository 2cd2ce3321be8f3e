//go:build race

package metrics

const raced = true
