package smtpfailurereceiver

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// newResource returns the resource of all that is emitted. The instance id is new for each process unless one is configured: two
// replicas that shared one would write the same series.
func newResource(configured map[string]string) pcommon.Resource {
	all := map[string]string{attributeServiceName: defaultServiceName, attributeServiceInstanceID: uuid.NewString()}
	maps.Copy(all, configured)
	resource := pcommon.NewResource()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		resource.Attributes().PutStr(name, all[name])
	}
	return resource
}

// collidingAttributes returns the resource attributes that become a label which the counters have already, where an exporter
// makes labels of resource attributes. job and instance are those that it makes of the service.
func collidingAttributes(config *Config) []string {
	taken := map[string]bool{"job": true, "instance": true}
	for _, attribute := range shared {
		taken[labelName(attribute.name)] = true
	}
	taken[labelName(attributeTag)] = true
	taken[labelName(overflowAttribute)] = true
	for _, name := range config.CountBy {
		taken[labelName(variablePrefix+name)] = true
	}
	var colliding []string
	for _, name := range slices.Sorted(maps.Keys(config.ResourceAttributes)) {
		if taken[labelName(name)] {
			colliding = append(colliding, name)
		}
		taken[labelName(name)] = true
	}
	return colliding
}

// labelName returns the name of a label as Prometheus writes that of an attribute.
func labelName(attribute string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, attribute)
}
