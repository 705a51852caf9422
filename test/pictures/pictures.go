package main

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	width      = 940
	footHeight = 16
)

// classes are drawn in the order and the colours in which people know them.
var classes = []struct {
	name  string
	color color.NRGBA
}{{"permanent", palette[0]}, {"transient", palette[4]}, {"unknown", palette[7]}}

// overview is the upper part of the dashboard: what fails, why, and for whom.
func overview(s *source) (*page, error) {
	const (
		stats, first, second, third = 58.0, 190.0, 214.0, 196.0
		height                      = stats + first + second + third + 5*gap + footHeight
	)
	p := newPage(width, height)
	y := float64(gap)
	if err := p.stats(s, area{gap, y, width - 2*gap, stats}); err != nil {
		return nil, err
	}
	y += stats + gap
	if err := p.byClass(s, area{gap, y, width - 2*gap, first}); err != nil {
		return nil, err
	}

	const left = (width - 3*gap) * 0.58
	right := area{2*gap + left, 0, width - 3*gap - left, 0}
	y += first + gap
	if err := p.byName(s, area{gap, y, left, second}, "Failures per second by cause", "failures/s"); err != nil {
		return nil, err
	}
	right.y, right.height = y, second
	if err := p.top(s, right, "Top causes", "error_type", "failures in the day", 12, palette[1]); err != nil {
		return nil, err
	}

	y += second + gap
	if err := p.byName(s, area{gap, y, left, third}, "Failures per second by tag", "failures/s, a failure with two tags is in both"); err != nil {
		return nil, err
	}
	half := (right.width - gap) / 2
	if err := p.top(s, area{right.x, y, half, third}, "Failures by tag", "email_tag", "", 8, palette[2]); err != nil {
		return nil, err
	}
	if err := p.top(s, area{right.x + half + gap, y, half, third}, "Top mailbox providers", "email_recipient_domain", "", 10, palette[3]); err != nil {
		return nil, err
	}
	p.foot(s)
	return p, nil
}

func (p *page) stats(s *source, a area) error {
	tile := (a.width - 5*gap) / 6
	for i, stat := range []struct {
		title  string
		color  color.Color
		format func(float64) string
	}{
		{"Failure rate", palette[0], func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }},
		{"Failures in the range", ink, number},
		{"Permanent", palette[0], number},
		{"Transient", palette[4], number},
		{"Unknown", palette[7], number},
		{"Share of permanent", palette[0], func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }},
	} {
		value, err := s.total(stat.title)
		if err != nil {
			return err
		}
		p.stat(area{a.x + float64(i)*(tile+gap), a.y, tile, a.height}, stat.title, stat.format(value), stat.color)
	}
	return nil
}

func (s *source) hours() hours { return hours{s.day.from, s.day.to} }

func (p *page) byClass(s *source, a area) error {
	const title = "Failures per second by class"
	all, err := s.lines(title)
	if err != nil {
		return err
	}
	var lines []series
	var names []string
	var colors []color.NRGBA
	for _, class := range slices.Backward(classes) {
		for _, line := range all {
			if line.name == class.name {
				lines, names, colors = append(lines, line), append(names, class.name), append(colors, class.color)
			}
		}
	}
	if len(lines) != len(all) {
		return fmt.Errorf("%q has classes that are not drawn", title)
	}
	inside := p.legend(p.card(a, title, "failures/s"), names, colors)
	const incidents = 12
	p.incidents(inside)
	return p.chart(inside.below(incidents), s.hours(), lines, colors, true, short)
}

// incidents says above a chart what happened in the played day. The chart's axis takes a little of its width.
func (p *page) incidents(a area) {
	const axis = 18
	for _, incident := range []struct {
		hour float64
		what string
	}{{9, "a provider refuses a campaign"}, {14, "another provider is down"}, {20, "a new kind: DKIM is missing"}} {
		x := a.x + axis + incident.hour/24*(a.width-axis)
		p.fill(area{x, a.y + 1, 0.8, 9}, faint)
		p.text(x+4, a.y+5, style{size: 7.5, color: faint}, incident.what)
	}
}

