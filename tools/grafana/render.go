package grafana

import (
	"bytes"
	"encoding/json"
)

// Dashboard is a page of rows of panels.
type Dashboard struct {
	UID, Title, Description string
	Tags                    []string
	Rows                    []Row
}

// Row is a headline and the panels under it.
type Row struct {
	Title  string
	Panels []Panel
}

// Panel is one figure. All fields but Repeat are needed.
type Panel struct {
	Title, Description string
	Kind               string // timeseries, stat or table
	Unit               string // as Grafana names it
	Width              int    // of 24
	Steps              []Step // thresholds: from a value on, a colour. The first one's value is ignored: it is the base
	Queries            []Query
}

// Step is where a colour begins.
type Step struct {
	From  float64
	Color string
}

// Query is one PromQL expression and how its series are called.
type Query struct{ Expr, Legend string }

const (
	green, yellow, red = "green", "yellow", "red"
	datasource         = "prometheus" // uid in provisioning/datasources
)

// low is for figures that ought to be small.
func low(warn, bad float64) []Step {
	return []Step{{0, green}, {warn, yellow}, {bad, red}}
}

// none is for what ought not to happen at all.
func none(from float64) []Step { return []Step{{0, green}, {from, red}} }

// high is for figures that ought not to be below one.
func high(from float64) []Step { return []Step{{0, red}, {from, green}} }

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
		"uid": d.UID, "title": d.Title, "description": d.Description, "tags": d.Tags, "schemaVersion": 41, "version": 1,
		"editable": true, "graphTooltip": 1, "refresh": "10s", "timezone": "browser", "fiscalYearStartMonth": 0, "weekStart": "",
		"time": object{"from": "now-30m", "to": "now"}, "timepicker": object{},
		"annotations": object{"list": []any{}}, "links": links(), "templating": object{"list": variables()}, "panels": panels,
	})
	return out.Bytes(), err
}

func links() []any {
	return []any{object{
		"title": "firstclick", "type": "dashboards", "tags": []any{"firstclick"}, "asDropdown": false, "includeVars": true, "keepTime": true,
		"targetBlank": false, "icon": "external link", "tooltip": "", "url": "",
	}}
}

func source() object { return object{"type": "prometheus", "uid": datasource} }

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
			"includeAll": true, "allValue": ".*", "multi": true, "refresh": 2, "sort": 1, "hide": 0, "regex": "", "skipUrlSync": false,
			"current": object{"text": []any{"All"}, "value": []any{"$__all"}}, "options": []any{},
		})
	}
	return list
}

func (p *Panel) render(id int, place object) object {
	var targets []any
	for i, q := range p.Queries {
		t := object{"refId": string(rune('A' + i)), "datasource": source(), "expr": q.Expr, "legendFormat": q.Legend, "editorMode": "code", "range": true, "instant": false}
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
		"id": id, "type": p.Kind, "title": p.Title, "description": p.Description, "gridPos": place, "datasource": source(), "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}},
	}
	switch p.Kind {
	case "stat":
		defaults["color"] = object{"mode": "thresholds"}
		out["options"] = object{
			"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto", "wideLayout": true,
			"showPercentChange": false, "percentChangeColorMode": "standard", "reduceOptions": object{"calcs": []any{"lastNotNull"}, "fields": "", "values": false},
		}
	case "table":
		defaults["color"] = object{"mode": "thresholds"}
		defaults["custom"] = object{"align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false}
		out["options"] = object{"showHeader": true, "cellHeight": "sm"}
		out["transformations"] = []any{object{"id": "organize", "options": object{"excludeByName": object{"Time": true, "__name__": true, "job": true}}}}
	default:
		defaults["min"] = 0
		defaults["custom"] = object{
			"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false,
			"thresholdsStyle": object{"mode": "dashed"}, "stacking": object{"group": "A", "mode": "none"}, "axisPlacement": "auto",
			"scaleDistribution": object{"type": "linear"},
		}
		out["options"] = object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []any{"lastNotNull", "max"}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	}
	return out
}
