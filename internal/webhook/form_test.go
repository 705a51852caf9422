package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What PHP writes, and how PHP reads what others write.
var escapeCases = []decodeCase{
	{name: "plus is a space", body: "id=1&description=User+unknown++", want: Event{ID: "1", Description: "User unknown"}},
	{name: "escaped plus stays", body: "id=1&recipient=a%2Bb@c.example", want: Event{ID: "1", Recipient: "a+b@c.example"}},
	{name: "escapes are bytes", body: "id=1&description=a%26b%3Dc%3B%25", want: Event{ID: "1", Description: "a&b=c;%"}},
	{name: "lower-case hex", body: "id=1&description=%c3%a9%2f%3D", want: Event{ID: "1", Description: "é/="}},
	{name: "escapes are undone once", body: "id=1&description=%2541%252B", want: Event{ID: "1", Description: "%41%2B"}},
	{name: "bare percent stays", body: "id=1&description=100% sure", want: Event{ID: "1", Description: "100% sure"}},
	{name: "percent without hex stays", body: "id=1&description=%zz%4g%g4%", want: Event{ID: "1", Description: "%zz%4g%g4%"}},
	{name: "percent at the end stays", body: "description=a%&id=1", want: Event{ID: "1", Description: "a%"}},
	{name: "percent and one digit at the end stay", body: "description=a%4&id=1%4", want: Event{ID: "1%4", Description: "a%4"}},
	{name: "percent before an escape stays", body: "id=1&description=%%41", want: Event{ID: "1", Description: "%A"}},
	{name: "plus inside a broken escape", body: "id=1&description=%+1", want: Event{ID: "1", Description: "% 1"}},
	{name: "names are escaped too", body: "%69d=1&my%20var+x=y", want: Event{ID: "1", Variables: []Variable{other("my var x", "y")}}},
	{name: "escaped separators separate nothing", body: "id=1%26code%3D550", want: Event{ID: "1&code=550"}},
	{name: "only the first equals sign separates", body: "id=1&description=a=b=c", want: Event{ID: "1", Description: "a=b=c"}},
	{name: "semicolon separates nothing", body: "id=1;code=550", want: Event{ID: "1;code=550"}},
	{name: "line ends and tabs are kept", body: "id=1&description=a%0D%0Ab%09c", want: Event{ID: "1", Description: "a\r\nb\tc"}},
	{name: "other control characters are spaces", body: "id=1%00&description=%1Ba%00b%C2%85c%7Fd&x%01y=%08", want: Event{ID: "1", Description: "a b c d"}},
}

var pairCases = []decodeCase{
	{name: "empty pairs are none", body: "&&id=1&&&code=550&", want: Event{ID: "1", Code: 550}},
	{name: "a name without value is empty", body: "id=1&code&flag", want: Event{ID: "1"}},
	{name: "an empty value is absent", body: "id=1&code=&extended=&time=&timestamp=&type=&state=&x=&tags=&tags[]=&y[]=", want: Event{ID: "1"}},
	{name: "a value without name is dropped", body: "=x&id=1&=", want: Event{ID: "1"}},
	{name: "the last of a repeated scalar wins", body: "id=1&state=dns&state=data&x=1&id=2&x=2", want: Event{ID: "2", State: "data", Variables: []Variable{other("x", "2")}}},
	{name: "the last of a repeated scalar wins, also when it is empty", body: "id=1&state=dns&x=1&state=&x", want: Event{ID: "1"}},
	{name: "the last readable does not win over the last", body: "id=1&code=550&code=none", want: Event{ID: "1", Variables: []Variable{other("code", "none")}, Anomalies: []string{"code"}}},
	{name: "an unreadable one that is repeated readable is no anomaly", body: "id=1&code=none&code=550", want: Event{ID: "1", Code: 550}},
	{name: "others keep the order of their first arrival", body: "b=1&a=1&id=1&c=1&b=2", want: Event{ID: "1", Variables: []Variable{other("b", "2"), other("a", "1"), other("c", "1")}}},
	{name: "names are case-sensitive", body: "id=1&ID=2&Code=550", want: Event{ID: "1", Variables: []Variable{other("ID", "2"), other("Code", "550")}}},
}

