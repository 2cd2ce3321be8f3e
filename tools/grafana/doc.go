// Package grafana renders the dashboards: [Dashboards] reads dashboards.yml beside this file, and
// Dashboard.Render makes of each what Grafana reads from grafana/dashboards.
//
// To change a panel, change dashboards.yml and run `go test -C tools ./grafana -update`. Tests hold
// the invariants: every panel has a unit, a description and thresholds; the files are what is
// rendered; every query answers in a real Prometheus that scrapes a demo (build tag prometheus).
package grafana
