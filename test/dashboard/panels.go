package main

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/logs"
	"github.com/grafana/grafana-foundation-sdk/go/loki"
	"github.com/grafana/grafana-foundation-sdk/go/piechart"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// wholeNumber writes all the digits of a number, where wholeNumber would make 5 K of 5,064.
const wholeNumber = units.LocaleFormat

// rawRecords is the id of the panel that links lead to. Others count up from there.
const rawRecords = 1

// panel is what panels of all kinds have.
type panel struct {
	title         string
	width, height uint32
	unit          string
	none          string // what it says when there is nothing
	queries       []query
	links         []link
	text          string // what it shows, and what to do about it
}

// query is what a panel asks.
type query struct {
	expr, legend string
	kind         queryKind
}

type queryKind int

const (
	metricNow   queryKind = iota // a number for each series, of Prometheus
	metricGraph                  // a line for each series
	metricTable                  // a row for each series
	recordsNow                   // the same of Loki, but that tables are asked for as numbers are
	recordsGraph
	recordsFew // records themselves: as many as a table shows
	recordsMany
)

func ask(expr, legend string, kind queryKind) []query { return []query{{expr, legend, kind}} }
func now(expr string) []query                         { return ask(expr, "__auto", metricNow) }
func graph(expr, legend string) []query               { return ask(expr, "{{"+legend+"}}", metricGraph) }

// bars asks for a number for each series, the largest first.
func bars(expr, legend string) []query {
	return ask("sort_desc("+expr+")", "{{"+legend+"}}", metricNow)
}

func dataSource(kind string) common.DataSourceRef {
	return common.DataSourceRef{Type: new(kind), Uid: new("${" + kind + "}")}
}

func (k queryKind) source() common.DataSourceRef {
	if k < recordsNow {
		return dataSource(varPrometheus)
	}
	return dataSource(varLoki)
}

func (q query) target(id string) cog.Builder[variants.Dataquery] {
	if q.kind < recordsNow {
		p := prometheus.NewDataqueryBuilder().Datasource(q.kind.source()).RefId(id).Expr(q.expr).LegendFormat(q.legend).
			EditorMode(prometheus.QueryEditorModeCode).Format(prometheus.PromQueryFormatTimeSeries).Instant()
		switch q.kind {
		case metricGraph:
			p.Range()
		case metricTable:
			p.Format(prometheus.PromQueryFormatTable)
		}
		return p
	}
	l := loki.NewDataqueryBuilder().Datasource(q.kind.source()).RefId(id).Expr(q.expr).LegendFormat(q.legend).
		EditorMode(loki.QueryEditorModeCode).QueryType("range")
	switch q.kind {
	case recordsNow:
		l.QueryType("instant")
	case recordsFew:
		l.Direction(loki.LokiQueryDirectionBackward).MaxLines(200)
	case recordsMany:
		l.Direction(loki.LokiQueryDirectionBackward).MaxLines(500)
	}
	return l
}

// builder is what Grafana's builders for each kind of panel have in common.
type builder[B any] interface {
	cog.Builder[dashboard.Panel]
	Id(uint32) B
	Title(string) B
	Description(string) B
	Height(uint32) B
	Span(uint32) B
	Datasource(common.DataSourceRef) B
	WithTarget(cog.Builder[variants.Dataquery]) B
	Unit(string) B
	NoValue(string) B
	DataLinks([]cog.Builder[dashboard.DashboardLink]) B
}

// add puts a panel beside the last one, or below where there is no room.
func add[B builder[B]](b *board, p panel, kind B) {
	id := uint32(rawRecords)
	if p.queries[0].kind != recordsMany {
		b.lastID++
		id = b.lastID
	}
	kind.Id(id).Title(p.title).Description(p.text).Height(p.height).Span(p.width).Unit(p.unit).NoValue(p.none)
	kind.Datasource(p.queries[0].kind.source())
	for i, q := range p.queries {
		kind.WithTarget(q.target(refID(i)))
	}
	var links []cog.Builder[dashboard.DashboardLink]
	for _, l := range p.links {
		links = append(links, l)
	}
	kind.DataLinks(links)
	b.WithPanel(kind)
}

func refID(i int) string { return string(rune('A' + i)) }

// link is a link from a value to another view of the dashboard. It is its own builder.
type link struct{ Title, URL string }

func (l link) Build() (dashboard.DashboardLink, error) {
	return dashboard.NewDashboardLinkBuilder(l.Title).Type(dashboard.DashboardLinkTypeLink).Url(l.URL).Build()
}