var tagCases = []decodeCase{
	{name: "tags[]", body: "id=1&tags[]=a&tags[]=b", want: Event{ID: "1", Tags: []string{"a", "b"}}},
	{name: "tags%5B%5D", body: "id=1&tags%5B%5D=a&tags%5b%5d=b", want: Event{ID: "1", Tags: []string{"a", "b"}}},
	{name: "tags[N]", body: "id=1&tags[0]=a&tags[1]=b", want: Event{ID: "1", Tags: []string{"a", "b"}}},
	{name: "tags[N] in the order of arrival, not of N", body: "id=1&tags[7]=a&tags[3]=b&tags[7]=c", want: Event{ID: "1", Tags: []string{"a", "b", "c"}}},
	{name: "tags[N] with an N that nobody has memory for", body: "id=1&tags[2147483647]=a&tags[99999999999999999999999999]=b&tags[-1]=c", want: Event{ID: "1", Tags: []string{"a", "b", "c"}}},
	{name: "tags[key]", body: "id=1&tags[campaign]=a&tags[week]=47", want: Event{ID: "1", Tags: []string{"a", "47"}}},
	{name: "repeated tags", body: "id=1&tags=a&tags=b", want: Event{ID: "1", Tags: []string{"a", "b"}}},
	{name: "repeated tags are not split", body: "id=1&tags=a;b&tags=c", want: Event{ID: "1", Tags: []string{"a;b", "c"}}},
	{name: "repeated tags are not split, also when one is empty", body: "id=1&tags=a;b&tags=", want: Event{ID: "1", Tags: []string{"a;b"}}},
	{name: "every spelling at once", body: "tags=a;b&id=1&tags[]=c&tags[0]=d&tags[k]=e&tags=f", want: Event{ID: "1", Tags: []string{"a;b", "c", "d", "e", "f"}}},
	{name: "a lone scalar is split", body: "id=1&tags=a;b;c", want: Event{ID: "1", Tags: []string{"a", "b", "c"}}},
	{name: "a lone scalar is split, also when escaped", body: "id=1&tags=a%3Bb", want: Event{ID: "1", Tags: []string{"a", "b"}}},
	{name: "a lone scalar without semicolon is one tag", body: "id=1&tags=week+47", want: Event{ID: "1", Tags: []string{"week 47"}}},
	{name: "empty parts of a lone scalar are dropped", body: "id=1&tags=;a;;+b+;;", want: Event{ID: "1", Tags: []string{"a", "b"}}},
	{name: "a lone scalar of separators is no tag", body: "id=1&tags=;+;;", want: Event{ID: "1"}},
	{name: "a lone bracketed tag is not split", body: "id=1&tags[]=a;b", want: Event{ID: "1", Tags: []string{"a;b"}}},
	{name: "a lone indexed tag is not split", body: "id=1&tags[0]=a;b", want: Event{ID: "1", Tags: []string{"a;b"}}},
	{name: "a lone keyed tag is not split", body: "id=1&tags[k]=a;b", want: Event{ID: "1", Tags: []string{"a;b"}}},
	{name: "nested", body: "id=1&tags[a][b]=x&tags[][c][]=y", want: Event{ID: "1", Tags: []string{"x", "y"}}},
	{name: "empty ones are dropped", body: "id=1&tags[]=&tags[]=a&tags[3]&tags[k]=", want: Event{ID: "1", Tags: []string{"a"}}},
	{name: "repeats are kept", body: "id=1&tags[]=a&tags[]=a", want: Event{ID: "1", Tags: []string{"a", "a"}}},
	{name: "white space is no part of a bracketed tag", body: "id=1&tags[]=+a+", want: Event{ID: "1", Tags: []string{"a"}}},
	{name: "other names that begin with tags", body: "id=1&tags2=a&tags.x=b&Tags=c", want: Event{ID: "1", Variables: []Variable{other("tags2", "a"), other("tags.x", "b"), other("Tags", "c")}}},
}

