package docs_test

import (
	"fmt"
	"reflect"
	"slices"
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

// option is one key of the configuration.
type option struct {
	// name is what the page calls it, and path is where it is; an element of a list is a key "[]".
	name  string
	path  []string
	value reflect.Value
}

// optionsOf walks a configuration. Sections of the receiver's own are walked, those of the collector are one option each, but for the fields of
// http, which have defaults of their own.
func optionsOf(config any) map[string]option {
	options := make(map[string]option)
	walk("", nil, reflect.ValueOf(config).Elem(), options)
	return options
}

func walk(prefix string, path []string, section reflect.Value, options map[string]option) {
	for i := range section.NumField() {
		tag, ok := section.Type().Field(i).Tag.Lookup("mapstructure")
		if !ok {
			continue
		}
		field := section.Field(i)
		key, flags, _ := strings.Cut(tag, ",")
		if strings.Contains(flags, "squash") {
			walk(prefix, path, field, options)
			continue
		}
		name, path := prefix+key, append(slices.Clone(path), key)
		one := option{name: name, path: path, value: field}
		switch {
		case isOurs(field.Type()) || field.Type() == reflect.TypeFor[confighttp.ServerConfig]():
			walk(name+".", path, field, options)
		case field.Kind() == reflect.Slice && isOurs(field.Type().Elem()) && field.Type().Elem().Kind() == reflect.Struct:
			options[name] = one
			walk(name+"[].", append(path, "[]"), reflect.New(field.Type().Elem()).Elem(), options)
		case isOptionalOfOurs(field):
			options[name] = one
			// Its fields have defaults even while it is absent.
			whole := reflect.New(field.Type())
			whole.Elem().Set(field)
			walk(name+".", path, whole.MethodByName("GetOrInsertDefault").Call(nil)[0].Elem(), options)
		default:
			options[name] = one
		}
	}
}

func isOurs(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), "github.com/smtpfailure/") && t.Kind() == reflect.Struct
}

func isOptionalOfOurs(field reflect.Value) bool {
	get := field.Addr().MethodByName("GetOrInsertDefault")
	return get.IsValid() && isOurs(get.Type().Out(0).Elem())
}

// companions are what an option needs beside it to be valid at all, by the beginning of its name.
var companions = []struct{ prefix, yaml string }{
	{"signature.", "signature: {accounts: [environment-1234]}"},
	{"recipient.mode", "recipient: {key: 0123456789abcdef}"},
	{"ownership_files[].name", "ownership_files: [{content: text}]"},
	{"ownership_files[]", "ownership_files: [{name: file.txt}]"},
	{"causes[].phrase", "causes: [{error_type: policy}]"},
	{"causes[].error_type", "causes: [{phrase: weergave geweigerd}]"},
}

// configured returns the configuration with one option set to a value in YAML.
func configured(t *testing.T, one option, yaml string) (any, error) {
	t.Helper()
	raw := make(map[string]any)
	for _, companion := range companions {
		if strings.HasPrefix(one.name, companion.prefix) {
			raw = mapOf(t, companion.yaml)
			break
		}
	}
	section := raw
	for i, key := range one.path {
		switch {
		case i == len(one.path)-1:
			section[key] = valueOf(t, yaml)
		case key == "[]":
			// The list is that of the companions.
		case one.path[i+1] == "[]":
			section = section[key].([]any)[0].(map[string]any)
		default:
			if section[key] == nil {
				section[key] = make(map[string]any)
			}
			section = section[key].(map[string]any)
		}
	}
	return loaded(raw)
}

// loaded reads a configuration over the defaults, as the collector does.
func loaded(raw map[string]any) (any, error) {
	config := smtpfailurereceiver.NewFactory().CreateDefaultConfig()
	if err := confmap.NewFromStringMap(raw).Unmarshal(config); err != nil {
		return nil, err
	}
	return config, confmap.Validate(config)
}

// expand returns the options that a row is about: <name> stands for each metric.
func expand(key string, options map[string]option) []string {
	before, after, ok := strings.Cut(key, "<name>")
	if !ok {
		return []string{key}
	}
	var keys []string
	for name := range options {
		if strings.HasPrefix(name, before) && strings.HasSuffix(name, after) {
			keys = append(keys, name)
		}
	}
	return keys
}

