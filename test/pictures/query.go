package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// panel is what is needed of a panel of Grafana.
type panel struct {
	Title   string
	Panels  []panel
	Targets []struct {
		Expr         string
		LegendFormat string
		Datasource   struct{ UID string }
	}
}

// dashboard is the panels by title, and what its variables stand for when everything is chosen.
type dashboard struct {
	panels map[string]panel
	all    map[string]string
}

func readDashboard(path string) (*dashboard, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the checkout's own file
	if err != nil {
		return nil, err
	}
	var file struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, AllValue string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d := &dashboard{panels: map[string]panel{}, all: map[string]string{}}
	d.add(file.Panels)
	for _, variable := range file.Templating.List {
		d.all[variable.Name] = variable.AllValue
	}
	return d, nil
}

func (d *dashboard) add(panels []panel) {
	for _, p := range panels {
		d.panels[p.Title] = p
		d.add(p.Panels)
	}
}

var variable = regexp.MustCompile(`\$(?:\{(\w+)(?::\w+)?\}|([a-z_]\w*))`)

// expression is the first query of a panel, as Grafana would send it with nothing filtered.
func (d *dashboard) expression(title string, day *day) (expression, legend string, err error) {
	p, ok := d.panels[title]
	if !ok || len(p.Targets) == 0 {
		return "", "", fmt.Errorf("the dashboard has no panel %q with a query", title)
	}
	expression = variable.ReplaceAllStringFunc(p.Targets[0].Expr, func(text string) string {
		match := variable.FindStringSubmatch(text)
		switch name := match[1] + match[2]; name {
		case "__range":
			return strconv.Itoa(int(day.length().Seconds())) + "s"
		case "__rate_interval", "__interval", "__auto":
			return strconv.FormatInt(day.rateInterval().Milliseconds(), 10) + "ms"
		default:
			value, ok := d.all[name]
			if !ok {
				err = fmt.Errorf("%q: nothing is known of %s", title, text)
			}
			return value
		}
	})
	return expression, p.Targets[0].LegendFormat, err
}

// source answers what the panels ask, for the day that was played.
type source struct {
	board *dashboard
	day   *day
}

// series is a line of a panel.
type series struct {
	name   string
	labels map[string]string
	times  []time.Time
	values []float64
}

// lines are the series of a panel over the day.
func (s *source) lines(title string) ([]series, error) {
	step := strconv.FormatFloat(s.day.aggregationInterval().Seconds(), 'f', -1, 64)
	return s.ask(title, "query_range", url.Values{"start": {unix(s.day.from)}, "end": {unix(s.day.to)}, "step": {step}})
}

// totals are the values of a panel for the whole day, at its end.
func (s *source) totals(title string) ([]series, error) {
	return s.ask(title, "query", url.Values{"time": {unix(s.day.to.Add(2 * s.day.aggregationInterval()))}})
}

// total is the value of a panel with a single one.
func (s *source) total(title string) (float64, error) {
	all, err := s.totals(title)
	if err != nil {
		return 0, err
	}
	if len(all) != 1 {
		return 0, fmt.Errorf("%q: %d values", title, len(all))
	}
	return all[0].values[0], nil
}

func (s *source) api(title string) (base, expression, legend string, err error) {
	expression, legend, err = s.board.expression(title, s.day)
	if err != nil {
		return "", "", "", err
	}
	if s.board.panels[title].Targets[0].Datasource.UID == "${loki}" {
		return s.day.loki + "/loki/api/v1/", expression, legend, nil
	}
	return s.day.prometheus + "/api/v1/", expression, legend, nil
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

func (s *source) ask(title, path string, parameters url.Values) ([]series, error) {
	base, expression, legend, err := s.api(title)
	if err != nil {
		return nil, err
	}
	parameters.Set("query", expression)
	var result []struct {
		Metric map[string]string
		Value  *sample
		Values []sample
	}
	if err := get(base+path, parameters, &result); err != nil {
		return nil, fmt.Errorf("%q: %w", title, err)
	}
	all := make([]series, len(result))
	for i, element := range result {
		all[i].labels = element.Metric
		all[i].name = placeholder.ReplaceAllStringFunc(legend, func(text string) string {
			return element.Metric[placeholder.FindStringSubmatch(text)[1]]
		})
		if element.Value != nil {
			element.Values = append(element.Values, *element.Value)
		}
		for _, value := range element.Values {
			all[i].times = append(all[i].times, value.at)
			all[i].values = append(all[i].values, value.value)
		}
	}
	slices.SortFunc(all, func(a, b series) int { return int(sum(b.values)*1000) - int(sum(a.values)*1000) })
	return all, nil
}

func sum(values []float64) float64 {
	total := 0.0
	for _, value := range values {
		if value == value { // not NaN
			total += value
		}
	}
	return total
}

// record is a log record in Loki.
type record struct {
	at     time.Time
	line   string
	labels map[string]string
}

// records are the newest ones that a panel finds in a part of the day.
func (s *source) records(title string, from, to time.Time, limit int) ([]record, error) {
	base, expression, _, err := s.api(title)
	if err != nil {
		return nil, err
	}
	var streams []struct {
		Stream map[string]string
		Values [][2]string
	}
	err = get(base+"query_range", url.Values{
		"query": {expression}, "start": {strconv.FormatInt(from.UnixNano(), 10)}, "end": {strconv.FormatInt(to.UnixNano(), 10)},
		"limit": {strconv.Itoa(limit)}, "direction": {"backward"},
	}, &streams)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", title, err)
	}
	var all []record
	for _, stream := range streams {
		for _, value := range stream.Values {
			nanoseconds, err := strconv.ParseInt(value[0], 10, 64)
			if err != nil {
				return nil, err
			}
			all = append(all, record{time.Unix(0, nanoseconds), value[1], stream.Stream})
		}
	}
	slices.SortFunc(all, func(a, b record) int { return b.at.Compare(a.at) })
	return all, nil
}

// sample is a time in seconds and a number as text, which JSON has as a list of two.
type sample struct {
	at    time.Time
	value float64
}

func (s *sample) UnmarshalJSON(text []byte) error {
	var at float64
	var value string
	if err := json.Unmarshal(text, &[]any{&at, &value}); err != nil {
		return err
	}
	s.at = time.UnixMilli(int64(at * 1000))
	var err error
	s.value, err = strconv.ParseFloat(value, 64)
	return err
}

func unix(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)
}

// get asks the HTTP API that Prometheus has and Loki copied.
func get(address string, parameters url.Values, result any) error {
	response, err := http.Get(address + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	answer := struct{ Data struct{ Result any } }{}
	answer.Data.Result = result
	return json.Unmarshal(body, &answer)
}