var bracketCases = []decodeCase{
	{name: "member", body: "id=1&parameters[k]=v&fields[name]=w", want: Event{ID: "1", Variables: []Variable{other("parameters.k", "v"), other("fields.name", "w")}}},
	{name: "member of a member", body: "id=1&parameters[a][b][c]=v", want: Event{ID: "1", Variables: []Variable{other("parameters.a.b.c", "v")}}},
	{name: "list", body: "id=1&interests[]=x&interests[]=y", want: Event{ID: "1", Variables: []Variable{others("interests", "x", "y")}}},
	{name: "list of one is a list", body: "id=1&interests[]=x", want: Event{ID: "1", Variables: []Variable{others("interests", "x")}}},
	{name: "list in a member", body: "id=1&parameters[k][]=x&parameters[k][]=y", want: Event{ID: "1", Variables: []Variable{others("parameters.k", "x", "y")}}},
	{name: "member in a list", body: "id=1&items[][sku]=x&items[][sku]=y", want: Event{ID: "1", Variables: []Variable{others("items.sku", "x", "y")}}},
	{name: "empty elements are dropped", body: "id=1&interests[]=&interests[]=x&interests[]", want: Event{ID: "1", Variables: []Variable{others("interests", "x")}}},
	{name: "a scalar and its member are two variables", body: "id=1&a=x&a[k]=y", want: Event{ID: "1", Variables: []Variable{other("a", "x"), other("a.k", "y")}}},
	{name: "scalar, then list: what came last decides", body: "id=1&a=x&a[]=y", want: Event{ID: "1", Variables: []Variable{others("a", "y")}}},
	{name: "list, then scalar: what came last decides", body: "id=1&a[]=x&a[]=y&a=z", want: Event{ID: "1", Variables: []Variable{other("a", "z")}}},
	{name: "an index that nobody has memory for", body: "id=1&a[99999999999999999999]=x", want: Event{ID: "1", Variables: []Variable{other("a.99999999999999999999", "x")}}},
	{name: "not closed", body: "id=1&a[k=v&b[=w", want: Event{ID: "1", Variables: []Variable{other("a[k", "v"), other("b[", "w")}}},
	{name: "not opened", body: "id=1&a]=v&b]k[=w", want: Event{ID: "1", Variables: []Variable{other("a]", "v"), other("b]k[", "w")}}},
	{name: "text after the brackets", body: "id=1&a[k]x=v&a[k]x[y]=w", want: Event{ID: "1", Variables: []Variable{other("a[k]x", "v"), other("a[k]x[y]", "w")}}},
	{name: "no name before the brackets", body: "id=1&[k]=v&[]=w", want: Event{ID: "1", Variables: []Variable{other("[k]", "v"), other("[]", "w")}}},
	{name: "a bracket in the brackets", body: "id=1&a[b[c]=v&a[b[c]]=w", want: Event{ID: "1", Variables: []Variable{other("a.b[c", "v"), other("a[b[c]]", "w")}}},
	{name: "unmatched tags are no tags", body: "id=1&tags[=a&tags]=b", want: Event{ID: "1", Variables: []Variable{other("tags[", "a"), other("tags]", "b")}}},
	{name: "thousands of empty brackets", body: "id=1&a" + strings.Repeat("[]", 5000) + "=v", want: Event{ID: "1", Variables: []Variable{others("a", "v")}}},
	{name: "thousands of keys", body: "id=1&a" + strings.Repeat("[k]", 5000) + "=v", err: ErrNameTooLong},
	{name: "thousands of keys of tags", body: "id=1&tags" + strings.Repeat("[k]", 5000) + "=v", err: ErrNameTooLong},
	{name: "thousands of open brackets", body: "id=1&a" + strings.Repeat("[", 5000) + "=v", err: ErrNameTooLong},
	{name: "thousands of open brackets, closed once", body: "id=1&a" + strings.Repeat("[", 5000) + "]=v", err: ErrNameTooLong},
}

