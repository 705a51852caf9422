package webhook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var formCases = []decodeCase{
	// Escapes, as PHP writes and reads them.
	{"id=1&description=User+unknown++", `description="User unknown"`},
	{"id=1&recipient=a%2Bb@c.example", `recipient="a+b@c.example"`},
	{"id=1&description=a%26b%3Dc%3B%25", `description="a&b=c;%"`},
	{"id=1&a=%3:%3G%3/%3%40%3`%3g%:0%G0%/0%`0%g0%4", "a=\"%3:%3G%3/%3@%3`%3g%:0%G0%/0%`0%g0%4\""},
	{"id=1%4&b=%3a%3A%3f%3F&description=%", `id="1%4" description="%" b="::??"`},
	{"id=1&description=%%41&state=%+1", `state="% 1" description="%A"`},
	{"%69d=1&my%20var+x=y", `my var x="y"`},
	{"id=1&description=a=b=c", `description="a=b=c"`},
	{"id=1;code=550", `id="1;code=550"`},

	// White space and control characters.
	{"id=1&description=a%0D%0Ab%09c", `description="a\r\nb\tc"`},
	{"id=1%00&description=%1Ba%00b%C2%85c%7Fd&x%01y=%08", `description="a b c d"`},

	// Pairs.
	{"&&id=1&&&code=550&", `code=550`},
	{"id=1&code=&extended&time=&timestamp=&type=&state=&x=&flag&tags=&tags[]=&y[]=", ``},
	{"=x&id=1&=", ``},
	{"id=1&state=dns&state=data&x=1&id=2&x=2", `id="2" state="data" x="2"`},
	{"id=1&state=dns&x=1&state=&x", ``},
	{"id=1&code=550&code=none", `code="none" !code`},
	{"id=1&code=none&code=550", `code=550`},
	{"b=1&a=1&id=1&c=1&b=2", `b="2" a="1" c="1"`},
	{"id=1&ID=2&Code=550", `ID="2" Code="550"`},

	// Tags add up in every spelling, in the order sent. Only a single scalar is split.
	{"id=1&tags%5B%5D=a&tags%5b%5d=b", `tags=["a" "b"]`},
	{"id=1&tags[7]=a&tags[3]=b&tags[7]=c", `tags=["a" "b" "c"]`},
	{"id=1&tags[2147483647]=a&tags[99999999999999999999999999]=b&tags[-1]=c", `tags=["a" "b" "c"]`},
	{"id=1&tags=a;b&tags=c", `tags=["a;b" "c"]`},
	{"id=1&tags=a;b&tags=", `tags=["a;b"]`},
	{"tags=a;b&id=1&tags[]=c&tags[0]=d&tags[k]=e&tags=f", `tags=["a;b" "c" "d" "e" "f"]`},
	{"id=1&tags=a;b%3Bc", `tags=["a" "b" "c"]`},
	{"id=1&tags=week+47", `tags=["week 47"]`},
	{"id=1&tags=;a;;+b+;;", `tags=["a" "b"]`},
	{"id=1&tags[]=a;b", `tags=["a;b"]`},
	{"id=1&tags[k]=a;b", `tags=["a;b"]`},
	{"id=1&tags[a][b]=x&tags[][c][]=y", `tags=["x" "y"]`},
	{"id=1&tags[]=&tags[]=a&tags[3]&tags[k]=", `tags=["a"]`},
	{"id=1&tags2=a&tags.x=b&Tags=c", `tags2="a" tags.x="b" Tags="c"`},

	// Brackets.
	{"id=1&parameters[k]=v&fields[name]=w", `parameters.k="v" fields.name="w"`},
	{"id=1&interests[]=x&interests[]=y", `interests=["x" "y"]`},
	{"id=1&interests[]=&interests[]=x&interests[]", `interests=["x"]`},
	{"id=1&a=x&a[]=y", `a=["y"]`},
	{"id=1&a[]=x&a[]=y&a=z", `a="z"`},
	{"id=1&a[99999999999999999999]=x", `a.99999999999999999999="x"`},
	{"id=1&a[k=v&b[=w", `a[k="v" b[="w"`},
	{"id=1&a[k]x=v&a[k]x[y]=w", `a[k]x="v" a[k]x[y]="w"`},
	{"id=1&[k]=v&[]=w", `[k]="v" []="w"`},
	{"id=1&a[b[c]=v&a[b[c]]=w", `a.b[c="v" a[b[c]]="w"`},
	{"id=1&tags[=a&tags]=b", `tags[="a" tags]="b"`},
	{"id=1&a" + strings.Repeat("[]", 5000) + "=v", `a=["v"]`},
	{"id=1&a" + strings.Repeat("[k]", 5000) + "=v", ErrNameTooLong.Error()},
	{"id=1&tags" + strings.Repeat("[k]", 5000) + "=v", ErrNameTooLong.Error()},
	{"id=1&a" + strings.Repeat("[", 5000) + "]=v", ErrNameTooLong.Error()},

	// Variables whose names become the same are a list of both.
	{"id=1&a.b=1&a[b]=2", `a.b=["1" "2"]`},
	{"id=1&a[b.c]=1&a[b][c]=2&a.b[c]=3&a.b.c=4", `a.b.c=["1" "2" "3" "4"]`},
	{"id=1&a.b=1&a.b=2&a[b]=3&a[b]=4", `a.b=["2" "4"]`},
	{"id=1&a.b=1&a[b]=", `a.b="1"`},
	{"id=1&account[id]=1&unverified.account.id=2", `unverified.account.id=["1" "2"]`},
	{"id=1&code=none&code[x]=1&code.x=2", `code="none" code.x=["1" "2"] !code`},

	// Arrays in place of single values are kept as they came.
	{"id=1&code[]=550", `code=["550"] !code`},
	{"id=1&extended[]=5.1.1&extended[]=4.2.2", `extended=["5.1.1" "4.2.2"] !extended`},
	{"id=1&time[]=1795256098", `time=["1795256098"] !time`},
	{
		"id=1&recipient[]=a@b.example&state[]=y&description[]=z",
		`recipient=["a@b.example"] state=["y"] description=["z"]`,
	},
	{"id=1&code[]=&state[]", ``},
	{"id=1&code[0]=550", `code.0="550" !code`},

	// Bounds.
	{"id=1&" + strings.Repeat("%6E", MaxNameLength) + "=v", strings.Repeat("n", MaxNameLength) + `="v"`},
	{"id=1&" + strings.Repeat("\xe9", MaxNameLength/2+1) + "=v", ErrNameTooLong.Error()},
	{"id=1&a[" + strings.Repeat("n", MaxNameLength-2) + "]=v", "a." + strings.Repeat("n", MaxNameLength-2) + `="v"`},
	{"id=1&description=" + strings.Repeat("v", 100_000), `description="` + strings.Repeat("v", 100_000) + `"`},
	{"id=1" + strings.Repeat("&tags[]=a", MaxVariables-1), tagsOfA(MaxVariables - 1)},
	{"id=1" + strings.Repeat("&x", MaxVariables), ErrTooManyVariables.Error()},
	{"id=1" + strings.Repeat("&", 10_000) + "code=550", `code=550`},
	{"id=1&tags=" + strings.Repeat("a;", MaxVariables-1), tagsOfA(MaxVariables - 1)},
	{"id=1&tags=" + strings.Repeat("a;", MaxVariables), ErrTooManyVariables.Error()},

	// Bytes that are not UTF-8 are windows-1252.
	{"id=1&description=bo%EEte+pleine", `description="boîte pleine"`},
	{"id=1&description=%E9%C3%A9%E9&state=%E9", `state="é" description="ééé"`},
	{"id=%E9&tags[]=%E9&tags[]=b", `id="é" tags=["é" "b"]`},
	{"id=1&%E9t%E9=x&a[%E9]=y", `été="x" a.é="y"`},
	{"id=1&%E9=x&%C3%A9=y", `é="y"`},
	{"id=1&description=a%E2%82&x=%F0%9F", `description="aâ‚" x="ðŸ"`},
	{"id=1&description=%C0%80&state=%ED%A0%80", "state=\"í\\u00a0€\" description=\"À€\""},
	{"id=1&description=%F4%90%80%80%FF%EF%BF%BD", `description="ô�€€ÿ�"`},
	{"id=1&a=%C3&b=%A9", `a="Ã" b="©"`},

	// The order of time and timestamp, and of anomalies.
	{"id=1&timestamp=2001-01-01+00:00:00&time=1795256098", `time=2026-11-21T10:14:58Z`},
	{"id=1&time=0&timestamp=2001-01-01+00:00:00", `time=2001-01-01T00:00:00Z time="0" !time`},
	{
		"id=1&timestamp=2001-01-01+00:00:00&time=1795256098000",
		`time=2001-01-01T00:00:00Z time="1795256098000" !time`,
	},
	{
		"id=1&timestamp=0000-00-00+00:00:00&time=1795256098",
		`time=2026-11-21T10:14:58Z timestamp="0000-00-00 00:00:00" !timestamp`,
	},
	{
		"id=1&other=v&time=x&code=y&extended=z&timestamp=w",
		`time="x" timestamp="w" code="y" extended="z" other="v" !time !timestamp !code !extended`,
	},

	// No event.
	{"code=550", ErrNoID.Error()},
	{"id=&code=550", ErrNoID.Error()},
	{"id=1&id=", ErrNoID.Error()},
	{"id[]=1", ErrNoID.Error()},
	{"", ErrNoID.Error()},
	{`{"id":"1"}`, ErrNoID.Error()},
	{"type=click", ErrOtherWebhook.Error()},
}

