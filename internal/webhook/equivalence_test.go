package webhook

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// One report in both encodings.
var equivalents = []struct {
	name, form, json string
	want             Event
}{
	{
		"everything there is",
		"id=1&type=failure&timestamp=2026-11-21+10:14:58&time=1795256098&recipient=a@b.example&action=failed&state=rcptto&code=550&extended=5.1.1&description=no&tags[]=a&tags[]=b",
		`{"id":"1","type":"failure","timestamp":"2026-11-21 10:14:58","time":"1795256098","recipient":"a@b.example","action":"failed","state":"rcptto","code":"550","extended":"5.1.1","description":"no","tags":["a","b"]}`,
		Event{
			ID: "1", Type: "failure", Action: "failed", Recipient: "a@b.example", State: "rcptto", Code: 550, Extended: badMailbox, Description: "no",
			Time: utc(2026, 11, 21, 10, 14, 58), Tags: []string{"a", "b"},
		},
	},
	{"numbers", "id=42&code=550&time=1795256098", `{"id":42,"code":550,"time":1795256098}`, Event{ID: "42", Code: 550, Time: utc(2026, 11, 21, 10, 14, 58)}},
	{"numbers that do not fit", "id=1&code=0&time=0", `{"id":"1","code":0,"time":0}`, Event{ID: "1", Variables: []Variable{other("time", "0")}, Anomalies: []string{"time"}}},
	{"booleans", "id=1&a=true&b=false", `{"id":"1","a":true,"b":false}`, Event{ID: "1", Variables: []Variable{other("a", "true"), other("b", "false")}}},
	{"null is empty", "id=1&code=&extended=&x=&tags=", `{"id":"1","code":null,"extended":null,"x":null,"tags":null}`, Event{ID: "1"}},
	{"empty strings", "id=1&code=&x=&tags[]=", `{"id":"1","code":"","x":"","tags":[""]}`, Event{ID: "1"}},
	{"object", "id=1&parameters[k]=v&parameters[n]=1", `{"id":"1","parameters":{"k":"v","n":1}}`, Event{ID: "1", Variables: []Variable{other("parameters.k", "v"), other("parameters.n", "1")}}},
	{"object in an object", "id=1&p[a][b]=v", `{"id":"1","p":{"a":{"b":"v"}}}`, Event{ID: "1", Variables: []Variable{other("p.a.b", "v")}}},
	{"array", "id=1&interests[]=x&interests[]=2&interests[]=&interests[]=true", `{"id":"1","interests":["x",2,null,true]}`, Event{ID: "1", Variables: []Variable{others("interests", "x", "2", "true")}}},
	{"array of one", "id=1&interests[]=x", `{"id":"1","interests":["x"]}`, Event{ID: "1", Variables: []Variable{others("interests", "x")}}},
	{"array of arrays", "id=1&a[][]=x&a[][]=y&a[]=z", `{"id":"1","a":[["x","y"],"z"]}`, Event{ID: "1", Variables: []Variable{others("a", "x", "y", "z")}}},
	{"array of objects", "id=1&a[][k]=x&a[][k]=y&a[][l]=z", `{"id":"1","a":[{"k":"x"},{"k":"y","l":"z"}]}`, Event{ID: "1", Variables: []Variable{others("a.k", "x", "y"), others("a.l", "z")}}},
	{"array in an object", "id=1&p[k][]=x&p[k][]=y", `{"id":"1","p":{"k":["x","y"]}}`, Event{ID: "1", Variables: []Variable{others("p.k", "x", "y")}}},
	{"tags as a string", "id=1&tags=a;+b", `{"id":"1","tags":"a; b"}`, Event{ID: "1", Tags: []string{"a", "b"}}},
	{"tags as an array", "id=1&tags[]=a;b&tags[]=c", `{"id":"1","tags":["a;b","c"]}`, Event{ID: "1", Tags: []string{"a;b", "c"}}},
	{"tags as an array of one", "id=1&tags[]=a;b", `{"id":"1","tags":["a;b"]}`, Event{ID: "1", Tags: []string{"a;b"}}},
	{"tags as an object", "id=1&tags[0]=a&tags[k]=b;c", `{"id":"1","tags":{"0":"a","k":"b;c"}}`, Event{ID: "1", Tags: []string{"a", "b;c"}}},
	{"tags as an object of one", "id=1&tags[k]=b;c", `{"id":"1","tags":{"k":"b;c"}}`, Event{ID: "1", Tags: []string{"b;c"}}},
	{"tags as a number", "id=1&tags=47", `{"id":"1","tags":47}`, Event{ID: "1", Tags: []string{"47"}}},
	{"tags nested", "id=1&tags[][]=a&tags[][k]=b", `{"id":"1","tags":[["a"],{"k":"b"}]}`, Event{ID: "1", Tags: []string{"a", "b"}}},
	{"tags of all kinds", "id=1&tags[]=a&tags[]=1&tags[]=&tags[]=false", `{"id":"1","tags":["a",1,null,false]}`, Event{ID: "1", Tags: []string{"a", "1", "false"}}},
	{"tags repeated", "id=1&tags=a;b&tags[]=c&tags=d", `{"id":"1","tags":"a;b","tags":["c"],"tags":"d"}`, Event{ID: "1", Tags: []string{"a;b", "c", "d"}}},
	{"last wins", "id=1&code=421&x=1&code=550&x=2&id=2", `{"id":"1","code":421,"x":1,"code":550,"x":2,"id":"2"}`, Event{ID: "2", Code: 550, Variables: []Variable{other("x", "2")}}},
	{"last wins, also when it is empty", "id=1&code=421&x=1&code=&x=", `{"id":"1","code":421,"x":1,"code":null,"x":""}`, Event{ID: "1"}},
	{"last wins in an object", "id=1&p[k]=1&p[k]=2&p[l]=3", `{"id":"1","p":{"k":1,"k":2},"p":{"l":3}}`, Event{ID: "1", Variables: []Variable{other("p.k", "2"), other("p.l", "3")}}},
	{"arrays of one name add up", "id=1&a[]=x&a[]=y", `{"id":"1","a":["x"],"a":["y"]}`, Event{ID: "1", Variables: []Variable{others("a", "x", "y")}}},
	{"scalar, then array", "id=1&a=x&a[]=y", `{"id":"1","a":"x","a":["y"]}`, Event{ID: "1", Variables: []Variable{others("a", "y")}}},
	{"array, then scalar", "id=1&a[]=x&a=y", `{"id":"1","a":["x"],"a":"y"}`, Event{ID: "1", Variables: []Variable{other("a", "y")}}},
	{"arrays where scalars belong", "id=1&code[]=550&code[]=551&state[]=dns&time[]=1", `{"id":"1","code":[550,551],"state":["dns"],"time":[1]}`, Event{ID: "1", Variables: []Variable{others("code", "550", "551"), others("state", "dns"), others("time", "1")}, Anomalies: []string{"code", "time"}}},
	{"objects where scalars belong", "id=1&recipient[to]=a@b.example&state[k]=dns", `{"id":"1","recipient":{"to":"a@b.example"},"state":{"k":"dns"}}`, Event{ID: "1", Variables: []Variable{other("recipient.to", "a@b.example"), other("state.k", "dns")}}},
	{"text", "id=zo%C3%AB&description=%22%5C%0A%00%F0%9F%93%A7%3C%26", `{"id":"zoë","description":"\"\\\n\u0000\ud83d\udce7<&"}`, Event{ID: "zoë", Description: "\"\\\n 📧<&"}},
	{"windows-1252", "id=1&description=\xe9\xc3\xa9\xff&\xe9=x&tags[]=\xe9", "{\"id\":\"1\",\"description\":\"\xe9\xc3\xa9\xff\",\"\xe9\":\"x\",\"tags\":[\"\xe9\"]}", Event{ID: "1", Description: "ééÿ", Variables: []Variable{other("é", "x")}, Tags: []string{"é"}}},
	{"UTF-8 that ends early", "id=1&a=\xe2\x82&b=\xc3", "{\"id\":\"1\",\"a\":\"\xe2\x82\",\"b\":\"\xc3\"}", Event{ID: "1", Variables: []Variable{other("a", "â‚"), other("b", "Ã")}}},
}

