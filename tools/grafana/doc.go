// Package grafana is the dashboards as code: [Dashboards] renders what stands in grafana/dashboards/, which Grafana reads by way of provisioning/.
//
// To change a panel, change it here and run `go test -C tools ./grafana -update`. Invariants, held by tests: every panel has a unit, a description and
// thresholds; the files are what this package renders; every query of every panel answers in a real Prometheus that scrapes a demo
// (build tag prometheus).
package grafana