// TestOptions compares the page with the configuration: each option has a row, each row an option, the default is the code's, what is accepted
// is accepted, what is refused is refused with a message that names the key, and a bound lies right between the two.
func TestOptions(t *testing.T) {
	options := optionsOf(smtpfailurereceiver.NewFactory().CreateDefaultConfig())
	documented := make(map[string]bool)
	for _, table := range tablesOf(t, configurationPage, "Key") {
		for _, row := range table.rows {
			keys := codeIn(row["Key"])
			require.Lenf(t, keys, 1, "a row is about one key: %v", row)
			names := expand(keys[0], options)
			require.NotEmptyf(t, names, "no option is called %s", keys[0])
			for _, name := range names {
				one, ok := options[name]
				if !assert.Truef(t, ok, "there is no option %s", name) {
					continue
				}
				assert.Falsef(t, documented[name], "%s is there twice", name)
				documented[name] = true
				t.Run(name, func(t *testing.T) {
					checkDefault(t, one, row["Default"])
					checkBounds(t, one, codeIn(row["Accepts"]), codeIn(row["Refuses"]))
				})
			}
		}
	}
	for name := range options {
		assert.Truef(t, documented[name], "%s has no row for %s", configurationPage, name)
	}
}

// checkDefault sets an option to the default that the page gives and expects no change. A default in words is the zero value.
func checkDefault(t *testing.T, one option, cell string) {
	t.Helper()
	code := codeIn(cell)
	if len(code) == 0 {
		require.NotEmpty(t, cell, "the page gives no default")
		assert.Truef(t, isAbsent(one.value), "the default is %q on the page, and %v in the code", cell, one.value)
		return
	}
	config, err := configured(t, one, code[0])
	require.NoErrorf(t, err, "the default %s", code[0])
	assert.Equalf(t, one.value.Interface(), optionsOf(config)[one.name].value.Interface(), "the default on the page is %s", code[0])
}

func isAbsent(value reflect.Value) bool {
	if has := value.MethodByName("HasValue"); has.IsValid() {
		return !has.Call(nil)[0].Bool()
	}
	return value.IsZero() || (value.Kind() == reflect.Slice || value.Kind() == reflect.Map) && value.Len() == 0
}

func checkBounds(t *testing.T, one option, accepts, refuses []string) {
	t.Helper()
	require.NotEmpty(t, accepts, "the page gives no value that is accepted")
	for _, value := range accepts {
		_, err := configured(t, one, value)
		require.NoErrorf(t, err, "%s is refused", value)
	}
	for _, value := range refuses {
		_, err := configured(t, one, value)
		if assert.Errorf(t, err, "%s is accepted", value) {
			last := one.path[len(one.path)-1]
			section := one.path[max(0, len(one.path)-2)]
			assert.Truef(t, strings.Contains(err.Error(), last) || strings.Contains(err.Error(), section), "the message for %s names no key: %v", value, err)
		}
	}

	gap := int64(1)
	switch one.value.Interface().(type) {
	case time.Duration:
		gap = int64(time.Millisecond)
	case int, int64:
	case string, bool:
		if one.value.Kind() == reflect.Bool {
			require.NotEmpty(t, refuses)
		}
		return
	default:
		return
	}
	require.NotEmpty(t, refuses, "a number has a bound")
	nearest := int64(1) << 62
	for _, inside := range accepts {
		for _, outside := range refuses {
			distance := number(t, inside) - number(t, outside)
			nearest = min(nearest, max(distance, -distance))
		}
	}
	assert.LessOrEqualf(t, nearest, gap, "the values on both sides of the bound are not next to each other")
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	var n int64
	if _, err := fmt.Sscanf(text, "%d", &n); err == nil && fmt.Sprint(n) == text {
		return n
	}
	duration, err := time.ParseDuration(text)
	require.NoError(t, err)
	return int64(duration)
}

// TestConfigurationExamples loads each example of the page into the configuration.
func TestConfigurationExamples(t *testing.T) {
	fences := fencesOf(t, configurationPage)
	require.NotEmpty(t, fences)
	for _, block := range fences {
		if block.language != "yaml" {
			continue
		}
		raw := mapOf(t, strings.ReplaceAll(block.text, "${env:RECIPIENT_KEY}", "0123456789abcdef"))
		if receivers, ok := raw["receivers"].(map[string]any); ok {
			for _, one := range receivers {
				raw, _ = one.(map[string]any)
			}
		}
		_, err := loaded(raw)
		require.NoErrorf(t, err, "%s", block.text)
	}
}
