package docs_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/confmap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver"
)

const configurationPage = "configuration.md"

// option is one key of the configuration. Its path has the collector's delimiter, and an element of
// a list is "[]".
type option struct {
	path  string
	value reflect.Value
}

// name returns what the page calls it.
func (o option) name() string {
	return strings.NewReplacer("::[]", "[]", "::", ".").Replace(o.path)
}

// optionsOf returns the options by their names on the page. Sections of the collector are one
// option each, except http, whose fields have defaults of their own.
func optionsOf(config any) map[string]option {
	options := make(map[string]option)
	walk("", reflect.ValueOf(config).Elem(), options)
	return options
}

func walk(prefix string, section reflect.Value, options map[string]option) {
	for structField, field := range section.Fields() {
		key, flags, _ := strings.Cut(structField.Tag.Get("mapstructure"), ",")
		path := prefix + key
		switch {
		case strings.Contains(flags, "squash"):
			walk(prefix, field, options)
		case key == "":
		case isSection(field.Type()) || field.Type() == reflect.TypeFor[confighttp.ServerConfig]():
			walk(path+"::", field, options)
		default:
			one := option{path, field}
			options[one.name()] = one
			if field.Kind() == reflect.Slice && isSection(field.Type().Elem()) {
				walk(path+"::[]::", reflect.New(field.Type().Elem()).Elem(), options)
			}
			// The fields of an absent section have defaults too.
			present := reflect.New(field.Type())
			present.Elem().Set(field)
			if get := present.MethodByName("GetOrInsertDefault"); get.IsValid() && isSection(get.Type().Out(0).Elem()) {
				walk(path+"::", get.Call(nil)[0].Elem(), options)
			}
		}
	}
}

// isSection reports whether a type is a section of the receiver's own configuration.
func isSection(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), "github.com/smtpfailure/") && t.Kind() == reflect.Struct
}

// companions are the options that others, by the beginning of their names, need to be valid.
var companions = []struct{ prefix, yaml string }{
	{"signature.", "signature: {accounts: [environment-1234]}"},
	{"recipient.mode", "recipient: {key: 0123456789abcdef}"},
	{"ownership_files[].name", "ownership_files: [{content: text}]"},
	{"ownership_files[]", "ownership_files: [{name: file.txt}]"},
	{"causes[].phrase", "causes: [{error_type: policy}]"},
	{"causes[].error_type", "causes: [{phrase: weergave geweigerd}]"},
}

// configured returns the defaults with one option set to a YAML value, read as the collector does.
func configured(t *testing.T, one option, yaml string) (any, error) {
	t.Helper()
	raw := make(map[string]any)
	for _, companion := range companions {
		if strings.HasPrefix(one.name(), companion.prefix) {
			raw = mapOf(t, companion.yaml)
			break
		}
	}
	change := map[string]any{one.path: valueOf(t, yaml)}
	if list, key, ok := strings.Cut(one.path, "::[]::"); ok {
		raw[list].([]any)[0].(map[string]any)[key] = valueOf(t, yaml)
		change = nil
	}
	conf := confmap.NewFromStringMap(raw)
	require.NoError(t, conf.Merge(confmap.NewFromStringMap(change)))
	config := smtpfailurereceiver.NewFactory().CreateDefaultConfig()
	if err := conf.Unmarshal(config); err != nil {
		return nil, err
	}
	return config, confmap.Validate(config)
}

// TestOptions compares the page with the configuration: options, defaults, and values that are
// accepted and refused.
func TestOptions(t *testing.T) {
	options := optionsOf(smtpfailurereceiver.NewFactory().CreateDefaultConfig())
	documented := make(map[string]bool)
	for key, row := range rowsByName(t, configurationPage, "Key") {
		found := false
		// <name> stands for each metric.
		names := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(key), "<name>", "[a-z_.]+") + "$")
		for name, one := range options {
			if !names.MatchString(name) {
				continue
			}
			found, documented[name] = true, true
			t.Run(name, func(t *testing.T) {
				checkDefault(t, one, row["Default"])
				checkBounds(t, one, codeIn(row["Accepts"]), codeIn(row["Refuses"]))
			})
		}
		assert.Truef(t, found, "no option is called %s", key)
	}
	assert.ElementsMatch(t, keys(options), keys(documented), "the rows of %s", configurationPage)
}

// checkDefault sets an option to its documented default and expects no change. A default in words
// is the zero value.
func checkDefault(t *testing.T, one option, cell string) {
	t.Helper()
	code := codeIn(cell)
	if len(code) == 0 {
		require.NotEmpty(t, cell)
		if optional := one.value.MethodByName("HasValue"); optional.IsValid() {
			assert.False(t, optional.Call(nil)[0].Bool())
			return
		}
		assert.Empty(t, one.value.Interface(), "the default is %q on the page", cell)
		return
	}
	config, err := configured(t, one, code[0])
	require.NoErrorf(t, err, "the default %s", code[0])
	got := optionsOf(config)[one.name()].value
	assert.Equal(t, one.value.Interface(), got.Interface(), "the default on the page is %s", code[0])
}

// checkBounds tries the values of a row. For a number, one of each must be next to the other.
func checkBounds(t *testing.T, one option, accepts, refuses []string) {
	t.Helper()
	require.NotEmpty(t, accepts)
	for _, value := range accepts {
		_, err := configured(t, one, value)
		require.NoErrorf(t, err, "%s is refused", value)
	}
	for _, value := range refuses {
		_, err := configured(t, one, value)
		require.Errorf(t, err, "%s is accepted", value)
		// The message names the key or its section.
		path := strings.Split(strings.ReplaceAll(one.path, "[]::", ""), "::")
		assert.Regexp(t, strings.Join(path[max(0, len(path)-2):], "|"), err.Error(), value)
	}

	gap := int64(1)
	switch one.value.Interface().(type) {
	case int, int64:
	case time.Duration:
		gap = int64(time.Millisecond)
	default:
		return
	}
	closest := false
	for _, inside := range accepts {
		for _, outside := range refuses {
			distance := number(t, inside) - number(t, outside)
			closest = closest || max(distance, -distance) <= gap
		}
	}
	assert.True(t, closest, "no values on both sides of the bound are next to each other")
}

func number(t *testing.T, yaml string) int64 {
	t.Helper()
	if n, ok := valueOf(t, yaml).(int); ok {
		return int64(n)
	}
	duration, err := time.ParseDuration(yaml)
	require.NoError(t, err)
	return int64(duration)
}

// valueOf parses a YAML value.
func valueOf(t *testing.T, yaml string) any {
	t.Helper()
	return mapOf(t, "value: "+yaml)["value"]
}