// byName draws the largest lines of a panel.
func (p *page) byName(s *source, a area, title, unit string) error {
	const most = 7
	lines, err := s.lines(title)
	if err != nil {
		return err
	}
	lines = lines[:min(most, len(lines))]
	var names []string
	for _, line := range lines {
		names = append(names, words(line.name))
	}
	inside := p.legend(p.card(a, title, unit), names, palette)
	return p.chart(inside, s.hours(), lines, palette, false, short)
}

// top draws the largest values of a panel as bars.
func (p *page) top(s *source, a area, title, label, unit string, most int, c color.NRGBA) error {
	all, err := s.totals(title)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("%q is empty", title)
	}
	var bars []bar
	for _, one := range all[:min(most, len(all))] {
		bars = append(bars, bar{words(one.labels[label]), one.values[0], c})
	}
	p.bars(p.card(a, title, unit), bars)
	return nil
}

// words makes a cause readable.
func words(name string) string {
	if name == "_OTHER" {
		return name
	}
	return strings.ReplaceAll(name, "_", " ")
}

func short(value float64) string {
	if value >= 1000 {
		return number(value)
	}
	return strconv.FormatFloat(value, 'g', 3, 64)
}

// records is the lower part of the dashboard: the messages, and the receiver itself.
func records(s *source) (*page, error) {
	const (
		rows, table, health = 14, 300.0, 170.0
		height              = table + health + 3*gap + footHeight
	)
	p := newPage(width, height)
	// What somebody sees who marks the first incident in the chart.
	h := s.hours()
	from, to := instant(h.at(9)), instant(h.at(10))
	found, err := s.records("Messages", from, to, rows)
	if err != nil {
		return nil, err
	}
	var cells [][]string
	for _, r := range found {
		cells = append(cells, []string{
			r.at.UTC().Format(time.TimeOnly), r.labels["email_recipient_address"], words(r.labels["error_type"]), r.labels["smtp_response_status_code"],
			r.labels["smtp_response_enhanced_status_code"], r.labels["smtp_state"], strings.Join(list(r.labels["email_tags"]), ", "), strings.ReplaceAll(r.line, "\n", " "),
		})
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("there are no records from %s to %s", from, to)
	}
	inside := p.card(area{gap, gap, width - 2*gap, table}, "Messages", "from 9 to 10 of the played day")
	p.table(inside, []column{
		{"Time (UTC)", 0.065},
		{"Recipient", 0.165},
		{"Cause", 0.19},
		{"Code", 0.04},
		{"Status", 0.05},
		{"State", 0.06},
		{"Tags", 0.15},
		{"Description", 0.28},
	}, cells)

	y := table + 2*gap
	half := (width - 3.0*gap) / 2
	if err := p.byName(s, area{gap, y, half, health}, "Requests by outcome", "requests/s"); err != nil {
		return nil, err
	}
	if err := p.byName(s, area{2*gap + half, y, half, health}, "Series held", "of each counter"); err != nil {
		return nil, err
	}
	p.foot(s)
	return p, nil
}

func instant(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)) }

// list reads the text that Loki makes of a list of strings.
func list(text string) []string {
	return strings.FieldsFunc(strings.Trim(text, "[]"), func(r rune) bool { return r == '"' || r == ',' })
}

// foot says what the picture is.
func (p *page) foot(s *source) {
	p.text(gap, p.height-footHeight/2-1, style{size: 7.5, color: faint}, fmt.Sprintf(
		"A day of the example sender, played in %.0f minutes; hours are of that day. Drawn from what Prometheus and Loki answer to the dashboard's queries, not by Grafana.",
		s.day.length().Minutes()))
}