func TestFormAndJSONMeanTheSame(t *testing.T) {
	for _, tc := range equivalents {
		t.Run(tc.name, func(t *testing.T) {
			form, json := mustForm(t, tc.form), mustJSON(t, tc.json)
			if diff := cmp.Diff(tc.want, form, visible); diff != "" {
				t.Errorf("form %q (-want +got):\n%s", tc.form, diff)
			}
			if diff := cmp.Diff(form, json); diff != "" {
				t.Errorf("form %q\nJSON %s (-form +JSON):\n%s", tc.form, tc.json, diff)
			}
			if form.Identity != json.Identity {
				t.Errorf("the identity differs between form %q\nand JSON %s", tc.form, tc.json)
			}
		})
	}
}

func TestFormAndJSONAreRefusedForTheSameReasons(t *testing.T) {
	var d Decoder
	for _, tc := range []struct{ form, json string }{
		{"code=550", `{"code":550}`},
		{"id=&code=550", `{"id":"","code":550}`},
		{"id[]=1", `{"id":["1"]}`},
		{"id[k]=1", `{"id":{"k":"1"}}`},
		{"id=1&id=", `{"id":"1","id":null}`},
		{"type=bounce&id=1", `{"type":"bounce","id":"1"}`},
		{"type[]=failure&id=1", `{"type":["failure"],"id":"1"}`},
		{"type=click", `{"type":"click"}`},
	} {
		_, form := d.Form(Call{Arrived: arrived, Body: tc.form})
		_, json := d.JSON(Call{Arrived: arrived, Body: tc.json})
		if form == nil || json == nil || form.Error() != json.Error() {
			t.Errorf("form %q: error %v; JSON %s: error %v", tc.form, form, tc.json, json)
		}
	}
}