func tagsOfA(n int) string { return fmt.Sprintf("tags=%q", slices.Repeat([]string{"a"}, n)) }

func TestForm(t *testing.T) { testCases(t, formCases, decodeForm) }

// unreadable values are kept as they came.
var unreadable = map[string][]string{
	"code": {
		"55", "5500", "099", "5.5", "550.5", "-55", "-550", "55a", "550a", "５５０", "unknown", "0x226", "5.5e9",
		"1e99999", "550_551",
	},
	"extended": {
		"5", "5.1", "5.1.1.1", "5.1.", ".1.1", "5..1", "3.1.1", "6.1.1", "05.1.1", "5.01.1", "5.1.01", "5.1.1000",
		"5,1,1", "5.1.x", "5.1.1a", "none",
	},
	"time": {
		"0", "-1", "0x10", "1_795_256_098", "yesterday", "1e99999", "inf", "NaN", "1e-9999", ".", "e",
		"1795256098000", "1795256098000000", "9223372036854775807", "9223372036854775808",
		"99999999999999999999999999", "９",
	},
	"timestamp": {
		"0000-00-00 00:00:00", "2026-11-21", "10:14:58", "2026-11-21 10:14", "2026-11-21x10:14:58",
		"2026-11-21 9:14:58.", "2026-11-21 10:14:58 +1", "2026-13-21 10:14:58", "2026-02-30 10:14:58",
		"2026-11-21 24:14:58", "2026-11-21 10:60:58", "2026-11-21 10:14:60", "2026-11-21 10:14:58 CET",
		"21-11-2026 10:14:58", "now", "1970-01-01 00:00:00", "1969-12-31 23:59:59", "0001-01-01 00:00:00",
		"9999-12-31 23:59:59",
	},
}

