package docker_test

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// strictly decodes a YAML file; a member that the type does not have is an error.
func strictly(t *testing.T, file string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, file)))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// onHost is where a path inside a service's container lies in the repository; empty: nowhere.
func onHost(service types.ServiceConfig, inside string) string {
	for _, volume := range service.Volumes {
		if volume.Type == types.VolumeTypeBind && (inside == volume.Target ||
			strings.HasPrefix(inside, volume.Target+"/")) {
			return filepath.Join(volume.Source, strings.TrimPrefix(inside, volume.Target))
		}
	}
	return ""
}

// answersTo lists the names by which other containers reach a service.
func answersTo(service types.ServiceConfig) []string {
	names := []string{service.Name}
	for _, network := range service.Networks {
		if network != nil {
			names = append(names, network.Aliases...)
		}
	}
	return names
}

// Prometheus looks where every instance listens, and finds its rules where its configuration says.
// What else is in both files promtool checks (.ci/prometheus).
func TestPrometheusFindsEveryInstance(t *testing.T) {
	project := everything(t)
	prometheus := project.Services["prometheus"]
	var config struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName string `yaml:"job_name"`
			DNS     []struct {
				Names []string
				Type  string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	var file string
	for _, word := range prometheus.Command {
		if name, ok := strings.CutPrefix(word, "--config.file="); ok {
			file = name
		}
	}
	text, err := os.ReadFile(onHost(prometheus, file))
	if err != nil {
		t.Fatalf("%s is not mounted: %v", file, err)
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range config.RuleFiles {
		found, err := filepath.Glob(onHost(prometheus, path.Join(path.Dir(file), pattern)))
		if err != nil || len(found) == 0 {
			t.Errorf("no rules at %s: %v", pattern, err)
		}
	}
	if len(config.ScrapeConfigs) != 1 || config.ScrapeConfigs[0].JobName != "firstclick" ||
		len(config.ScrapeConfigs[0].DNS) != 1 {
		t.Fatalf("scrapes %+v", config.ScrapeConfigs)
	}
	target := config.ScrapeConfigs[0].DNS[0]
	if target.Port != 8081 || target.Type != "A" {
		t.Errorf("looks at %+v", target)
	}
	for name, service := range ours(project) {
		if scraped := slices.Contains(answersTo(service), target.Names[0]); scraped != (service.Command[0] == "run") {
			t.Errorf("%s answers to %v: scraped %v", name, answersTo(service), scraped)
		}
		if service.Command[0] == "run" && environment(service)["LISTEN"] != ":8081" {
			t.Errorf("%s listens on %s", name, environment(service)["LISTEN"])
		}
	}
}

// Grafana's provisioning, member by member.
// https://grafana.com/docs/grafana/latest/administration/provisioning/
func TestGrafanaFindsDashboardsAndPrometheus(t *testing.T) {
	project := everything(t)
	grafana := project.Services["grafana"]
	var boards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, FolderUID, Type string
			OrgID                         int  `yaml:"orgId"`
			DisableDeletion               bool `yaml:"disableDeletion"`
			AllowUIUpdates                bool `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds         int  `yaml:"updateIntervalSeconds"`
			Options                       struct {
				Path                      string
				FoldersFromFilesStructure bool `yaml:"foldersFromFilesStructure"`
			}
		}
	}
	strictly(t, "grafana/provisioning/dashboards/firstclick.yml", &boards)
	if boards.APIVersion != 1 || len(boards.Providers) != 1 || boards.Providers[0].Type != "file" {
		t.Fatalf("dashboards: %+v", boards)
	}
	files, err := filepath.Glob(filepath.Join(onHost(grafana, boards.Providers[0].Options.Path), "*.json"))
	if err != nil || len(files) != 2 {
		t.Errorf("dashboards at %s: %v, %v", boards.Providers[0].Options.Path, files, err)
	}
	home := environment(grafana)["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if !slices.Contains(files, onHost(grafana, home)) {
		t.Errorf("the first page is %s, which is not there", home)
	}

	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			OrgID                        int  `yaml:"orgId"`
			IsDefault                    bool `yaml:"isDefault"`
			Editable                     bool
			JSONData                     struct {
				HTTPMethod   string `yaml:"httpMethod"`
				TimeInterval string `yaml:"timeInterval"`
			} `yaml:"jsonData"`
		}
	}
	strictly(t, "grafana/provisioning/datasources/prometheus.yml", &sources)
	if sources.APIVersion != 1 || len(sources.Datasources) != 1 {
		t.Fatalf("sources: %+v", sources)
	}
	source := sources.Datasources[0]
	if port := project.Services["prometheus"].Ports[0].Target; source.Type != "prometheus" ||
		source.Access != "proxy" || source.URL != "http://prometheus:9090" || port != 9090 {
		t.Errorf("source: %+v, Prometheus listens on %d", source, port)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Datasource *struct{ UID string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatal(err)
		}
		for _, panel := range board.Panels {
			if panel.Datasource != nil && panel.Datasource.UID != source.UID {
				t.Errorf("%s asks %s", file, panel.Datasource.UID)
			}
		}
	}
	if !strings.HasPrefix(onHost(grafana, "/etc/grafana/provisioning/datasources"), top(t)) {
		t.Error("the provisioning is not mounted")
	}
}
