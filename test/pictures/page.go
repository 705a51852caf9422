package main

import (
	"cmp"
	"errors"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

const (
	resolution = 130 // dots per inch; a length here is in points of 1/72 inch
	gap        = 8
	padding    = 10
)

var (
	background = color.NRGBA{0xf1, 0xf3, 0xf6, 0xff}
	white      = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	border     = color.NRGBA{0xd9, 0xdd, 0xe3, 0xff}
	grid       = color.NRGBA{0xe6, 0xe9, 0xee, 0xff}
	ink        = color.NRGBA{0x1f, 0x27, 0x33, 0xff}
	faint      = color.NRGBA{0x5c, 0x67, 0x78, 0xff}

	// palette tells lines apart, to people who see red and green alike too (Okabe and Ito's).
	palette = []color.NRGBA{
		{0xd5, 0x5e, 0x00, 0xff},
		{0x00, 0x72, 0xb2, 0xff},
		{0x00, 0x9e, 0x73, 0xff},
		{0xcc, 0x79, 0xa7, 0xff},
		{0xe6, 0x9f, 0x00, 0xff},
		{0x56, 0xb4, 0xe9, 0xff},
		{0x8c, 0x6d, 0x46, 0xff},
		{0x77, 0x7f, 0x8c, 0xff},
	}
)

// page is a picture in the making. Its lengths count from the upper left corner.
type page struct {
	canvas        *vgimg.Canvas
	draw          draw.Canvas
	width, height float64
}

func newPage(width, height float64) *page {
	canvas := vgimg.NewWith(vgimg.UseWH(vg.Length(width), vg.Length(height)), vgimg.UseDPI(resolution))
	p := &page{canvas: canvas, draw: draw.New(canvas), width: width, height: height}
	p.fill(area{0, 0, width, height}, background)
	return p
}

func (p *page) save(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // part of the checkout
		return err
	}
	file, err := os.Create(path) //nolint:gosec // where the caller wants it
	if err != nil {
		return err
	}
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	return errors.Join(encoder.Encode(file, fewer(p.canvas.Image())), file.Close())
}

// fewer gives an image the 256 colours that it has most of, which leaves it a third of its size. The others are shades at the edges of
// letters and lines.
func fewer(from image.Image) image.Image {
	counts := map[color.RGBA]int{}
	bounds := from.Bounds()
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(from.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	// By count, then by value, so that the same image makes the same file.
	colors := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		value := func(c color.RGBA) int { return int(c.R)<<16 | int(c.G)<<8 | int(c.B) }
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(value(a), value(b)))
	})
	var chosen color.Palette
	for _, c := range colors[:min(256, len(colors))] {
		chosen = append(chosen, c)
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range colors {
		nearest[c] = uint8(chosen.Index(c))
	}
	to := image.NewPaletted(bounds, chosen)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			to.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	return to
}

// area is a part of a page.
type area struct{ x, y, width, height float64 }

func (a area) inset(by float64) area {
	return area{a.x + by, a.y + by, a.width - 2*by, a.height - 2*by}
}

// below is what is left of an area without its top.
func (a area) below(top float64) area {
	return area{a.x, a.y + top, a.width, a.height - top}
}

func (p *page) point(x, y float64) vg.Point {
	return vg.Point{X: vg.Length(x), Y: vg.Length(p.height - y)}
}

func (p *page) fill(a area, c color.Color) {
	p.draw.FillPolygon(c, []vg.Point{
		p.point(a.x, a.y), p.point(a.x+a.width, a.y), p.point(a.x+a.width, a.y+a.height), p.point(a.x, a.y+a.height),
	})
}

// style is how a text looks.
type style struct {
	size  float64
	color color.Color
	bold  bool
	align text.XAlignment
}

func (s style) of() text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(s.size)}
	if s.bold {
		f.Weight = xfont.WeightBold
	}
	c := s.color
	if c == nil {
		c = ink
	}
	return text.Style{Color: c, Font: f, XAlign: s.align, YAlign: text.YCenter, Handler: plot.DefaultTextHandler}
}

func (s style) width(t string) float64 { return float64(s.of().Width(t)) }

// text writes a line whose middle is at the height y.
func (p *page) text(x, y float64, s style, t string) {
	p.draw.FillText(s.of(), p.point(x, y), t)
}

