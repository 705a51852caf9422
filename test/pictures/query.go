package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot/plotter"
)

// panel is what is needed of a panel of Grafana.
type panel struct {
	Title   string
	Targets []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

// dashboard is what is needed of a dashboard.
type dashboard struct {
	Panels     []panel
	Templating struct {
		List []struct{ Name, AllValue string }
	}
}

func readDashboard(path string) (d dashboard, err error) {
	text, err := os.ReadFile(path) //nolint:gosec // The checkout's own file.
	if err != nil {
		return d, err
	}
	err = json.Unmarshal(text, &d)
	return d, err
}

var variable = regexp.MustCompile(`\$(?:\{(\w+)(?::\w+)?\}|([a-z_]\w*))`)

// query returns the first query of a panel as Grafana would send it with All chosen everywhere, and
// the API to send it to.
func (d *day) query(title string) (expression, api string, err error) {
	i := slices.IndexFunc(d.board.Panels, func(p panel) bool { return p.Title == title })
	if i < 0 || len(d.board.Panels[i].Targets) == 0 {
		return "", "", fmt.Errorf("the dashboard has no panel %q with a query", title)
	}
	values := map[string]string{
		"__range":         d.length.Round(time.Second).String(),
		"__rate_interval": strconv.FormatInt(8*d.interval().Milliseconds(), 10) + "ms",
	}
	for _, v := range d.board.Templating.List {
		values[v.Name] = v.AllValue
	}
	target := d.board.Panels[i].Targets[0]
	expression = variable.ReplaceAllStringFunc(target.Expr, func(text string) string {
		match := variable.FindStringSubmatch(text)
		value, ok := values[match[1]+match[2]]
		if !ok {
			err = fmt.Errorf("%q has an unknown variable %s", title, text)
		}
		return value
	})
	if target.Datasource.UID == "${loki}" {
		return expression, d.loki + "/loki/api/v1/", err
	}
	return expression, d.prometheus + "/api/v1/", err
}

// series is a line of a panel over the hours of the day, or a single value.
type series struct {
	name   string
	points plotter.XYs
}

// overDay returns the series of a panel over the day, named by a label, the highest first.
func (d *day) overDay(title, label string) ([]series, error) {
	return d.ask(title, label, "query_range", url.Values{
		"start": {unix(d.start)}, "end": {unix(d.start.Add(d.length))}, "step": {d.interval().String()},
	})
}

// totals returns the values of a panel for the whole day, named by a label, the highest first.
func (d *day) totals(title, label string) ([]series, error) {
	return d.ask(title, label, "query", url.Values{"time": {unix(d.start.Add(d.length + 2*d.interval()))}})
}

func unix(at time.Time) string { return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64) }

// ask queries the HTTP API of Prometheus, which Loki has too.
func (d *day) ask(title, label, path string, parameters url.Values) ([]series, error) {
	expression, api, err := d.query(title)
	if err != nil {
		return nil, err
	}
	parameters.Set("query", expression)
	response, err := http.Get(api + path + "?" + parameters.Encode())
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	type sample [2]json.Number // time in seconds and value
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  *sample
				Values []sample
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Data.Result) == 0 {
		return nil, fmt.Errorf("%q: %s: %s", title, response.Status, body)
	}
	var all []series
	for _, result := range answer.Data.Result {
		one := series{name: strings.ReplaceAll(result.Metric[label], "_", " ")}
		if result.Value != nil {
			result.Values = []sample{*result.Value}
		}
		for _, s := range result.Values {
			seconds, timeErr := s[0].Float64()
			value, valueErr := s[1].Float64()
			if err := errors.Join(timeErr, valueErr); err != nil {
				return nil, err
			}
			hour := (seconds - float64(d.start.Unix())) / d.length.Seconds() * 24
			one.points = append(one.points, plotter.XY{X: hour, Y: value})
		}
		all = append(all, one)
	}
	highest := func(s series) float64 { _, _, _, most := plotter.XYRange(s.points); return most }
	slices.SortFunc(all, func(a, b series) int { return cmp.Compare(highest(b), highest(a)) })
	return all, nil
}
