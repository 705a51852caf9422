package smtpfailurereceiver

import (
	"maps"
	"regexp"
	"slices"

	"github.com/google/uuid"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// newResource returns the resource of all that is emitted. Its instance id is random unless one is
// configured: replicas that shared one would write the same series.
func newResource(configured map[string]string) pcommon.Resource {
	all := map[string]string{attributeServiceName: defaultServiceName, attributeServiceInstanceID: uuid.NewString()}
	maps.Copy(all, configured)
	resource := pcommon.NewResource()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		resource.Attributes().PutStr(name, all[name])
	}
	return resource
}

// collidingAttributes returns the resource attributes that an exporter would turn into a label that
// the counters already have. It makes job and instance of the service.
func collidingAttributes(config *Config) []string {
	used := map[string]bool{"job": true, "instance": true}
	for _, attribute := range eventAttributes {
		used[labelName(attribute.name)] = true
	}
	used[labelName(overflowAttribute)] = true
	for _, name := range config.CountBy {
		used[labelName(variablePrefix+name)] = true
	}
	var colliding []string
	for _, name := range slices.Sorted(maps.Keys(config.ResourceAttributes)) {
		if used[labelName(name)] {
			colliding = append(colliding, name)
		}
		used[labelName(name)] = true
	}
	return colliding
}

var notInLabels = regexp.MustCompile(`[^a-zA-Z0-9]`)

// labelName returns the name of Prometheus' label for an attribute.
func labelName(attribute string) string {
	return notInLabels.ReplaceAllString(attribute, "_")
}
