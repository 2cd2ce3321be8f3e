package grafana

import (
	"bytes"
	_ "embed" // dashboards.yml
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Dashboard is a page of rows of panels.
type Dashboard struct {
	File        string
	UID         string `yaml:"uid"`
	Title       string
	Description string
	Rows        []Row
}

// Row is a headline and the panels under it.
type Row struct {
	Title  string
	Panels []Panel
}

// Panel is one figure.
type Panel struct {
	Title       string
	Description string
	Kind        string // timeseries (also ""), stat or table
	Unit        string // as Grafana names it
	Width       int    // of 24
	Steps       []Step // thresholds; the first one's value is ignored: it is the base
	Queries     []Query
}

// Step is where a colour begins.
type Step struct {
	From  float64
	Color string
}

// UnmarshalText reads "green" or "10_000 yellow".
func (s *Step) UnmarshalText(text []byte) (err error) {
	from, color, found := strings.Cut(string(text), " ")
	if !found {
		s.Color = from
		return nil
	}
	s.Color = color
	s.From, err = strconv.ParseFloat(strings.ReplaceAll(from, "_", ""), 64)
	return err
}

// Query is one PromQL expression and how its series are called.
type Query struct{ Expr, Legend string }

//go:embed dashboards.yml
var dashboardsYAML []byte

var quantile = regexp.MustCompile(`^quantile\(([0-9.]+), (\w+)\)$`)

// Dashboards reads dashboards.yml.
func Dashboards() ([]Dashboard, error) {
	var all []Dashboard
	decoder := yaml.NewDecoder(bytes.NewReader(dashboardsYAML))
	decoder.KnownFields(true)
	if err := decoder.Decode(&all); err != nil {
		return nil, fmt.Errorf("read dashboards.yml: %w", err)
	}
	const s, i = `{group=~"$group",instance=~"$instance"`, `{instance=~"$instance"`
	labels := strings.NewReplacer("{S}", s+"}", "{S,", s+",", "{T}", s+`,topic=~"$topic"}`, "{I}", i+"}", "{I,", i+",")
	for _, board := range all {
		for _, row := range board.Rows {
			for n := range row.Panels {
				p := &row.Panels[n]
				if p.Kind == "" {
					p.Kind = "timeseries"
				}
				if p.Width == 0 {
					p.Width = map[string]int{"stat": 4}[p.Kind]
				}
				if p.Width == 0 {
					p.Width = 12
				}
				for n := range p.Queries {
					expr := quantile.ReplaceAllString(p.Queries[n].Expr,
						`histogram_quantile($1, sum by (le) (rate(${2}_bucket{S}[$$__rate_interval]))) `+
							`or histogram_quantile($1, sum(rate($2{S}[$$__rate_interval])))`)
					p.Queries[n].Expr = labels.Replace(expr)
				}
			}
		}
	}
	return all, nil
}

type object = map[string]any

// Render writes the dashboard as Grafana reads it.
func (d *Dashboard) Render() ([]byte, error) {
	var panels []any
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, row := range d.Rows {
		panels = append(panels, object{
			"id": next(), "type": "row", "title": row.Title, "collapsed": false, "panels": []any{},
			"gridPos": object{"h": 1, "w": 24, "x": 0, "y": y},
		})
		y++
		x, height := 0, 0
		for i := range row.Panels {
			p := &row.Panels[i]
			h := 8
			if p.Kind == "stat" {
				h = 4
			}
			if x+p.Width > 24 {
				x, y, height = 0, y+height, 0
			}
			panels = append(panels, p.render(next(), object{"h": h, "w": p.Width, "x": x, "y": y}))
			x, height = x+p.Width, max(height, h)
		}
		y += height
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(object{
		"uid": d.UID, "title": d.Title, "description": d.Description, "tags": []any{"firstclick"}, "schemaVersion": 41,
		"version":  1,
		"editable": true, "graphTooltip": 1, "refresh": "10s", "timezone": "browser", "fiscalYearStartMonth": 0,
		"weekStart": "",
		"time":      object{"from": "now-30m", "to": "now"}, "timepicker": object{},
		"annotations": object{"list": []any{}}, "links": links(), "templating": object{"list": variables()},
		"panels": panels,
	})
	return out.Bytes(), err
}

func links() []any {
	return []any{object{
		"title": "firstclick", "type": "dashboards", "tags": []any{"firstclick"}, "asDropdown": false,
		"includeVars": true, "keepTime": true,
		"targetBlank": false, "icon": "external link", "tooltip": "", "url": "",
	}}
}

// source is the data source, as provisioning/datasources names it.
func source() object { return object{"type": "prometheus", "uid": "prometheus"} }

// variables choose groups, instances and topics; each is narrowed by those before it.
func variables() []any {
	var list []any
	for _, v := range [][3]string{
		{"group", "Consumer group", `label_values(firstclick_sessions_total, group)`},
		{"instance", "Instance", `label_values(firstclick_sessions_total{group=~"$group"}, instance)`},
		{"topic", "Topic", `label_values(firstclick_records_read_total{group=~"$group"}, topic)`},
	} {
		list = append(list, object{
			"name": v[0], "label": v[1], "type": "query", "datasource": source(),
			"query":      object{"qryType": 1, "query": v[2], "refId": "PrometheusVariableQueryEditor-VariableQuery"},
			"includeAll": true, "allValue": ".*", "multi": true, "refresh": 2, "sort": 1, "hide": 0, "regex": "",
			"skipUrlSync": false,
			"current":     object{"text": []any{"All"}, "value": []any{"$__all"}}, "options": []any{},
		})
	}
	return list
}

func (p *Panel) render(id int, place object) object {
	var targets []any
	for i, q := range p.Queries {
		t := object{"refId": string(rune('A' + i)), "datasource": source(), "expr": q.Expr, "legendFormat": q.Legend,
			"editorMode": "code", "range": true, "instant": false}
		if p.Kind == "table" {
			t["format"], t["range"], t["instant"] = "table", false, true
		}
		targets = append(targets, t)
	}
	var steps []any
	for i, s := range p.Steps {
		step := object{"color": s.Color, "value": s.From}
		if i == 0 {
			step["value"] = nil
		}
		steps = append(steps, step)
	}
	defaults := object{
		"unit": p.Unit, "color": object{"mode": "palette-classic"}, "mappings": []any{},
		"thresholds": object{"mode": "absolute", "steps": steps},
	}
	out := object{
		"id": id, "type": p.Kind, "title": p.Title, "description": p.Description, "gridPos": place,
		"datasource": source(), "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}},
	}
	switch p.Kind {
	case "stat":
		defaults["color"] = object{"mode": "thresholds"}
		out["options"] = object{
			"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
			"textMode": "auto", "wideLayout": true,
			"showPercentChange": false, "percentChangeColorMode": "standard",
			"reduceOptions": object{"calcs": []any{"lastNotNull"}, "fields": "", "values": false},
		}
	case "table":
		defaults["color"] = object{"mode": "thresholds"}
		defaults["custom"] = object{"align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false}
		out["options"] = object{"showHeader": true, "cellHeight": "sm"}
		out["transformations"] = []any{object{"id": "organize",
			"options": object{"excludeByName": object{"Time": true, "__name__": true, "job": true}}}}
	default:
		defaults["min"] = 0
		defaults["custom"] = object{
			"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 8,
			"showPoints": "never", "spanNulls": false,
			"thresholdsStyle": object{"mode": "dashed"}, "stacking": object{"group": "A",
				"mode": "none"}, "axisPlacement": "auto",
			"scaleDistribution": object{"type": "linear"},
		}
		out["options"] = object{
			"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true,
				"calcs": []any{"lastNotNull", "max"}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	}
	return out
}