var boundCases = []decodeCase{
	{name: "longest name", body: "id=1&" + strings.Repeat("n", MaxNameLength) + "=v", want: Event{ID: "1", Variables: []Variable{other(strings.Repeat("n", MaxNameLength), "v")}}},
	{name: "name too long", body: "id=1&" + strings.Repeat("n", MaxNameLength+1) + "=v", err: ErrNameTooLong},
	{name: "name too long, without value", body: "id=1&" + strings.Repeat("n", MaxNameLength+1), err: ErrNameTooLong},
	{name: "longest name counts bytes after unescaping", body: "id=1&" + strings.Repeat("%6E", MaxNameLength) + "=v", want: Event{ID: "1", Variables: []Variable{other(strings.Repeat("n", MaxNameLength), "v")}}},
	{name: "longest name counts bytes of UTF-8", body: "id=1&" + strings.Repeat("\xe9", MaxNameLength/2+1) + "=v", err: ErrNameTooLong},
	{name: "longest name with brackets", body: "id=1&a[" + strings.Repeat("n", MaxNameLength-2) + "]=v", want: Event{ID: "1", Variables: []Variable{other("a."+strings.Repeat("n", MaxNameLength-2), "v")}}},
	{name: "a value may be long", body: "id=1&description=" + strings.Repeat("v", 100_000), want: Event{ID: "1", Description: strings.Repeat("v", 100_000)}},
	{name: "most pairs", body: "id=1" + strings.Repeat("&tags[]=a", MaxVariables-1), want: Event{ID: "1", Tags: repeated("a", MaxVariables-1)}},
	{name: "too many pairs", body: "id=1" + strings.Repeat("&tags[]=a", MaxVariables), err: ErrTooManyVariables},
	{name: "repeated ones count each time", body: "id=1" + strings.Repeat("&x=a", MaxVariables), err: ErrTooManyVariables},
	{name: "those without value count", body: "id=1" + strings.Repeat("&x", MaxVariables), err: ErrTooManyVariables},
	{name: "empty pairs do not count", body: "id=1" + strings.Repeat("&", 10_000) + "code=550", want: Event{ID: "1", Code: 550}},
	{name: "most tags in a lone scalar", body: "id=1&tags=" + strings.Repeat("a;", MaxVariables-1), want: Event{ID: "1", Tags: repeated("a", MaxVariables-1)}},
	{name: "too many tags in a lone scalar", body: "id=1&tags=" + strings.Repeat("a;", 2*MaxVariables), err: ErrTooManyVariables},
}

var textCases = []decodeCase{
	{name: "UTF-8", body: "id=1&description=zo%C3%AB+%E2%82%AC+%F0%9F%93%A7", want: Event{ID: "1", Description: "zoë € 📧"}},
	{name: "UTF-8 without escapes", body: "id=1&description=zoë € 📧", want: Event{ID: "1", Description: "zoë € 📧"}},
	{name: "windows-1252", body: "id=1&description=bo%EEte+pleine", want: Event{ID: "1", Description: "boîte pleine"}},
	{name: "windows-1252 without escapes", body: "id=1&description=bo\xeete pleine", want: Event{ID: "1", Description: "boîte pleine"}},
	{name: "windows-1252 and UTF-8 in one value", body: "id=1&description=%E9%C3%A9%E9", want: Event{ID: "1", Description: "ééé"}},
	{name: "windows-1252 in one, UTF-8 in the other", body: "id=1&description=%E9&state=%C3%A9", want: Event{ID: "1", Description: "é", State: "é"}},
	{name: "windows-1252 in an id", body: "id=%E9&tags[]=%E9&tags[]=b", want: Event{ID: "é", Tags: []string{"é", "b"}}},
	{name: "windows-1252 in names", body: "id=1&%E9t%E9=x&a[%E9]=y", want: Event{ID: "1", Variables: []Variable{other("été", "x"), other("a.é", "y")}}},
	{name: "windows-1252 and UTF-8 names are one", body: "id=1&%E9=x&%C3%A9=y", want: Event{ID: "1", Variables: []Variable{other("é", "y")}}},
	{name: "UTF-8 that ends early", body: "id=1&description=a%E2%82&x=%F0%9F", want: Event{ID: "1", Description: "aâ‚", Variables: []Variable{other("x", "ðŸ")}}},
	{name: "overlong UTF-8", body: "id=1&description=%C0%80", want: Event{ID: "1", Description: "À€"}},
	{name: "surrogate in UTF-8", body: "id=1&description=%ED%A0%80", want: Event{ID: "1", Description: "í\u00a0€"}},
	{name: "beyond Unicode", body: "id=1&description=%F4%90%80%80%FF", want: Event{ID: "1", Description: "ô\ufffd€€ÿ"}},
	{name: "a replacement character that was sent stays one", body: "id=1&description=%EF%BF%BD%FF", want: Event{ID: "1", Description: "\ufffdÿ"}},
	{name: "half of a character is not completed by the next value", body: "id=1&a=%C3&b=%A9", want: Event{ID: "1", Variables: []Variable{other("a", "Ã"), other("b", "©")}}},
}