func TestUnreadableValuesAreKept(t *testing.T) {
	for name, values := range unreadable {
		for _, value := range values {
			got := describe(decodeForm("id=1&" + name + "=" + encodeForm(value)))
			assert.Equal(t, fmt.Sprintf("%s=%q !%s", name, value, name), got)
		}
	}
}

func TestTime(t *testing.T) {
	const sent = "2026-11-21T10:14:58Z"
	for _, tc := range []struct{ time, timestamp, want string }{
		{"1795256098", "", sent},
		{" 1795256098 ", "", sent},
		{"1.795256098e9", "", sent},
		{"1795256098.123456", "", "2026-11-21T10:14:58.123456Z"},
		{"1795256098.123456789", "", "2026-11-21T10:14:58.123457Z"},
		{"2026-11-21T10:14:58Z", "2001-01-01 00:00:00", sent},
		{"", "1795256098", sent},
		{"", "2026-11-21t10:14:58z", sent},
		{"", "2026-11-21 10:14:58,5", "2026-11-21T10:14:58.5Z"},
		{"", "2026-11-21T10:14:58.000001+00:00", "2026-11-21T10:14:58.000001Z"},
		{"", "2026-11-21 11:14:58+01:00", sent},
		{"", "2026-11-21 11:14:58 +0100", sent},
		{"", "2026-11-21T11:14:58+01", sent},
		{"", "2026-11-21 10:14:58 UTC", sent},
		{"", "2026-11-21 10:14:58 GMT", sent},
		{"", "2026-11-21  10:14:58", sent},
		{"", "2026-11-21 9:14:58", "2026-11-21T09:14:58Z"},

		// The first and the last time there is, and those next to them.
		{"0.000001", "", "1970-01-01T00:00:00.000001Z"},
		{"", "1970-01-01 00:00:01", "1970-01-01T00:00:01Z"},

		// The clock of a sender may be a little ahead.
		{"1795256700", "", "2026-11-21T10:25:00Z"},
		{"1795256700.5", "", "!time"},
		{"4102444800", "2026-11-21 10:14:58", "!time"},
		{"", "2026-11-21 11:14:58", "!timestamp"},
		{"1795256098", "2026-11-21 11:14:58", sent},
		{"soon", "2026-11-21 11:14:58", "!time !timestamp"},
	} {
		e := mustForm(t, "id=1&time="+encodeForm(tc.time)+"&timestamp="+encodeForm(tc.timestamp))
		got := e.Time.Format(time.RFC3339Nano)
		if len(e.Anomalies) > 0 {
			assert.Equal(t, arrived, e.Time, "%+v", tc)
			got = "!" + strings.Join(e.Anomalies, " !")
		}
		assert.Equal(t, tc.want, got, "%+v", tc)
		assert.Len(t, e.Variables, len(e.Anomalies), "%+v", tc)
	}
}