// view returns the address of the dashboard with some variables set to other values than they have.
func (b *board) view(panel string, set ...[2]string) string {
	parts := []string{"/d/${__dashboard.uid}?${__url_time_range}"}
	for _, v := range b.variables {
		value := "${" + v + ":queryparam}"
		for _, s := range set {
			if s[0] == v {
				value = "var-" + v + "=" + s[1]
			}
		}
		parts = append(parts, value)
	}
	return strings.Join(parts, "&") + panel
}

var toRecords = fmt.Sprintf("&viewPanel=%d", rawRecords)

// records links to the records behind a number, with a variable set to a value.
func (b *board) records(set ...[2]string) link {
	return link{"Show the records", b.view(toRecords, set...)}
}

// drill links to the records of a value, and to the dashboard with only them.
func (b *board) drill(variable, value string) []link {
	set := [2]string{variable, value}
	return []link{b.records(set), {"Show only this on the whole dashboard", b.view("", set)}}
}

// labelled is the value of a series' label, for drill.
func labelled(label string) string { return "${__field.labels." + label + ":percentencode}" }

// cell is the value of a table's cell.
const cell = "${__value.raw:percentencode}"

// step is a colour from a value on.
type step struct {
	from  float64
	color string
}

// thresholds are colours: the first for whatever is below all steps.
func thresholds(color string, steps ...step) *dashboard.ThresholdsConfigBuilder {
	all := []dashboard.Threshold{{Color: color}}
	for _, s := range steps {
		all = append(all, dashboard.Threshold{Value: &s.from, Color: s.color})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(all)
}

var growth = []step{{-0.1, "text"}, {0.5, "orange"}, {2, "red"}}

func lastValue() *common.ReduceDataOptionsBuilder {
	return common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})
}

// number adds a panel with one number in the colour that it deserves.
func (b *board) number(p panel, decimals float64, color string, steps ...step) {
	text := common.BigValueTextModeValue
	if len(p.queries) > 1 {
		text = common.BigValueTextModeValueAndName
	}
	add(b, p, stat.NewPanelBuilder().ReduceOptions(lastValue()).GraphMode(common.BigValueGraphModeNone).TextMode(text).
		Orientation(common.VizOrientationAuto).Decimals(decimals).Thresholds(thresholds(color, steps...)))
}

// look is how a graph looks, other than a line for each series.
type look struct {
	stacked, bars bool
	// list names the series below the graph, without a table of their peaks.
	list   bool
	colors []named
	rate   string // a series of a graph of numbers that is a rate
}

type named struct{ name, color string }

var (
	classColors = []named{{"permanent", "red"}, {"transient", "orange"}, {"unknown", "blue"}, {"overflow", "purple"}}
	modeColors  = []named{{"synchronous", "blue"}, {"asynchronous", "purple"}}
)

func fixed(color string) property {
	return property{Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": color}}
}

// lines adds a graph.
func (b *board) lines(p panel, l look) {
	legend := common.NewVizLegendOptionsBuilder().ShowLegend(true).Placement(common.LegendPlacementBottom)
	if l.list {
		legend.DisplayMode(common.LegendDisplayModeList)
	} else {
		legend.DisplayMode(common.LegendDisplayModeTable).Calcs([]string{"max"})
	}
	g := timeseries.NewPanelBuilder().Legend(legend).Min(0).FillOpacity(10).LineWidth(1).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if l.stacked {
		g.FillOpacity(30).Stacking(common.NewStackingConfigBuilder().Group("A").Mode(common.StackingModeNormal))
	}
	if l.bars {
		g.DrawStyle(common.GraphDrawStyleBars).FillOpacity(80).LineWidth(0)
	}
	for _, c := range l.colors {
		g.OverrideByName(c.name, []property{fixed(c.color)})
	}
	if l.rate != "" {
		g.OverrideByName(l.rate, []property{
			unit(units.CountsPerSecond), {Id: "custom.axisPlacement", Value: "right"}, fixed("red"),
		})
	}
	add(b, p, g)
}

// bars adds a panel with a bar for each series.
func (b *board) bars(p panel) {
	p.unit = wholeNumber
	add(b, p, bargauge.NewPanelBuilder().ReduceOptions(lastValue()).Decimals(0).Min(0).
		DisplayMode(common.BarGaugeDisplayModeBasic).Orientation(common.VizOrientationHorizontal).
		NamePlacement(common.BarGaugeNamePlacementLeft).MaxVizHeight(32).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdContinuousBlPu)))
}

