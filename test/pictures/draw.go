package main

import (
	"fmt"
	"image/color"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Lengths are in points.
const (
	width, height = 940, 700
	dpi           = 100
	margin        = 12
)

// draw draws the picture: totals, failures over the day by class, cause and tag, and the causes and
// providers with most failures.
func (d *day) draw(file string) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	image := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	page := draw.New(image)
	if err := d.drawTotals(page); err != nil {
		return err
	}
	for _, p := range []struct {
		plot                     func(title, label string) (*plot.Plot, error)
		title, label             string
		left, right, bottom, top vg.Length // shares of the page
	}{
		{d.areas, "Failures per second by class", "email_failure_class", 0, 1, 0.63, 0.92},
		{d.lines, "Failures per second by cause", "error_type", 0, 0.6, 0.33, 0.62},
		{d.lines, "Failures per second by tag", "email_tag", 0, 0.6, 0.03, 0.32},
		{d.bars, "Top causes", "error_type", 0.62, 1, 0.33, 0.62},
		{d.bars, "Top mailbox providers", "email_recipient_domain", 0.62, 1, 0.03, 0.32},
	} {
		drawn, err := p.plot(p.title, p.label)
		if err != nil {
			return err
		}
		drawn.Draw(draw.Crop(page, p.left*width+margin, (p.right-1)*width-margin, p.bottom*height, (p.top-1)*height))
	}
	page.FillText(style(8), vg.Point{X: margin, Y: margin / 2}, fmt.Sprintf("A day of the example sender, played in %s. "+
		"Drawn from the answers of Prometheus and Loki to the dashboard's queries, not by Grafana.", d.length))
	out, err := os.Create(file) //nolint:gosec // Of the checkout.
	if err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: image}).WriteTo(out); err != nil {
		return err
	}
	return out.Close()
}

func style(size vg.Length) draw.TextStyle {
	return draw.TextStyle{Color: color.Black, Font: font.From(plot.DefaultFont, size), Handler: plot.DefaultTextHandler}
}

// drawTotals writes single values at the top of the page.
func (d *day) drawTotals(page draw.Canvas) error {
	titles := []string{"Failure rate", "Failures in the range", "Permanent", "Transient", "Unknown", "Share of permanent"}
	for i, title := range titles {
		all, err := d.totals(title, "")
		if err != nil {
			return err
		}
		value := fmt.Sprintf("%.0f", all[0].points[0].Y)
		if i == 0 || i == len(titles)-1 {
			value = fmt.Sprintf("%.1f %%", 100*all[0].points[0].Y)
		}
		x := margin + vg.Length(i)*(width-margin)/vg.Length(len(titles))
		page.FillText(style(10), vg.Point{X: x, Y: height - 18}, title)
		page.FillText(style(20), vg.Point{X: x, Y: height - 42}, value)
	}
	return nil
}

// lines draws the highest series of a panel.
func (d *day) lines(title, label string) (*plot.Plot, error) {
	all, err := d.overDay(title, label)
	if err != nil {
		return nil, err
	}
	return d.graph(title, all[:min(7, len(all))], false)
}

// areas draws the series of a panel on top of each other.
func (d *day) areas(title, label string) (*plot.Plot, error) {
	all, err := d.overDay(title, label)
	if err != nil {
		return nil, err
	}
	below := make(map[float64]float64)
	for _, one := range all {
		for i, point := range one.points {
			below[point.X] += point.Y
			one.points[i].Y = below[point.X]
		}
	}
	return d.graph(title, all, true)
}

// graph draws series over the hours of the day, the last one first: an area covers those before it.
func (d *day) graph(title string, all []series, areas bool) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	var hours plot.ConstantTicks
	for hour := 0; hour <= 24; hour += 3 {
		hours = append(hours, plot.Tick{Value: float64(hour), Label: fmt.Sprintf("%02d:00", hour)})
	}
	p.X.Tick.Marker = hours
	p.X.Min, p.X.Max, p.Y.Min = 0, 24, 0
	p.Legend.Top, p.Legend.Left, p.Legend.TextStyle.Font.Size = true, true, 9
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	p.Add(grid)
	for i, one := range slices.Backward(all) {
		line, err := plotter.NewLine(one.points)
		if err != nil {
			return nil, err
		}
		line.Color = plotutil.Color(i)
		if areas {
			line.FillColor = plotutil.Color(i)
		}
		p.Add(line)
		p.Legend.Add(one.name, line)
	}
	return p, nil
}

// bars draws the highest values of a panel.
func (d *day) bars(title, label string) (*plot.Plot, error) {
	all, err := d.totals(title, label)
	if err != nil {
		return nil, err
	}
	all = all[:min(10, len(all))]
	slices.Reverse(all)
	var values plotter.Values
	var names []string
	for _, s := range all {
		values = append(values, s.points[0].Y)
		names = append(names, s.name+"  "+strconv.Itoa(int(s.points[0].Y+0.5)))
	}
	bars, err := plotter.NewBarChart(values, 10)
	if err != nil {
		return nil, err
	}
	bars.Horizontal, bars.Color, bars.LineStyle.Width = true, plotutil.Color(1), 0
	p := plot.New()
	p.Title.Text = title
	p.Add(bars)
	p.NominalY(names...)
	p.HideX()
	return p, nil
}