var statusCases = []decodeCase{
	{name: "code", body: "id=1&code=550", want: Event{ID: "1", Code: 550}},
	{name: "code beyond RFC 5321", body: "id=1&code=999", want: Event{ID: "1", Code: 999}},
	{name: "extended", body: "id=1&extended=5.1.1", want: Event{ID: "1", Extended: badMailbox}},
	{name: "extended of three digits", body: "id=1&extended=4.7.999", want: Event{ID: "1", Extended: enhanced(4, 7, 999)}},
}

// Each of these is kept as it came, and a report all the same.
var unreadable = map[string][]string{
	"code":     {"55", "5500", "099", "5.5", "550.5", "-55", "-550", "55a", "550a", "５５０", "unknown", "0x226", "5.5e9", "1e99999", "550_551"},
	"extended": {"5", "5.1", "5.1.1.1", "5.1.", ".1.1", "5..1", "3.1.1", "6.1.1", "05.1.1", "5.01.1", "5.1.01", "5.1.1000", "5,1,1", "5.1.x", "5.1.1a", "none"},
	"time": {
		"0", "-1", "0x10", "1_795_256_098", "yesterday", "1e99999", "inf", "NaN", "1e-9999", ".", "e",
		"1795256098000", "1795256098000000", "9223372036854775807", "9223372036854775808", "99999999999999999999999999", "９",
	},
	"timestamp": {
		"0000-00-00 00:00:00", "2026-11-21", "10:14:58", "2026-11-21 10:14", "2026-11-21x10:14:58", "2026-11-21 9:14:58.", "2026-11-21 10:14:58 +1",
		"2026-13-21 10:14:58", "2026-02-30 10:14:58", "2026-11-21 24:14:58", "2026-11-21 10:60:58", "2026-11-21 10:14:60", "2026-11-21 10:14:58 CET",
		"21-11-2026 10:14:58", "now", "1970-01-01 00:00:00", "1969-12-31 23:59:59", "0001-01-01 00:00:00", "9999-12-31 23:59:59",
	},
}

var timeCases = []decodeCase{
	{name: "time", body: "id=1&time=1795256098", want: Event{ID: "1", Time: utc(2026, 11, 21, 10, 14, 58)}},
	{name: "the first time there is", body: "id=1&time=1", want: Event{ID: "1", Time: utc(1970, 1, 1, 0, 0, 1)}},
	{name: "timestamp is in UTC", body: "id=1&timestamp=2026-11-21+10:14:58", want: Event{ID: "1", Time: utc(2026, 11, 21, 10, 14, 58)}},
	{name: "time before timestamp: time wins", body: "id=1&time=1795256098&timestamp=2001-01-01+00:00:00", want: Event{ID: "1", Time: utc(2026, 11, 21, 10, 14, 58)}},
	{name: "timestamp before time: time wins", body: "id=1&timestamp=2001-01-01+00:00:00&time=1795256098", want: Event{ID: "1", Time: utc(2026, 11, 21, 10, 14, 58)}},
	{
		name: "time that cannot be read, then timestamp: timestamp stands in", body: "id=1&time=0&timestamp=2001-01-01+00:00:00",
		want: Event{ID: "1", Time: utc(2001, 1, 1, 0, 0, 0), Variables: []Variable{other("time", "0")}, Anomalies: []string{"time"}},
	},
	{
		name: "timestamp, then time that cannot be read: timestamp stands in", body: "id=1&timestamp=2001-01-01+00:00:00&time=1795256098000",
		want: Event{ID: "1", Time: utc(2001, 1, 1, 0, 0, 0), Variables: []Variable{other("time", "1795256098000")}, Anomalies: []string{"time"}},
	},
	{
		name: "timestamp that cannot be read beside a time is an anomaly too", body: "id=1&timestamp=0000-00-00+00:00:00&time=1795256098",
		want: Event{ID: "1", Time: utc(2026, 11, 21, 10, 14, 58), Variables: []Variable{other("timestamp", "0000-00-00 00:00:00")}, Anomalies: []string{"timestamp"}},
	},
	{
		name: "several anomalies", body: "id=1&other=v&time=x&code=y&extended=z&timestamp=w",
		want: Event{
			ID:        "1",
			Variables: []Variable{other("time", "x"), other("timestamp", "w"), other("code", "y"), other("extended", "z"), other("other", "v")},
			Anomalies: []string{"time", "timestamp", "code", "extended"},
		},
	},
}