// donut adds a panel that shows the parts of a whole.
func (b *board) donut(p panel, colors []named) {
	d := piechart.NewPanelBuilder().ReduceOptions(lastValue()).Decimals(0).PieType(piechart.PieChartTypeDonut).
		Orientation(common.VizOrientationAuto).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeSingle).Sort(common.SortOrderNone)).
		DisplayLabels([]piechart.PieChartLabels{piechart.PieChartLabelsPercent}).
		Legend(piechart.NewPieChartLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeTable).
			Placement(common.LegendPlacementRight).ShowLegend(true).Calcs([]string{}).
			Values([]piechart.PieChartLegendValues{piechart.PieChartLegendValuesValue, piechart.PieChartLegendValuesPercent}))
	for _, c := range colors {
		d.OverrideByName(c.name, []property{fixed(c.color)})
	}
	add(b, p, d)
}

// text adds a panel with the records themselves.
func (b *board) text(p panel) {
	add(b, p, logs.NewPanelBuilder().ShowTime(true).WrapLogMessage(true).EnableLogDetails(true).
		SortOrder(common.LogsSortOrderDescending).DedupStrategy(common.LogsDedupStrategyNone))
}

// property is a setting of a column or a series.
type property = dashboard.DynamicConfigValue

// column is a column of a table: of a label, or of the numbers that a query returns.
type column struct {
	title, label string
	expr         string
	properties   []property
}

func links(l ...link) property {
	var all []dashboard.DashboardLink
	for _, one := range l {
		built, _ := one.Build() // which checks nothing that could be wrong
		all = append(all, built)
	}
	return property{Id: "links", Value: all}
}

func width(w int) property    { return property{Id: "custom.width", Value: w} }
func unit(u string) property  { return property{Id: "unit", Value: u} }
func decimals(n int) property { return property{Id: "decimals", Value: n} }
func empty(text, color string) property {
	result := dashboard.ValueMappingResult{Text: &text, Index: cog.ToPtr[int32](0)}
	if color != "" {
		result.Color = &color
	}
	return property{Id: "mappings", Value: []any{dashboard.SpecialValueMap{
		Type:    dashboard.MappingTypeSpecialValue,
		Options: dashboard.DashboardSpecialValueMapOptions{Match: dashboard.SpecialValueMatchNull, Result: result},
	}}}
}

// count, share, change and moment are columns of numbers.
func count(title, expr string, w int) column {
	return column{title, "", expr, []property{unit(wholeNumber), decimals(0), width(w), empty("0", "")}}
}

func share(title, expr string) column {
	return column{title, "", expr, []property{unit(units.PercentUnit), decimals(1), width(90)}}
}

func change(expr string) column {
	steps, _ := thresholds("green", growth...).Build()
	return column{"Change", "", expr, []property{
		unit(units.PercentUnit), decimals(0), width(100),
		{Id: "custom.cellOptions", Value: map[string]string{"type": "color-text"}},
		{Id: "thresholds", Value: steps},
		empty("new", "red"),
	}}
}

func moment(title, expr string) column {
	return column{title, "", expr, []property{unit(units.DateTimeFromNow), width(130)}}
}

// rows adds a table with a row for each series, sorted by a column. The queries' answers become one
// table.
func (b *board) rows(p panel, kind queryKind, sortBy string, columns ...column) {
	index, renamed := map[string]int{}, map[string]string{}
	for i, c := range columns {
		from := c.label
		if c.expr != "" {
			from = "Value #" + refID(len(p.queries))
			p.queries = append(p.queries, query{c.expr, "", kind})
		}
		index[from], renamed[from] = i, c.title
	}
	if len(p.queries) == 1 {
		// Grafana does not number the only answer of Prometheus.
		index["Value"], renamed["Value"] = index["Value #A"], renamed["Value #A"]
	}
	b.table(p, sortBy, columns,
		dashboard.DataTransformerConfig{Id: "merge", Options: struct{}{}},
		organize(index, renamed, "Time", "otel_metric_overflow"))
}

func organize(index map[string]int, renamed map[string]string, without ...string) dashboard.DataTransformerConfig {
	exclude := map[string]bool{}
	for _, name := range without {
		exclude[name] = true
	}
	return dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
		"excludeByName": exclude, "includeByName": struct{}{}, "indexByName": index, "renameByName": renamed,
	}}
}

func (b *board) table(p panel, sortBy string, columns []column, transformations ...dashboard.DataTransformerConfig) {
	p.unit = units.String
	sorted := common.NewTableSortByFieldStateBuilder().DisplayName(sortBy).Desc(true)
	t := table.NewPanelBuilder().ShowHeader(true).CellHeight(common.TableCellHeightSm).Filterable(true).
		Footer(common.NewTableFooterOptionsBuilder().Reducer([]string{"sum"})).
		SortBy([]cog.Builder[common.TableSortByFieldState]{sorted}).
		Transformations(transformations)
	for _, c := range columns {
		if len(c.properties) > 0 {
			t.OverrideByName(c.title, c.properties)
		}
	}
	add(b, p, t)
}