// fit cuts a text to a width.
func (s style) fit(t string, width float64) string {
	if s.width(t) <= width {
		return t
	}
	runes := []rune(t)
	for len(runes) > 0 && s.width(string(runes)+"…") > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// card draws a panel's frame and title, and returns what is left.
func (p *page) card(a area, title, unit string) area {
	p.fill(a, border)
	p.fill(a.inset(0.7), white)
	inside := a.inset(padding)
	bold := style{size: 9.5, bold: true}
	p.text(inside.x, inside.y+4, bold, title)
	if unit != "" {
		p.text(inside.x+bold.width(title)+6, inside.y+4, style{size: 8, color: faint}, unit)
	}
	return inside.below(16)
}

// stat is a panel with a single value.
func (p *page) stat(a area, title, value string, c color.Color) {
	inside := p.card(a, title, "")
	p.text(inside.x, inside.y+inside.height/2, style{size: 21, bold: true, color: c}, value)
}

// legend writes the names of lines in rows, and returns what is left.
func (p *page) legend(a area, names []string, colors []color.NRGBA) area {
	s := style{size: 8, color: faint}
	x, y := a.x, a.y+4
	for i, name := range names {
		if width := 10 + s.width(name) + 12; x+width > a.x+a.width && x > a.x {
			x, y = a.x, y+12
		}
		p.fill(area{x, y - 3, 7, 7}, colors[i])
		p.text(x+10, y, s, name)
		x += 10 + s.width(name) + 12
	}
	return a.below(y - a.y + 10)
}

// hours are the marks of the axis of a day that was played in a shorter time.
type hours struct{ from, to time.Time }

func (h hours) Ticks(_, _ float64) []plot.Tick {
	var ticks []plot.Tick
	for hour := range 25 {
		tick := plot.Tick{Value: h.at(float64(hour))}
		if hour%3 == 0 {
			tick.Label = two(hour) + ":00"
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

func two(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// at is where an hour of the played day is on the axis.
func (h hours) at(hour float64) float64 {
	return float64(h.from.UnixMilli())/1000 + hour/24*h.to.Sub(h.from).Seconds()
}

// chart draws lines over the day, or areas on top of each other.
func (p *page) chart(a area, h hours, lines []series, colors []color.NRGBA, stacked bool, format func(float64) string) error {
	c := plot.New()
	c.BackgroundColor = white
	for _, axis := range []*plot.Axis{&c.X, &c.Y} {
		axis.Tick.Label = style{size: 7.5, color: faint}.of()
		axis.Color, axis.Tick.Color = border, border
		axis.Padding = 0
	}
	c.X.Tick.Label.XAlign, c.X.Tick.Label.YAlign = text.XCenter, text.YTop
	c.Y.Tick.Label.XAlign, c.Y.Tick.Label.YAlign = text.XRight, text.YCenter
	c.Y.Tick.Width, c.Y.Width = 0, 0
	c.X.Tick.Marker = h
	c.Y.Tick.Marker = labelled{format}
	marks := plotter.NewGrid()
	marks.Vertical.Color, marks.Horizontal.Color = nil, grid
	c.Add(marks)

	floor := map[int64]float64{}
	highest := 0.0
	for i, line := range lines {
		var upper plotter.XYs
		var lower []plotter.XY
		for j, at := range line.times {
			value := line.values[j]
			if math.IsNaN(value) {
				continue
			}
			key, x := at.UnixMilli(), float64(at.UnixMilli())/1000
			if stacked {
				lower = append(lower, plotter.XY{X: x, Y: floor[key]})
				value += floor[key]
				floor[key] = value
			}
			highest = max(highest, value)
			upper = append(upper, plotter.XY{X: x, Y: value})
		}
		if stacked {
			outline := append(plotter.XYs{}, upper...)
			for _, point := range slices.Backward(lower) {
				outline = append(outline, point)
			}
			shape, err := plotter.NewPolygon(outline)
			if err != nil {
				return err
			}
			shape.Color, shape.Width = lighter(colors[i]), 0
			c.Add(shape)
		}
		drawn, err := plotter.NewLine(upper)
		if err != nil {
			return err
		}
		drawn.Color, drawn.Width = colors[i], vg.Length(1.1)
		c.Add(drawn)
	}
	c.X.Min, c.X.Max = h.at(0), h.at(24)
	c.Y.Min, c.Y.Max = 0, max(highest*1.06, 1e-6)
	from, to := p.point(a.x, a.y+a.height), p.point(a.x+a.width, a.y)
	c.Draw(draw.Canvas{Canvas: p.draw.Canvas, Rectangle: vg.Rectangle{Min: from, Max: to}})
	return nil
}

// labelled marks the axis of values as gonum does, with texts of our own.
type labelled struct{ format func(float64) string }

func (l labelled) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = l.format(ticks[i].Value)
		}
	}
	return ticks
}

func lighter(c color.NRGBA) color.NRGBA {
	mix := func(v uint8) uint8 { return uint8(255 - (255-int(v))*45/100) }
	return color.NRGBA{mix(c.R), mix(c.G), mix(c.B), 0xff}
}

// bar is a row of a panel that compares.
type bar struct {
	name  string
	value float64
	color color.NRGBA
}

func (p *page) bars(a area, bars []bar) {
	s := style{size: 8.2}
	names, values, highest := 0.0, 0.0, 0.0
	for _, b := range bars {
		names = max(names, s.width(b.name))
		values = max(values, s.width(number(b.value)))
		highest = max(highest, b.value)
	}
	names = min(names, a.width*0.55)
	height := a.height / float64(len(bars))
	for i, b := range bars {
		y := a.y + (float64(i)+0.5)*height
		p.text(a.x, y, s, s.fit(b.name, names))
		length := (a.width - names - values - 14) * b.value / highest
		p.fill(area{a.x + names + 8, y - height*0.32, max(length, 0.8), height * 0.64}, b.color)
		p.text(a.x+names+12+length, y, style{size: 8.2, color: faint}, number(b.value))
	}
}

// column is a column of a table, which takes a share of its width.
type column struct {
	title string
	share float64
}

func (p *page) table(a area, columns []column, rows [][]string) {
	header, cell := style{size: 8, bold: true, color: faint}, style{size: 8.2}
	height := a.height / float64(len(rows)+1)
	for i := 1; i <= len(rows); i++ {
		p.fill(area{a.x, a.y + float64(i)*height, a.width, 0.6}, grid)
	}
	x := a.x
	for i, c := range columns {
		width := c.share * a.width
		p.text(x, a.y+height/2, header, c.title)
		for j, row := range rows {
			p.text(x, a.y+(float64(j)+1.5)*height, cell, cell.fit(row[i], width-8))
		}
		x += width
	}
}

// number writes a count with a space between thousands.
func number(value float64) string {
	digits := strconv.Itoa(int(math.Round(value)))
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, groups...), "\u00a0")
}