func TestTimeZoneAndLastTime(t *testing.T) {
	kolkata, err := time.LoadLocation("Asia/Kolkata")
	require.NoError(t, err)
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	require.NoError(t, err)
	west := time.FixedZone("", -3*60*60)
	future := time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		location   *time.Location
		sent, want string
	}{
		{nil, "timestamp=2026-11-21 10:14:58", "2026-11-21T10:14:58Z"},
		{time.UTC, "timestamp=2026-03-29 02:30:00", "2026-03-29T02:30:00Z"}, // an hour that Amsterdam does not have
		{kolkata, "timestamp=2026-11-21 10:14:58", "2026-11-21T04:44:58Z"},
		{amsterdam, "timestamp=2026-01-01 12:00:00", "2026-01-01T11:00:00Z"},
		{amsterdam, "timestamp=2026-07-01 12:00:00", "2026-07-01T10:00:00Z"},
		{west, "timestamp=1970-01-01 00:00:00", "1970-01-01T03:00:00Z"},
		{west, "time=1795256098&timestamp=2026-11-21+19:14:58", "2026-11-21T10:14:58Z"},
		// Nanoseconds since 1970 overflow in 2262, and the time of arrival stands in.
		{nil, "time=9223372035", "2262-04-11T23:47:15Z"},
		{nil, "time=9223372037", "2300-01-01T00:00:00Z"},
		{nil, "timestamp=2262-04-11 23:47:15", "2262-04-11T23:47:15Z"},
		{nil, "timestamp=2262-04-11 23:47:17", "2300-01-01T00:00:00Z"},
	} {
		d := Decoder{Location: tc.location}
		e, err := d.Form(Call{Arrived: future, Body: "id=1&" + tc.sent})
		require.NoError(t, err)
		assert.Equal(t, tc.want, e.Time.Format(time.RFC3339), "%s in %v", tc.sent, tc.location)
	}
}

// An event keeps as much as a backend takes, and says how much it does not.
func TestVariablesAreBounded(t *testing.T) {
	numbered := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "&v%d=%d", i, i)
		}
		return b.String()
	}
	long := strings.Repeat("x", MaxOtherLength)
	for _, tc := range []struct {
		body          string
		kept, dropped int
		last          Variable
	}{
		{numbered(MaxOthers), MaxOthers, 0, Variable{Name: "v63", Value: "63"}},
		{numbered(MaxOthers + 1), MaxOthers, 1, Variable{Name: "v63", Value: "63"}},
		{numbered(200) + "&k=1", MaxOthers, 137, Variable{Name: "k", Value: "1"}},
		{numbered(200) + "&code=none", MaxOthers, 137, Variable{Name: "v62", Value: "62"}},
		{"&v=" + long, 1, 0, Variable{Name: "v", Value: long}},
		{"&v=" + long + "y", 1, 1, Variable{Name: "v", Value: long}},
		{"&v=" + long[1:] + "é", 1, 1, Variable{Name: "v", Value: long[1:]}},
		{"&v[]=" + long[2:] + "&v[]=yy&v[]=z", 1, 1, Variable{Name: "v", List: []string{long[2:], "yy"}}},
		{"&v[]=" + long[1:] + "&v[]=yy", 1, 1, Variable{Name: "v", List: []string{long[1:], "y"}}},
	} {
		d := Decoder{Keep: []string{"k", "v3"}}
		e, err := d.Form(Call{Arrived: arrived, Body: "id=1" + tc.body})
		require.NoError(t, err)
		require.Len(t, e.Variables, tc.kept, "%.200s", tc.body)
		assert.Equal(t, tc.dropped, e.Dropped, "%.200s", tc.body)
		assert.Equal(t, tc.last, e.Variables[tc.kept-1], "%.200s", tc.body)
		assert.Equal(t, tc.dropped > 0, slices.Contains(e.Anomalies, "variables"), "%.200s", tc.body)
	}
}

func TestVariable(t *testing.T) {
	e := mustForm(t, "id=1&mailing=47&interests[]=a&interests[]=b")
	assert.Equal(t, "47", e.Variable("mailing"))
	assert.Equal(t, "a, b", e.Variable("interests"))
	assert.Empty(t, e.Variable("none"))

	for name, want := range map[string]bool{
		"mailing": false, "parameters.k": false, "account": false,
		"": true, "tags": true, "tags.0": true, "code": true, "code.x": true, "account.id": true,
	} {
		assert.Equal(t, want, HasField(name), name)
	}
}