var typeAndIDCases = []decodeCase{
	{name: "type failure", body: "id=1&type=failure", want: Event{ID: "1", Type: "failure"}},
	{name: "no type", body: "id=1", want: Event{ID: "1"}},
	{name: "empty type", body: "id=1&type=", want: Event{ID: "1"}},
	{name: "type bounce", body: "id=1&type=bounce", err: ErrOtherWebhook},
	{name: "type in another case", body: "id=1&type=Failure", want: Event{ID: "1", Type: "failure"}},
	{name: "type with white space", body: "id=1&type=%09failure+%0D%0A", want: Event{ID: "1", Type: "failure"}},
	{name: "type of something else", body: "id=1&type=failures", err: ErrOtherWebhook},
	{name: "the last type counts: failure", body: "id=1&type=bounce&type=failure", want: Event{ID: "1", Type: "failure"}},
	{name: "the last type counts: bounce", body: "id=1&type=failure&type=bounce", err: ErrOtherWebhook},
	{name: "array of types", body: "id=1&type[]=failure", err: ErrOtherWebhook},
	{name: "array of types after a scalar", body: "id=1&type=failure&type[]=failure", err: ErrOtherWebhook},
	{name: "another webhook without id is still another webhook", body: "type=click", err: ErrOtherWebhook},
	{name: "no id", body: "code=550", err: ErrNoID},
	{name: "empty id", body: "id=&code=550", err: ErrNoID},
	{name: "id without value", body: "id&code=550", err: ErrNoID},
	{name: "an id, then an empty one", body: "id=1&id=", err: ErrNoID},
	{name: "array of ids", body: "id[]=1", err: ErrNoID},
	{name: "keyed array of ids", body: "id[0]=1", err: ErrNoID},
	{name: "empty body", body: "", err: ErrNoID},
	{name: "something else altogether", body: "{\"id\":\"1\"}", err: ErrNoID},
}

// Of a variable that has to be one value, several are kept as they came.
var arrayCases = []decodeCase{
	{name: "code", body: "id=1&code[]=550", want: Event{ID: "1", Variables: []Variable{others("code", "550")}, Anomalies: []string{"code"}}},
	{name: "extended", body: "id=1&extended[]=5.1.1&extended[]=4.2.2", want: Event{ID: "1", Variables: []Variable{others("extended", "5.1.1", "4.2.2")}, Anomalies: []string{"extended"}}},
	{name: "time", body: "id=1&time[]=1795256098", want: Event{ID: "1", Variables: []Variable{others("time", "1795256098")}, Anomalies: []string{"time"}}},
	{name: "timestamp", body: "id=1&timestamp[]=2026-11-21+10:14:58", want: Event{ID: "1", Variables: []Variable{others("timestamp", "2026-11-21 10:14:58")}, Anomalies: []string{"timestamp"}}},
	{
		name: "those that any text fits are no anomalies", body: "id=1&type=failure&recipient[]=a@b.example&action[]=x&state[]=y&description[]=z",
		want: Event{ID: "1", Type: "failure", Variables: []Variable{others("recipient", "a@b.example"), others("action", "x"), others("state", "y"), others("description", "z")}},
	},
	{name: "an array of nothing is absent", body: "id=1&code[]=&state[]", want: Event{ID: "1"}},
}

// In PHP code[0]=550 is what code[]=550 is, and in JSON {"code":{"k":"550"}} has a code that is no number.
var keyedArrayCases = []decodeCase{
	{name: "type", body: "id=1&type[0]=bounce", err: ErrOtherWebhook},
	{name: "type, even when it says failure", body: "id=1&type[0]=failure", err: ErrOtherWebhook},
	{name: "type by key", body: "id=1&type[k]=bounce", err: ErrOtherWebhook},
	{name: "code", body: "id=1&code[0]=550", want: Event{ID: "1", Variables: []Variable{other("code.0", "550")}, Anomalies: []string{"code"}}},
	{name: "time", body: "id=1&time[k]=1795256098", want: Event{ID: "1", Variables: []Variable{other("time.k", "1795256098")}, Anomalies: []string{"time"}}},
}

