package webhook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Variables whose names become one attribute are a list of both.
func TestVariablesOfOneName(t *testing.T) {
	for _, tc := range []struct {
		body string
		want []Variable
	}{
		{"a.b=1&a[b]=2", []Variable{others("a.b", "1", "2")}},
		{"a[b]=1&a.b=2", []Variable{others("a.b", "1", "2")}},
		{"a[b.c]=1&a[b][c]=2&a.b[c]=3&a.b.c=4", []Variable{others("a.b.c", "1", "2", "3", "4")}},
		{"a.b[]=1&a[b][]=2&a[b][]=3", []Variable{others("a.b", "1", "2", "3")}},
		{"a.b=1&a.b=2&a[b]=3&a[b]=4", []Variable{others("a.b", "2", "4")}}, // of each the last counts
		{"a.b=1&a[b]=", []Variable{other("a.b", "1")}},
		{"account[id]=1&unverified.account.id=2", []Variable{others("unverified.account.id", "1", "2")}},
		{"account.id=1", []Variable{other("unverified.account.id", "1")}},
		{"code=none&code[x]=1&code.x=2", []Variable{other("code", "none"), others("code.x", "1", "2")}},
	} {
		e := mustForm(t, "id=1&"+tc.body)
		if diff := cmp.Diff(tc.want, e.Variables); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.body, diff)
		}
	}
	json := mustJSON(t, `{"id":1,"a.b":"first","a":{"b":"second","b.c":1}}`)
	if diff := cmp.Diff([]Variable{others("a.b", "first", "second"), other("a.b.c", "1")}, json.Variables); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
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
		name, body    string
		keep          []string
		kept, dropped int
		last          Variable
	}{
		{"as many as are kept", numbered(MaxOthers), nil, MaxOthers, 0, other("v63", "63")},
		{"one more", numbered(MaxOthers + 1), nil, MaxOthers, 1, other("v63", "63")},
		{"many more", numbered(200), nil, MaxOthers, 136, other("v63", "63")},
		{"one that is to be kept", numbered(200), []string{"v199", "v3"}, MaxOthers, 136, other("v199", "199")},
		{"one that cannot be read", numbered(200) + "&code=none", nil, MaxOthers, 137, other("v62", "62")},
		{"as long as is kept", "&v=" + long, nil, 1, 0, other("v", long)},
		{"longer", "&v=" + long + "y", nil, 1, 1, other("v", long)},
		{"a character that does not fit", "&v=" + long[1:] + "é", nil, 1, 1, other("v", long[1:])},
		{"a list that is longer", "&v[]=" + long[2:] + "&v[]=yy&v[]=z", nil, 1, 1, others("v", long[2:], "yy")},
	} {
		d := Decoder{Keep: tc.keep}
		e, err := d.Form(Call{Arrived: arrived, Body: "id=1" + tc.body})
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Variables) != tc.kept || e.Dropped != tc.dropped || !cmp.Equal(e.Variables[tc.kept-1], tc.last) {
			t.Errorf("%s: %d kept, %d dropped, the last %.60v; want %d, %d, %.60v", tc.name, len(e.Variables), e.Dropped, e.Variables[len(e.Variables)-1], tc.kept, tc.dropped, tc.last)
		}
		if got := strings.Contains(strings.Join(e.Anomalies, " "), "variables"); got != (tc.dropped > 0) {
			t.Errorf("%s: anomalies %v", tc.name, e.Anomalies)
		}
	}
}
