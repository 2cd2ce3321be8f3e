//go:build deploy

package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	validate "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// The manifests hold what their owners' types take, and what a Deployment needs.
func TestManifests(t *testing.T) {
	files, err := filepath.Glob("../../deploy/kubernetes/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := checkDocuments(read(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The check itself is checked: each of these breaks one thing.
func TestBreachesAreNoticed(t *testing.T) {
	good := read(t, "../../deploy/kubernetes/firstclick.yml")
	for breach, becomes := range map[string]string{
		`readinessProbe:`:             `readyProbe:`,
		`port: http}`:                 `port: htttp}`,
		`memory: 1Gi`:                 `memory: 1Gib`,
		`replicas: 2`:                 `replicas: two`,
		`- {name: secrets, mountPath`: `- {name: secret, mountPath`,
		`(?m)apiVersion: apps/v1$`:    `apiVersion: apps/v1beta1`,
		`LISTEN:`:                     `LI STEN:`,
		`(?m)@sha256:0*$`:             ``,
		`policyTypes: .*`:             `policyTypes: [Ingress]`,
		`port: 5432}`:                 `port: 543210}`,
		`(?m)^  ingress:`:             `  ingres:`,
		`(?m)podSelector:$`:           `podSelectors:`,
	} {
		bad := regexp.MustCompile(breach).ReplaceAll(good, []byte(becomes))
		if bytes.Equal(bad, good) {
			t.Errorf("%s is not in the manifest", breach)
		}
		if checkDocuments(bad) == nil {
			t.Errorf("%s for %s is not noticed", becomes, breach)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// kinds are the types of what our manifests hold.
func kinds(kind meta.TypeMeta) any {
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 ConfigMap":
		return &core.ConfigMap{}
	case "v1 Secret":
		return &core.Secret{}
	case "v1 ServiceAccount":
		return &core.ServiceAccount{}
	case "v1 Service":
		return &core.Service{}
	case "apps/v1 Deployment":
		return &apps.Deployment{}
	case "networking.k8s.io/v1 NetworkPolicy":
		return &network.NetworkPolicy{}
	case "policy/v1 PodDisruptionBudget":
		return &policy.PodDisruptionBudget{}
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &monitoring.ServiceMonitor{}
	}
	return nil
}

// checkDocuments decodes each document strictly and checks it.
func checkDocuments(text []byte) error {
	var all []error
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var kind meta.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			all = append(all, err)
			continue
		}
		object := kinds(kind)
		if object == nil {
			all = append(all, fmt.Errorf("kind %q of %q is not known here", kind.Kind, kind.APIVersion))
			continue
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			all = append(all, fmt.Errorf("%s: %w", kind.Kind, err))
			continue
		}
		if err := check(object); err != nil {
			all = append(all, fmt.Errorf("%s: %w", kind.Kind, err))
		}
	}
	return errors.Join(all...)
}

// check looks at what is required, and at names and labels, by Kubernetes' own rules.
func check(object any) error {
	var problems field.ErrorList
	named := object.(meta.Object)
	for _, problem := range validation.IsDNS1123Subdomain(named.GetName()) {
		problems = append(problems, field.Invalid(field.NewPath("metadata", "name"), named.GetName(), problem))
	}
	problems = append(problems, validateLabels(named.GetLabels(), field.NewPath("metadata", "labels"))...)
	switch o := object.(type) {
	case *core.ConfigMap:
		for name := range o.Data {
			for _, problem := range validation.IsEnvVarName(name) {
				problems = append(problems, field.Invalid(field.NewPath("data"), name, problem))
			}
		}
	case *core.Service:
		if len(o.Spec.Ports) == 0 {
			problems = append(problems, field.Required(field.NewPath("spec", "ports"), ""))
		}
	case *network.NetworkPolicy:
		problems = append(problems, networkPolicy(o)...)
	case *policy.PodDisruptionBudget:
		problems = append(problems, selector(o.Spec.Selector)...)
	case *monitoring.ServiceMonitor:
		problems = append(problems, selector(&o.Spec.Selector)...)
		if len(o.Spec.Endpoints) == 0 {
			problems = append(problems, field.Required(field.NewPath("spec", "endpoints"), ""))
		}
	case *apps.Deployment:
		problems = append(problems, deployment(o)...)
	}
	return problems.ToAggregate()
}

func validateLabels(set map[string]string, at *field.Path) field.ErrorList {
	return validate.ValidateLabels(set, at)
}

func selector(s *meta.LabelSelector) field.ErrorList {
	at := field.NewPath("spec", "selector")
	if s == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	return validate.ValidateLabelSelector(s, validate.LabelSelectorValidationOptions{}, at)
}

// networkPolicy wants both directions closed but for what is named, by ports that there can be.
func networkPolicy(p *network.NetworkPolicy) field.ErrorList {
	at := field.NewPath("spec")
	problems := validate.ValidateLabelSelector(&p.Spec.PodSelector, validate.LabelSelectorValidationOptions{},
		at.Child("podSelector"))
	for _, kind := range []network.PolicyType{network.PolicyTypeIngress, network.PolicyTypeEgress} {
		if !slices.Contains(p.Spec.PolicyTypes, kind) {
			problems = append(problems, field.Required(at.Child("policyTypes"), string(kind)))
		}
	}
	ports := func(here *field.Path, list []network.NetworkPolicyPort) {
		if len(list) == 0 {
			problems = append(problems, field.Required(here.Child("ports"), "or every port is open"))
		}
		for i, port := range list {
			switch {
			case port.Port == nil:
				problems = append(problems, field.Required(here.Child("ports").Index(i), "a port"))
			case port.Port.Type == intstr.String:
				for _, problem := range validation.IsValidPortName(port.Port.StrVal) {
					problems = append(problems, field.Invalid(here.Child("ports").Index(i), port.Port.StrVal, problem))
				}
			default:
				for _, problem := range validation.IsValidPortNum(port.Port.IntValue()) {
					problems = append(problems, field.Invalid(here.Child("ports").Index(i), port.Port.IntValue(),
						problem))
				}
			}
		}
	}
	for i, rule := range p.Spec.Ingress {
		here := at.Child("ingress").Index(i)
		ports(here, rule.Ports)
		if len(rule.From) == 0 {
			problems = append(problems, field.Required(here.Child("from"), "or everybody is let in"))
		}
	}
	for i, rule := range p.Spec.Egress {
		ports(at.Child("egress").Index(i), rule.Ports)
	}
	return problems
}

// pinned says whether an image is named by what it holds.
var pinned = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

// deployment has what the schema of a Deployment requires and the types do not tell.
func deployment(d *apps.Deployment) field.ErrorList {
	problems := selector(d.Spec.Selector)
	pod := d.Spec.Template
	at := field.NewPath("spec", "template")
	problems = append(problems, validateLabels(pod.Labels, at.Child("metadata", "labels"))...)
	if s, err := meta.LabelSelectorAsSelector(d.Spec.Selector); err != nil || !s.Matches(labels.Set(pod.Labels)) {
		problems = append(problems, field.Invalid(field.NewPath("spec", "selector"), d.Spec.Selector,
			"does not select the pods"))
	}
	if len(pod.Spec.Containers) == 0 {
		problems = append(problems, field.Required(at.Child("spec", "containers"), ""))
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for i, c := range pod.Spec.Containers {
		here := at.Child("spec", "containers").Index(i)
		if c.Name == "" || c.Image == "" {
			problems = append(problems, field.Required(here, "name and image"))
		}
		if !pinned.MatchString(c.Image) {
			problems = append(problems, field.Invalid(here.Child("image"), c.Image, "has no digest"))
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] || m.MountPath == "" {
				problems = append(problems, field.NotFound(here.Child("volumeMounts"), m.Name))
			}
		}
		ports := map[string]bool{}
		for _, p := range c.Ports {
			ports[p.Name] = true
			for _, problem := range validation.IsValidPortNum(int(p.ContainerPort)) {
				problems = append(problems, field.Invalid(here.Child("ports"), p.ContainerPort, problem))
			}
		}
		for name, probe := range map[string]*core.Probe{"startupProbe": c.StartupProbe,
			"livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || !ports[probe.HTTPGet.Port.StrVal] {
				problems = append(problems, field.Invalid(here.Child(name), "", "asks no port of the container"))
			}
		}
		for name, limit := range c.Resources.Limits {
			if request, ok := c.Resources.Requests[name]; ok && request.Cmp(limit) > 0 {
				problems = append(problems, field.Invalid(here.Child("resources"), limit.String(),
					"is less than what is requested"))
			}
		}
	}
	return problems
}