var formCases = []struct {
	group string
	cases []decodeCase
}{
	{"escapes", escapeCases},
	{"pairs", pairCases},
	{"tags", tagCases},
	{"brackets", bracketCases},
	{"bounds", boundCases},
	{"text", textCases},
	{"status", statusCases},
	{"time", timeCases},
	{"type and id", typeAndIDCases},
	{"arrays", arrayCases},
	{"arrays with keys", keyedArrayCases},
}

func TestForm(t *testing.T) {
	var d Decoder
	for _, group := range formCases {
		t.Run(group.group, func(t *testing.T) {
			for _, tc := range group.cases {
				t.Run(tc.name, func(t *testing.T) {
					got, err := d.Form(Call{Arrived: arrived, Body: tc.body})
					tc.check(t, got, err)
				})
			}
		})
	}
}

func TestFormKeepsWhatItCannotReadVerbatim(t *testing.T) {
	for name, values := range unreadable {
		for _, value := range values {
			got := mustForm(t, "id=1&"+name+"="+encodeForm(value))
			want := Event{ID: "1", Variables: []Variable{other(name, value)}, Anomalies: []string{name}}
			if diff := cmp.Diff(want, got, visible); diff != "" {
				t.Errorf("%s=%q (-want +got):\n%s", name, value, diff)
			}
		}
	}
}

func TestTimestampIsInTheDecodersZone(t *testing.T) {
	kolkata, amsterdam := mustLocation(t, "Asia/Kolkata"), mustLocation(t, "Europe/Amsterdam")
	for _, tc := range []struct {
		location  *time.Location
		timestamp string
		want      time.Time
	}{
		{nil, "2026-11-21 10:14:58", utc(2026, 11, 21, 10, 14, 58)},
		{time.UTC, "2026-03-29 02:30:00", utc(2026, 3, 29, 2, 30, 0)}, // an hour that Amsterdam does not have
		{time.UTC, "2026-07-01 12:00:00", utc(2026, 7, 1, 12, 0, 0)},
		{kolkata, "2026-11-21 10:14:58", utc(2026, 11, 21, 4, 44, 58)},
		{kolkata, "2026-07-01 10:14:58", utc(2026, 7, 1, 4, 44, 58)},
		{amsterdam, "2026-01-01 12:00:00", utc(2026, 1, 1, 11, 0, 0)},
		{amsterdam, "2026-07-01 12:00:00", utc(2026, 7, 1, 10, 0, 0)},
		{time.FixedZone("", -3*60*60), "2026-11-20 22:00:00", utc(2026, 11, 21, 1, 0, 0)},
		{time.FixedZone("", -3*60*60), "1970-01-01 00:00:00", utc(1970, 1, 1, 3, 0, 0)},
	} {
		d := Decoder{Location: tc.location}
		got, err := d.Form(Call{Arrived: arrived, Body: "id=1&timestamp=" + encodeForm(tc.timestamp)})
		if err != nil || len(got.Anomalies) != 0 {
			t.Errorf("%s in %v: error %v, anomalies %v", tc.timestamp, tc.location, err, got.Anomalies)
		}
		if !got.Time.Equal(tc.want) || got.Time.Location() != time.UTC {
			t.Errorf("%s in %v: failed at %v, want %v", tc.timestamp, tc.location, got.Time, tc.want)
		}
	}
}

func TestTheZoneDoesNotChangeTime(t *testing.T) {
	d := Decoder{Location: time.FixedZone("", 9*60*60)}
	got, err := d.Form(Call{Arrived: arrived, Body: "id=1&time=1795256098&timestamp=2026-11-21+19:14:58"})
	if want := utc(2026, 11, 21, 10, 14, 58); err != nil || got.Time != want {
		t.Errorf("failed at %v, error %v; want %v", got.Time, err, want)
	}
}

// repeated returns n times s.
func repeated(s string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}
